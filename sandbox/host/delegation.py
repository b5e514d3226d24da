"""Which backend holds the limits of a whole tree here, and how its owner delegates a better one.

The commands are printed, never run: they make groups and give them away, which is root's decision.
"""

from __future__ import annotations

import os

from sandbox.host.cgroup import (
    CPU,
    MEMORY,
    PIDS,
    QUOTA,
    RESOURCES,
    SHARE,
    SWAP,
    find_hierarchies,
    own_directory,
    read_mounts,
    read_own,
    try_group,
)
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.host.cgroup import Hierarchy

_CORE = (MEMORY, PIDS, CPU)
_FALLBACK = "resource limits and the supervisor"
_REMEDY = (
    "none needed: limits of the tree are then watched, not held by the kernel;"
    " `sudo sandbox doctor --print-delegation` prints how to delegate a group"
)
_SYSTEMD = "/run/systemd/system"
_DROP_IN = "/etc/systemd/system/user@.service.d"
_MOUNTINFO, _CGROUP = "/proc/self/mountinfo", "/proc/self/cgroup"


@record
class CgroupLimits:
    """`is_delegated` where memory, pids and cpu are held by control groups; else why not."""

    is_delegated: bool
    detail: str
    cause: str | None = None
    remedy: str | None = None


def cgroup_limits(
    mountinfo: str = _MOUNTINFO,
    cgroup: str = _CGROUP,
    trial: Callable[[Hierarchy], tuple[frozenset[str], str]] = try_group,
) -> CgroupLimits:
    """Try to make a group in each hierarchy; return what holds the limits of a tree here."""
    found, reason = find_hierarchies(RESOURCES, mountinfo, cgroup, trial)
    held = {name: item.label for item in found for name in item.resources}
    parts = []
    for label in sorted(set(held.values()), reverse=True):
        names = [name for name in (*_CORE, SWAP, SHARE, QUOTA) if held.get(name) == label]
        parts.append(f"{label}: {', '.join(names)}")
    missing = [name for name in _CORE if name not in held]
    if not missing:
        return CgroupLimits(True, "; ".join(parts))
    parts.append(f"{_FALLBACK}: {', '.join(missing)}")
    return CgroupLimits(False, "; ".join(parts), reason, _REMEDY)


def delegation_commands(
    uid: int,
    gid: int,
    pid: int | None,
    mountinfo: str = _MOUNTINFO,
    cgroup: str = _CGROUP,
    systemd: str = _SYSTEMD,
) -> str:
    """Return shell commands for root that delegate control groups to `uid`.

    Shape: `pid` is the shell from which sandboxes will be started, None where it is not known;
           the text is a comment alone where nothing can be delegated.
    """
    mounts = read_mounts(mountinfo)
    own_v1 = read_own(cgroup)[1]
    target = str(pid) if pid is not None else '"${PID:?process id of the shell to start from}"'
    for mount in mounts:
        if mount.version == 2 and {"cpu", "memory", "pids"} <= _offered(mount.point):
            if os.path.isdir(systemd):
                return _with_systemd()
            return _plain_v2(mount.point, uid, gid, target)
    places = {
        own_directory(mount, own_v1.get(name))
        for mount in mounts
        for name in mount.controllers
        if name in ("memory", "pids", "cpuacct", "cpu")
    }
    found = sorted(place for place in places if place is not None)
    if not found:
        return "# no mounted control group hierarchy has the controllers memory and pids\n"
    return _plain_v1(found, uid, gid, target)


def _offered(point: str) -> set[str]:
    try:
        with open(f"{point}/cgroup.controllers", encoding="ascii") as file:
            return set(file.read().split())
    except OSError:
        return set()


def _quote(path: str) -> str:
    return "'" + path.replace("'", "'\\''") + "'"


def _with_systemd() -> str:
    return (
        "# systemd: give every user's manager the controllers, once, as root:\n"
        f"mkdir -p {_DROP_IN}\n"
        f"printf '[Service]\\nDelegate=cpu memory pids\\n' > {_DROP_IN}/sandbox.conf\n"
        "systemctl daemon-reload\n"
        "# After the user has logged in again, start sandboxes in a scope of its manager:\n"
        "#   systemd-run --user --scope sandbox exec COMMAND\n"
        f"# To undo: rm {_DROP_IN}/sandbox.conf && systemctl daemon-reload\n"
    )


def _plain_v2(point: str, uid: int, gid: int, target: str) -> str:
    base = _quote(f"{point.rstrip('/')}/sandbox-{uid}")
    caller = f"{base}/caller"
    names = f"{base} {base}/cgroup.procs {base}/cgroup.threads {caller} {caller}/cgroup.procs"
    return (
        f"# cgroup v2: a subtree for uid {uid}, as root:\n"
        f"mkdir -p {caller}\n"
        f"echo '+cpu +memory +pids' > {_quote(point.rstrip('/'))}/cgroup.subtree_control\n"
        f"echo '+cpu +memory +pids' > {base}/cgroup.subtree_control\n"
        f"chown {uid}:{gid} {names}\n"
        f"echo {target} > {caller}/cgroup.procs\n"
        f"# To undo, when nothing runs in it: rmdir {caller} {base}\n"
    )


def _plain_v1(places: list[str], uid: int, gid: int, target: str) -> str:
    lines = [f"# cgroup v1: a group for uid {uid} in each hierarchy, as root:"]
    bases = [_quote(f"{place}/sandbox-{uid}") for place in places]
    for base in bases:
        lines += [
            f"mkdir -p {base}",
            # Only what makes and fills groups: the limits of this one stay root's.
            f"chown {uid}:{gid} {base} {base}/cgroup.procs {base}/tasks",
            f"echo {target} > {base}/cgroup.procs",
        ]
    lines.append(f"# To undo, when nothing runs in it: rmdir {' '.join(bases)}")
    return "\n".join(lines) + "\n"


def nearest_process_of(uid: int) -> int | None:
    """Return the nearest ancestor process that runs as `uid`: behind sudo(8), the user's shell."""
    pid = os.getppid()
    while pid > 1:
        try:
            if os.stat(f"/proc/{pid}").st_uid == uid:
                return pid
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            return None  # it ended, or belongs to a hidden part of /proc
    return None
