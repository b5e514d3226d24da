"""The limits of a plan in words."""

from __future__ import annotations

from sandbox.plan.model import PlanFlag, Supervise
from sandbox.text import duration_text, size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.model import Plan

_RLIM_INFINITY = (1 << 64) - 1
_GROUP = (
    (Supervise.GROUP_MEMORY_BYTES, "memory", "bytes"),
    (Supervise.GROUP_SWAP_BYTES, "swap", "bytes"),
    (Supervise.GROUP_PIDS, "processes", ""),
    (Supervise.GROUP_CPU_MS, "cpu time", "ms"),
    (Supervise.GROUP_CPU_PERCENT, "cpu quota", "%"),
)
# Name, unit of the RLIMIT_* numbers of asm-generic/resource.h that a policy can set.
_RLIMITS = {
    0: ("cpu time", "s"),
    1: ("file size", "bytes"),
    2: ("data", "bytes"),
    3: ("stack", "bytes"),
    4: ("core dumps", "bytes"),
    6: ("processes", ""),
    7: ("open files", ""),
    8: ("locked memory", "bytes"),
    9: ("address space", "bytes"),
}


def _amount(value: int, unit: str) -> str:
    if value == _RLIM_INFINITY:
        return "no limit"
    return size_text(value) if unit == "bytes" else f"{value} {unit}".rstrip()


def limit_texts(plan: Plan) -> list[str]:
    """Return each limit with its amount and unit; "none" where there is none."""
    kept = dict(plan.supervise)
    texts = []
    if Supervise.WALL_MS in kept:
        texts.append(f"{duration_text(kept[Supervise.WALL_MS])} wall")
    if Supervise.MEMORY_BYTES in kept:
        texts.append(f"{size_text(kept[Supervise.MEMORY_BYTES])} memory")
    if Supervise.OUTPUT_BYTES in kept:
        texts.append(f"{size_text(kept[Supervise.OUTPUT_BYTES])} output")
    for key, name, unit in _GROUP:
        if key in kept:
            amount = size_text(kept[key]) if unit == "bytes" else str(kept[key])
            amount = duration_text(kept[key]) if unit == "ms" else amount
            amount += unit if unit == "%" else ""
            texts.append(f"{name} {amount} of the tree")
    for limit in plan.rlimits:
        name, unit = _RLIMITS.get(limit.resource, (f"RLIMIT {limit.resource}", ""))
        texts.append(f"{name} {_amount(limit.soft, unit)}")
    if plan.flags & PlanFlag.LOW_PRIORITY:
        texts.append("lowest priority")
    return texts or ["none"]
