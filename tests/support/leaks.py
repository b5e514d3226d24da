"""What a test may have left behind: processes, mounts, descriptors.

The test session is a subreaper (prctl(2)), so every process that a test's commands leave behind
becomes a child of this one, whoever started it and whatever namespace it is in: nothing has to be
found by name.
"""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
# The kernel tears a pid namespace down after its last process was waited for.
GRACE_S = 3.0


def adopt_orphans() -> None:
    """Make this process the parent of whatever its descendants leave behind."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _stat_fields(pid: str) -> tuple[str, int, str] | None:
    """Return name, parent and state of `pid`, or None when it has gone."""
    try:
        text = Path("/proc", pid, "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    head, _, tail = text.rpartition(")")
    state, parent = tail.split()[:2]
    return head.partition("(")[2], int(parent), state


def descendants() -> dict[int, str]:
    """Return pid and "name (state)" of every process below this one."""
    found = {int(entry): _stat_fields(entry) for entry in os.listdir("/proc") if entry.isdigit()}
    below = {os.getpid()}
    grew = True
    while grew:
        more = {pid for pid, stat in found.items() if stat and stat[1] in below} - below
        below |= more
        grew = bool(more)
    below.discard(os.getpid())
    return {pid: f"{stat[0]} ({stat[2]})" for pid, stat in found.items() if stat and pid in below}


def reap_orphans(known: set[int]) -> None:
    """Wait for dead processes that became children of this one and are not in `known`."""
    for pid, text in descendants().items():
        if pid not in known and text.endswith("(Z)"):
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue  # not a child of this process: its parent has to wait for it


def mounts() -> frozenset[str]:
    """Return the mounts of this process, each with its options."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    # field 7 and on are optional fields of propagation; a private copy elsewhere changes none
    return frozenset(line.split(" - ")[0] for line in lines)


def descriptors() -> dict[int, str]:
    """Return number and target of every open descriptor of this process."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return found


@dataclass(frozen=True)
class Snapshot:
    """The processes, mounts and descriptors at one moment."""

    processes: frozenset[int]
    mounts: frozenset[str]
    descriptors: frozenset[int]


def take_snapshot() -> Snapshot:
    """Return what there is now."""
    return Snapshot(frozenset(descendants()), mounts(), frozenset(descriptors()))


def leaks_since(before: Snapshot) -> list[str]:
    """Return one line for each thing that was not there `before`; waits up to GRACE_S for ends."""
    deadline = time.monotonic() + GRACE_S
    while True:
        reap_orphans(set(before.processes))
        processes = {p: t for p, t in descendants().items() if p not in before.processes}
        if not processes or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    open_now = descriptors()
    return [
        *(f"process {pid} {text}" for pid, text in processes.items()),
        *(f"mount {line}" for line in sorted(mounts() - before.mounts)),
        *(f"descriptor {n} {t}" for n, t in open_now.items() if n not in before.descriptors),
    ]
