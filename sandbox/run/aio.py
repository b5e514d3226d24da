"""The asyncio twin: `sandbox.run_async()` and `sandbox.AsyncSandbox`.

No helper thread and no child watcher: the event loop watches the supervisor's channel and its
pidfd. What is cancelled is ended, the whole tree, before the cancellation goes on.
"""

from __future__ import annotations

import asyncio
import os

from sandbox.errors import StateError, UsageError
from sandbox.record import replace
from sandbox.run import api
from sandbox.run.exchange import Collected
from sandbox.run.job import outcome_of
from sandbox.run.keywords import ask
from sandbox.run.loop import Pump, Watch
from sandbox.run.stdio import DEVNULL, PIPE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self, Unpack

    from sandbox.launch.result import Result
    from sandbox.run.job import Job
    from sandbox.run.keywords import Options, Word
    from sandbox.run.stdio import Stdio, Stream

_CHUNK = 1 << 16
_SIGTERM = 15
_LAST_S = 2.0  # what an ended sandbox has written is in the pipe already


async def run_async(
    argv: Sequence[Word],
    *,
    input: str | bytes | None = None,  # noqa: A002  # the name that subprocess.run gives it
    stdin: Stream = DEVNULL,
    stdout: Stream = PIPE,
    stderr: Stream = PIPE,
    pass_fds: Sequence[int] = (),
    check: bool = False,
    **options: Unpack[Options],
) -> Result:
    """Run `argv` in a sandbox of its own and return the Result: `sandbox.run` for asyncio.

    Cancelling it ends the whole tree first; asyncio.timeout() does that too, while `timeout` is the
    sandbox's own and ends in a Result.
    """
    asked = ask(argv, options)
    data = api.input_bytes(input, stdin)
    job = api.begin(asked)
    stdio = api.open_streams(PIPE if input is not None else stdin, stdout, stderr)
    watch: Watch | None = None
    pump: Pump | None = None
    try:
        api.start(job, stdio, pass_fds)
        watch = Watch(job)
        pump = Pump(stdio, data)
        await watch.over()
        pump.finish()
        result = api.with_output(outcome_of(job), pump.outputs, stdio.pipes)
    finally:
        if pump is not None:
            pump.close()
        stdio.close()
        if watch is not None:
            await watch.end()
        job.release()
    if check:
        api.check_result(result)
    return result


