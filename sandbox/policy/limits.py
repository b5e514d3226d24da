"""Limits → resource limits and the supervisor's watch, with what holds each one.

Without a delegated cgroup there is no sum over processes but the supervisor's own watch, so swap
and the sums of cpu time are noted as not enforced. Memory: RLIMIT_DATA for each process only where
the policy requires the limit, because runtimes that reserve much and use little (node, java) do
not survive a tight one; the watch of resident memory everywhere. RLIMIT_AS never.
"""

from __future__ import annotations

from sandbox.errors import HostError
from sandbox.plan.model import Rlimit, Supervise
from sandbox.policy.model import OFF, PREFER, REQUIRE
from sandbox.policy.notes import Effective, LimitNote
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.model import Limits, Policy

# RLIMIT_* of getrlimit(2), equal on x86-64 and aarch64.
RLIMIT_CPU = 0
RLIMIT_FSIZE = 1
RLIMIT_DATA = 2
RLIMIT_CORE = 4
RLIMIT_NPROC = 6
RLIMIT_NOFILE = 7
INFINITY = (1 << 64) - 1

_NO_CGROUP = "only a delegated cgroup can bound it, and this version uses none"


@record
class Bounds:
    """The limits of a plan."""

    rlimits: tuple[Rlimit, ...]
    supervise: tuple[tuple[Supervise, int], ...]
    notes: tuple[LimitNote, ...]
    effective: tuple[Effective, ...]
    texts: tuple[str, ...]


def compile_limits(policy: Policy) -> Bounds:
    """Return how the limits of `policy` are held.

    Errors: HostError(host.missing) for a required limit that nothing here can hold.
    """
    limits = policy.limits
    rlimits: list[Rlimit] = []
    notes: list[LimitNote] = []
    texts: list[str] = []
    for name, value, held in _rlimits(limits):
        if value is None or limits.demand(name) == OFF:
            notes.append(LimitNote(name, value, "none", "process"))
            continue
        rlimit = _capped(held, value, texts, name)
        rlimits.append(rlimit)
        scope = "tree" if name == "pids" else "process"
        notes.append(LimitNote(name, value, "rlimit", scope))
    supervise = _supervised(policy, notes)
    if limits.memory_bytes is not None and limits.demand("memory") == REQUIRE:
        rlimits.append(_capped(RLIMIT_DATA, limits.memory_bytes, texts, "memory"))
    effective = _unheld(policy, notes)
    return Bounds(tuple(rlimits), supervise, tuple(notes), effective, tuple(texts))


def _rlimits(limits: Limits) -> tuple[tuple[str, int | None, int], ...]:
    return (
        ("cpu", limits.cpu_ms, RLIMIT_CPU),
        ("pids", limits.pids, RLIMIT_NPROC),
        ("open_files", limits.open_files, RLIMIT_NOFILE),
        ("file_size", limits.file_size_bytes, RLIMIT_FSIZE),
        ("core", limits.core_bytes, RLIMIT_CORE),
    )


def _capped(resource: int, value: int, texts: list[str], name: str) -> Rlimit:
    """Return the limit, not above the caller's own hard one, which only privilege may raise."""
    import resource as limits_of_caller  # an extension module, needed here alone

    if resource == RLIMIT_CPU:  # whole seconds
        value = max(1, -(-value // 1000))
    hard = limits_of_caller.getrlimit(resource)[1]
    hard = INFINITY if hard == limits_of_caller.RLIM_INFINITY else hard
    if value > hard:
        texts.append(f"the limit {name} is {hard}, as for the caller, not {value}")
    # The second between soft and hard lets SIGXCPU be told from SIGKILL.
    grace = 1 if resource == RLIMIT_CPU else 0
    return Rlimit(resource, min(value, hard), min(value + grace, hard))


def _supervised(policy: Policy, notes: list[LimitNote]) -> tuple[tuple[Supervise, int], ...]:
    """Return what the supervisor watches."""
    limits = policy.limits
    found = [(Supervise.TERM_GRACE_MS, policy.process.term_grace_ms)]
    for name, value, key in (
        ("wall", limits.wall_ms, Supervise.WALL_MS),
        ("output", limits.output_bytes, Supervise.OUTPUT_BYTES),
        ("memory", limits.memory_bytes, Supervise.MEMORY_BYTES),
    ):
        is_held = value is not None and limits.demand(name) != OFF
        if is_held and value is not None:
            found.append((key, value))
        notes.append(LimitNote(name, value, "supervisor" if is_held else "none", "tree"))
    return tuple(sorted(found))


def _unheld(policy: Policy, notes: list[LimitNote]) -> tuple[Effective, ...]:
    """Report what only a cgroup could hold; refuse where the policy requires it."""
    limits = policy.limits
    notes.append(LimitNote("swap", limits.swap_bytes, "none", "tree"))
    effective = []
    wanted = {"limits.swap": limits.demand("swap") if limits.swap_bytes is not None else OFF}
    has_sums = limits.memory_bytes is not None or limits.cpu_ms is not None
    wanted["limits.tree"] = limits.demand("tree") if has_sums else OFF
    for key, demand in wanted.items():
        if demand == REQUIRE:
            place = policy.origin(f"limits.enforce[{key.removeprefix('limits.')}]")
            raise HostError(
                f"{key} is required ({place}) and cannot be held: {_NO_CGROUP}",
                hint=f'set enforce.{key.removeprefix("limits.")} = "prefer" in [limits]',
                protection=key,
            )
        note = _NO_CGROUP if demand == PREFER else None
        effective.append(Effective(key, demand, OFF, "", note, is_gap=note is not None))
    return tuple(effective)
