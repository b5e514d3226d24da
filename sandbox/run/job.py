"""One run of the Python API: what is made before it, what its messages mean, what is given back.

Both faces of the API use it, the blocking one and asyncio's: it never waits. A Job is started once;
`take()` is called whenever its supervisor's channel is readable, until `is_over`; `release()` gives
back everything, and ends what still runs.
"""

from __future__ import annotations

import time

from sandbox.errors import SandboxError, SetupError, StateError
from sandbox.launch.result import new_run_id, utc_text
from sandbox.plan.encode import encode_invocation
from sandbox.plan.model import FdMap, Supervise
from sandbox.record import replace
from sandbox.run import job_format as form
from sandbox.run import reuse, supervisor_client
from sandbox.run.execute import final_invocation
from sandbox.run.memory import WATCH_INTERVAL_MS
from sandbox.run.outcome import completed, ended, plain
from sandbox.run.ready import ready_for
from sandbox.run.scratch import Scratch
from sandbox.run.supervise import Ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from sandbox.launch.listener import Denial
    from sandbox.launch.result import Result
    from sandbox.plan.model import Invocation
    from sandbox.run.cgroup import RunGroup
    from sandbox.run.keywords import Asked
    from sandbox.run.request import Prepared
    from sandbox.run.supervisor_client import Supervisor

    class Over(Protocol):
        """What ran, and is over."""

        failure: SandboxError | None
        result: Result | None


# How long a supervisor may take to end its tree and be gone: nothing asks it to be gentle.
GONE_MS = 10_000