class AsyncSandbox:
    """A command that runs in a sandbox of its own: `sandbox.Sandbox` for asyncio.

    Shape:  `async with` starts it and ends it; without, `await start()` and `await close()`.
            `stdin` is an asyncio.StreamWriter, `stdout` and `stderr` are asyncio.StreamReaders
            where they are PIPE, else None. For one event loop, as everything of asyncio's.
    Errors: those of Sandbox, when it starts.
    """

    stdin: asyncio.StreamWriter | None
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None

    def __init__(
        self,
        argv: Sequence[Word],
        *,
        stdin: Stream = DEVNULL,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        pass_fds: Sequence[int] = (),
        **options: Unpack[Options],
    ) -> None:
        self._asked = ask(argv, options)
        self.args = self._asked.argv
        self._streams = (stdin, stdout, stderr)
        self._pass_fds = tuple(pass_fds)
        self._watch: Watch | None = None
        self._owner = os.getpid()
        self._transports: list[asyncio.BaseTransport] = []
        self.stdin = self.stdout = self.stderr = None

    async def start(self) -> Self:
        """Start the command; return once it is executed."""
        if self._watch is not None:
            raise StateError("this sandbox was started before", hint="make another one")
        job = api.begin(self._asked)
        stdio = api.open_streams(*self._streams)
        try:
            api.start(job, stdio, self._pass_fds)
            self._watch = Watch(job)
            await self._connect(stdio)
            await self._watch.started()
            if job.failure is not None:
                raise job.failure
        except BaseException:
            stdio.close()
            job.release()
            await self.close()
            raise
        return self

    async def _connect(self, stdio: Stdio) -> None:
        loop = asyncio.get_running_loop()
        pipes = stdio.pipes
        if pipes.stdin >= 0:
            # its protocol knows how to wait until everything is written
            protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), loop=loop)
            file = open(stdio.take(0), "wb", buffering=0)  # noqa: SIM115, ASYNC230  # a descriptor
            transport, _ = await loop.connect_write_pipe(lambda: protocol, file)
            self._transports.append(transport)
            self.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
        if pipes.stdout >= 0:
            self.stdout = await self._reader(stdio.take(1))
        if pipes.stderr >= 0:
            self.stderr = await self._reader(stdio.take(2))

    async def _reader(self, fd: int) -> asyncio.StreamReader:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        file = open(fd, "rb", buffering=0)  # noqa: SIM115, ASYNC230  # a descriptor
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_read_pipe(lambda: protocol, file)
        self._transports.append(transport)
        return reader

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def __del__(self) -> None:
        watch = getattr(self, "_watch", None)
        if watch is not None and os.getpid() == self._owner:
            watch.close()

    @property
    def _job(self) -> Job:
        if self._watch is None:
            raise StateError(
                "this sandbox was not started", hint="async with AsyncSandbox(…) as box:"
            )
        return self._watch.job

    @property
    def pid(self) -> int:
        """The process that stands for the sandbox."""
        supervisor = self._job.supervisor
        return -1 if supervisor is None else supervisor.pid

    @property
    def result(self) -> Result | None:
        """How it ended; None while it runs."""
        return self._job.result

    @property
    def returncode(self) -> int | None:
        """The exit code, or -N where signal N ended it; None while it runs."""
        result = self._job.result
        return None if result is None else result.returncode

    async def wait(self) -> int:
        """Wait until everything inside has ended; return the return code.

        A command that fills a pipe which nobody reads waits, and so does this: communicate().
        """
        job = self._job
        assert self._watch is not None  # noqa: S101  # _job says so
        await self._watch.over()
        return outcome_of(job).returncode

    async def communicate(self, input: str | bytes | None = None) -> tuple[bytes, bytes]:  # noqa: A002  # Popen's name
        """Give `input`, read everything that is written, wait for the end.

        Shape: (stdout, stderr); one that is no pipe brings b"". `result` has them too.
        """
        if input is not None and self.stdin is None:
            raise UsageError(
                "there is input, but stdin is no pipe", hint="stdin=PIPE", code="usage.stream"
            )
        data = input.encode() if isinstance(input, str) else input or b""
        readers = asyncio.gather(_read_all(self.stdout), _read_all(self.stderr))
        try:
            await asyncio.gather(_write_all(self.stdin, data), self.wait())
            await asyncio.wait((readers,), timeout=_LAST_S)
            for reader in (self.stdout, self.stderr):
                if reader is not None and not reader.at_eof():
                    reader.feed_eof()  # a child that somebody forked meanwhile holds the pipe
        except BaseException:
            readers.cancel()
            raise
        out, err = await readers
        made: dict[str, Any] = {"stdout": out.data(), "stderr": err.data()}
        result = outcome_of(self._job)
        usage = result.usage
        if out.is_truncated or err.is_truncated:
            usage = replace(usage, output_truncated=True)
        self._job.result = replace(result, usage=usage, **made)
        return made["stdout"], made["stderr"]

    def send_signal(self, number: int) -> None:
        """Send a signal to the command; nothing happens when it has ended."""
        self._job.signal(number)

    def terminate(self) -> None:
        """Ask the command to end (SIGTERM)."""
        self.send_signal(_SIGTERM)

    def kill(self) -> None:
        """End every process of the sandbox at once."""
        self._job.kill()

    async def close(self) -> None:
        """End what still runs, wait until it is gone, close the streams. May be called twice."""
        transports, self._transports = self._transports, []
        for transport in transports:
            if transport.is_closing():
                continue
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()  # what is still to be written has no reader any more
            else:
                transport.close()
        if self._watch is not None:
            await self._watch.end()


async def _read_all(reader: asyncio.StreamReader | None) -> Collected:
    collected = Collected()
    while reader is not None and (chunk := await reader.read(_CHUNK)):
        collected.add(chunk)
    return collected


async def _write_all(writer: asyncio.StreamWriter | None, data: bytes) -> None:
    if writer is None:
        return
    try:
        writer.write(data)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    except ConnectionError:
        return  # the command reads no more: no error, as for subprocess
