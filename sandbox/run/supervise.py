"""The supervisor's loop: wait for the command, keep the limits that only it can keep."""

from __future__ import annotations

import select
import time

from sandbox.plan.model import Supervise
from sandbox.record import record
from sandbox.run.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.launch.spawn import Child, Status
    from sandbox.plan.model import Plan
    from sandbox.run.cgroup import RunGroup
    from sandbox.run.relay import Relay

_SIGTERM = 15
_GONE_MS = 10_000


@record
class Ending:
    """How a run ended: pid 1's report (None: it was killed), and who ended it early.

    Shape: `cause` is "" (by itself), timeout, memory, cpu or output; `memory_peak_bytes` as
           watched; `hits` are the limits that the kernel enforced in the run's control group.
    """

    status: Status | None
    cause: str
    wall_ms: int
    memory_peak_bytes: int | None
    hits: frozenset[str] = frozenset()


class Supervisor:
    """Watches one started child until its namespace is gone."""

    def __init__(
        self, child: Child, plan: Plan, relay: Relay | None, group: RunGroup | None = None
    ) -> None:
        limits = dict(plan.supervise)
        self._child = child
        self._relay = relay
        self._wall_ms = limits.get(Supervise.WALL_MS)
        self._grace_ms = limits.get(Supervise.TERM_GRACE_MS, 2000)
        self._watch = Watch(child, plan, group)
        self._cause = ""

    def run(self, started_s: float) -> Ending:
        """Wait for the end; `started_s` is time.monotonic() at the start."""
        deadline_s = None if self._wall_ms is None else started_s + self._wall_ms / 1000
        poller = select.poll()
        poller.register(self._child.status_fd, select.POLLIN)
        if self._relay is not None:
            poller.register(self._relay.full_fd, select.POLLIN)
        while True:
            ready = {fd for fd, _events in poller.poll(self._wait_ms(deadline_s))}
            if self._child.status_fd in ready:
                break
            if ready:
                self._end("output")
                poller.unregister(self._relay.full_fd)  # type: ignore[union-attr]  # else not ready
            if deadline_s is not None and time.monotonic() >= deadline_s:
                self._end("timeout")
                deadline_s = None
            self._end(self._watch.check())
        status = self._child.status()
        self._watch.kill()
        self._child.wait_gone(_GONE_MS)
        wall_ms = int((time.monotonic() - started_s) * 1000)
        return Ending(status, self._cause, wall_ms, self._watch.peak_bytes(), self._watch.hits())

    def _wait_ms(self, deadline_s: float | None) -> int | None:
        waits = []
        if deadline_s is not None:
            waits.append(max(0, int((deadline_s - time.monotonic()) * 1000) + 1))
        if self._watch.interval_ms is not None:
            waits.append(self._watch.interval_ms)
        return min(waits) if waits else None

    def _end(self, cause: str) -> None:
        """End the tree for a limit's sake. Memory is not asked for twice; the rest gets a grace."""
        if self._cause or not cause:
            return
        self._cause = cause
        if cause == "memory":
            self._watch.kill()
            return
        self._child.signal(_SIGTERM)
        poller = select.poll()
        poller.register(self._child.status_fd, select.POLLIN)
        if not poller.poll(self._grace_ms):
            self._watch.kill()
