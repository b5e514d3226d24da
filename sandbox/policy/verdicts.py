"""What a policy answers to each system call: the model that compiled filters are held to.

Nothing here knows BPF. The order of precedence, for one call:
  1. rules that kill, then those that trap, then those that give an errno; of these the socket
     families first, the others by name, so that the order of a policy file never matters;
  2. `deny`, and being outside one of the sets of `within`, which beat every allowance;
  3. the set and `allow`; a call in neither may still have rules that allow some uses of it.
A rule without a condition ends the list.
"""

from __future__ import annotations

import errno

from sandbox.errors import PolicyError
from sandbox.policy import calltable
from sandbox.policy.call_sets import CallSets, effective_rules, expand, find_set, load_sets
from sandbox.policy.condition_names import SOCKET_FAMILIES
from sandbox.policy.conditions import Comparison, Condition, Not, holds, parse_condition
from sandbox.policy.syscall_model import ALLOW, Action, SyscallPolicy, SyscallRule
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FAMILIES_RULE = "socket-families"
_WITHIN = "syscalls.within"
_FAMILY_CALLS = ("socket", "socketpair")
_SEVERITY = {"kill": 0, "trap": 1, "errno": 2, "allow": 3}


@record
class Clause:
    """One conditional answer of a call, and the rule that it comes from."""

    condition: Condition
    action: Action
    rule: str


@record
class Verdict:
    """The answers to one call: the first clause that holds, else `default`.

    Shape: `rule` names the rule that `default` comes from, or is empty.
    """

    name: str
    clauses: tuple[Clause, ...]
    default: Action
    rule: str = ""

    def answer(self, arguments: Sequence[int]) -> Action:
        """Return what a call with these six arguments gets."""
        for clause in self.clauses:
            if holds(clause.condition, arguments):
                return clause.action
        return self.default

    def deciding(self, arguments: Sequence[int]) -> str:
        """Return the name of the rule that answers such a call; empty if the lists do."""
        for clause in self.clauses:
            if holds(clause.condition, arguments):
                return clause.rule
        return self.rule

    def holding(self, arguments: Sequence[int]) -> tuple[bool, ...]:
        """Return which clauses hold: calls of this name that agree in it are judged alike."""
        return tuple(holds(clause.condition, arguments) for clause in self.clauses)


def resolve_calls(
    policy: SyscallPolicy, arch: str, sets: CallSets | None = None
) -> dict[str, Verdict]:
    """Return the verdict of every call that `arch` has, by name.

    Errors: PolicyError(policy.value) for names, families and conditions that do not exist;
            (policy.filter) for a policy that no filter can state safely.
    """
    sets = sets or load_sets()
    _check(policy)
    allowed = set(expand(sets, policy.allow, place="syscalls.allow"))
    if policy.base:
        allowed.update(call for call, _ in find_set(sets, policy.base).reasons)
    denied = set(expand(sets, policy.deny, place="syscalls.deny"))
    for names in policy.within:
        denied.update(calltable.call_numbers(arch).keys() - expand(sets, names, place=_WITHIN))
    rules = _rules_by_call(policy, sets)
    return {
        name: _verdict(
            name,
            rules.get(name, []),
            _default(policy, is_allowed=name in allowed, is_denied=name in denied),
            is_denied=name in denied,
        )
        for name in calltable.call_numbers(arch)
    }


def _check(policy: SyscallPolicy) -> None:
    if policy.foreign_abi.kind == "allow":
        raise PolicyError(
            "foreign_abi = allow would let every call of a 32-bit program through unchecked",
            hint='use "kill" or "errno:ENOSYS"',
            code="policy.filter",
            key="syscalls.foreign_abi",
        )
    unknown = sorted(policy.socket_families - SOCKET_FAMILIES.keys())
    if unknown:
        import difflib  # only on the way to an error

        near = difflib.get_close_matches(unknown[0], SOCKET_FAMILIES, n=1)
        raise PolicyError(
            f"syscalls.socket_families: no family is called {unknown[0]!r}",
            hint=f"did you mean {near[0]}?" if near else "families are unix, inet, inet6 …",
            code="policy.value",
            key="syscalls.socket_families",
            value=unknown[0],
        )


def _default(policy: SyscallPolicy, *, is_allowed: bool, is_denied: bool) -> Action:
    if is_allowed and not is_denied:
        return ALLOW
    if is_denied and policy.denied.kind == "allow":
        return Action("errno", errno.EPERM)  # a deny-list policy allows all but what it names
    return policy.denied


def _rules_by_call(policy: SyscallPolicy, sets: CallSets) -> dict[str, list[Clause | SyscallRule]]:
    """Return the clauses of each call in order; a rule without a condition stays a rule."""
    by_call: dict[str, list[Clause | SyscallRule]] = {}
    ordered = sorted(
        effective_rules(policy, sets), key=lambda rule: (_SEVERITY[rule.action.kind], rule.name)
    )
    first_errno = sum(rule.action.kind in ("kill", "trap") for rule in ordered)
    for index in range(len(ordered) + 1):
        if index == first_errno:
            families = _families_clause(policy)
            for name in _FAMILY_CALLS:
                by_call.setdefault(name, []).append(families)
        if index < len(ordered):
            rule = ordered[index]
            entry = _clause(rule) if rule.when else rule
            for name in sorted(expand(sets, rule.names, place=f"syscalls.rules.{rule.name}")):
                by_call.setdefault(name, []).append(entry)
    return by_call


def _clause(rule: SyscallRule) -> Clause:
    try:
        return Clause(parse_condition(rule.when), rule.action, rule.name)
    except PolicyError as error:
        raise PolicyError(
            f"{rule.origin}: rule {rule.name}: {error.message}",
            hint=error.hint,
            code=error.code,
            **error.fields,
        ) from error


def _families_clause(policy: SyscallPolicy) -> Clause:
    numbers = sorted(SOCKET_FAMILIES[name] for name in policy.socket_families)
    # An int in the kernel: only the low half counts. Without families no number matches.
    listed = Comparison(0, 32, 0xFFFFFFFF, "in", tuple(numbers))
    return Clause(Not(listed), Action("errno", errno.EAFNOSUPPORT), FAMILIES_RULE)


def _verdict(
    name: str, rules: list[Clause | SyscallRule], default: Action, *, is_denied: bool
) -> Verdict:
    clauses: list[Clause] = []
    source = ""
    for rule in rules:
        if rule.action.kind == "allow" and (is_denied or default.kind == "allow"):
            continue  # deny beats allow; and what is allowed needs no allowance
        if isinstance(rule, SyscallRule):
            default, source = rule.action, rule.name
            break
        clauses.append(rule)
    while clauses and clauses[-1].action == default:
        clauses.pop()
    return Verdict(name, tuple(clauses), default, source)
