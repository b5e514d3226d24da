"""Policies without namespaces: what Landlock, the filter and resource limits can express of one.

Such a policy is named by the user, for hosts that forbid user namespaces; nothing falls back to
it. There is no view: paths are the host's, and Landlock says which of them may be opened. It can
only grant, so whatever needs a mount (hiding below a grant, private copies, an empty directory at
a path) is refused with its place instead of being left out.
"""

from __future__ import annotations

import os

from sandbox.errors import HostError, PolicyError
from sandbox.host import observe
from sandbox.plan.model import EnvKind, EnvRule, LandlockKind, LandlockRule, Slot, SlotPath
from sandbox.policy import landlock
from sandbox.policy.files import View, matching_names, order_key
from sandbox.policy.model import BUILT_IN, OFF, REQUIRE
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.host.facts import Host
    from sandbox.policy.model import MountRule, Policy

HOST_ROOT = "host"
# The command's own place: a directory of this run, removed at its end.
PRIVATE = SlotPath(b"/tmp", Slot.STATE)
# What getaddrinfo(3) reads where the network is the host's.
_RESOLVER = ("/etc/resolv.conf", "/etc/hosts", "/etc/services", "/etc/gai.conf")
_UNIX = "u32(arg0) == AF_UNIX"
_PRIVATE_NAMES = (b"TMPDIR", b"HOME")


def check_combination(policy: Policy) -> None:
    """Refuse a policy that goes without some namespaces only.

    Errors: PolicyError(policy.conflict) for anything between all of the basic three and none.
    """
    namespaces = dict(policy.isolation.namespaces)
    wanted = [name for name, demand in namespaces.items() if demand != OFF]
    is_host = policy.filesystem.root == HOST_ROOT
    if not wanted and is_host:
        return
    missing = [name for name in ("user", "mount", "pid") if namespaces[name] == OFF]
    key = "filesystem.root" if is_host else f"isolation.namespaces.{missing[0]}"
    raise PolicyError(
        f"{_place(policy, key)}: namespaces are used with user, mount and pid among them, or all of"
        ' them are off with filesystem.root = "host"',
        hint='extends = ["confined"] names a policy without namespaces',
        code="policy.conflict",
        key=key,
    )


def _place(policy: Policy, key: str) -> str:
    origin = policy.origin(key)
    return escape(policy.path) if origin == BUILT_IN else origin


def _refuse(place: str, what: str, hint: str) -> PolicyError:
    return PolicyError(
        f"{place}: {what} cannot be held without namespaces",
        hint=hint,
        code="policy.confined",
    )


def grants(policy: Policy, host: Host) -> View:
    """Return the Landlock rules of a policy without namespaces; its view has no mounts.

    Errors: HostError(host.missing) for root as the caller; PolicyError(policy.confined) for what
            cannot be expressed, (policy.path) for a path that does not exist, with the place.
    """
    if host.uid == 0:
        raise HostError(
            "a policy without namespaces does not hold root: the command would be root itself",
            hint="run it as an ordinary user: setpriv --reuid=1000 --regid=1000 --clear-groups …",
            protection="isolation.namespaces.user",
        )
    _check_expressible(policy)
    access: dict[SlotPath, int] = {}
    notes: list[str] = []
    for rule in policy.filesystem.mounts:
        for path in _granted(rule, notes):
            rights = landlock.rights_of(rule.mode, is_noexec=rule.is_noexec)
            access[path] = access.get(path, 0) | rights
    for link in policy.filesystem.symlinks:
        if observe.is_dir(link.path) and not observe.is_link(link.path):  # /usr is not merged
            access.setdefault(
                SlotPath(os.fsencode(link.path)), landlock.rights_of("ro", is_noexec=False)
            )
    for name in policy.filesystem.dev:
        node = SlotPath(b"/dev/" + name.encode())
        access[node] = landlock.DEVICE & ~landlock.IOCTL_DEV
    if policy.network.mode == "host":
        for name in _RESOLVER:
            real = observe.realpath(name)
            if observe.is_file(real):
                access.setdefault(SlotPath(os.fsencode(real)), landlock.READ)
    access[PRIVATE] = landlock.rights_of("rw", is_noexec=False)
    handled = landlock.handled_fs(min(host.landlock_abi, landlock.ABI_KNOWN))
    rules = tuple(
        LandlockRule(LandlockKind.PATH, access[path] & handled, path, is_optional=True)
        for path in sorted(access, key=order_key)
    )
    return View((), rules, (), (*notes, *_gaps(policy, host)))


def _granted(rule: MountRule, notes: list[str]) -> tuple[SlotPath, ...]:
    """Return the canonical paths that a rule grants."""
    if rule.mode not in ("ro", "rw"):
        raise _refuse(
            rule.origin,
            f"{rule.mode} at {escape(rule.path.text())}",
            "TMPDIR and HOME are a private directory of each run; grant others with ro or rw",
        )
    if rule.source not in (None, rule.path):
        raise _refuse(
            rule.origin,
            f"another path shown at {escape(rule.path.text())}",
            "name the path itself with ro or rw",
        )
    if rule.path.slot is not Slot.NONE:
        return (rule.path,)  # a link in it grants nothing: see csrc/landlock.c
    real = observe.realpath(rule.path.path)
    if not observe.exists(real):
        if rule.is_optional:
            notes.append(f"{escape(rule.path.path)} does not exist and is left out")
            return ()
        raise PolicyError(
            f"{rule.origin}: {escape(rule.path.path)} does not exist",
            hint="optional = true lets the policy go without it",
            code="policy.path",
            path=os.fsdecode(rule.path.path),
        )
    if not rule.only:
        return (SlotPath(real),)
    parent = os.fsdecode(real)
    found = (
        observe.realpath(os.path.join(parent, name)) for name in matching_names(parent, rule.only)
    )
    return tuple(SlotPath(os.fsencode(path)) for path in found if observe.exists(path))


