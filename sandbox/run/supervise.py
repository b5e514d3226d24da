"""The supervisor's loop: wait for the command, keep the limits that only it can keep."""

from __future__ import annotations

import os
import select
import time

from sandbox.plan.model import Supervise
from sandbox.record import record, replace
from sandbox.run.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.launch.listener import Denial, Listener
    from sandbox.launch.spawn import Child, Status
    from sandbox.launch.terminal import Terminal
    from sandbox.plan.model import Plan
    from sandbox.run.cgroup import RunGroup
    from sandbox.run.relay import Relay

_SIGTERM = 15
_GONE_MS = 10_000
_DRAIN_S = 2.0


@record
class Ending:
    """How a run ended: pid 1's report (None: it was killed), and who ended it early.

    Shape: `cause` is "" (by itself), timeout, memory, cpu or output; `memory_peak_bytes` as
           watched; `hits` are the limits that the kernel enforced in the run's control group;
           `denials` are the refused calls that were recorded, `record_error` the errno that says
           why they were not.
    """

    status: Status | None
    cause: str
    wall_ms: int
    memory_peak_bytes: int | None
    hits: frozenset[str] = frozenset()
    denials: tuple[Denial, ...] = ()
    denials_lost: int = 0
    record_error: int = 0


class Supervisor:
    """Watches one started child until its namespace is gone; passes its terminal on meanwhile."""

    def __init__(
        self,
        child: Child,
        plan: Plan,
        relay: Relay | None,
        group: RunGroup | None = None,
        terminal: Terminal | None = None,
        listener: Listener | None = None,
    ) -> None:
        limits = dict(plan.supervise)
        self._child = child
        self._terminal = terminal
        self._listener = listener
        self._full_fd = -1 if relay is None else relay.full_fd
        self._wall_ms = limits.get(Supervise.WALL_MS)
        self._grace_ms = limits.get(Supervise.TERM_GRACE_MS, 2000)
        self._watch = Watch(child, plan, group)
        self._look_at_s = 0.0
        self._cause = ""
        self._deadline_s: float | None = None
        self._kill_at_s: float | None = None

    def run(self, started_s: float) -> Ending:
        """Wait for the end; `started_s` is time.monotonic() at the start."""
        if self._wall_ms is not None:
            self._deadline_s = started_s + self._wall_ms / 1000
        while True:
            ready = self._poll()
            if self._child.status_fd in ready:
                status = self._child.status()
                if status is None or self._terminal is None or not status.is_stop:
                    break
                self._terminal.stopped(os.WSTOPSIG(status.wait_status))
            if self._listener is not None and self._listener.fd in ready:
                self._listener.serve()
            if self._full_fd in ready:
                self._full_fd = -1
                self._end("output")
            if self._terminal is not None:
                self._terminal.recheck()
                for fd, events in ready.items():
                    self._terminal.handle(fd, events)
            self._watch_time()
            self._look()
        return self._finish(status, started_s)

    def _finish(self, status: Status | None, started_s: float) -> Ending:
        # pid 1 leads the terminal's session: with its end the kernel drops unread output
        timeout_s = _DRAIN_S if self._cause else None
        takes_more = True
        if self._terminal is not None and status is not None:
            takes_more = self._terminal.drain(timeout_s)
        self._watch.kill()
        self._child.wait_gone(_GONE_MS)
        if self._terminal is not None and takes_more:
            self._terminal.drain(timeout_s)
        wall_ms = int((time.monotonic() - started_s) * 1000)
        ending = Ending(status, self._cause, wall_ms, self._watch.peak_bytes(), self._watch.hits())
        listener = self._listener
        if listener is None or not (listener.count or listener.error):
            return ending
        return replace(
            ending,
            denials=listener.denials(),
            denials_lost=listener.lost,
            record_error=listener.error,
        )

    def _poll(self) -> dict[int, int]:
        poller = select.poll()
        poller.register(self._child.status_fd, select.POLLIN)
        if self._listener is not None and self._listener.fd >= 0:
            poller.register(self._listener.fd, select.POLLIN)
        if self._full_fd >= 0:
            poller.register(self._full_fd, select.POLLIN)
        if self._terminal is not None:
            for fd, events in self._terminal.interests():
                poller.register(fd, events)
        return dict(poller.poll(self._wait_ms()))

    def _wait_ms(self) -> int | None:
        waits = [
            max(0, int((moment_s - time.monotonic()) * 1000) + 1)
            for moment_s in (self._deadline_s, self._kill_at_s)
            if moment_s is not None
        ]
        if self._watch.interval_ms is not None:
            waits.append(self._watch.interval_ms)
        if self._terminal is not None and self._terminal.recheck_ms is not None:
            waits.append(self._terminal.recheck_ms)
        return min(waits) if waits else None

    def _watch_time(self) -> None:
        now_s = time.monotonic()
        if self._deadline_s is not None and now_s >= self._deadline_s:
            self._deadline_s = None
            self._end("timeout")
        if self._kill_at_s is not None and now_s >= self._kill_at_s:
            self._kill_at_s = None
            self._kill()

    def _look(self) -> None:
        """Look at memory and processor time, not more often than the watch asks for."""
        now_s = time.monotonic()
        if self._watch.interval_ms is None or now_s < self._look_at_s:
            return
        self._look_at_s = now_s + self._watch.interval_ms / 1000
        self._end(self._watch.check())

    def _end(self, cause: str) -> None:
        """End the tree for a limit's sake. Memory is not asked for twice; the rest gets a grace."""
        if self._cause or not cause:
            return
        self._cause = cause
        if cause == "memory":
            self._kill()
            return
        self._child.signal(_SIGTERM)
        self._kill_at_s = time.monotonic() + self._grace_ms / 1000

    def _kill(self) -> None:
        if self._terminal is not None:
            self._terminal.flush()
        self._watch.kill()
