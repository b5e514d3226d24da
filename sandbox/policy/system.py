"""What every view has: a minimal /dev, /proc without the kernel's secrets, names for the one id."""

from __future__ import annotations

import os

from sandbox.host import observe
from sandbox.plan.model import MountAttr, MountFlag, MountKind, MountOp, Slot, SlotPath
from sandbox.policy import landlock
from sandbox.policy.groups import below
from sandbox.policy.model import BUILT_IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.policy.model import Policy

# Files of /proc that show the kernel's memory, keys, timers or hardware. Reading them is root's
# affair outside; here they are covered for every id.
PROC_MASKED = (
    "acpi",
    "asound",
    "bus",
    "interrupts",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "sched_debug",
    "scsi",
    "slabinfo",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
)
# Programs read these; nothing writes them.
PROC_READ_ONLY = ("fs", "irq", "sys", "sysrq-trigger")

_NO_EXEC = MountAttr.NOSUID | MountAttr.NOEXEC
_EMPTY = _NO_EXEC | MountAttr.NODEV
_SHM_DEFAULT_BYTES = 64 << 20
_DEV_BYTES = 64 << 10
_ETC = SlotPath(b"/etc")
_SHM = SlotPath(b"/dev/shm")  # a path inside
_DEV_LINKS = (
    ("fd", b"/proc/self/fd"),
    ("stdin", b"/proc/self/fd/0"),
    ("stdout", b"/proc/self/fd/1"),
    ("stderr", b"/proc/self/fd/2"),
)
# getaddrinfo(3) and getpwuid(3) without any of the host's databases.
_HOSTS = b"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
_NSSWITCH = b"passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
_NOBODY = 65534


def home_inside(policy: Policy) -> bytes:
    """Return the home directory that the command has: HOME of `env.set`, or /."""
    value = dict(policy.env.set).get("HOME")
    if value is None or value.slot is not Slot.NONE or not value.path.startswith(b"/"):
        return b"/"
    return value.path


def system_mounts(policy: Policy, targets: frozenset[SlotPath]) -> list[MountOp]:
    """Return the operations that no rule states; `targets` are the mounts of the rules."""
    ops = [*_devices(policy, targets), *_proc(policy)]
    if policy.filesystem.root == "image":
        # its own names and links; a /dev of ours over whatever it has there
        dev = SlotPath(b"/dev")
        attrs = MountAttr.NOSUID | MountAttr.NOEXEC | MountAttr.NODEV
        ops.append(
            MountOp(MountKind.TMPFS, dev, attrs=attrs, size_bytes=_DEV_BYTES, origin=BUILT_IN)
        )
    else:
        ops += [*_names(policy, targets), *_links(policy, targets)]
    if policy.network.mode == "host":
        ops += _resolver(targets)
    home = SlotPath(home_inside(policy))
    covered = [path for path in targets if path.slot is Slot.NONE]
    if home.path != b"/" and not any(_is_within(home, path) for path in covered):
        ops.append(MountOp(MountKind.MKDIR, home, mode_octal=0o755, origin=BUILT_IN))
    return ops


def system_access(policy: Policy, mounts: list[MountOp]) -> dict[SlotPath, int]:
    """Return the Landlock rights to `mounts`, which `system_mounts` made."""
    access = {
        # an image is the command's own: everything in it, but no ioctl on devices
        SlotPath(b"/"): landlock.rights_of("overlay", is_noexec=False)
        if policy.filesystem.root == "image"
        else landlock.LIST,
        _ETC: landlock.READ,
        _SHM: landlock.rights_of("tmpfs", is_noexec=True),
    }
    for name in policy.filesystem.dev:
        # only a terminal has uses for ioctl: the others answer with the kernel's own state
        rights = landlock.DEVICE if name == "tty" else landlock.DEVICE & ~landlock.IOCTL_DEV
        access[SlotPath(b"/dev/" + name.encode())] = rights
    if "tty" in policy.filesystem.dev:
        access[SlotPath(b"/dev/pts")] = landlock.DEVICE
    if policy.filesystem.proc_mode == "fresh":
        access[SlotPath(b"/proc")] = landlock.PROC
    for op in mounts:
        if op.kind is MountKind.BIND:
            is_noexec = bool(op.attrs & MountAttr.NOEXEC)
            access[op.target] = landlock.rights_of("ro", is_noexec=is_noexec)
    return access


def _is_within(path: SlotPath, ancestor: SlotPath) -> bool:
    base = ancestor.path.rstrip(b"/") + b"/"
    return path == ancestor or path.path.startswith(base)


