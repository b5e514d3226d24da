"""The catalogue itself: complete, unique, and in step with the native program."""

from __future__ import annotations

import subprocess
from pathlib import Path

from security import vacuous
from security.catalogue import BY_ID, ROWS
from security.places import Places

# probed natively, but judged in a test of their own: they need a terminal or inherited descriptors
ELSEWHERE = frozenset({"S11", "N13", "F10", "X01"})
# simulated over every architecture and number, not over single calls
FOREIGN = frozenset({"S01", "S02"})


def test_catalogue_has_unique_ids_of_every_group() -> None:
    """No id stands twice, and no group of the first order of work is missing."""
    assert len(BY_ID) == len(ROWS)
    assert {row.id[0] for row in ROWS} == set("SNFPKX")
    assert len(ROWS) >= 30


def test_catalogue_and_program_have_the_same_probes(places: Places) -> None:
    """Every row has its native probe, and every native probe has a test."""
    done = subprocess.run([places.probe, "--list"], capture_output=True, timeout=20, check=True)
    listed = {line.split("\t")[0] for line in done.stdout.decode().splitlines()}
    assert listed == set(BY_ID) | ELSEWHERE


def test_catalogue_gives_every_row_its_layers_and_source() -> None:
    """A row says what holds it, how much it matters and where the idea is from."""
    for row in ROWS:
        assert row.layers, row.id
        assert row.source, row.id
        assert row.severity in {"critical", "high", "medium", "low"}, row.id
        assert row.strict is not None or row.default is not None, row.id


def test_catalogue_lists_vacuous_checks_with_reasons() -> None:
    """What may be vacuous is a known row, and a call among them is held by the simulated filter."""
    for identifier, reason in vacuous.REASONS.items():
        row = BY_ID[identifier]
        assert reason
        if "seccomp" in row.layers:
            assert row.calls or row.id in FOREIGN


def test_tests_elsewhere_name_their_ids() -> None:
    """Ids that are probed elsewhere stand in the name of a test."""
    texts = "".join(
        path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")
    )
    for identifier in ELSEWHERE | {"N08", "X03", "X05", "X10"}:
        assert f"def test_{identifier.lower()}_" in texts, identifier
