"""`sandbox.Sandbox`: a running sandbox, in the manner of subprocess.Popen."""

from __future__ import annotations

import os
import select
import time
from _thread import allocate_lock

from sandbox.errors import StateError, UsageError
from sandbox.run import api
from sandbox.run.exchange import Exchange, Pipes
from sandbox.run.job import outcome_of
from sandbox.run.keywords import ask
from sandbox.run.stdio import DEVNULL, PIPE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO, Self, Unpack

    from sandbox.launch.result import Result
    from sandbox.run.job import Job
    from sandbox.run.keywords import Options, Word
    from sandbox.run.stdio import Stream

_SIGTERM = 15


class Sandbox:
    """A command that runs in a sandbox of its own.

    Shape:  `stdin`, `stdout` and `stderr` are binary files where they are PIPE, else None; `pid` is
            the supervisor's, which stands for the sandbox: when it ends, everything inside does.
            As a context manager it ends what still runs, takes it away and closes the files.
            Its methods may be called from several threads.
    Errors: PolicyError, HostError, SetupError, ProgramError where the command cannot be started.
    """

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None

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
        asked = ask(argv, options)
        self.args = asked.argv
        self.stdin = self.stdout = self.stderr = None
        self._owner = os.getpid()
        self._waiting = allocate_lock()  # held by the one thread that reads the channel
        self._telling = allocate_lock()  # held while the channel is written or closed
        self._exchange: Exchange | None = None
        self._job: Job = api.begin(asked)
        stdio = api.open_streams(stdin, stdout, stderr)
        try:
            api.start(self._job, stdio, pass_fds)
            self._await_start()
        except BaseException:
            stdio.close()
            self._end()
            raise
        self.stdin = open_file(stdio.take(0), "wb")
        self.stdout = open_file(stdio.take(1), "rb")
        self.stderr = open_file(stdio.take(2), "rb")

    def _await_start(self) -> None:
        """Wait until the command is executed, as Popen does.

        Errors: what kept it from starting.
        """
        job = self._job
        while not job.has_started and not job.is_over:
            self._watch(None)
        if job.failure is not None:
            raise job.failure

    def _watch(self, timeout_ms: float | None) -> bool:
        """Take what the supervisor reports, waiting for it so long; say whether it is over."""
        supervisor = self._job.supervisor
        assert supervisor is not None  # noqa: S101  # it was started
        poller = select.poll()
        poller.register(supervisor.channel, select.POLLIN)
        poller.register(supervisor.pidfd, select.POLLIN)
        interval_ms = self._job.interval_ms
        if interval_ms is not None and (timeout_ms is None or interval_ms < timeout_ms):
            timeout_ms = interval_ms
        if poller.poll(timeout_ms):
            self._job.take()
        self._job.look()
        if self._job.is_over:
            self._end()
        return self._job.is_over

    def _end(self) -> None:
        with self._telling:
            self._job.release()

    def _check_owner(self) -> None:
        if os.getpid() != self._owner:
            raise StateError(
                f"this sandbox belongs to the process {self._owner}, of which this one is a fork",
                hint="wait for it and end it there, or start one here",
                code="state.forked",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        job = getattr(self, "_job", None)
        if job is not None and os.getpid() == self._owner:
            job.release()

    def __repr__(self) -> str:
        state = "running" if self.returncode is None else f"returncode {self.returncode}"
        return f"<Sandbox {os.fsdecode(self.args[0])!r}: {state}>"

    @property
    def pid(self) -> int:
        """The process that stands for the sandbox."""
        return self._job.supervisor.pid if self._job.supervisor is not None else -1

    @property
    def result(self) -> Result | None:
        """How it ended; None while it runs."""
        return self._job.result

    @property
    def returncode(self) -> int | None:
        """The exit code, or -N where signal N ended it; None while it runs.

        As Popen's it changes only when poll(), wait() or communicate() looks.
        """
        return None if self._job.result is None else self._job.result.returncode

    def poll(self) -> int | None:
        """Return the return code; None while it runs."""
        self._check_owner()
        if self._waiting.acquire(blocking=False):  # else another thread is waiting already
            try:
                if not self._job.is_over:
                    self._watch(0)
            finally:
                self._waiting.release()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until everything inside has ended; return the return code.

        A command that fills a pipe which nobody reads waits, and so does this: communicate().

        Errors: TimeoutError after `timeout` seconds; the sandbox goes on.
        """
        self._check_owner()
        deadline_s = None if timeout is None else time.monotonic() + timeout
        if not self._waiting.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            raise self._late(timeout)
        try:
            while not self._job.is_over:
                left_ms = _left_ms(deadline_s)
                if not self._watch(left_ms) and left_ms == 0:
                    raise self._late(timeout)
        finally:
            self._waiting.release()
        return outcome_of(self._job).returncode

    def _late(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(f"the sandbox still runs after {timeout} seconds")

    def communicate(
        self,
        input: str | bytes | None = None,  # noqa: A002  # the name that Popen gives it
        timeout: float | None = None,
    ) -> tuple[bytes, bytes]:
        """Give `input`, read everything that is written, wait for the end; return (stdout, stderr).

        Shape:  of each stream at most 64 MiB are kept; one that is no pipe brings b"". `result`
                has them too.
        Errors: TimeoutError after `timeout` seconds; the sandbox goes on, nothing is lost, and
                communicate() may be called again, without input.
        """
        self._check_owner()
        deadline_s = None if timeout is None else time.monotonic() + timeout
        with self._waiting:
            if self._exchange is None:
                self._exchange = self._open_exchange(input)
            elif input is not None:
                raise UsageError("input was given before", code="usage.stream")
            self._pass_on(self._exchange, deadline_s, timeout)
            return self._collected(self._exchange)

    def _open_exchange(self, data: str | bytes | None) -> Exchange:
        if data is not None and self.stdin is None:
            raise UsageError(
                "there is input, but stdin is no pipe", hint="stdin=PIPE", code="usage.stream"
            )
        if self.stdin is not None and not self.stdin.closed:
            try:
                self.stdin.flush()
            except BrokenPipeError:
                data = b""
        fds = [_descriptor(file) for file in (self.stdin, self.stdout, self.stderr)]
        text = data.encode() if isinstance(data, str) else data or b""
        exchange = Exchange(Pipes(*fds), text, self._close_stdin)
        supervisor = self._job.supervisor
        if supervisor is not None and not self._job.is_over:
            exchange.watch(supervisor.channel.fileno())
            exchange.watch(supervisor.pidfd)
        return exchange

    def _pass_on(self, exchange: Exchange, deadline_s: float | None, timeout: float | None) -> None:
        job = self._job
        while not job.is_over:
            left_ms = _left_ms(deadline_s)
            interval_ms = job.interval_ms
            is_long = left_ms is None or (interval_ms is not None and interval_ms < left_ms)
            exchange.turn(interval_ms if is_long else left_ms)
            job.look()
            if not job.take() and left_ms == 0:
                raise self._late(timeout)
        exchange.finish()
        self._end()

    def _collected(self, exchange: Exchange) -> tuple[bytes, bytes]:
        out, err = _descriptor(self.stdout), _descriptor(self.stderr)
        made = api.with_output(outcome_of(self._job), exchange.outputs, Pipes(-1, out, err))
        self._job.result = made
        return made.stdout, made.stderr

    def _close_stdin(self) -> None:
        if self.stdin is not None:
            _close(self.stdin)

    def send_signal(self, number: int) -> None:
        """Send a signal to the command; nothing happens when it has ended."""
        self._check_owner()
        with self._telling:
            self._job.signal(number)

    def terminate(self) -> None:
        """Ask the command to end (SIGTERM)."""
        self.send_signal(_SIGTERM)

    def kill(self) -> None:
        """End every process of the sandbox at once."""
        self._check_owner()
        with self._telling:
            self._job.kill()

    def close(self) -> None:
        """End what still runs, wait until it is gone, and close the files. May be called twice."""
        if os.getpid() != self._owner:
            return  # a fork holds copies of the descriptors, and nothing else
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                _close(file)
        self._close_job()

    def _close_job(self) -> None:
        if not self._job.is_over:
            self.kill()
            self.wait()
        self._end()


def _left_ms(deadline_s: float | None) -> float | None:
    return None if deadline_s is None else max(0.0, (deadline_s - time.monotonic()) * 1000)


def _descriptor(file: IO[bytes] | None) -> int:
    return -1 if file is None or file.closed else file.fileno()


def _close(file: IO[bytes]) -> None:
    try:
        file.close()
    except BrokenPipeError:
        return  # what was still to be written has no reader any more


def open_file(fd: int, mode: str) -> IO[bytes] | None:
    """Return the descriptor as a file; None where there is none."""
    return None if fd < 0 else open(fd, mode)  # the mode is binary
