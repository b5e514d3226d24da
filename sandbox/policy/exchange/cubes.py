"""A call's answers as a list of masked equalities that never overlap.

Profiles of other tools join tests by "and" within one entry, take each argument once, and leave
open which of two entries that match wins. So the answers of a call are cut into cubes, sets of
arguments given by `argument & mask == value`, each with one answer: exact, in any order.
"""

from __future__ import annotations

from sandbox.policy.conditions import comparisons_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.conditions import Comparison
    from sandbox.policy.syscall_model import Action
    from sandbox.policy.verdicts import Verdict

Test = tuple[int, int]  # mask, value
Cube = tuple[tuple[int, Test], ...]  # (argument, test), ascending
Answers = tuple[tuple[Cube, "Action"], ...]
_CUBES_MAX = 1024


def answers_of(verdict: Verdict) -> Answers | None:
    """Return the cubes of a call with the answer of each; None where they would be too many."""
    tests = [test for clause in verdict.clauses for test in comparisons_of(clause.condition)]
    cells: list[tuple[int, list[list[Test]]]] = []
    for number in sorted({test.argument for test in tests}):
        found = cells_of([test for test in tests if test.argument == number])
        if found is None:
            return None
        cells.append((number, found))
    result = _build(verdict, cells, [0] * 6)
    return result if result is not None and len(result) <= _CUBES_MAX else None


def _build(
    verdict: Verdict, cells: list[tuple[int, list[list[Test]]]], arguments: list[int]
) -> Answers | None:
    if not cells:
        return (((), verdict.answer(arguments)),)
    number, choices = cells[0]
    parts: list[tuple[list[Test], Answers]] = []
    for tests in choices:
        arguments[number] = tests[0][1]
        part = _build(verdict, cells[1:], arguments)
        if part is None:
            return None
        parts.append((tests, part))
    arguments[number] = 0
    if all(part == parts[0][1] for _, part in parts):
        return parts[0][1]  # this argument makes no difference here
    joined = tuple(
        (((number, test), *cube), action)
        for tests, part in parts
        for test in tests
        for cube, action in part
    )
    return joined if len(joined) <= 4 * _CUBES_MAX else None


def cells_of(tests: list[Comparison]) -> list[list[Test]] | None:
    """Return the regions of one argument that `tests` tell apart, each as masked equalities.

    Shape: together they are all 2^64 values; None where they would be too many.
    """
    by_mask: dict[int, list[Comparison]] = {}
    for test in tests:
        by_mask.setdefault(test.mask, []).append(test)
    cells: list[list[Test]] = [[(0, 0)]]
    for mask, group in by_mask.items():
        regions = _regions(mask, group)
        if regions is None:
            return None
        cells = [joined for cell in cells for region in regions if (joined := _meet(cell, region))]
        if sum(map(len, cells)) > 4 * _CUBES_MAX:
            return None
    return cells


def _meet(cell: list[Test], region: list[Test]) -> list[Test]:
    """Return the tests under which both hold."""
    return [
        (one[0] | two[0], one[1] | two[1])
        for one in cell
        for two in region
        if not (one[1] ^ two[1]) & one[0] & two[0]
    ]


def _regions(mask: int, group: list[Comparison]) -> list[list[Test]] | None:
    values = sorted({value for test in group for value in test.values if not value & ~mask})
    bits = [bit for bit in range(63, -1, -1) if mask >> bit & 1]
    if all(test.operator in ("==", "in") for test in group):
        rest = _outside(bits, values, 0, 0)
        return [[(mask, value)] for value in values] + ([rest] if rest else [])
    if mask & (mask + 1):
        return None  # an order over scattered bits
    points = sorted({value for test in group for value in test.values if value <= mask})
    regions = []
    start = 0
    for point in points:
        if start < point:
            regions.append(_range(start, point - 1, mask))
        regions.append([(mask, point)])
        start = point + 1
    if start <= mask:
        regions.append(_range(start, mask, mask))
    return regions


def _outside(bits: list[int], values: list[int], fixed: int, value: int) -> list[Test]:
    """Return tests for every value but `values`, by the first bit that differs."""
    if not values:
        return [(fixed, value)]
    if not bits:
        return []
    bit = 1 << bits[0]
    ones = [one for one in values if one & bit]
    zeros = [one for one in values if not one & bit]
    return [
        *_outside(bits[1:], zeros, fixed | bit, value),
        *_outside(bits[1:], ones, fixed | bit, value | bit),
    ]


def _range(low: int, high: int, mask: int) -> list[Test]:
    """Return tests for low <= value <= high: aligned blocks, as networks are written."""
    found = []
    while low <= high:
        size = low & -low or mask + 1
        while size > high - low + 1:
            size >>= 1
        found.append((mask & ~(size - 1), low))
        low += size
    return found
