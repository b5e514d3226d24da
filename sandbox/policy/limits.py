"""Limits → a control group, resource limits, the supervisor's watch; with what holds each one.

A control group bounds the sum over all processes: memory, swap, pids, processor time. Without one,
memory is held by RLIMIT_DATA for each process only where the policy requires the limit, because
runtimes that reserve much and use little (node, java) do not survive a tight one, and by the
supervisor's watch of resident memory everywhere. RLIMIT_CPU stays as a second wall beside a group.
RLIMIT_AS stands only where `address_space` asks for it.
"""

from __future__ import annotations

from sandbox.errors import HostError
from sandbox.host import observe
from sandbox.plan.entry import Probe
from sandbox.plan.model import Rlimit, Supervise
from sandbox.policy.model import OFF, PREFER, REQUIRE
from sandbox.policy.notes import Effective, LimitNote
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.host.facts import Host
    from sandbox.policy.model import Limits, Policy

# RLIMIT_* of getrlimit(2), equal on x86-64 and aarch64.
RLIMIT_CPU = 0
RLIMIT_FSIZE = 1
RLIMIT_DATA = 2
RLIMIT_CORE = 4
RLIMIT_NPROC = 6
RLIMIT_NOFILE = 7
RLIMIT_AS = 9
INFINITY = (1 << 64) - 1

_GROUP_KEYS = {
    "memory": Supervise.GROUP_MEMORY_BYTES,
    "swap": Supervise.GROUP_SWAP_BYTES,
    "pids": Supervise.GROUP_PIDS,
    "cpu": Supervise.GROUP_CPU_MS,
}
_SUMS = ("memory", "cpu")  # what the demand `tree` is about
_REMEDY = "`sudo sandbox doctor --print-delegation` prints how to delegate one"


@record
class Bounds:
    """The limits of a plan."""

    rlimits: tuple[Rlimit, ...]
    supervise: tuple[tuple[Supervise, int], ...]
    notes: tuple[LimitNote, ...]
    effective: tuple[Effective, ...]
    texts: tuple[str, ...]


def group_needs(limits: Limits) -> frozenset[str]:
    """Return which of memory, swap, pids and cpu a control group should hold, and `share`."""
    needs = {
        name
        for name, value in _values(limits).items()
        if value is not None and limits.demand(name) != OFF
    }
    if limits.memory_bytes is None:
        needs.discard("swap")
    return frozenset(needs | {"share"} if needs else needs)


def _values(limits: Limits) -> dict[str, int | None]:
    return {
        "memory": limits.memory_bytes,
        "swap": limits.swap_bytes,
        "pids": limits.pids,
        "cpu": limits.cpu_ms,
    }


def compile_limits(policy: Policy, host: Host) -> Bounds:
    """Return how the limits of `policy` are held on this host.

    Errors: HostError(host.missing) for a required limit that nothing here can hold.
    """
    limits = policy.limits
    held = _held_by_group(limits, host)
    rlimits: list[Rlimit] = []
    notes: list[LimitNote] = []
    texts: list[str] = []
    for name, value, resource in _rlimits(limits):
        if value is None or limits.demand(name) == OFF:
            if value is not None or name != "address_space":
                notes.append(LimitNote(name, value, "none", "process"))
            continue
        if name != "pids" or name not in held:  # or it would hide that the group was full
            rlimits.append(_capped(resource, value, texts, name))
        scope = "tree" if name == "pids" or name in held else "process"
        notes.append(LimitNote(name, value, held.get(name, "rlimit"), scope))
    supervise = _supervised(policy, notes, held)
    is_memory_asked = limits.memory_bytes is not None and limits.demand("memory") == REQUIRE
    if is_memory_asked and limits.memory_bytes is not None and "memory" not in held:
        rlimits.append(_capped(RLIMIT_DATA, limits.memory_bytes, texts, "memory"))
    effective = _unheld(policy, host, notes, held)
    return Bounds(tuple(rlimits), supervise, tuple(notes), effective, tuple(texts))


def _held_by_group(limits: Limits, host: Host) -> dict[str, str]:
    """Return which limit which kind of control group holds."""
    need = group_needs(limits)
    return {
        name: hierarchy.label
        for hierarchy in host.hierarchies
        for name in hierarchy.resources
        if name in need and name in _GROUP_KEYS
    }


