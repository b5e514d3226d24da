"""A sandbox that is made before its commands are known, and the requests that it is sent.

Pool and Session stand on this. The supervisor is the same as of every run (job.py); its invocation
says that commands come as requests, on a socket whose other end is here. No process is forked.
"""

from __future__ import annotations

import array
import os
import select
import socket
import struct
import time
from contextlib import suppress

from sandbox.errors import HostError, UsageError
from sandbox.host.observe import recording
from sandbox.launch.result import utc_text
from sandbox.plan.encode import encode_plan
from sandbox.plan.entry import encode_facts, first_broken
from sandbox.plan.model import FdMap, Supervise
from sandbox.record import replace
from sandbox.run import job_format
from sandbox.run import request_format as form
from sandbox.run.environment import DEFAULT_PATH, make_environment, program_paths
from sandbox.run.execute import prepare
from sandbox.run.job import GONE_MS, Job
from sandbox.run.keep import SETTLED_NS, is_settled
from sandbox.run.ready import Ready
from sandbox.run.reuse import changing
from sandbox.run.serving_plan import allows_requests, without_listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from sandbox.errors import SandboxError
    from sandbox.plan.model import Invocation, Plan
    from sandbox.run.keywords import Asked
    from sandbox.run.outcome import Counted
    from sandbox.run.request import Prepared

_REQUESTS_FD = 3  # as the job's descriptor; the supervisor finds it two above
_NULL_FDS = (0, 1, 2)
_MESSAGE = struct.Struct("=Ii")
_ERROR = struct.Struct("=iiii")
_LIMIT = 19  # SBX_MESSAGE_LIMIT
_CAUSE_OUTPUT = 4  # SBX_CAUSE_OUTPUT
_INT_MAX = 2**31 - 1
# What the caller or pid 1 keeps for each command, not the supervisor for the sandbox.
_OF_A_COMMAND = frozenset({Supervise.WALL_MS, Supervise.OUTPUT_BYTES})


