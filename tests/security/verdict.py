"""From answers to a verdict: HELD, BROKEN or VACUOUS. Pure.

HELD needs a live control: an attempt that succeeded without a sandbox and that the policy refuses.
Every attempt, live or not, must get an outcome that the policy states; any other is BROKEN, also a
refusal for another reason. Without a live control the verdict is VACUOUS, never HELD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from security.answers import OK, Answer
from security.catalogue.model import Expected

HELD = "HELD"
BROKEN = "BROKEN"
VACUOUS = "VACUOUS"


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check.

    Shape: `live` are the attempts that a control showed to work and the sandbox refuses; `reasons`
    say what is wrong, or why nothing is said.
    """

    kind: str
    live: frozenset[str]
    reasons: tuple[str, ...] = ()


def judge(
    expected: Expected,
    controls: Sequence[Answer],
    inside: Answer,
    *,
    not_refused: frozenset[str] = frozenset(),
) -> Verdict:
    """Return the verdict on one check.

    Shape: `not_refused` are attempts about which the policy says nothing on this kernel.
    """
    wrong = [*_wrong_parts(expected, inside, not_refused), *_wrong_works(expected, inside)]
    refused = {
        name
        for name in inside.parts
        if name not in not_refused and OK not in outcomes_of(expected, name)
    }
    reached = frozenset[str]().union(*(control.reached() for control in controls))
    live = frozenset(refused & reached)
    if wrong:
        return Verdict(BROKEN, live, tuple(wrong))
    if not live:
        return Verdict(VACUOUS, live, ("no control succeeds",))
    return Verdict(HELD, live)


def outcomes_of(expected: Expected, name: str) -> tuple[str, ...]:
    """Return the outcomes that `expected` allows for the attempt `name`."""
    return tuple(expected.get(name, expected.get("*", "")).split("|"))


def _wrong_parts(expected: Expected, inside: Answer, not_refused: frozenset[str]) -> list[str]:
    return [
        f"{name}: {outcome}, the policy states {' or '.join(outcomes_of(expected, name))}"
        for name, outcome in inside.parts.items()
        if name not in not_refused and outcome not in outcomes_of(expected, name)
    ]


def _wrong_works(expected: Expected, inside: Answer) -> list[str]:
    return [
        f"{name} must work: {outcome}, not {expected.get('works:' + name, OK)}"
        for name, outcome in inside.works.items()
        if outcome != expected.get("works:" + name, OK)
    ]