def _rlimits(limits: Limits) -> tuple[tuple[str, int | None, int], ...]:
    return (
        ("cpu", limits.cpu_ms, RLIMIT_CPU),
        ("pids", limits.pids, RLIMIT_NPROC),
        ("open_files", limits.open_files, RLIMIT_NOFILE),
        ("file_size", limits.file_size_bytes, RLIMIT_FSIZE),
        ("core", limits.core_bytes, RLIMIT_CORE),
        ("address_space", limits.address_space_bytes, RLIMIT_AS),
    )


def _capped(resource: int, value: int, texts: list[str], name: str) -> Rlimit:
    """Return the limit, not above the caller's own hard one, which only privilege may raise."""
    import resource as limits_of_caller  # an extension module, needed here alone

    if resource == RLIMIT_CPU:  # whole seconds
        value = max(1, -(-value // 1000))
    hard = limits_of_caller.getrlimit(resource)[1]
    hard = INFINITY if hard == limits_of_caller.RLIM_INFINITY else hard
    observe.probed(Probe.RLIMIT, hard, resource)
    if value > hard:
        texts.append(f"the limit {name} is {hard}, as for the caller, not {value}")
    # The second between soft and hard lets SIGXCPU be told from SIGKILL.
    grace = 1 if resource == RLIMIT_CPU else 0
    return Rlimit(resource, min(value, hard), min(value + grace, hard))


def _supervised(
    policy: Policy, notes: list[LimitNote], held: dict[str, str]
) -> tuple[tuple[Supervise, int], ...]:
    """Return what the supervisor watches, and what it sets in the run's control group."""
    limits = policy.limits
    found = [(Supervise.TERM_GRACE_MS, policy.process.term_grace_ms)]
    for name, value, key in (
        ("wall", limits.wall_ms, Supervise.WALL_MS),
        ("output", limits.output_bytes, Supervise.OUTPUT_BYTES),
        ("memory", limits.memory_bytes, Supervise.MEMORY_BYTES),
    ):
        is_held = value is not None and limits.demand(name) != OFF
        if is_held and value is not None and name not in held:
            found.append((key, value))
        keeper = held.get(name, "supervisor")
        notes.append(LimitNote(name, value, keeper if is_held else "none", "tree"))
    values = _values(limits)
    for name in held:
        value = values[name]
        if value is not None:
            found.append((_GROUP_KEYS[name], value))
    return tuple(sorted(found))


def _unheld(
    policy: Policy, host: Host, notes: list[LimitNote], held: dict[str, str]
) -> tuple[Effective, ...]:
    """Report what only a cgroup can hold; refuse where it is required and there is none."""
    limits = policy.limits
    notes.append(LimitNote("swap", limits.swap_bytes, held.get("swap", "none"), "tree"))
    sums = tuple(name for name in _SUMS if _values(limits)[name] is not None)
    wanted = {
        "swap": (("swap",) if limits.swap_bytes is not None else (), limits.demand("swap")),
        "tree": (sums, limits.demand("tree")),
    }
    effective = []
    for name, (parts, demand) in wanted.items():
        key = f"limits.{name}"
        missing = [part for part in parts if part not in held]
        if not parts:
            effective.append(Effective(key, OFF, OFF, ""))
        elif not missing:
            by = ", ".join(sorted({held[part] for part in parts}))
            effective.append(Effective(key, demand, "on", by))
        else:
            reason = _reason(missing, host)
            if demand == REQUIRE:
                raise _refused(policy, name, reason)
            is_gap = demand == PREFER
            effective.append(Effective(key, demand, OFF, "", reason if is_gap else None, is_gap))
    return tuple(effective)


def _reason(missing: list[str], host: Host) -> str:
    why = host.reason("group") or "none was looked for"
    return f"only a control group can bound {' and '.join(missing)} of the whole tree; {why}"


def _refused(policy: Policy, name: str, reason: str) -> HostError:
    key = f"limits.{name}"
    entry = name if name in dict(policy.limits.enforce) else "default"
    place = policy.origin(f"limits.enforce[{entry}]")
    return HostError(
        f"{key} is required ({place}) and cannot be held: {reason}",
        hint=f'{_REMEDY}; or set enforce.{name} = "prefer" in [limits]',
        protection=key,
        reason=reason,
    )
