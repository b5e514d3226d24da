"""One command in a sandbox that serves: what a Pool and a Session have in common.

A `Served` is what Job is for a sandbox of its own: it never waits, `take()` is called when its
channel is readable, and `release()` gives everything back.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from sandbox.errors import UsageError
from sandbox.record import replace
from sandbox.run import api
from sandbox.run.exchange import Exchange
from sandbox.run.job import outcome_of
from sandbox.run.keywords import Asked, timeout_ms, variables, words
from sandbox.run.outcome import Counted
from sandbox.run.process import Sandbox, open_file
from sandbox.run.stdio import DEVNULL, PIPE, Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Protocol, TypedDict

    from sandbox.errors import SandboxError
    from sandbox.launch.result import Result
    from sandbox.run.keywords import Word
    from sandbox.run.serving import ServingReady
    from sandbox.run.stdio import Stream

    class CommandOptions(TypedDict, total=False):
        """What may be said about one command; the rest belongs to the pool or the session."""

        timeout: float | None
        env: Mapping[str, str | bytes | None]
        chdir: Word | None

    class Served(Protocol):
        """A command that was sent to its sandbox."""

        supervisor: Any
        has_started: bool
        is_over: bool
        failure: SandboxError | None
        result: Result | None
        count: Callable[[], Counted] | None

        @property
        def interval_ms(self) -> int | None:
            """How often `look()` is due."""

        def look(self) -> None:
            """Look at what a limit is about."""

        def take(self) -> bool:
            """Take every message that is there; say whether it is over."""

        def expect(self, *, is_counted: bool) -> None:
            """Work out ahead what the Result says if the command simply exits."""

        def end_for_output(self) -> None:
            """End the command because it wrote more than it may."""

        def release(self) -> None:
            """End what still runs, and give everything back."""


_NAMES = frozenset({"timeout", "env", "chdir"})


def ask_command(
    ready: ServingReady, argv: Sequence[Word], options: CommandOptions
) -> tuple[Asked, bytes]:
    """Return what one call asks for, and its working directory inside (b"": the sandbox's).

    Errors: TypeError for an unknown keyword; UsageError for a value that cannot be meant.
    """
    for name in options:
        if name not in _NAMES:
            raise TypeError(
                f"unknown keyword {name!r}: a command has timeout, env and chdir; everything else"
                " is said when the sandbox is made"
            )
    limit_ms = timeout_ms(options.get("timeout"))
    env: tuple[tuple[bytes, bytes], ...] = ()
    given = options.get("env")
    if given:
        env = variables({name: _passed(name, value) for name, value in given.items()})
    chdir = options.get("chdir")
    path = b"" if chdir is None else os.fsencode(chdir)
    if path and not path.startswith(b"/"):
        path = os.path.join(ready.prepared.invocation.cwd, path)
    asked = Asked(ready.asked.request, words(argv), env, limit_ms or ready.asked.timeout_ms)
    return asked, os.path.normpath(path) if path else b""


def _passed(name: str, value: str | bytes | None) -> str | bytes | None:
    """None is the caller's own value, as for sandbox.run()."""
    return os.environb.get(os.fsencode(name)) if value is None else value


class Streams:
    """The command's streams and what else it is passed; closed on the way out."""

    def __init__(
        self,
        data: str | bytes | None,
        streams: tuple[Stream, Stream, Stream],
        pass_fds: Sequence[int],
    ) -> None:
        self.data = api.input_bytes(data, streams[0])
        for fd in pass_fds:
            if fd < 3:
                raise UsageError(
                    f"pass_fds: {fd} is a standard stream, or none", code="usage.stream"
                )
        self.stdio = Stdio(PIPE if data is not None else streams[0], *streams[1:])
        self.fds = {**self.stdio.fds, **{fd: fd for fd in pass_fds}}


def finish(job: Served, streams: Streams, ready: ServingReady) -> Result:
    """Pass input and output on until the command has ended; return its Result.

    Errors: what kept the command from running.
    """
    stdio = streams.stdio
    pipes = stdio.pipes
    exchange = Exchange(pipes, streams.data, lambda: stdio.close_ours(0))
    exchange.watch(job.supervisor.channel.fileno())
    exchange.watch(job.supervisor.pidfd)
    outputs = exchange.outputs
    limit_bytes = ready.output_bytes
    is_full = False
    if limit_bytes is not None and outputs:
        job.count = lambda: Counted(sum(one.total_bytes for one in outputs.values()), is_full)
    job.expect(is_counted=job.count is not None)
    while not job.is_over:
        exchange.turn(job.interval_ms)
        if job.count is not None and not is_full and job.count().total_bytes > (limit_bytes or 0):
            is_full = True
            job.end_for_output()
        job.take()
        job.look()
    exchange.finish()
    result = outcome_of(job)
    if job.count is not None:
        counted = job.count()
        result = replace(result, usage=replace(result.usage, output_bytes=counted.total_bytes))
    return api.with_output(result, outputs, pipes)


class ServedSandbox(Sandbox):
    """A command that was started in a pool's or a session's sandbox: used as sandbox.Sandbox."""

    def __init__(self, job: Any, streams: Streams, args: tuple[bytes, ...]) -> None:
        # not the parent's: what it starts runs already
        self.args = args
        self._owner = os.getpid()
        self._waiting = allocate_lock()
        self._telling = allocate_lock()
        self._exchange = None
        self._job = job
        self.stdin = open_file(streams.stdio.take(0), "wb")
        self.stdout = open_file(streams.stdio.take(1), "rb")
        self.stderr = open_file(streams.stdio.take(2), "rb")


__all__ = ["DEVNULL", "PIPE", "ServedSandbox", "Streams", "ask_command", "finish"]
