"""Whether the caller has cgroup controllers of its own. Reads; makes and moves nothing."""

from __future__ import annotations

import os

from sandbox.record import record

_WANTED = ("memory", "pids", "cpu")
_UNUSED = "this version keeps limits by resource limits and the supervisor"


@record
class CgroupLimits:
    """`is_delegated` where memory, pids and cpu can be limited by cgroup; else why not."""

    is_delegated: bool
    detail: str
    cause: str | None = None
    remedy: str | None = None


@record
class _Mounts:
    """Where the hierarchies are mounted: v2 or "", and v1 by controller."""

    v2: str
    v1: tuple[tuple[str, str], ...]


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []  # no cgroups, or hidden by an outer sandbox


def _mounts(mountinfo: str) -> _Mounts:
    """Parse mountinfo (proc(5)): a v2 mount may be there for other controllers than ours."""
    v2 = ""
    v1: list[tuple[str, str]] = []
    for line in _lines(mountinfo):
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(" "), right.split(" ")
        if len(fields) < 5 or len(kinds) < 3:
            continue
        if kinds[0] == "cgroup2":
            v2 = fields[4]
        elif kinds[0] == "cgroup":
            v1 += [(name, fields[4]) for name in kinds[2].split(",") if name in _WANTED]
    return _Mounts(v2, tuple(v1))


def _own(cgroup: str) -> tuple[str, dict[str, str]]:
    """The caller's v2 group and its v1 groups by controller (cgroups(7))."""
    v2, v1 = "", {}
    for line in _lines(cgroup):
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            v2 = path
        else:
            v1.update(dict.fromkeys(names.split(","), path))
    return v2, v1


def _may_write(directory: str) -> bool:
    return os.access(directory, os.W_OK) and os.access(f"{directory}/cgroup.procs", os.W_OK)


def cgroup_limits(
    mountinfo: str = "/proc/self/mountinfo", cgroup: str = "/proc/self/cgroup"
) -> CgroupLimits:
    """Return whether memory, pids and cpu are delegated to the caller, v2 or v1."""
    mounts = _mounts(mountinfo)
    own_v2, own_v1 = _own(cgroup)
    fallback = "none needed: limits are kept by resource limits and the supervisor"
    if mounts.v2:
        place = f"{mounts.v2}{own_v2}".rstrip("/")
        offered = set(" ".join(_lines(f"{place}/cgroup.controllers")).split())
        if set(_WANTED) <= offered:
            if _may_write(place):
                return CgroupLimits(True, f"v2, delegated at {place}; {_UNUSED}")
            return CgroupLimits(
                False,
                "v2",
                "your cgroup is not delegated to you",
                fallback,
            )
    if mounts.v1:
        places = {name: f"{where}{own_v1.get(name, '')}" for name, where in mounts.v1}
        if set(_WANTED) <= set(places) and all(_may_write(place) for place in places.values()):
            return CgroupLimits(True, f"v1, delegated; {_UNUSED}")
        return CgroupLimits(
            False,
            "v1",
            "the hierarchies are v1, and none is delegated to you",
            fallback,
        )
    return CgroupLimits(False, "", "no cgroup has the controllers memory, pids and cpu", fallback)
