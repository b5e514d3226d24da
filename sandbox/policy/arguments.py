"""Arguments that tell two sets of conditions apart: one value for every region they can see.

Conditions compare an argument, masked, with constants. Between two such constants nothing changes,
so the constants, their neighbours and the combinations of their masks stand for all 2^64 values.
"""

from __future__ import annotations

from itertools import product

from sandbox.policy.conditions import comparisons_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sandbox.policy.conditions import Comparison
    from sandbox.policy.verdicts import Verdict

_U64 = (1 << 64) - 1
_HIGH = 1 << 32  # set where the kernel reads an int and never looks
_PRODUCT_MAX = 60_000


def telling_arguments(verdicts: Iterable[Verdict]) -> Iterator[tuple[int, ...]]:
    """Yield sets of six arguments, one for each region that the conditions of a call tell apart.

    Shape: all combinations where they are at most 60,000; beyond that one argument varies at a
           time around the values of each condition.
    """
    tests = [
        test
        for verdict in verdicts
        for clause in verdict.clauses
        for test in comparisons_of(clause.condition)
    ]
    values = [_values([test for test in tests if test.argument == number]) for number in range(6)]
    size = 1
    for choices in values:
        size *= len(choices)
    if size <= _PRODUCT_MAX:
        yield from product(*values)
        return
    for base in product(*(choices[:2] for choices in values)):
        for number, choices in enumerate(values):
            for value in choices:
                yield (*base[:number], value, *base[number + 1 :])


def _values(tests: list[Comparison]) -> list[int]:
    """Return one value of an argument for each region that `tests` tell apart."""
    if not tests:
        return [0]
    found: dict[int, None] = {0: None}  # a set that keeps its order: constants come first
    wides = {test.width for test in tests}
    masks = {test.mask for test in tests if test.mask not in (_U64, _U64 >> 32)}
    for test in tests:
        for value in test.values:
            found.setdefault(value)
    for mask in masks:
        found.setdefault(mask)
        for other in masks:
            found.setdefault(mask & ~other & _U64)
            found.setdefault((mask | other) & _U64)
        for bit in range(64):
            if mask >> bit & 1:
                found.setdefault(1 << bit)
    for value in tuple(found):
        for near in (value + 1, value - 1):
            found.setdefault(near & _U64)
        if 64 in wides or masks:
            found.setdefault(value ^ _HIGH)
    found.setdefault(_U64)
    return list(found)
