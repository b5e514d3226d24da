"""What is still alive below this process, and ending it."""

from __future__ import annotations

import os
import signal
import time

from support import leaks


def new_processes(known: frozenset[int]) -> dict[int, str]:
    """Return pid and "name (state)" of living descendants that are not in `known`."""
    leaks.reap_orphans(set(known))
    return {
        pid: text
        for pid, text in leaks.descendants().items()
        if pid not in known and not text.endswith("(Z)")
    }


def survivors(known: frozenset[int], within_s: float) -> dict[int, str]:
    """Return the new processes that are still there after `within_s`, or {} as soon as none is."""
    deadline = time.monotonic() + within_s
    while True:
        found = new_processes(known)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def end_all(known: frozenset[int]) -> None:
    """Kill the descendants that are not in `known`, each by its pid, and wait for them."""
    for pid in new_processes(known):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it ended by itself
    survivors(known, 5.0)
