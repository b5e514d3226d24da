"""The order of filters: which call, with which arguments, one policy lets through and one does not.

A call passes where none of its refusing clauses holds and either its default or one of its allowing
clauses lets it through (verdicts.py puts refusals first). So `other` is at most `base` where each
refusal of `base` implies one of `other`, and each allowance of `other` implies one of `base`. What
that cannot show is decided by one set of arguments for each combination of regions that conditions
can tell apart (cubes.py). Where those are too many, arguments around every constant of both are
tried, and a call for which nothing works out counts as a widening.
"""

from __future__ import annotations

from itertools import islice, product

from sandbox.policy import calltable
from sandbox.policy.condition_names import SOCKET_FAMILIES
from sandbox.policy.conditions import (
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    Not,
    comparisons_of,
    holds,
)
from sandbox.policy.exchange.cubes import cells_of
from sandbox.policy.verdicts import FAMILIES_RULE, Verdict, resolve_calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.policy.model import Policy

_VECTORS_MAX = 20_000
_FULL = (1 << 64) - 1

Item = tuple[str, str, str, str]


def call_widenings(base: Policy, other: Policy) -> list[Item]:
    """Return (key, witness, base, other) for each call that `other` lets through beyond `base`."""
    if base.syscalls == other.syscalls:
        return []
    found: dict[str, Item] = {}
    for arch in calltable.ARCHES:
        had, has = resolve_calls(base.syscalls, arch), resolve_calls(other.syscalls, arch)
        for name, verdict in has.items():
            item = _widening(had[name], verdict) if name not in found else None
            if item is not None:
                found[name] = item
    return [found[name] for name in sorted(found)]


def _widening(base: Verdict, other: Verdict) -> Item | None:
    if base == other or not _may_pass(other):
        return None
    if base.default.kind == "allow" and not base.clauses:
        return None
    if not _may_pass(base):
        return _item(base, other, None)
    if _is_shown(base, other):
        return None
    regions = _regions(base, other)
    for vector in _vectors(base, other) if regions is None else product(*regions):
        if other.answer(vector).kind == "allow" and base.answer(vector).kind != "allow":
            return _item(base, other, vector)
    if regions is not None:
        return None
    return f"syscalls.{base.name}", base.name, "cannot be shown to allow as much", "allow"


def _may_pass(verdict: Verdict) -> bool:
    return verdict.default.kind == "allow" or any(
        clause.action.kind == "allow" for clause in verdict.clauses
    )


def _item(base: Verdict, other: Verdict, vector: tuple[int, ...] | None) -> Item:
    """Word the widening: the rule of `base` that refuses, and the call with its arguments."""
    arguments = vector or (0,) * 6
    rule = next(
        (clause.rule for clause in base.clauses if holds(clause.condition, arguments)), base.rule
    )
    action = str(base.answer(arguments))
    if vector is None:
        key = f"syscalls.rules.{base.rule}" if base.rule else "syscalls.allow"
        uses = "" if other.default.kind == "allow" and not other.clauses else " (some uses)"
        return key, base.name, str(base.default), f"allow{uses}"
    if rule == FAMILIES_RULE:
        family = {number: name for name, number in SOCKET_FAMILIES.items()}.get(
            arguments[0] & 0xFFFFFFFF, hex(arguments[0])
        )
        return "syscalls.socket_families", f"{base.name}({family})", action, "allow"
    used = max((test.argument for test in _tests(base, other)), default=0)
    shown = ", ".join(hex(value) if value > 9 else str(value) for value in arguments[: used + 1])
    key = f"syscalls.rules.{rule}" if rule else "syscalls.allow"
    return key, f"{base.name}({shown})", action, "allow"


def _is_shown(base: Verdict, other: Verdict) -> bool:
    """Say whether implication of clauses alone shows that `other` passes at most what `base` does.

    Shape: sufficient, not necessary.
    """
    refused, allowed = _split(base)
    other_refused, other_allowed = _split(other)
    if not all(any(_implies(one, two) for two in other_refused) for one in refused):
        return False
    if base.default.kind == "allow":
        return True
    return other.default.kind != "allow" and all(
        any(_implies(one, two) for two in allowed) for one in other_allowed
    )


def _split(verdict: Verdict) -> tuple[list[Condition], list[Condition]]:
    refused = [item.condition for item in verdict.clauses if item.action.kind != "allow"]
    return refused, [item.condition for item in verdict.clauses if item.action.kind == "allow"]


def _implies(one: Condition, two: Condition) -> bool:
    """Say whether `two` holds wherever `one` does, as far as their form shows."""
    if one == two:
        return True
    if isinstance(two, AllOf):
        return all(_implies(one, item) for item in two.items)
    if isinstance(one, AnyOf):
        return all(_implies(item, two) for item in one.items)
    if isinstance(one, AllOf) and any(_implies(item, two) for item in one.items):
        return True
    if isinstance(two, AnyOf):
        return any(_implies(one, item) for item in two.items)
    if isinstance(one, Not) and isinstance(two, Not):
        return _implies(two.item, one.item)
    if isinstance(one, Comparison):
        return _comparison_implies(one, two)
    return False


def _comparison_implies(one: Comparison, two: Condition) -> bool:
    test = two.item if isinstance(two, Not) else two
    if not isinstance(test, Comparison) or (one.argument, one.mask) != (test.argument, test.mask):
        return False
    if one.operator not in ("==", "in"):
        return False
    arguments = [0] * 6
    results = []
    for value in one.values:  # the one thing that decides is the masked value itself
        arguments[one.argument] = value
        results.append(value & one.mask != value or holds(two, arguments))
    return all(results)


def _tests(base: Verdict, other: Verdict) -> list[Comparison]:
    return [
        test
        for verdict in (base, other)
        for clause in verdict.clauses
        for test in comparisons_of(clause.condition)
    ]


def _regions(base: Verdict, other: Verdict) -> list[list[int]] | None:
    """Return for each argument one value of every kind that the conditions of both tell apart.

    Shape: all combinations of them stand for all calls; None where they would be too many.
    """
    tests = _tests(base, other)
    values: list[list[int]] = []
    size = 1
    for number in range(6):
        own = [test for test in tests if test.argument == number]
        cells = cells_of(own)
        if cells is None:
            return None
        kinds: dict[tuple[bool, ...], int] = {}
        arguments = [0] * 6
        for cell in cells:  # every value of a cell is judged alike: its first stands for it
            arguments[number] = cell[0][1]
            kinds.setdefault(tuple(holds(test, arguments) for test in own), cell[0][1])
        values.append(list(kinds.values()))
        size *= len(kinds)
    return values if size <= _VECTORS_MAX else None


def _vectors(base: Verdict, other: Verdict) -> Iterator[tuple[int, ...]]:
    """Yield arguments around every constant that either verdict compares with."""
    values: list[list[int]] = [[0] for _ in range(6)]
    for test in _tests(base, other):
        values[test.argument] += _around(test)
    choices = [sorted(set(options)) for options in values]
    return islice(product(*choices), _VECTORS_MAX)


def _around(test: Comparison) -> list[int]:
    found = [test.mask, _FULL, ~test.mask & _FULL, test.mask & -test.mask]
    for value in test.values:
        found += [value, value + 1, value - 1, value ^ (test.mask & -test.mask)]
        found.append(value | (1 << 32))  # differs for tests of 64 bits alone
    return [value & _FULL for value in found]
