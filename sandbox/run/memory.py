"""Resident memory of a sandbox's process tree, read from /proc.

Used where a policy limits memory and no cgroup can: the supervisor looks every now and then. The
cheap sum counts shared pages once per process; before anything is ended for it, the proportional
sum (Pss) is taken, which counts them once.
"""

from __future__ import annotations

import os

WATCH_INTERVAL_MS = 100
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def tree_pids(root: int) -> tuple[int, ...]:
    """Return the pids below `root`, itself left out (proc_pid_task_children(5), Linux 3.5).

    Orphans of a pid namespace are its pid 1's children, so nothing gets lost by a double fork.
    """
    found: list[int] = []
    queue = [root]
    while queue:
        pid = queue.pop()
        for child in _children(pid):
            found.append(child)
            queue.append(child)
    return tuple(found)


def _children(pid: int) -> tuple[int, ...]:
    children: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                children += map(int, file.read().split())
    except OSError:
        return tuple(children)  # it ended meanwhile
    return tuple(children)


def _resident_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def _proportional_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return _resident_bytes(pid)  # not readable: count it whole
    return 0


def tree_memory_bytes(root: int, limit_bytes: int) -> int:
    """Return what the tree below `root` holds; exact only where it is near or over the limit."""
    pids = tree_pids(root)
    resident = sum(map(_resident_bytes, pids))
    if resident <= limit_bytes:
        return resident
    return sum(map(_proportional_bytes, pids))
