"""Every row of the catalogue under each policy: controls first, then the sandbox, then a verdict.

Ids are the catalogue's: `pytest tests/security -k S05`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable

import pytest
from security import vacuous
from security.catalogue import ROWS
from security.catalogue.model import POLICIES, Row
from security.conftest import RunInside
from security.controls import Controls
from security.places import Places
from security.verdict import BROKEN, HELD, VACUOUS, Verdict, judge

import sandbox._core

CHECKS = [
    pytest.param(row, policy, id=f"{row.id}-{policy}")
    for row in ROWS
    for policy in POLICIES
    if row.expected(policy) is not None and platform.machine() in row.machines
]
ROOT_CHECKS = [
    pytest.param(row, policy, id=f"{row.id}-{policy}-root")
    for row in ROWS
    for policy in POLICIES
    if row.is_for_root_caller and row.expected(policy) and platform.machine() in row.machines
]


def _not_refused(row: Row) -> frozenset[str]:
    abi = sandbox._core.lib.sbx_landlock_abi()
    return frozenset(name for name, since in row.since_abi.items() if abi < since)


def _verdict(
    row: Row, policy: str, places: Places, controls: Controls, run: RunInside, *, has_root: bool
) -> Verdict:
    missing = places.why_missing(row.args_for(policy))
    if missing is not None:
        return Verdict(VACUOUS, frozenset(), (missing,))
    outside = controls.of(row, policy, has_root=has_root)
    expected = row.expected(policy)
    assert expected is not None
    return judge(expected, outside, run(row, policy), not_refused=_not_refused(row))


def _check(row: Row, verdict: Verdict) -> None:
    assert verdict.kind != BROKEN, "; ".join(verdict.reasons)
    if verdict.kind == VACUOUS:
        assert row.id in vacuous.REASONS, f"vacuous: {'; '.join(verdict.reasons)}"
        return
    assert verdict.kind == HELD
    assert verdict.live


@pytest.mark.parametrize(("row", "policy"), CHECKS)
def test_probe(
    row: Row,
    policy: str,
    places: Places,
    controls: Controls,
    inside: RunInside,
    record_verdict: Callable[[str, str], None],
) -> None:
    """The attempt works without a sandbox and is refused inside as the policy states."""
    verdict = _verdict(row, policy, places, controls, inside, has_root=False)
    record_verdict(f"{row.id}-{policy}", verdict.kind)
    _check(row, verdict)


@pytest.mark.as_root
@pytest.mark.parametrize(("row", "policy"), ROOT_CHECKS)
def test_probe_of_root_caller(
    row: Row,
    policy: str,
    places: Places,
    controls: Controls,
    inside_as_root: RunInside,
    record_verdict: Callable[[str, str], None],
) -> None:
    """The same holds where the caller is root: the sandbox gains nothing from it."""
    verdict = _verdict(row, policy, places, controls, inside_as_root, has_root=True)
    record_verdict(f"{row.id}-{policy}-root", verdict.kind)
    _check(row, verdict)
