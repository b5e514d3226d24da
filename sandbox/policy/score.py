"""How many known kernel bugs a policy puts out of reach, by what their records say they need.

A statement about declared requirements, not proof: a record may be wrong, and a bug that nobody
has found is in no list. A bug is out of reach when every way that its record declares is refused;
whether a call passes is asked of the compiled filter, run in the simulator.
"""

from __future__ import annotations

from sandbox.policy.arguments import telling_arguments
from sandbox.policy.call_sets import expand, find_set, load_sets
from sandbox.policy.condition_names import SOCKET_FAMILIES
from sandbox.policy.judge import Court, answer, open_court
from sandbox.policy.kernel_surface import IO_URING, NARROWED, SURFACE, USER_NAMESPACE, Way
from sandbox.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.model import Policy
    from sandbox.policy.score_data import Bug, BugList

DECLARED, CONDITIONAL, REACHABLE = "declared", "conditional", "reachable"
LAYERS = (
    "filter",
    "deny list",
    "rules on arguments",
    "socket families",
    "capabilities",
    "nested namespaces",
    "user namespace",
)


@record
class Verdict:
    """What the score says about one bug.

    Shape: `state` is declared (a requirement of the record itself is refused), conditional (out of
           reach by what the project's table says the code needs) or reachable; `by` says what
           refuses, or which way is open.
    """

    cve: str
    state: str
    by: str


@record
class Score:
    """The verdicts on one list of bugs."""

    name: str
    verdicts: tuple[Verdict, ...]

    def count(self, *states: str) -> int:
        """How many bugs are in one of `states`."""
        return sum(verdict.state in states for verdict in self.verdicts)

    @property
    def out_of_reach(self) -> int:
        """How many bugs are out of reach, conditional ones included."""
        return self.count(DECLARED, CONDITIONAL)


class Ground:
    """What a command may do under a policy: the calls that pass, and how it gets capabilities."""

    def __init__(
        self, court: Court, *, holds_all: bool = False, is_nesting_locked: bool = True
    ) -> None:
        self.court = court
        self._held = getattr(court.policy.process, "capabilities", ())
        self._holds_all = holds_all
        self._locked = is_nesting_locked and not court.policy.isolation.nested_userns
        self._passing: dict[str, bool] = {}

    def passes(self, name: str) -> bool:
        """Say whether some arguments let the call through the compiled filter."""
        if name not in self._passing:
            verdict = self.court.verdicts.get(name)
            tried = telling_arguments((verdict,)) if verdict is not None else ((0,) * 6,)
            self._passing[name] = any(
                answer(self.court, name, arguments).kind == "allow" for arguments in tried
            )
        return self._passing[name]

    def open_way(self, ways: tuple[Way, ...]) -> tuple[Way | None, str]:
        """Return the first way that is open; else None and what refuses the last one."""
        reason = ""
        for way in ways:
            reason = self._obstacle(way)
            if not reason:
                return way, ""
        return None, reason

    def _obstacle(self, way: Way) -> str:
        for capability in way.capabilities:
            if not self.has(capability):
                return self.no_capability(capability)
        for name, given in way.calls:
            action = answer(self.court, name, (*given, *(0,) * (6 - len(given))))
            if action.kind != "allow" and (given or not self.passes(name)):
                shown = ", ".join(hex(value) if value > 9 else str(value) for value in given)
                return f"{name}({shown}) answers {action}"
        return ""

    def has(self, capability: str) -> bool:
        """Say whether the command has the capability, or can get it in a new user namespace."""
        held = capability.removeprefix("CAP_") in {one.removeprefix("CAP_") for one in self._held}
        return held or self._holds_all or self.can_nest()

    def can_nest(self) -> bool:
        """Say whether the command can make a user namespace, in which it holds everything."""
        return not self._locked and self.open_way(USER_NAMESPACE)[0] is not None

    def no_capability(self, capability: str) -> str:
        """Say why the command does not get the capability."""
        return f"{capability} is not held, and {self.no_nesting()}"

    def no_nesting(self) -> str:
        """Say why no user namespace can be made."""
        if self._locked:
            return "no user namespace can be made (max_user_namespaces = 0)"
        return f"no user namespace can be made ({self.open_way(USER_NAMESPACE)[1]})"


