"""`sandbox.run()`: one command in a sandbox of its own, to its end."""

from __future__ import annotations

import sys

from sandbox.errors import CommandFailed, StateError, UsageError
from sandbox.record import replace
from sandbox.run.exchange import Exchange
from sandbox.run.job import Job, outcome_of
from sandbox.run.keywords import ask
from sandbox.run.stdio import DEVNULL, PIPE, Stdio, is_open
from sandbox.run.supervisor_client import refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Unpack

    from sandbox.launch.result import Result
    from sandbox.run.exchange import Collected, Pipes
    from sandbox.run.keywords import Asked, Options, Word
    from sandbox.run.stdio import Stream


def run(
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
    """Run `argv` in a sandbox of its own, wait for its end, and return the Result.

    Shape:  `input` is given to the command (text as UTF-8); its output is captured, unless
            `stdout` or `stderr` says otherwise; `options` are the keywords of Options: policy,
            tighten, timeout, limits, mounts, env, cwd, network, hostname, chdir, rootfs,
            allow_syscalls, deny_syscalls.
    Units:  `timeout` is in seconds and replaces the policy's; the result says so, no exception.
    Errors: PolicyError, HostError, SetupError, ProgramError where the command was not started;
            CommandFailed under `check` where it did not exit with 0.
    """
    asked = ask(argv, options)
    data = input_bytes(input, stdin)
    job = begin(asked)
    with_input = PIPE if input is not None else stdin
    stdio = open_streams(with_input, stdout, stderr)
    try:
        start(job, stdio, pass_fds)
        result = _finish(job, stdio, data)
    finally:
        stdio.close()
        job.release()
    if check:
        check_result(result)
    return result


def begin(asked: Asked) -> Job:
    """Return the job that was asked for.

    Errors: StateError while the interpreter shuts down: modules are gone that a run needs.
    """
    if sys.is_finalizing():
        raise StateError(
            "a sandbox cannot be started while the interpreter shuts down",
            hint="start it earlier, for example from a function that atexit calls",
            code="state.shutdown",
        )
    return Job(asked)


def input_bytes(data: str | bytes | None, stdin: Stream) -> bytes:
    """Return the input as bytes.

    Errors: UsageError where there are two inputs.
    """
    if data is None:
        return b""
    if stdin not in (DEVNULL, PIPE):
        raise UsageError("input and stdin exclude each other", code="usage.stream")
    return data.encode() if isinstance(data, str) else bytes(data)


def open_streams(stdin: Stream, stdout: Stream, stderr: Stream) -> Stdio:
    """Return the opened streams.

    Errors: UsageError for what is no stream; HostError where the host has no more descriptors.
    """
    try:
        return Stdio(stdin, stdout, stderr)
    except OSError as error:
        raise refused(error) from error


def start(job: Job, stdio: Stdio, pass_fds: Sequence[int] = ()) -> None:
    """Start the job with these streams; the command's ends are closed here then."""
    fds = dict(stdio.fds)
    for fd in pass_fds:
        if fd < 3 or not is_open(fd):
            raise UsageError(
                f"pass_fds: {fd} is not open, or a standard stream",
                hint="name open descriptors from 3 on; they keep their numbers",
                code="usage.stream",
            )
        fds[fd] = fd
    job.start(fds)
    stdio.close_theirs()


def _finish(job: Job, stdio: Stdio, data: bytes) -> Result:
    supervisor = job.supervisor
    assert supervisor is not None  # noqa: S101  # it was started
    pipes = stdio.pipes
    exchange = Exchange(pipes, data, lambda: stdio.close_ours(0))
    exchange.watch(supervisor.channel.fileno())
    exchange.watch(supervisor.pidfd)
    job.expect(is_counted=job.is_counted)
    while not job.is_over:
        exchange.turn(job.interval_ms)
        job.take()
        job.look()
    exchange.finish()
    return with_output(outcome_of(job), exchange.outputs, pipes)


def with_output(result: Result, outputs: Mapping[int, Collected], pipes: Pipes) -> Result:
    """Return `result` with what was captured; `outputs` is by descriptor."""
    if not outputs:
        return result
    made: dict[str, Any] = {}
    if pipes.stdout in outputs:
        made["stdout"] = outputs[pipes.stdout].data()
    if pipes.stderr in outputs:
        made["stderr"] = outputs[pipes.stderr].data()
    usage = result.usage
    if usage.output_bytes is None:
        total = sum(one.total_bytes for one in outputs.values())
        usage = replace(usage, output_bytes=total)
    if any(one.is_truncated for one in outputs.values()):
        usage = replace(usage, output_truncated=True)
    return replace(result, usage=usage, **made)


def check_result(result: Result) -> None:
    """Raise CommandFailed unless the command exited with 0."""
    if result.returncode != 0:
        raise CommandFailed(result)
