"""Control groups below which the caller may make one for a run: found by reading, tried for real.

Both versions may be mounted at once (hybrid), each with other controllers, and a container shows a
hierarchy from its own group down. Nothing here changes an existing group: the only thing ever made
is a child group, and the trial's is gone when the call returns.
"""

from __future__ import annotations

import os

from sandbox.host import observe
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEMORY, SWAP, PIDS, CPU = "memory", "swap", "pids", "cpu"
# No limit, but what membership alone gives: all processes of a run compete for the processor like
# one process of the caller's, however many they are.
SHARE = "share"
QUOTA = "cpu_quota"
RESOURCES = frozenset({MEMORY, SWAP, PIDS, CPU, SHARE, QUOTA})
# The file that limits (or, for cpu, counts) a resource, by version of the hierarchy.
FILES = {
    (1, MEMORY): "memory.limit_in_bytes",
    (1, SWAP): "memory.memsw.limit_in_bytes",
    (1, PIDS): "pids.max",
    (1, CPU): "cpuacct.usage",
    (1, SHARE): "cpu.shares",
    (1, QUOTA): "cpu.cfs_quota_us",
    (2, MEMORY): "memory.max",
    (2, SWAP): "memory.swap.max",
    (2, PIDS): "pids.max",
    (2, CPU): "cpu.stat",
    (2, SHARE): "cpu.weight",
    (2, QUOTA): "cpu.max",
}
# A quota: 1 %, since v1 takes none above that of a group further up.
_TRIAL_VALUES = {MEMORY: str(1 << 30), SWAP: str(2 << 30), PIDS: "64", QUOTA: "1000"}
_V1_CONTROLLERS = {
    "memory": (MEMORY, SWAP),
    "pids": (PIDS,),
    "cpuacct": (CPU,),
    "cpu": (SHARE, QUOTA),
}
_V2_CONTROLLERS = {"memory": (MEMORY, SWAP), "pids": (PIDS,), "cpu": (SHARE, QUOTA)}
NONE_DELEGATED = "no control group is delegated to you"


@record
class Hierarchy:
    """A directory below which a run's group is made, and what can be limited there."""

    version: int
    place: str
    resources: frozenset[str]

    @property
    def label(self) -> str:
        """The name in results: cgroup-v1 or cgroup-v2."""
        return f"cgroup-v{self.version}"


@record
class Mount:
    """A mounted hierarchy: its version, the group at its mount point, and its v1 controllers."""

    version: int
    root: str
    point: str
    controllers: tuple[str, ...]


def _lines(path: str) -> list[str]:
    content = observe.read_kernel_file(path)
    if content is None:
        return []  # no cgroups, or hidden by an outer sandbox
    return content.decode("utf-8", "surrogateescape").splitlines()


def _unescape(text: str) -> str:
    """Undo the octal escapes of mountinfo (proc(5)): space, tab, newline, backslash."""
    if "\\" not in text:
        return text
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def read_mounts(mountinfo: str) -> list[Mount]:
    """Return every mounted hierarchy (proc(5), mountinfo)."""
    found = []
    for raw in observe.cgroup_mounts(mountinfo):
        line = raw.decode("utf-8", "surrogateescape")
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(" "), right.split(" ")
        if len(fields) < 5 or len(kinds) < 3 or kinds[0] not in ("cgroup", "cgroup2"):
            continue
        version = 2 if kinds[0] == "cgroup2" else 1
        names = tuple(kinds[2].split(",")) if version == 1 else ()
        found.append(Mount(version, _unescape(fields[3]), _unescape(fields[4]), names))
    return found


def read_own(cgroup: str) -> tuple[str | None, dict[str, str]]:
    """Return the caller's v2 group and its v1 groups by controller (cgroups(7))."""
    v2, v1 = None, {}
    for line in _lines(cgroup):
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            v2 = path
        else:
            v1.update(dict.fromkeys(names.split(","), path))
    return v2, v1


def own_directory(mount: Mount, group: str | None) -> str | None:
    """Return where `mount` shows `group`; None where the group lies outside of what it shows."""
    root = mount.root.rstrip("/")
    if group is None or group.startswith("/..") or not (group + "/").startswith(root + "/"):
        return None
    return (mount.point + group[len(root) :]).rstrip("/")


def _is_open(directory: str) -> bool:
    return observe.access(directory, os.W_OK | os.X_OK) and observe.access(
        f"{directory}/cgroup.procs", os.W_OK
    )


