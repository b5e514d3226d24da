"""Lint: what a policy says that its author can hardly have meant, each with its place.

Errors are contradictions and grants that defeat another line; warnings are weaknesses that may be
meant. What could not be read at all is refused before, by load.py.
"""

from __future__ import annotations

from sandbox.policy.call_sets import effective_rules, expand, find_set, load_sets
from sandbox.policy.conditions import AllOf, AnyOf, Comparison, Not, parse_condition
from sandbox.policy.files import is_below
from sandbox.policy.resolved import origin_below
from sandbox.policy.sight import View
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.policy.conditions import Condition
    from sandbox.policy.model import Policy
    from sandbox.policy.syscall_model import SyscallRule

ERROR, WARNING = "error", "warning"
# Each lets a command reach other processes, the kernel's own state, or a second view of the files.
DANGEROUS = (
    "@bpf",
    "@clock",
    "@debug",
    "@io-uring",
    "@keyring",
    "@module",
    "@mount",
    "@namespaces",
    "@new-mount",
    "@raw-io",
    "@reboot",
    "@swap",
    "clone3",
    "open_by_handle_at",
    "userfaultfd",
)
_SOCKET_DIRS = (b"/run", b"/var/run", b"/tmp/.X11-unix")


@record
class Finding:
    """One finding: error or warning, a stable code, the key, the place, the problem, what to do."""

    level: str
    code: str
    key: str
    origin: str
    problem: str
    hint: str


def lint(policy: Policy) -> tuple[Finding, ...]:
    """Return what is wrong or weak in `policy`, errors first, then by place."""
    found = [
        *_dangerous(policy),
        *_rules(policy),
        *_calls(policy),
        *_paths(policy),
        *_weak(policy),
    ]
    return tuple(sorted(found, key=lambda one: (one.level != ERROR, one.origin, one.code, one.key)))


def _dangerous(policy: Policy) -> Iterator[Finding]:
    sets = load_sets()
    calls = policy.syscalls
    risky = expand(sets, DANGEROUS, place="lint")
    denied = expand(sets, calls.deny, place="syscalls.deny")
    reasons = {
        name
        for rule in calls.rules
        if rule.why
        for name in expand(sets, rule.names, place=f"syscalls.rules.{rule.name}")
    }
    for member in sorted(calls.allow):
        names = expand(sets, (member,), place="syscalls.allow")
        bad = sorted((names & risky) - denied - reasons)
        if bad:
            key = f"syscalls.allow[{member}]"
            yield Finding(
                ERROR,
                "dangerous-call",
                key,
                policy.origin(key),
                f"lets {', '.join(bad[:4])}{' …' if len(bad) > 4 else ''} pass without a reason",
                'state a rule for it: rules.NAME = { names = [...], action = "allow", why = "…" }',
            )
    for rule in calls.rules:
        if not rule.why and rule.action.kind == "allow":
            names = expand(sets, rule.names, place=f"syscalls.rules.{rule.name}")
            if names & risky:
                yield Finding(
                    ERROR,
                    "dangerous-call",
                    f"syscalls.rules.{rule.name}",
                    rule.origin,
                    f"lets {', '.join(sorted(names & risky)[:4])} pass without a reason",
                    'add why = "…" to the rule',
                )


def _rules(policy: Policy) -> Iterator[Finding]:
    for rule in policy.syscalls.rules:
        key = f"syscalls.rules.{rule.name}"
        for code, problem, hint in _condition_problems(rule):
            yield Finding(ERROR, code, key, rule.origin, problem, hint)
    yield from _contradictions(policy)
    yield from _alternatives(policy)


