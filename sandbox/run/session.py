"""`sandbox.Session`: one sandbox, many commands, which share what is in it.

Files below private directories, processes that a command leaves running, IPC objects: what one
command makes, the next ones see. That is what a session is for; commands that must not see each
other belong into a Pool. Each command has its own streams, environment, directory and time limit,
and passes every wall by itself.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from _thread import allocate_lock

from sandbox.launch.result import new_run_id, utc_text
from sandbox.launch.spawn import Status
from sandbox.run import api
from sandbox.run.keywords import ask
from sandbox.run.outcome import completed, ended, plain
from sandbox.run.served import ServedSandbox, Streams, ask_command, finish
from sandbox.run.serving import Request, ServingJob, ServingReady, shut
from sandbox.run.serving_errors import check_usable, gone
from sandbox.run.stdio import DEVNULL, PIPE
from sandbox.run.supervise import Ending
from sandbox.run.supervisor_client import receive_one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Self, Unpack

    from sandbox.errors import SandboxError
    from sandbox.launch.result import Result
    from sandbox.run.keywords import Asked, Options, Walls, Word
    from sandbox.run.outcome import Counted
    from sandbox.run.served import CommandOptions
    from sandbox.run.stdio import Stream

_STATUS = struct.Struct("=iiQQQQII")
_ORDER = struct.Struct("=i")
_CAUSES = ("", "timeout")
_SIGKILL = 9
_REPORT_MS = 1000
_COMMAND = ("-",)


class _Line:
    """Where a command is heard from, in the place of a supervisor of its own."""

    def __init__(self, channel: socket.socket, pidfd: int, pid: int) -> None:
        self.channel = channel
        self.pidfd = pidfd
        self.pid = pid


class Command:
    """One command of a session, from its request to its Result (see served.Served)."""

    def __init__(self, job: ServingJob, asked: Asked, channel: socket.socket) -> None:
        assert job.supervisor is not None  # noqa: S101  # the session was started
        self._job = job
        self._asked = asked
        self._started_s = time.time()
        self._started_at_s = time.monotonic()
        self._cause = ""
        self._was_user = False
        self.args = asked.argv
        self.supervisor = _Line(channel, job.supervisor.pidfd, job.supervisor.pid)
        self.has_started = False
        self.is_over = False
        self.failure: SandboxError | None = None
        self.result: Result | None = None
        self.count: Callable[[], Counted] | None = None
        self._expected: Result | None = None

    @property
    def interval_ms(self) -> int | None:
        """How often `look()` is due, as of Job."""
        return None if self.is_over else self._job.interval_ms

    def look(self) -> None:
        """End the session where its control group has used up its processor time."""
        self._job.look()

    def take(self) -> bool:
        """Take the report of the command's end, if it is there; say whether it is over."""
        if self.is_over:
            return True
        try:
            message = receive_one(self.supervisor.channel, 256)
        except BlockingIOError:
            return False
        except ConnectionError:
            message = b""
        if len(message) == _STATUS.size:
            self._end(message)
        else:
            self._job.is_gone = True
            self.failure = gone("session")
        self.is_over = True
        return True

    def _end(self, message: bytes) -> None:
        wait_status, _pid, user, system, rss, switches, degraded, cause = _STATUS.unpack(message)
        status = Status(wait_status, user, system, rss, switches, degraded)
        wall_ms = int((time.monotonic() - self._started_at_s) * 1000)
        ready = self._job.ready
        ending = Ending(status, self._cause or _CAUSES[cause], wall_ms, None)
        counted = None if self.count is None else self.count()
        if self._expected is not None and not self._was_user:
            self.result = completed(self._expected, ending, counted)
        if self.result is None:
            self.result = ended(
                ready.prepared,
                ending,
                counted,
                self._known(),
                was_user=self._was_user,
                facts=_unrecorded(ready.facts(self._asked.timeout_ms)),
            )

    def _known(self) -> dict[str, Any]:
        return {
            "run_id": new_run_id(),
            "started": utc_text(self._started_s),
            "plan_digest": self._job.ready.digest(self._asked.timeout_ms),
            "args": self._asked.argv,
        }

    def expect(self, *, is_counted: bool) -> None:
        """As of Job: meanwhile the command runs."""
        ready = self._job.ready
        facts = _unrecorded(ready.facts(self._asked.timeout_ms))
        self._expected = plain(ready.prepared, self._known(), facts, is_counted=is_counted)

    def signal(self, number: int) -> None:
        """Send a signal to the command's process group; nothing happens when it has ended."""
        if self.is_over:
            return
        try:
            self.supervisor.channel.send(_ORDER.pack(number), socket.MSG_NOSIGNAL)
        except (ConnectionError, BlockingIOError, OSError):
            return  # it ended meanwhile

    def kill(self) -> None:
        """Kill the command's process group."""
        self._was_user = True
        self.signal(_SIGKILL)

    def end_for_output(self) -> None:
        """End the command because it wrote more than it may."""
        self._cause = self._cause or "output"
        self.signal(_SIGKILL)

    def release(self) -> None:
        """End what still runs and close the channel. May be called twice."""
        if self.supervisor.channel.fileno() >= 0:
            shut(self.supervisor.channel)