def judge_bug(ground: Ground, bug: Bug) -> Verdict:
    """Return whether `bug` is out of reach, and by what."""
    needs = set(bug.attack_surface)
    if "userns" in needs and not (ground.can_nest() or ground.has("CAP_SYS_ADMIN")):
        return Verdict(bug.cve, DECLARED, f"needs a user namespace: {ground.no_nesting()}")
    if "io_uring" in needs:
        way, reason = ground.open_way(IO_URING)
        if way is None:
            return Verdict(bug.cve, DECLARED, f"needs io_uring: {reason}")
    for capability in bug.capabilities:
        if not ground.has(capability):
            return Verdict(bug.cve, DECLARED, ground.no_capability(capability))
    if bug.calls:
        return _by_calls(ground, bug)
    return _by_configuration(ground, bug)


def _by_calls(ground: Ground, bug: Bug) -> Verdict:
    passing = [name for name in bug.calls if ground.passes(name)]
    if not passing:
        return Verdict(bug.cve, DECLARED, f"{', '.join(bug.calls)} refused")
    if bug.cve in NARROWED:
        way, reason = ground.open_way(NARROWED[bug.cve])
        if way is None:
            why = NARROWED[bug.cve][-1].why
            return Verdict(bug.cve, CONDITIONAL, f"{reason} ({why})")
    return Verdict(bug.cve, REACHABLE, f"{', '.join(passing)} passes")


def _by_configuration(ground: Ground, bug: Bug) -> Verdict:
    reasons = []
    for symbol in bug.configuration:
        if symbol not in SURFACE:
            return Verdict(bug.cve, REACHABLE, f"{symbol} is not in the table")
        ways = SURFACE[symbol]
        if not ways:
            continue  # code that only other code of the record calls
        way, reason = ground.open_way(ways)
        if way is not None:
            return Verdict(bug.cve, REACHABLE, f"{symbol}: {way.why}")
        reasons.append(f"{symbol}: {reason}")
    if not reasons:
        return Verdict(bug.cve, REACHABLE, "the record names nothing that could be refused")
    return Verdict(bug.cve, CONDITIONAL, reasons[0])


def score(policy: Policy, lists: tuple[BugList, ...], arch: str) -> tuple[Score, ...]:
    """Return the verdicts of `policy` on each list.

    Errors: PolicyError as compile_filter.
    """
    return _judged(_ground(policy, arch), lists)


def score_without(
    layer: str, policy: Policy, lists: tuple[BugList, ...], arch: str
) -> tuple[Score, ...]:
    """Return the verdicts as they would be if one of LAYERS were not there.

    Errors: PolicyError as compile_filter.
    """
    if layer == "filter":
        open_policy = replace(policy, isolation=replace(policy.isolation, seccomp="off"))
        return _judged(_ground(open_policy, arch), lists)
    if layer == "capabilities":
        return _judged(Ground(open_court(policy, arch), holds_all=True), lists)
    if layer in ("nested namespaces", "user namespace"):
        # without a user namespace of its own the sandbox has nowhere to write the lock
        return _judged(Ground(open_court(policy, arch), is_nesting_locked=False), lists)
    calls = policy.syscalls
    if layer == "deny list":
        calls = replace(calls, allow=calls.allow | calls.deny, deny=frozenset())
    elif layer == "socket families":
        calls = replace(calls, socket_families=frozenset(SOCKET_FAMILIES))
    else:
        members = frozenset(name for name, _ in find_set(load_sets(), calls.base).reasons)
        based = members if calls.base else frozenset()
        named = expand(load_sets(), calls.allow, place="syscalls.allow")
        calls = replace(calls, base="", allow=based | named, rules=())
    return _judged(_ground(replace(policy, syscalls=calls), arch), lists)


def _ground(policy: Policy, arch: str) -> Ground:
    return Ground(open_court(policy, arch))


def _judged(ground: Ground, lists: tuple[BugList, ...]) -> tuple[Score, ...]:
    return tuple(
        Score(one.name, tuple(judge_bug(ground, bug) for bug in one.bugs)) for one in lists
    )