def _condition_problems(rule: SyscallRule) -> Iterator[tuple[str, str, str]]:
    if not rule.when:
        return
    condition = parse_condition(rule.when)
    for part in _parts(condition):
        if isinstance(part, AnyOf) and _are_opposite(part.items):
            yield (
                "always-true",
                "two != on one argument joined by `or` hold for every value",
                "write `and`, or: argN not in {A, B}",
            )
        if isinstance(part, AllOf) and _excludes_itself(part.items):
            yield (
                "never-true",
                "the condition asks one argument to have two values at once",
                "write `or`, or: argN in {A, B}",
            )
        if isinstance(part, Comparison) and part.operator in ("==", "in"):
            lost = [value for value in part.values if value & ~part.mask]
            if lost:
                yield (
                    "never-true",
                    f"{lost[0]:#x} has bits that the mask {part.mask:#x} removes",
                    "compare with a value inside the mask",
                )
    if rule.names and any(name == "ioctl" for name in rule.names):
        wide = [one for one in _parts(condition) if isinstance(one, Comparison)]
        if any(one.argument == 1 and one.width == 64 for one in wide):
            yield (
                "wide-int",
                "the kernel reads ioctl's request as an int: bits above the 32nd pass this test",
                "write u32(arg1) (CVE-2019-10063)",
            )


def _parts(condition: Condition) -> Iterator[Condition]:
    yield condition
    if isinstance(condition, Not):
        yield from _parts(condition.item)
    elif isinstance(condition, (AllOf, AnyOf)):
        for item in condition.items:
            yield from _parts(item)


def _unequal(condition: Condition) -> Comparison | None:
    """Return the comparison that `condition` is the plain negation of."""
    if isinstance(condition, Not) and isinstance(condition.item, Comparison):
        return condition.item if condition.item.operator in ("==", "in") else None
    return None


def _are_opposite(items: tuple[Condition, ...]) -> bool:
    tests = [test for test in map(_unequal, items) if test is not None]
    return any(
        one.argument == two.argument
        and one.mask == two.mask
        and not set(one.values) & set(two.values)
        for index, one in enumerate(tests)
        for two in tests[index + 1 :]
    )


def _excludes_itself(items: tuple[Condition, ...]) -> bool:
    tests = [one for one in items if isinstance(one, Comparison) and one.operator in ("==", "in")]
    return any(
        one.argument == two.argument
        and one.mask == two.mask
        and not set(one.values) & set(two.values)
        for index, one in enumerate(tests)
        for two in tests[index + 1 :]
    )


def _alternatives(policy: Policy) -> Iterator[Finding]:
    """Rules of one call are alternatives, so two that allow `!=` allow everything."""
    allowing = [
        (rule, parse_condition(rule.when))
        for rule in policy.syscalls.rules
        if rule.when and rule.action.kind == "allow"
    ]
    for index, (one, first) in enumerate(allowing):
        for two, second in allowing[index + 1 :]:
            if set(one.names) & set(two.names) and _are_opposite((first, second)):
                yield Finding(
                    ERROR,
                    "always-true",
                    f"syscalls.rules.{two.name}",
                    two.origin,
                    f"with {one.name} ({one.origin}) every value passes: rules are alternatives",
                    "put both tests into one condition with `and`",
                )


def _contradictions(policy: Policy) -> Iterator[Finding]:
    """Two rules that give one call two answers under the same condition."""
    own = {rule.name for rule in policy.syscalls.rules}
    sets = load_sets()
    known = [
        (rule, expand(sets, rule.names, place=f"syscalls.rules.{rule.name}"))
        for rule in effective_rules(policy.syscalls)
    ]
    for index, (one, names) in enumerate(known):
        for two, others in known[index + 1 :]:
            if not {one.name, two.name} & own or one.action == two.action:
                continue
            same = (not one.when and not two.when) or one.when.split() == two.when.split()
            if same and names & others:
                later = two if two.name in own else one
                earlier = one if later is two else two
                yield Finding(
                    ERROR,
                    "contradiction",
                    f"syscalls.rules.{later.name}",
                    later.origin,
                    f"answers {min(names & others)} with {later.action}, and {earlier.name}"
                    f" ({earlier.origin}) with {earlier.action}; the stricter counts",
                    "remove one of them",
                )


