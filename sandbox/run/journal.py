"""What journals in the runtime directory share: who wrote one, is it alive, and the lock."""

from __future__ import annotations

import fcntl
import os


def process_key(pid: int) -> str | None:
    """Return `pid starttime`, which no later process shares (proc_pid_stat(5), field 22)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return f"{pid} {int(fields[19])}"


def is_alive(key: str) -> bool:
    """Say whether the process that `process_key` named is still there."""
    pid, _space, _start = key.partition(" ")
    return pid.isdigit() and process_key(int(pid)) == key


class locked:  # noqa: N801  # reads as a phrase: with locked(folder)
    """An exclusive lock on a journal directory."""

    def __init__(self, folder: str) -> None:
        self._fd = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)
