"""Output limits: the command's stdout and stderr pass through here, counted.

Only where a policy limits output and the stream is not a terminal: a terminal passed through a
pipe would no longer be one. What a command writes to a terminal of its own passes through
launch/terminal.py, which asks here how much of it may. One thread a pipe, since a slow reader must
not stop the supervisor; two streams that are the same file share a pipe, so that their lines keep
their order.
"""

from __future__ import annotations

import os
import threading

from sandbox.plan.model import FdMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_CHUNK = 1 << 16
_OUTPUTS = (1, 2)


def limited_targets(fds: tuple[FdMap, ...]) -> tuple[FdMap, ...]:
    """The descriptors whose output can be counted: stdout and stderr that are no terminal."""
    return tuple(fd for fd in fds if fd.target in _OUTPUTS and _is_countable(fd.source))


def _is_countable(fd: int) -> bool:
    return fd >= 0 and not os.isatty(fd)


class Relay:
    """Counts and passes on what the command writes; a context manager around the run.

    `full_fd` becomes readable when the limit is reached; what is over it is dropped.
    """

    def __init__(self, fds: tuple[FdMap, ...], limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._writers: list[int] = []
        self.total_bytes = 0
        self.is_truncated = False
        self.full_fd, self._full_writer = os.pipe()
        self.fds = tuple(self._redirect(fds))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.release_writers()
        os.close(self.full_fd)
        with self._lock:
            os.close(self._full_writer)
            self._full_writer = -1

    def release_writers(self) -> None:
        """Close our copies of the pipes' write ends: now only the command holds them."""
        for fd in self._writers:
            os.close(fd)
        self._writers = []

    def drain(self, timeout_s: float | None) -> None:
        """Wait until everything was passed on; with a timeout, give up on a reader that stalls."""
        for thread in self._threads:
            thread.join(timeout_s)

    def _redirect(self, fds: tuple[FdMap, ...]) -> list[FdMap]:
        limited = limited_targets(fds)
        pipes: dict[tuple[int, int], int] = {}
        redirected = [fd for fd in fds if fd not in limited]
        for fd in limited:
            found = os.fstat(fd.source)
            key = (found.st_dev, found.st_ino)
            if key not in pipes:
                pipes[key] = self._open(fd.source)
            redirected.append(FdMap(pipes[key], fd.target))
        return redirected

    def _open(self, destination: int) -> int:
        reader, writer = os.pipe()
        thread = threading.Thread(target=self._pass_on, args=(reader, destination), daemon=True)
        self._threads.append(thread)
        self._writers.append(writer)
        thread.start()
        return writer

    def _pass_on(self, reader: int, destination: int) -> None:
        try:
            while chunk := os.read(reader, _CHUNK):
                if not _write(destination, self.allowed(chunk)):
                    break
        finally:
            os.close(reader)  # where our reader went away, the command sees a broken pipe too

    def allowed(self, chunk: bytes) -> bytes:
        """Count `chunk`; return as much of it as the limit leaves room for."""
        with self._lock:
            room = max(0, self._limit_bytes - self.total_bytes)
            self.total_bytes += min(room, len(chunk))
            if len(chunk) > room and not self.is_truncated:
                self.is_truncated = True
                if self._full_writer >= 0:
                    os.write(self._full_writer, b"!")
        return chunk[:room]


def _write(fd: int, data: bytes) -> bool:
    """Write everything; False where it cannot be: nobody reads any more, or the disk is full.

    The pipe is closed then, and the command's next write fails, as it would have without us.
    """
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        return False
    return True