def _calls(policy: Policy) -> Iterator[Finding]:
    sets = load_sets()
    calls = policy.syscalls
    denied = expand(sets, calls.deny, place="syscalls.deny")
    based = (
        frozenset(call for call, _ in find_set(sets, calls.base).reasons)
        if calls.base
        else frozenset()
    )
    for member in sorted(calls.allow):
        names = expand(sets, (member,), place="syscalls.allow")
        key = f"syscalls.allow[{member}]"
        if names <= denied:
            origin = origin_below(policy, "syscalls.deny")
            yield Finding(
                ERROR, "unreachable", key, policy.origin(key),
                f"is denied as a whole ({origin}); deny beats allow",
                "take it out of one of the two",
            )  # fmt: skip
        elif names <= based:
            yield Finding(
                WARNING, "redundant", key, policy.origin(key),
                f"{calls.base} allows it already", "remove it",
            )  # fmt: skip
    for rule in calls.rules:
        names = expand(sets, rule.names, place=f"syscalls.rules.{rule.name}")
        if rule.action.kind == "allow" and names <= denied:
            yield Finding(
                ERROR, "unreachable", f"syscalls.rules.{rule.name}", rule.origin,
                f"allows what is denied ({origin_below(policy, 'syscalls.deny')})",
                "take the call out of syscalls.deny",
            )  # fmt: skip


def _paths(policy: Policy) -> Iterator[Finding]:
    hides = {rule.path: rule for rule in policy.filesystem.hide}
    guards = View(policy).guards
    for rule in policy.filesystem.mounts:
        key = f"filesystem.mounts[{rule.path.text()}]"
        if rule.path in hides:
            yield Finding(
                ERROR, "unreachable", key, rule.origin,
                f"the same path is hidden ({hides[rule.path].origin}); hidden beats shown",
                "remove one of them",
            )  # fmt: skip
        for group, _, where in guards:
            if rule.path == where or is_below(rule.path, where):
                yield Finding(
                    ERROR, "above-protected", key, rule.origin,
                    f"grants {rule.mode} at a path that {group} protects, and so lifts it",
                    f"mount another path, or say so at the command line: --{rule.mode} PATH",
                )  # fmt: skip
                break
        shown = (rule.source or rule.path).path
        if not rule.only and rule.mode != "tmpfs" and shown.startswith(_SOCKET_DIRS):
            yield Finding(
                WARNING, "socket-in-view", key, rule.origin,
                "sockets of running services may be seen there; a read-only mount does not stop"
                " a connection", "mount the files that are needed, one by one",
            )  # fmt: skip


def _weak(policy: Policy) -> Iterator[Finding]:
    claims = "strict" in policy.name or policy.summary.lower().startswith("unknown code")
    isolation = policy.isolation
    demands = [(f"isolation.namespaces.{name}", value) for name, value in isolation.namespaces]
    demands += [
        ("isolation.seccomp", isolation.seccomp),
        ("isolation.landlock.fs", isolation.landlock_fs),
    ]
    for key, value in demands:
        if claims and value == "prefer":
            yield Finding(
                WARNING, "prefer-in-strict", key, policy.origin(key),
                "is only preferred in a policy that claims to be strict", 'say "require"',
            )  # fmt: skip
    if isolation.seccomp == "off":
        key = "isolation.seccomp"
        yield Finding(
            WARNING, "no-filter", key, policy.origin(key),
            "every system call of the kernel can be made", 'say "require" and name a base set',
        )  # fmt: skip
    if isolation.nested_userns:
        key = "isolation.nested_userns"
        yield Finding(
            WARNING, "nested-userns", key, policy.origin(key),
            "a new user namespace owns its mounts and can uncover hidden ones", "say false",
        )  # fmt: skip
    for rule in policy.filesystem.hide:
        if set(rule.path.path.decode("utf-8", "surrogateescape")) & set("*?["):
            yield Finding(
                WARNING, "glob", f"filesystem.hide[{rule.path.text()}]", rule.origin,
                "is expanded at each start: the plan is not kept, and later matches are not"
                " covered", "name the paths",
            )  # fmt: skip