def _is_delegated(directory: str) -> bool:
    """Whether a group above the caller's own was given away: to this user, or by systemd to root.

    For root every group is writable, which makes none of them its own.
    """
    if not _is_open(directory):
        return False
    if os.geteuid() != 0:
        return observe.owner(directory) == os.geteuid()
    observe.miss("an attribute of a control group was asked for")
    try:
        return os.getxattr(directory, "trusted.delegate") == b"1"
    except OSError:
        return False


def _candidates(mounts: list[Mount], own: tuple[str | None, dict[str, str]]) -> Iterator[Hierarchy]:
    """Yield where a group could be made, the better ones first."""
    group_v2, groups_v1 = own
    for mount in mounts:
        if mount.version == 2:
            place = own_directory(mount, group_v2)
            if place is not None:
                yield from _candidates_v2(place)
    for mount in mounts:
        for name in mount.controllers:
            if name not in _V1_CONTROLLERS:
                continue
            place = own_directory(mount, groups_v1.get(name))
            if place is not None and _is_open(place):
                yield Hierarchy(1, place, frozenset(_V1_CONTROLLERS[name]))


def _candidates_v2(place: str) -> Iterator[Hierarchy]:
    """The own group, and the one above where that is delegated.

    A v2 group that has processes cannot hand controllers down (cgroups(7), "no internal
    processes"), so under systemd a run's group is made beside the caller's scope, not in it.
    """
    for directory in (place, os.path.dirname(place)):
        is_usable = _is_open(place) if directory == place else _is_delegated(directory)
        if is_usable:
            given = " ".join(_lines(f"{directory}/cgroup.subtree_control")).split()
            resources = {CPU}  # every v2 group counts its processor time
            for name in given:
                resources.update(_V2_CONTROLLERS.get(name, ()))
            yield Hierarchy(2, directory, frozenset(resources))


def try_group(hierarchy: Hierarchy) -> tuple[frozenset[str], str]:
    """Make a child group, set each limit, remove it; return what worked, and why not the rest."""
    path = f"{hierarchy.place}/sandbox-trial-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        os.mkdir(path, 0o755)
    except OSError as error:
        return frozenset(), f"no group can be made in {hierarchy.place}: {error.strerror}"
    works, why = set(), ""
    try:
        os.close(os.open(f"{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
        for resource in (MEMORY, SWAP, PIDS, CPU, SHARE, QUOTA):
            name = FILES[hierarchy.version, resource]
            if resource not in hierarchy.resources:
                continue
            try:
                _try_file(f"{path}/{name}", _TRIAL_VALUES.get(resource))
            except OSError as error:
                why = f"{name} cannot be set: {error.strerror}"
            else:
                works.add(resource)
    except OSError as error:
        works, why = set(), f"processes cannot be moved to a group: {error.strerror}"
    finally:
        os.rmdir(path)
    return frozenset(works), why


def _try_file(path: str, value: str | None) -> None:
    fd = os.open(path, (os.O_RDONLY if value is None else os.O_WRONLY) | os.O_CLOEXEC)
    try:
        if value is not None:
            os.write(fd, value.encode())
    finally:
        os.close(fd)


def find_hierarchies(
    need: frozenset[str],
    mountinfo: str = "/proc/self/mountinfo",
    cgroup: str = "/proc/self/cgroup",
    trial: Callable[[Hierarchy], tuple[frozenset[str], str]] = try_group,
) -> tuple[tuple[Hierarchy, ...], str]:
    """Return the hierarchies that hold `need` together, and why something of it has no holder.

    Shape: `resources` of each are those that it is to hold; no resource is held twice. The text is
           "" where everything is held. Nothing is tried where the caller may write no group.
    """
    mounts = read_mounts(mountinfo)
    left = set(need)
    places: dict[tuple[int, str], set[str]] = {}
    reason = NONE_DELEGATED if mounts else "no cgroup hierarchy is mounted"
    for candidate in _candidates(mounts, read_own(cgroup)) if mounts else ():
        wanted = candidate.resources & left
        if SWAP in wanted and MEMORY not in wanted:
            wanted -= {SWAP}  # only bounded together with memory
        if not wanted:
            continue
        works, why = trial(Hierarchy(candidate.version, candidate.place, wanted))
        if works != wanted:  # what works is tried again by each run, what fails is not
            observe.miss("a control group was tried, and what fails can work at any time")
        reason = why or reason
        if works:
            places.setdefault((candidate.version, candidate.place), set()).update(works)
            left -= works
    found = tuple(
        Hierarchy(version, place, frozenset(resources))
        for (version, place), resources in places.items()
    )
    return found, reason if left - {SHARE} else ""
