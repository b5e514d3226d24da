"""Feeding and reading a sandbox's pipes at once, without a thread and without a dead-lock."""

from __future__ import annotations

import os
import select

from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Of each stream; the rest is read and dropped, so that the command neither blocks on a pipe that
# nobody empties nor fills the caller's memory. A policy's limit on output ends the command instead.
KEPT_BYTES = 64 << 20
_CHUNK = 1 << 16
_PIPE_MAX_BYTES = 1 << 20  # /proc/sys/fs/pipe-max-size of a kernel as it comes


class Collected:
    """What one stream brought so far; at most KEPT_BYTES of it."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._kept_bytes = 0
        self.total_bytes = 0

    def add(self, chunk: bytes) -> None:
        """Keep as much of `chunk` as there is room for, and count all of it."""
        self.total_bytes += len(chunk)
        room = KEPT_BYTES - self._kept_bytes
        if room > 0:
            self._chunks.append(chunk[:room])
            self._kept_bytes += len(self._chunks[-1])

    @property
    def is_truncated(self) -> bool:
        """Whether more came than was kept."""
        return self.total_bytes > self._kept_bytes

    def data(self) -> bytes:
        """Return what was kept."""
        return b"".join(self._chunks)


@record
class Pipes:
    """Our ends of a sandbox's pipes; -1 where there is none."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1


class Exchange:
    """Passes `data` to a command and takes what it says, a turn at a time."""

    def __init__(self, pipes: Pipes, data: bytes, close_stdin: Callable[[], None]) -> None:
        self._stdin = pipes.stdin
        self._close_stdin = close_stdin
        self._left = memoryview(data)
        self.outputs = {fd: Collected() for fd in (pipes.stdout, pipes.stderr) if fd >= 0}
        self._open = set(self.outputs)
        # A child that somebody forked may hold the other ends too: nothing here may wait for them.
        for fd in (*self.outputs, *((self._stdin,) if self._stdin >= 0 else ())):
            os.set_blocking(fd, False)
        self._poller = select.poll()
        for fd in self._open:
            self._poller.register(fd, select.POLLIN)
        if self._stdin >= 0:
            self._poller.register(self._stdin, select.POLLOUT)

    @property
    def needs_more(self) -> bool:
        """Whether a pipe is still open."""
        return bool(self._open) or self._stdin >= 0

    def watch(self, fd: int) -> None:
        """Wake up when `fd` becomes readable."""
        self._poller.register(fd, select.POLLIN)

    def turn(self, timeout_ms: float | None) -> bool:
        """Wait until something can be done and do it; False where time was up before."""
        ready = self._poller.poll(timeout_ms)
        for fd, _events in ready:
            if fd == self._stdin:
                self._feed()
            elif fd in self._open:
                self.take(fd)
        return bool(ready)

    def _feed(self) -> None:
        try:
            if self._left:
                self._left = self._left[os.write(self._stdin, self._left[:_CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:
            self._left = self._left[:0]  # the command reads no more: no error, as for subprocess
        if not self._left:
            self._forget(self._stdin)
            self._stdin = -1
            self._close_stdin()

    def take(self, fd: int) -> None:
        """Read what is there now, one piece."""
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        if chunk:
            self.outputs[fd].add(chunk)
        else:
            self._forget(fd)

    def finish(self) -> None:
        """Take what is left after the end: what a pipe holds, and no more.

        A child that somebody forked meanwhile, or a process that a session's command left behind,
        may keep a pipe open and write to it: end of file is not awaited.
        """
        for fd in tuple(self._open):
            end_bytes = self.outputs[fd].total_bytes + _PIPE_MAX_BYTES
            while fd in self._open:
                before = self.outputs[fd].total_bytes
                self.take(fd)
                if not before < self.outputs[fd].total_bytes < end_bytes:
                    break

    def _forget(self, fd: int) -> None:
        self._poller.unregister(fd)
        self._open.discard(fd)