def _unrecorded(facts: dict[str, Any]) -> dict[str, Any]:
    """Say that refused calls are answered without a record, where the policy prefers one."""
    effective = facts.get("effective") or {}
    entry = effective.get("audit.denials")
    if entry and entry.get("got") == "on":
        note = "commands that share a sandbox have no listener"
        entry = {**entry, "got": "off", "by": "", "note": note}
        facts = {**facts, "effective": {**effective, "audit.denials": entry}}
    return facts


class Session:
    """One sandbox that runs many commands, also at the same time, in a state that they share.

    Shape:  `options` are those of sandbox.run(). A command's `timeout` replaces the session's, and
            its limit on output is its own, as are those that the kernel keeps for each process;
            memory and processes are counted for the session, and reaching one ends it. A command
            is over when its first process is; what it leaves running stays until the session ends.
            For any number of threads; as a context manager it closes. The policy is read when the
            session is made. `result` is how its sandbox ended; None before.
    Errors: those of sandbox.run(); HostError(host.serve) for a policy without namespaces.
    """

    def __init__(self, policy: Word | Sequence[Word] = "default", **options: Unpack[Walls]) -> None:
        self._owner = os.getpid()
        self._is_closed = False
        self._lock = allocate_lock()
        given: Options = {**options, "policy": policy}
        self._ready = ServingReady(ask(_COMMAND, given), is_once=False)
        self._job = ServingJob(self._ready)
        self._job.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_owner", None) == os.getpid() and hasattr(self, "_job"):
            self._job.release()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<Session {self._ready.prepared.policy.name!r}: {state}>"

    @property
    def pid(self) -> int:
        """The process that stands for the sandbox."""
        return self._job.supervisor.pid if self._job.supervisor is not None else -1

    @property
    def result(self) -> Result | None:
        """How the sandbox of the session ended; None while it is there."""
        if not self._is_closed and os.getpid() == self._owner:
            with self._lock:
                # pid 1 is gone before its supervisor can say so
                self._job.wait(_REPORT_MS if self._job.is_gone else 0)
        return self._job.result

    def run(
        self,
        argv: Sequence[Word],
        *,
        input: str | bytes | None = None,  # noqa: A002  # the name that subprocess.run gives it
        stdin: Stream = DEVNULL,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        pass_fds: Sequence[int] = (),
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> Result:
        """Run `argv` in the session's sandbox, wait for its end, and return the Result.

        Shape:  as sandbox.run(); `options` are timeout, env and chdir (a directory inside).
        Errors: those of sandbox.run(); SetupError(setup.gone) where the sandbox has ended;
                StateError after close(), and in a forked child.
        """
        self._check()
        streams = Streams(input, (stdin, stdout, stderr), pass_fds)
        command: Command | None = None
        request: Request | None = None
        try:
            command, request = self._send(argv, streams, options)
            try:
                result = finish(command, streams, self._ready)
            finally:
                command.failure = command.failure or request.failure()
            if command.failure is not None:
                raise command.failure
        finally:
            streams.stdio.close()
            if request is not None:
                request.close()
            if command is not None:
                command.release()
        if check:
            api.check_result(result)
        return result

    def start(
        self,
        argv: Sequence[Word],
        *,
        stdin: Stream = DEVNULL,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        pass_fds: Sequence[int] = (),
        **options: Unpack[CommandOptions],
    ) -> ServedSandbox:
        """Start `argv` in the session's sandbox; return it running.

        Shape:  what is returned is used as sandbox.Sandbox, and is the command, not the session:
                kill() and close() end its process group.
        Errors: those of run().
        """
        self._check()
        streams = Streams(None, (stdin, stdout, stderr), pass_fds)
        command: Command | None = None
        try:
            command, request = self._send(argv, streams, options)
            failure = request.failure()
            if failure is not None:
                raise failure
            command.has_started = True
            return ServedSandbox(command, streams, command.args)
        except BaseException:
            streams.stdio.close()
            if command is not None:
                command.release()
            raise

    def close(self) -> None:
        """End every process of the session. May be called twice."""
        if os.getpid() != self._owner:
            return  # a fork holds copies of the descriptors, and nothing else
        self._is_closed = True
        with self._lock:
            self._job.finish()

    def _check(self) -> None:
        check_usable("session", self._owner, is_closed=self._is_closed)

    def _send(
        self, argv: Sequence[Word], streams: Streams, options: CommandOptions
    ) -> tuple[Command, Request]:
        asked, chdir = ask_command(self._ready, argv, options)
        request = Request(self._ready, asked, chdir, streams.fds)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            ours.setblocking(False)
            command = Command(self._job, asked, ours)
            limit_ms = asked.timeout_ms or self._ready.wall_ms
            if not request.send(self._job, theirs, limit_ms):
                self._job.is_gone = True
                raise gone("session")
        except BaseException:
            request.close()
            ours.close()
            raise
        finally:
            theirs.close()
        streams.stdio.close_theirs()
        return command, request
