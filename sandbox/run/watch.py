"""What the supervisor looks at while a command runs: memory and processor time of the whole tree.

With a control group the kernel counts, and for memory also acts; without one resident memory is
summed from /proc.
"""

from __future__ import annotations

from sandbox.plan.model import Supervise
from sandbox.run.memory import WATCH_INTERVAL_MS, tree_memory_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.launch.spawn import Child
    from sandbox.plan.model import Plan
    from sandbox.run.cgroup import RunGroup


class Watch:
    """Looks at one started child; `interval_ms` is None where there is nothing to look at."""

    def __init__(self, child: Child, plan: Plan, group: RunGroup | None) -> None:
        limits = dict(plan.supervise)
        self._child = child
        self._group = group if group is not None and group.is_on else None
        self._memory_bytes = limits.get(Supervise.MEMORY_BYTES)
        self._cpu_ms = limits.get(Supervise.GROUP_CPU_MS)
        self._is_memory_grouped = Supervise.GROUP_MEMORY_BYTES in limits
        self._peak_bytes = 0
        is_needed = self._memory_bytes is not None or self._group is not None
        self.interval_ms = WATCH_INTERVAL_MS if is_needed else None

    def check(self) -> str:
        """Return the limit that was reached (memory, cpu), or ""."""
        if self._memory_bytes is not None:
            used = tree_memory_bytes(self._child.pid, self._memory_bytes)
            self._peak_bytes = max(self._peak_bytes, used)
            if used > self._memory_bytes:
                return "memory"
        if self._group is not None:
            if self._is_memory_grouped and self._group.oom_kills():
                return "memory"
            if self._cpu_ms is not None and (self._group.cpu_ms() or 0) >= self._cpu_ms:
                return "cpu"
        return ""

    def kill(self) -> None:
        """End every process of the sandbox now: the group's, then the namespace's."""
        if self._group is not None:
            self._group.kill()
        self._child.kill()

    def hits(self) -> frozenset[str]:
        """Return the limits that the kernel enforced in the group, read after the end."""
        return self._group.hits() if self._group is not None else frozenset()

    def peak_bytes(self) -> int | None:
        """Return the highest use of memory that was seen; None where nobody looked."""
        if self._memory_bytes is not None:
            return self._peak_bytes
        return self._group.memory_peak_bytes() if self._group is not None else None