def _check_expressible(policy: Policy) -> None:
    """Refuse what only a mount or a namespace could hold, and a weaker second wall."""
    filesystem = policy.filesystem
    if filesystem.hide:
        hidden = filesystem.hide[0]
        raise _refuse(
            hidden.origin,
            f"hiding {escape(hidden.path.text())}",
            "grant only the paths that may be seen",
        )
    for key, names in (("protect", filesystem.protect), ("groups", filesystem.groups)):
        if names:
            raise _refuse(
                policy.origin(f"filesystem.{key}[{names[0]}]"),
                f"the group {names[0]}",
                "leave it out, and grant no directory that holds such files for writing",
            )
    stated = (
        ("filesystem.proc.mode", filesystem.proc_mode == "none", "an own /proc"),
        ("filesystem.dev[tty]", "tty" not in filesystem.dev, "an own terminal"),
        ("process.hostname", policy.origin("process.hostname") == BUILT_IN, "a host name"),
        ("process.uid", policy.origin("process.uid") == BUILT_IN, "another user id"),
        ("process.gid", policy.origin("process.gid") == BUILT_IN, "another group id"),
        ("process.capabilities", not policy.process.capabilities, "a capability"),
        ("network.loopback", not policy.network.has_loopback, "an own loopback"),
    )
    for key, is_expressible, what in stated:
        if not is_expressible:
            raise _refuse(_place(policy, key), what, "leave the line or the option out")
    _check_walls(policy)


def _check_walls(policy: Policy) -> None:
    isolation = policy.isolation
    for key, demand in (("landlock.fs", isolation.landlock_fs), ("seccomp", isolation.seccomp)):
        if demand != REQUIRE:
            raise PolicyError(
                f"{_place(policy, f'isolation.{key}')}: without namespaces isolation.{key} is the"
                " wall itself and must be required",
                hint=f'isolation.{key} = "require"',
                code="policy.confined",
            )
    families = sorted(policy.syscalls.socket_families - {"unix"})
    if policy.network.mode == "none" and families:
        raise _refuse(
            _place(policy, f"syscalls.socket_families[{families[0]}]"),
            f"network.mode = none with sockets of the family {families[0]}",
            'leave the family out, or share the network: network.mode = "host"',
        )


def check_narrowing(policy: Policy, slots: tuple[bytes, ...]) -> None:
    """Refuse a rule that grants less than one above it: Landlock adds rights up.

    Shape: called when the caller's directories are known, as `${CWD}` may lie above a fixed path.
    """
    known = [
        (
            _canonical(rule.path, slots),
            landlock.rights_of(rule.mode, is_noexec=rule.is_noexec),
            rule,
        )
        for rule in policy.filesystem.mounts
        if not rule.path.slot or slots[rule.path.slot]
    ]
    for path, rights, rule in known:
        for above, granted, other in known:
            is_below = path != above and path.startswith(above.rstrip(b"/") + b"/")
            if is_below and granted & ~rights:
                raise _refuse(
                    rule.origin,
                    f"less at {escape(rule.path.text())} than at {escape(other.path.text())}"
                    f" ({other.origin})",
                    "grant the parts instead of the whole",
                )


def _canonical(path: SlotPath, slots: tuple[bytes, ...]) -> bytes:
    return observe.realpath(path.resolve(slots))


def private_environment() -> tuple[EnvRule, ...]:
    """Return TMPDIR and HOME; they come last, so what the policy itself sets wins."""
    return tuple(EnvRule(EnvKind.SET, name, PRIVATE) for name in _PRIVATE_NAMES)


def _refuses_sockets(policy: Policy) -> bool:
    """Say whether a rule keeps Unix sockets from being made (pairs of them reach nobody else)."""
    return any(
        "socket" in rule.names and rule.when in ("", _UNIX) and rule.action.kind != "allow"
        for rule in policy.syscalls.rules
    )


def _gaps(policy: Policy, host: Host) -> tuple[str, ...]:
    """Say what separates nothing here, in the order of weight."""
    is_scoped = host.landlock_abi >= landlock.ABI_SCOPE and policy.isolation.landlock_scope != OFF
    gaps = ["no namespaces: this run is only confined, not isolated from the host"]
    if not is_scoped:
        gaps.append(
            "processes of the same user can be signalled, this run's supervisor too: Landlock"
            f" scopes need Linux 6.12 (ABI {landlock.ABI_SCOPE}, here {host.landlock_abi})"
        )
    if host.landlock_abi < landlock.ABI_TRUNCATE:
        gaps.append("files outside the grants can be truncated: Landlock refuses it from Linux 6.2")
    gaps.append(
        "names, sizes, owners and times of any file can be asked for (stat); opening is held"
    )
    if any(rule.mode == "rw" for rule in policy.filesystem.mounts):
        gaps.append(
            "hooks, start-up files and agent configuration below writable paths are not protected"
        )
    if "unix" in policy.syscalls.socket_families and not _refuses_sockets(policy):
        gaps.append("Unix sockets of the host can be connected to wherever file modes allow it")
    gaps.append("no /tmp of its own; TMPDIR is a directory of this run, removed at its end")
    if policy.limits.pids is not None:
        gaps.append("the limit pids counts every process of this user on the host")
    return tuple(gaps)