class ServingReady:
    """A prepared request for sandboxes that serve; what it depends on is watched.

    Errors: those of prepare(); HostError(host.serve) for a policy without namespaces.
    """

    def __init__(self, asked: Asked, *, is_once: bool) -> None:
        if not asked.request.cwd:
            # the caller may go elsewhere; what is made here stays
            asked = replace(asked, request=replace(asked.request, cwd=_working_directory()))
        self.asked = asked
        self.plain = Ready(self._look())
        prepared = self.plain.prepared
        if not prepared.plan.namespaces:
            raise HostError(
                f"the policy {prepared.policy.name} has no namespaces: a sandbox cannot wait for"
                " its command",
                hint="sandbox.run() starts one for each command; or use a policy with isolation",
                code="host.serve",
            )
        limits = dict(prepared.plan.supervise)
        self.wall_ms = asked.timeout_ms or limits.get(Supervise.WALL_MS)
        self.grace_ms = limits.get(Supervise.TERM_GRACE_MS, 2000)
        self.output_bytes = limits.get(Supervise.OUTPUT_BYTES)
        kept = tuple(item for item in prepared.plan.supervise if item[0] not in _OF_A_COMMAND)
        self._once = is_once
        self._is_filter_first = allows_requests(prepared.plan)
        plan = replace(prepared.plan, supervise=kept)
        if not (is_once and self._is_filter_first):
            plan = without_listener(plan)
        self._blob = encode_plan(plan)
        self.placeholders = self.plain.placeholders
        # as of now: what a variable is for one command, `env` says
        slots = prepared.invocation.slots
        self._variables = make_environment(prepared.plan.env, os.environb, slots)
        self._variables.update(asked.env)
        env = [name + b"=" + value for name, value in self._variables.items()]
        self._shared = form.Shared(prepared.invocation.cwd, env)

    @property
    def prepared(self) -> Prepared:
        """The prepared request, as of Ready."""
        return self.plain.prepared

    @property
    def plan(self) -> Plan:
        """Its plan."""
        return self.plain.plan

    def _look(self) -> Prepared:
        """Prepare, and note what that rests on."""
        with recording() as facts:
            prepared = prepare(self.asked.request)
        self._facts = encode_facts(changing(facts.listed()))
        # a file that was just written may be written again without looking different
        self._settles_ns = 0 if is_settled(facts) else facts.newest_ns + SETTLED_NS
        return prepared

    def holds(self) -> bool:
        """Whether everything that the plan depends on is as it was.

        Errors: those of prepare(), where a policy that has changed has none to give.
        """
        facts, start, count = self._facts
        if first_broken(facts, start, count) == count and (
            not self._settles_ns or time.time_ns() < self._settles_ns
        ):
            return True
        now, was = self._look(), self.prepared
        return now.plan == was.plan and now.invocation == was.invocation

    def plan_bytes(self, _timeout_ms: int | None) -> bytes:
        """The plan for the supervisor, without the limits that belong to a command."""
        return self._blob

    def digest(self, timeout_ms: int | None) -> str:
        """As Ready.digest()."""
        return self.plain.digest(timeout_ms)

    def facts(self, timeout_ms: int | None) -> dict[str, Any]:
        """As Ready.facts()."""
        return self.plain.facts(timeout_ms)

    def invocation(self, _asked: Asked) -> Invocation:
        """The invocation of the sandbox: no command, but the socket that brings one."""
        return replace(
            self.prepared.invocation,
            argv=(b"-",),
            env=(),
            programs=(b"-",),
            requests=_REQUESTS_FD + 2,
            is_once=self._once,
            is_filter_first=self._is_filter_first,
        )

    def encoded(self, _asked: Asked, _fds: Sequence[tuple[int, int]], *, is_held: bool) -> None:  # noqa: ARG002
        """As Ready.encoded(); what is made ahead may be made the long way."""
        return

    def programs(self, asked: Asked) -> tuple[bytes, ...]:
        """Where the command's program is looked for."""
        path = dict(asked.env).get(b"PATH", self._variables.get(b"PATH", DEFAULT_PATH))
        return program_paths(asked.argv[0], path)

    def command(self, asked: Asked, chdir: bytes, targets: Sequence[int]) -> bytes:
        """Return the invocation of one command."""
        shared = self._shared
        if asked.env or chdir:
            variables = {**self._variables, **dict(asked.env)}
            env = [name + b"=" + value for name, value in variables.items()]
            shared = form.Shared(chdir or self.prepared.invocation.cwd, env)
        fds = tuple(enumerate(targets))
        return form.encode_shared(shared, asked.argv, self.programs(asked), fds)


def _working_directory() -> bytes:
    try:
        return os.getcwdb()
    except FileNotFoundError:
        return b""  # prepare() has the words for it


class ServingJob(Job):
    """The run of one sandbox that serves; `requests` is our end of its socket."""

    def __init__(self, ready: ServingReady) -> None:
        super().__init__(ready.asked, ready)
        self._assigned_s = 0.0
        self.args: tuple[bytes, ...] = ()
        self.count: Callable[[], Counted] | None = None
        self.requests: socket.socket | None = None
        self.ready = ready
        self.is_gone = False

    def open(self) -> None:
        """Start the sandbox and wait until it is ready.

        Errors: what kept it from being set up; nothing is left over then.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.start({**dict.fromkeys(_NULL_FDS, null), _REQUESTS_FD: theirs.fileno()})
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(null)
        self.requests = ours
        try:
            while not self.has_started and not self.is_over:
                self.wait(None)
        except BaseException:
            self.release()
            raise
        if self.failure is not None:
            self.release()
            raise self.failure

    def wait(self, timeout_ms: float | None) -> bool:
        """Take what the supervisor reports, waiting for it so long; say whether it is over."""
        assert self.supervisor is not None  # noqa: S101  # it was started
        if self.is_over:
            return True
        poller = select.poll()
        poller.register(self.supervisor.channel, select.POLLIN)
        poller.register(self.supervisor.pidfd, select.POLLIN)
        if poller.poll(timeout_ms):
            self.take()
        return self.is_over

    def finish(self) -> None:
        """End the sandbox, learn how it ended, and give everything back. May be called twice."""
        if self.supervisor is not None and self.supervisor.pidfd >= 0:
            if not self.take():
                self.kill()
            deadline_s = time.monotonic() + GONE_MS / 1000
            while not self.is_over and time.monotonic() < deadline_s:
                self.wait(GONE_MS)
        self.release()

    def assign(self, asked: Asked) -> None:
        """Say what the result is about, and that its time starts now."""
        self._asked = asked
        self.args = asked.argv
        self._expected = {}
        self._started = utc_text(time.time())
        self._assigned_s = time.monotonic()

    def limit_time(self, timeout_ms: int) -> None:
        """Have the supervisor end the command so long from now."""
        self._tell(_MESSAGE.pack(_LIMIT, min(timeout_ms, _INT_MAX)))

    def end_for_output(self) -> None:
        """End the command because it wrote more than it may."""
        self._tell(_MESSAGE.pack(job_format.KILL, _CAUSE_OUTPUT))

    def _end(self, last: job_format.Ended) -> None:
        if self._assigned_s:
            wall_ms = int((time.monotonic() - self._assigned_s) * 1000)
            counted = last.counted if self.count is None else self.count()
            ending = replace(last.ending, wall_ms=wall_ms)
            last = replace(last, ending=ending, counted=counted)
        super()._end(last)

    def send(self, head: bytes, command: bytes, fds: list[int]) -> bool:
        """Send one request; False where the sandbox is gone."""
        requests = self.requests
        if requests is None:
            return False
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        try:
            requests.sendmsg([head, command], rights, socket.MSG_NOSIGNAL)
        except ConnectionError:
            return False
        return True

    def release(self) -> None:
        """As Job.release(); a forked child's copy of the socket does not count."""
        requests, self.requests = self.requests, None
        if requests is not None:
            shut(requests)
        super().release()