class Job:
    """One sandbox from the call to its Result; not for several threads at once.

    Shape: `failure` is why the command was not started, else `result` is how it ended; both are
           None until `is_over`. `has_started` says that the command is being executed.
    """

    def __init__(self, asked: Asked, ready: Any = None) -> None:
        self._asked = asked
        self._check: Callable[[], bool] | None = None
        if ready is None:
            ready, self._check = ready_for(asked.request)
        self._take_ready(ready)
        self._run_id = new_run_id()
        self._started = ""
        self._denials: list[Denial] = []
        self._scratch: Scratch | None = None
        self._group: RunGroup | None = None
        self._cpu_ms: int | None = None
        self._fds: tuple[FdMap, ...] = ()
        self._expected: dict[bool, Result] = {}  # by whether output is counted
        self._was_cancelled = False
        self.supervisor: Supervisor | None = None
        self.has_started = False
        self.is_over = False
        self.failure: SandboxError | None = None
        self.result: Result | None = None

    def start(self, fds: Mapping[int, int]) -> Supervisor:
        """Start the supervisor; `fds` maps the command's descriptors to open ones of ours.

        Errors: SandboxError; nothing is left over then.
        """
        self._started = utc_text(time.time())
        self._fds = tuple(FdMap(_place(target), target) for target in fds)
        sources = {_place(target): source for target, source in fds.items()}
        try:
            while True:
                supervisor = self._start(sources)
                if self._check is None:
                    return supervisor
                # the sandbox is made meanwhile, and waits for this
                if self._check():
                    self._tell(form.SETTLED_MESSAGE)
                    return supervisor
                self._give_up()
        except BaseException:
            self.release()
            raise

    def _take_ready(self, ready: Any) -> None:
        self._ready = ready
        self._prepared: Prepared = ready.prepared

    def _give_up(self) -> None:
        """End what was started of a request that has changed, and prepare it anew."""
        supervisor, self.supervisor = self.supervisor, None
        if supervisor is not None:
            supervisor.leave()
            supervisor.reap(GONE_MS)
            supervisor.close()
        reuse.forget(self._prepared)
        ready, self._check = ready_for(self._asked.request)
        self._take_ready(ready)

    def _start(self, sources: Mapping[int, int]) -> Supervisor:
        ready, asked = self._ready, self._asked
        self._open()
        is_held = self._is_held
        encoded: bytes | None = None
        if self._scratch is None:
            pairs = [(item.source, item.target) for item in self._fds]
            encoded = ready.encoded(asked, pairs, is_held=is_held)
        if encoded is None:
            encoded = encode_invocation(self._invocation())
        plan = ready.plan_bytes(asked.timeout_ms)
        job = form.encode_job(plan, encoded, ready.placeholders)
        self.supervisor = supervisor_client.start(job, sources)
        return self.supervisor

    def _open(self) -> None:
        """Make what a run needs beside its processes."""
        prepared = self._prepared
        scratch = Scratch(prepared.plan, self._run_id).__enter__()
        self._scratch = scratch if scratch.path else None
        if prepared.host.hierarchies:
            from sandbox.run.cgroup import RunGroup  # only where groups are delegated

            limits = prepared.plan.supervise
            self._group = RunGroup(prepared.host.hierarchies, limits, self._run_id).__enter__()
            self._cpu_ms = dict(limits).get(Supervise.GROUP_CPU_MS)

    def _invocation(self) -> Invocation:
        made = replace(self._prepared, invocation=self._ready.invocation(self._asked))
        state = b"" if self._scratch is None else self._scratch.path
        return replace(
            final_invocation(made, state, frozenset()),
            fds=self._fds,
            is_held=self._is_held,
            has_outer_maps=self._has_outer_maps,
        )

    @property
    def _is_held(self) -> bool:
        return self._check is not None or self._group is not None or self._has_outer_maps

    @property
    def _has_outer_maps(self) -> bool:
        # Root may write maps of any length; others need the helpers beyond the one id of their own.
        return len(self._prepared.plan.id_maps) > 2 and not self._prepared.host.is_privileged

    def take(self) -> bool:
        """Take every message that is there; say whether it is over."""
        while not self.is_over and self.supervisor is not None:
            message = self.supervisor.receive()
            if message is None:
                break
            self._understand(message)
        return self.is_over

    def _understand(self, message: bytes) -> None:
        kind = form.kind_of(message)
        if kind == form.STARTED:
            self.has_started = True
        elif kind == form.SPAWNED:
            self._settle(form.spawned_pid(message))
        elif kind == form.DENIAL:
            self._denials.append(form.denial_in(message))
        elif kind == form.FAILED:
            self._fail(self._worded(message))
        elif kind == form.ENDED:
            self._end(form.ending_of(message, tuple(self._denials)))
        else:
            self._vanished()

    def _settle(self, pid: int) -> None:
        """Move the waiting child into its group and have its maps written, then let it go on."""
        if self._check is not None:
            return  # start() decides, and has perhaps
        try:
            if self._group is not None:
                self._group.join(pid)
            if self._has_outer_maps:
                from sandbox.host.idmap import map_by_helpers

                map_by_helpers(pid, self._prepared.plan.id_maps)
        except SandboxError as error:
            self._fail(error)
            self.kill()
        else:
            self._tell(form.SETTLED_MESSAGE)

    def _worded(self, message: bytes) -> SandboxError:
        from sandbox.launch.errors_text import setup_error  # only a failed run pays for it

        stage, op, number, detail = form.failure_of(message)
        return setup_error(stage, op, number, detail, self._prepared.plan, self._invocation())

    def _fail(self, error: SandboxError) -> None:
        if not self.is_over:
            self.failure = error
            self.is_over = True

    def _vanished(self) -> None:
        """The channel closed without a last word: somebody killed the supervisor."""
        if not self.has_started:
            self._fail(
                SetupError(
                    "the supervisor of the sandbox ended before the command was started",
                    hint="it was killed from outside, or this is a defect: please report it",
                    code="setup.supervisor",
                )
            )
        else:
            self._end(form.Ended(Ending(None, "", 0, None)))

    def _end(self, last: form.Ended) -> None:
        ending = last.ending
        if self._group is not None:
            peak, hits = self._group.memory_peak_bytes(), ending.hits | self._group.hits()
            ending = replace(ending, memory_peak_bytes=peak, hits=hits)
        was_user = last.was_user or self._was_cancelled
        expected = None if was_user else self._expected.get(last.counted is not None)
        if expected is not None:
            self.result = completed(expected, ending, last.counted)
        if self.result is None:
            facts = self._ready.facts(self._asked.timeout_ms)
            self.result = ended(
                self._prepared, ending, last.counted, self._known(), was_user=was_user, facts=facts
            )
        self.is_over = True

    def _known(self) -> dict[str, Any]:
        return {
            "run_id": self._run_id,
            "started": self._started,
            "plan_digest": self._ready.digest(self._asked.timeout_ms),
            "args": self._asked.argv,
        }

    def expect(self, *, is_counted: bool) -> None:
        """Work out ahead, while the command runs, what its Result says if it simply exits."""
        if self.is_over:
            return
        facts = self._ready.facts(self._asked.timeout_ms)
        made = plain(self._prepared, self._known(), facts, is_counted=is_counted)
        self._expected = {is_counted: made}

    @property
    def is_counted(self) -> bool:
        """Whether the supervisor counts the output."""
        return Supervise.OUTPUT_BYTES in dict(self._prepared.plan.supervise)

    @property
    def interval_ms(self) -> int | None:
        """How often `look()` is due; None where there is nothing to look at."""
        return None if self._cpu_ms is None or self.is_over else WATCH_INTERVAL_MS

    def look(self) -> None:
        """End the run where its control group has used up its processor time."""
        if self._group is None or self._cpu_ms is None or self.is_over:
            return
        if (self._group.cpu_ms() or 0) >= self._cpu_ms:
            self._tell(form.CPU_MESSAGE)

    def signal(self, number: int) -> None:
        """Send a signal to the command; nothing happens when it has ended."""
        self._tell(form.signal_message(number))

    def kill(self) -> None:
        """End every process of the sandbox now."""
        self._was_cancelled = True
        self._tell(form.KILL_MESSAGE)

    def _tell(self, message: bytes) -> None:
        if self.supervisor is not None and self.supervisor.pidfd >= 0:
            self.supervisor.tell(message)

    def leave(self) -> None:
        """Say that nothing more is wanted: what still runs ends, and then the supervisor."""
        if self.supervisor is not None and self.supervisor.pidfd >= 0:
            if not self.is_over:
                self.kill()
            self.supervisor.leave()

    def release(self) -> None:
        """End what still runs, wait until it is gone, give everything back. May be called twice."""
        if self.supervisor is not None and self.supervisor.pidfd >= 0:
            self.leave()
            self.supervisor.reap(GONE_MS)
            self.supervisor.close()
        group, self._group = self._group, None
        if group is not None:
            group.__exit__()
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            scratch.__exit__()


def _place(target: int) -> int:
    """Where the supervisor holds the command's descriptor `target`: 3 and 4 are its own."""
    return target if target < supervisor_client.CHANNEL_FD else target + 2


def outcome_of(job: Over) -> Result:
    """Return the result of a job that is over.

    Errors: the SandboxError that kept the command from starting.
    """
    if job.failure is not None:
        raise job.failure
    if job.result is None:
        raise StateError("the sandbox has not ended yet")
    return job.result
