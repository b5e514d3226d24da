"""One started job in an asyncio event loop: its supervisor watched, its pipes fed and read."""

from __future__ import annotations

import asyncio
import os

from sandbox.run.exchange import Collected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.run.job import Job
    from sandbox.run.stdio import Stdio

_CHUNK = 1 << 16


class Watch:
    """A started job in an event loop; `close()` gives everything back."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._gone = asyncio.Event()
        self._error: BaseException | None = None
        supervisor = job.supervisor
        assert supervisor is not None  # noqa: S101  # it was started
        self._fds = [supervisor.channel.fileno(), supervisor.pidfd]
        self._loop.add_reader(self._fds[0], self._take)
        self._loop.add_reader(self._fds[1], self._left)
        self._look()

    def _take(self) -> None:
        try:
            self.job.take()
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._news.set()
            if self.job.is_over or self._error is not None:
                self._forget(self._fds[0])

    def _look(self) -> None:
        self.job.look()
        if self.job.interval_ms is not None and self._fds:
            self._loop.call_later(self.job.interval_ms / 1000, self._look)

    def _left(self) -> None:
        """The supervisor is gone; what it still said is to be taken."""
        self._forget(self._fds[1])
        self._gone.set()
        if not self.job.is_over:
            self._take()

    def _forget(self, fd: int) -> None:
        if fd in self._fds and not self._loop.is_closed():
            self._loop.remove_reader(fd)

    async def started(self) -> None:
        """Wait until the command is executed, or will not be."""
        await self._until(lambda: self.job.has_started)

    async def over(self) -> None:
        """Wait for the end."""
        await self._until(lambda: False)

    async def _until(self, is_enough: Callable[[], bool]) -> None:
        while not (self.job.is_over or is_enough()):
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()

    async def end(self) -> None:
        """End what still runs, wait until it is gone, and give everything back."""
        try:
            if self._fds:
                if not self.job.is_over:
                    self.job.kill()
                    await self.over()
                self.job.leave()
                await self._gone.wait()
        finally:
            self.close()

    def close(self) -> None:
        """Give everything back now; what still runs is ended and waited for here."""
        for fd in self._fds:
            self._forget(fd)
        self._fds = []
        self.job.release()


class Pump:
    """Our ends of the pipes in the event loop: input goes in, output is collected."""

    def __init__(self, stdio: Stdio, data: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._stdio = stdio
        self._left = memoryview(data)
        self.outputs: dict[int, Collected] = {}
        pipes = stdio.pipes
        self._stdin = pipes.stdin
        self._open: set[int] = set()
        for fd in (pipes.stdout, pipes.stderr):
            if fd >= 0:
                os.set_blocking(fd, False)
                self.outputs[fd] = Collected()
                self._open.add(fd)
                self._loop.add_reader(fd, self._read, fd)
        if self._stdin >= 0:
            os.set_blocking(self._stdin, False)
            self._loop.add_writer(self._stdin, self._feed)

    def _feed(self) -> None:
        try:
            if self._left:
                self._left = self._left[os.write(self._stdin, self._left[:_CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:
            self._left = self._left[:0]  # the command reads no more: no error, as for subprocess
        if not self._left:
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            if not self._loop.is_closed():
                self._loop.remove_writer(self._stdin)
            self._stdin = -1
            self._stdio.close_ours(0)

    def _read(self, fd: int) -> bool:
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._forget(fd)
            return False
        self.outputs[fd].add(chunk)
        return True

    def _forget(self, fd: int) -> None:
        if fd in self._open and not self._loop.is_closed():
            self._loop.remove_reader(fd)
        self._open.discard(fd)

    def finish(self) -> None:
        """Take what is left after the end; end of file is not awaited (see exchange.finish)."""
        for fd in tuple(self._open):
            while self._read(fd):
                pass

    def close(self) -> None:
        """Leave the event loop."""
        self._close_stdin()
        for fd in tuple(self._open):
            self._forget(fd)