def shut(end: socket.socket) -> None:
    """Close a socket so that its peer sees it, whoever else has a copy."""
    with suppress(OSError):  # the peer was first
        end.shutdown(socket.SHUT_RDWR)
    end.close()


class Request:
    """One command for a serving sandbox: what is sent, and the pipe that says that it runs."""

    def __init__(
        self, ready: ServingReady, asked: Asked, chdir: bytes, fds: Mapping[int, int]
    ) -> None:
        if len(fds) > form.FDS_MAX:
            raise UsageError(
                f"{len(fds)} descriptors are too many for one command: at most {form.FDS_MAX}",
                hint="pass a directory, or a socket that brings the others",
                code="usage.fds",
            )
        self._command = ready.command(asked, chdir, tuple(fds))
        self._asked, self._chdir = asked, chdir
        self._fds = fds
        self._ready = ready
        self.error_fd = -1

    def send(self, job: ServingJob, reply: socket.socket | None, timeout_ms: int | None) -> bool:
        """Send it; False where the sandbox is gone, and nothing of the command ran then."""
        self.error_fd, writer = os.pipe()
        held = [writer]
        fds = [writer] if reply is None else [writer, reply.fileno()]
        command = self._command
        is_file = len(command) > form.INLINE_MAX_BYTES
        try:
            head = form.encode_head(
                len(command),
                len(self._fds),
                timeout_ms or 0,
                self._ready.grace_ms,
                is_file=is_file,
            )
            if is_file:
                held.append(_file_of(command))
                fds.append(held[-1])
                command = b""
            return job.send(head, command, [*fds, *self._fds.values()])
        finally:
            for fd in held:
                os.close(fd)

    def failure(self) -> SandboxError | None:
        """Wait until the command is executed; return None, or the error that kept it from that."""
        data = b""
        while chunk := os.read(self.error_fd, _ERROR.size):
            data += chunk
        self.close()
        if len(data) < _ERROR.size:
            return None
        from sandbox.launch.errors_text import setup_error  # only a failed run pays for it

        template = self._ready.prepared.invocation
        made = replace(
            template,
            argv=self._asked.argv,
            programs=self._ready.programs(self._asked),
            cwd=self._chdir or template.cwd,
            fds=tuple(FdMap(source, target) for target, source in self._fds.items()),
        )
        stage, op, number, detail = _ERROR.unpack_from(data)
        return setup_error(stage, op, number, detail, self._ready.plan, made)

    def close(self) -> None:
        """Close the pipe."""
        if self.error_fd >= 0:
            os.close(self.error_fd)
            self.error_fd = -1


def _file_of(data: bytes) -> int:
    fd = os.memfd_create("sandbox-request", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    except BaseException:
        os.close(fd)
        raise
    return fd