def _devices(policy: Policy, targets: frozenset[SlotPath]) -> Iterator[MountOp]:
    for name in policy.filesystem.dev:
        node = SlotPath(b"/dev/" + name.encode())
        yield MountOp(
            MountKind.DEV,
            node,
            node,
            attrs=_NO_EXEC,
            origin=policy.origin(f"filesystem.dev[{name}]"),
        )
    if "tty" in policy.filesystem.dev:
        yield MountOp(MountKind.DEVPTS, SlotPath(b"/dev/pts"), attrs=_NO_EXEC, origin=BUILT_IN)
        yield _link(b"/dev/ptmx", b"pts/ptmx")
    if policy.filesystem.proc_mode == "fresh":
        for name, target in _DEV_LINKS:
            yield _link(b"/dev/" + name.encode(), target)
    if _SHM not in targets:
        yield MountOp(
            MountKind.TMPFS,
            _SHM,
            attrs=_EMPTY,
            size_bytes=_SHM_DEFAULT_BYTES,
            inodes=_SHM_DEFAULT_BYTES // 2048,
            mode_octal=0o1777,
            origin=BUILT_IN,
        )


def _link(path: bytes, target: bytes, origin: str = BUILT_IN) -> MountOp:
    return MountOp(MountKind.SYMLINK, SlotPath(path), data=target, origin=origin)


def _proc(policy: Policy) -> Iterator[MountOp]:
    filesystem = policy.filesystem
    if filesystem.proc_mode != "fresh":
        return
    origin = policy.origin("filesystem.proc.subset")
    is_subset = filesystem.proc_subset == "pid"
    is_bound = filesystem.proc_fallback == "bind-ro"
    yield MountOp(
        MountKind.PROC,
        SlotPath(b"/proc"),
        flags=MountFlag.FALLBACK_BIND if is_bound else MountFlag(0),
        attrs=_EMPTY,
        data=b"pid" if is_subset else b"",
        origin=origin,
    )
    if is_subset and not is_bound:
        return  # nothing but processes is there
    for name in PROC_READ_ONLY:
        yield MountOp(
            MountKind.SELF,
            SlotPath(b"/proc/" + name.encode()),
            flags=MountFlag.OPTIONAL,
            attrs=_EMPTY | MountAttr.RDONLY,
            origin=BUILT_IN,
        )
    for name in PROC_MASKED:
        yield MountOp(
            MountKind.MASK,
            SlotPath(b"/proc/" + name.encode()),
            flags=MountFlag.OPTIONAL,
            origin=BUILT_IN,
        )


def _names(policy: Policy, targets: frozenset[SlotPath]) -> Iterator[MountOp]:
    """Name the one id; where the whole of /etc is shown, leave the host's other files."""
    files = {"passwd": _passwd(policy), "group": _group(policy)}
    if _ETC not in targets:
        files |= {"hosts": _HOSTS, "nsswitch.conf": _NSSWITCH}
    for name, content in files.items():
        where = below(_ETC, name)
        if where not in targets:  # a policy may name the host's own
            yield MountOp(MountKind.FILE, where, data=content, mode_octal=0o444, origin=BUILT_IN)


def _passwd(policy: Policy) -> bytes:
    process = policy.process
    home = home_inside(policy).replace(b":", b"").replace(b"\n", b"")
    rows = {process.uid: b"sandbox:x:%d:%d:sandbox:%s:/bin/sh" % (process.uid, process.gid, home)}
    if process.uid == 0:
        rows[0] = b"root:x:0:%d:root:%s:/bin/sh" % (process.gid, home)
    rows.setdefault(0, b"root:x:0:0:root:/:/bin/sh")
    rows.setdefault(_NOBODY, b"nobody:x:%d:%d:unmapped ids:/:/bin/false" % (_NOBODY, _NOBODY))
    return b"".join(rows[uid] + b"\n" for uid in sorted(rows))


def _group(policy: Policy) -> bytes:
    gid = policy.process.gid
    rows = {gid: b"root:x:0:" if gid == 0 else b"sandbox:x:%d:" % gid}
    rows.setdefault(0, b"root:x:0:")
    rows.setdefault(_NOBODY, b"nogroup:x:%d:" % _NOBODY)
    return b"".join(rows[key] + b"\n" for key in sorted(rows))


def _links(policy: Policy, targets: frozenset[SlotPath]) -> Iterator[MountOp]:
    """Make the policy's links; bind the host's directory where /usr is not merged."""
    for link in policy.filesystem.symlinks:
        where = SlotPath(os.fsencode(link.path))
        if where in targets:
            continue
        if observe.is_dir(link.path) and not observe.is_link(link.path):
            yield MountOp(
                MountKind.BIND,
                where,
                SlotPath(os.fsencode(observe.realpath(link.path))),
                MountFlag.RECURSIVE,
                MountAttr.RDONLY | MountAttr.NOSUID | MountAttr.NODEV,
                origin=link.origin,
            )
        else:
            yield _link(where.path, os.fsencode(link.target), link.origin)


def _resolver(targets: frozenset[SlotPath]) -> Iterator[MountOp]:
    """Show the host's resolver settings where its network is shared."""
    where = below(_ETC, "resolv.conf")
    real = observe.realpath(os.fsdecode(where.path))
    if where not in targets and _ETC not in targets and observe.is_file(real):
        yield MountOp(
            MountKind.BIND,
            where,
            SlotPath(os.fsencode(real)),
            MountFlag(0),
            _EMPTY | MountAttr.RDONLY,
            origin=BUILT_IN,
        )
