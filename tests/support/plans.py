"""Plans and invocations to encode, check, mutate and fuzz: each kind of record appears."""

from __future__ import annotations

import os

from sandbox.plan.model import (
    FD_TERMINAL,
    EnvKind,
    EnvRule,
    FdMap,
    Filter,
    IdKind,
    IdMap,
    Invocation,
    LandlockKind,
    LandlockRule,
    MountAttr,
    MountFlag,
    MountKind,
    MountOp,
    Namespace,
    OwnTerminal,
    Plan,
    PlanFlag,
    Protect,
    ProtectKind,
    Rlimit,
    RootKind,
    Slot,
    SlotPath,
    Supervise,
)
from sandbox.record import replace

SHIPPED = ("strict", "default", "tiny", "build")
# ld [nr]; jeq #59, allow, errno; in struct sock_filter of the native order, little-endian here
CODE = bytes.fromhex("2000000000000000150000013b000000060000000000ff7f0600000001000500")
ALL_NAMESPACES = Namespace(sum(Namespace))


def _mounts() -> tuple[MountOp, ...]:
    cwd, home = SlotPath(b"", Slot.CWD), SlotPath(b"/.gitconfig", Slot.HOME)
    hidden = MountAttr.RDONLY | MountAttr.NOSUID | MountAttr.NODEV
    usr, link, dev = SlotPath(b"/usr"), SlotPath(b"/bin"), SlotPath(b"/dev/null")
    upper = SlotPath(b"/upper", Slot.STATE)
    return (
        MountOp(MountKind.BIND, usr, usr, MountFlag.RECURSIVE, hidden),
        MountOp(MountKind.SYMLINK, link, data=b"usr/bin"),
        MountOp(MountKind.TMPFS, SlotPath(b"/tmp"), size_bytes=64 << 20, inodes=4096),
        MountOp(MountKind.PROC, SlotPath(b"/proc"), flags=MountFlag.FALLBACK_BIND, data=b"pid"),
        MountOp(MountKind.DEV, dev, dev),
        MountOp(MountKind.DEVPTS, SlotPath(b"/dev/pts")),
        MountOp(MountKind.MQUEUE, SlotPath(b"/dev/mqueue")),
        MountOp(MountKind.OVERLAY, cwd, cwd, size_bytes=1 << 20, upper=upper),
        MountOp(MountKind.MKDIR, SlotPath(b"/home/sandbox"), mode_octal=0o700),
        MountOp(MountKind.FILE, SlotPath(b"/etc/passwd"), data=b"sandbox:x:1000:1000\n\0\xff"),
        MountOp(MountKind.MASK, SlotPath(b"/proc/kcore"), flags=MountFlag.OPTIONAL),
        MountOp(MountKind.SELF, SlotPath(b"/.git", Slot.CWD), attrs=MountAttr.RDONLY),
        MountOp(MountKind.BIND, home, home, MountFlag.OPTIONAL | MountFlag.FOLLOW),
    )


def full_plan() -> Plan:
    """Return a plan with every kind of record in it."""
    return Plan(
        flags=PlanFlag(0xFF),
        namespaces=ALL_NAMESPACES,
        id_maps=(IdMap(IdKind.UID, 1000, 41000), IdMap(IdKind.GID, 1000, 41000)),
        uid=1000,
        gid=1000,
        mounts=_mounts(),
        rlimits=(Rlimit(7, 256, 256), Rlimit(1, 1 << 20, 2**64 - 1)),
        hostname=b"sandbox",
        caps=0,
        securebits=0x2F,
        landlock_fs=0xFFFF,
        landlock_net=3,
        landlock_scoped=3,
        landlock_min_abi=1,
        landlock=(
            LandlockRule(LandlockKind.PATH, 5, SlotPath(b"/usr")),
            LandlockRule(LandlockKind.PATH, 0x1FFF, SlotPath(b"", Slot.CWD), is_optional=True),
            LandlockRule(LandlockKind.PORT, 2, port=443),
        ),
        filters=(Filter(CODE),),
        proof_nr=435,
        proof_errno=38,
        env=(
            EnvRule(EnvKind.ALLOW, b"LC_*"),
            EnvRule(EnvKind.SET, b"HOME", SlotPath(b"/x", Slot.HOME)),
        ),
        protect=(
            Protect(ProtectKind.READONLY, SlotPath(b"/.git/hooks", Slot.CWD)),
            Protect(ProtectKind.HIDDEN, SlotPath(b"/.ssh", Slot.HOME)),
        ),
        supervise=((Supervise.WALL_MS, 60_000), (Supervise.OUTPUT_BYTES, 8 << 20)),
        notes=b'{"tier":"complete"}',
        rules=b"{}",
        fingerprint=b"{}",
    )


def bare_plan() -> Plan:
    """Return the smallest plan: no namespaces, no mounts."""
    no_umask = 0xFFFFFFFF
    return Plan(PlanFlag.NO_NEW_PRIVS, Namespace(0), (), 0, 0, (), umask_octal=no_umask)


def bound_root_plan() -> Plan:
    """Return a plan whose root is a directory of the host."""
    needed = Namespace.USER | Namespace.MOUNT | Namespace.PID
    maps = (IdMap(IdKind.UID, 0, 1000), IdMap(IdKind.GID, 0, 1000))
    source = SlotPath(b"/rootfs", Slot.STATE)
    return Plan(PlanFlag(0), needed, maps, 0, 0, (), root_kind=RootKind.BIND, root_source=source)


def overlaid_root_plan() -> Plan:
    """Return a plan whose root is a directory of the host below a private layer on disk."""
    return replace(
        bound_root_plan(),
        root_kind=RootKind.OVERLAY,
        root_upper=SlotPath(b"/root", Slot.STATE),
        flags=PlanFlag.LOCK_USERNS | PlanFlag.LOCK_OPTIONAL,
        caps=0x4FB,
    )


def made_plans() -> dict[str, Plan]:
    """Return the plans that are written down here."""
    return {
        "full": full_plan(),
        "bare": bare_plan(),
        "bound-root": bound_root_plan(),
        "overlaid-root": overlaid_root_plan(),
    }


def shipped_plans() -> dict[str, Plan]:
    """Return the plans of the shipped policies on this host."""
    from sandbox.host.facts import detect
    from sandbox.policy.compile import compile_plan
    from sandbox.policy.load import load_policy

    host = detect()
    return {name: compile_plan(load_policy(name), host) for name in SHIPPED}


def made_invocations() -> dict[str, Invocation]:
    """Return a small invocation, and one with all that an invocation can hold."""
    slots = (b"", os.fsencode(os.getcwd()), b"/home/x", b"/tmp", b"", b"/var/lib/x")
    small = Invocation((b"true",), (), (b"/usr/bin/true",), b"/", (b"",) * 6)
    full = Invocation(
        argv=(b"sh", b"-c", b"echo \xff\xfe", b""),
        env=(b"TERM=dumb", b"LANG=C.UTF-8", b"EMPTY="),
        programs=(b"/usr/local/bin/sh", b"/usr/bin/sh"),
        cwd=b"/tmp",
        slots=slots,
        fds=(FdMap(0, 0), FdMap(1, 1), FdMap(5, 2), FdMap(9, 3)),
        extra_mounts=_mounts()[:3],
        has_barrier=True,
    )
    own = (FdMap(FD_TERMINAL, 0), FdMap(1, 1), FdMap(FD_TERMINAL, 2))
    terminal = replace(small, fds=own, terminal=OwnTerminal(0, is_foreground=False))
    return {"small": small, "full": full, "terminal": terminal}
