"""Processes of a run without namespaces that lost their init, found and ended.

Init of such a run takes its tree with it, unless somebody kills init itself. Then what is left
becomes ours, since we are a subreaper, and is told from our own children by its filters: a process
of a run has more of them than we have, and no process can take one off.
"""

from __future__ import annotations

import os

from sandbox._core import lib
from sandbox.errors import SetupError

_KILL = 9
_WALL = 0x40000000  # __WALL, wait(2)
_ROUNDS_MAX = 10_000  # a tree that forks faster than it is ended would keep us for ever


def adopt() -> None:
    """Make this process the parent of what its descendants leave behind.

    Errors: SetupError where the kernel refuses.
    """
    result = lib.sbx_orphans_adopt()
    if result < 0:
        raise SetupError(f"orphans cannot be adopted (prctl): {os.strerror(-result)}")


def end_orphans(known: frozenset[int]) -> None:
    """Kill and reap every child of this process that a run without namespaces has left.

    Shape: `known` are children that were there before the run.
    """
    own = _filters("self")
    for _round in range(_ROUNDS_MAX):
        found = [pid for pid in children() if pid not in known and _is_held(pid, own)]
        if not found:
            return
        for pid in found:  # unreaped children of ours: no number is another process's
            _end(pid)


def _end(pid: int) -> None:
    try:
        os.kill(pid, _KILL)
        os.waitpid(pid, _WALL)
    except (ProcessLookupError, ChildProcessError):
        return  # somebody else of this process waited for it


def children() -> list[int]:
    """Return the children of this process, of all its threads."""
    found: list[int] = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            continue  # the thread ended
    return found


def _is_held(pid: int, own: int) -> bool:
    return _filters(str(pid)) > own


def _filters(pid: str) -> int:
    """Return how many filters hold a process (Seccomp_filters, Linux 5.9); 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"Seccomp_filters:"):
                    return int(line.split()[1])
    except OSError:
        return 0
    return 0
