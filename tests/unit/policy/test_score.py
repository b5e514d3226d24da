from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.errors import PolicyError
from sandbox.policy.kernel_surface import NARROWED, SURFACE
from sandbox.policy.load import load_policy
from sandbox.policy.score import LAYERS, score, score_without
from sandbox.policy.score_data import Bug, BugList, read_bug_lists

OPEN = Bug("A", configuration=("CONFIG_UNIX",))
URING = Bug("B", attack_surface=("io_uring",), configuration=("CONFIG_IO_URING",))
TABLES = Bug(
    "C",
    attack_surface=("userns",),
    capabilities=("CAP_NET_ADMIN",),
    configuration=("CONFIG_NF_TABLES",),
)
TLS = Bug("D", configuration=("CONFIG_TLS",))
NEW = Bug("E", configuration=("CONFIG_OF_NO_TABLE",))
KEYS = Bug("F", calls=("keyctl",))
PACKET = Bug("CVE-2017-7308", calls=("setsockopt",))
LISTS = (BugList("test", "", (OPEN, URING, TABLES, TLS, NEW, KEYS, PACKET)),)


def states(name: str, without: str = "") -> dict[str, str]:
    """The state of each bug under a shipped policy."""
    policy = load_policy(name)
    found = (
        score_without(without, policy, LISTS, "x86_64")
        if without
        else score(policy, LISTS, "x86_64")
    )
    return {one.cve: one.state for one in found[0].verdicts}


def test_strict_refuses_by_record_and_by_table() -> None:
    """A record's own requirement is told from what the project's table says of the code."""
    assert states("strict") == {
        "A": "reachable",
        "B": "declared",
        "C": "declared",
        "D": "conditional",
        "E": "reachable",
        "F": "declared",
        "CVE-2017-7308": "conditional",
    }


@pytest.mark.parametrize(
    ("layer", "opened"),
    [
        ("filter", {"B", "D", "F"}),
        ("deny list", {"B", "F"}),
        ("socket families", set()),
        ("capabilities", set()),
        ("nested namespaces", set()),
    ],
)
def test_each_layer_off_opens_what_it_alone_holds(layer: str, opened: set[str]) -> None:
    """Walls overlap: most bugs need two of them gone."""
    before, after = states("strict"), states("strict", layer)
    assert {cve for cve in before if before[cve] != "reachable" == after[cve]} == opened
    assert layer in LAYERS


def test_table_has_reasons_and_known_calls() -> None:
    """Every way names calls of the table, with all its arguments in range, and says why."""
    from sandbox.policy.calltable import is_call_name

    for ways in (*SURFACE.values(), *NARROWED.values()):
        for way in ways:
            assert way.why
            for name, given in way.calls:
                assert is_call_name(name)
                assert len(given) <= 6


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[]", "an object of lists"),
        ("{}", "at least one list"),
        ('{"l": {"rows": 3}}', "$.l.rows"),
        ('{"l": {"rows": [{"cve": 3}]}}', "$.l.rows[0]"),
        ('{"l": {"rows": [{"cve": "C", "syscalls": "read"}]}}', "$.l.rows[0].syscalls"),
        (
            '{"l": {"rows": [{"cve": "C", "syscalls": ["a"], "attack_surface": ["x"]}]}}',
            "$.l.rows[0].attack_surface",
        ),
        ('{"l": {"rows": [', "line 1"),
    ],
)
def test_bad_data_is_refused_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    """A file of another form says where it differs."""
    path = tmp_path / "data.json"
    path.write_text(text)
    with pytest.raises(PolicyError) as error:
        read_bug_lists(str(path))
    assert place in error.value.message


def test_lists_without_requirements_are_passed_over(tmp_path: Path) -> None:
    """A list of another sandbox's record says nothing about calls."""
    path = tmp_path / "data.json"
    data = {
        "about": "x",
        "a": {"rows": [{"cve": "C", "exploitable": False}]},
        "b": {"rows": [{"cve": "C", "syscalls": ["read"]}]},
    }
    path.write_text(json.dumps(data))
    assert [one.name for one in read_bug_lists(str(path))] == ["b"]


def test_strict_keeps_known_bugs_out_of_reach(kernel_cves: Path) -> None:
    """77 of 79 kernelCTF bugs and 22 of 29 mapped ones, as the project promises."""
    lists = read_bug_lists(str(kernel_cves))
    found = {one.name: one for one in score(load_policy("strict"), lists, "x86_64")}
    assert len(found["kernelctf"].verdicts) == 79
    assert found["kernelctf"].out_of_reach >= 77
    assert len(found["cve_to_syscall"].verdicts) == 29
    assert found["cve_to_syscall"].out_of_reach >= 22


def test_table_has_every_symbol_of_the_list(kernel_cves: Path) -> None:
    """No record counts as reachable merely because nobody has reviewed its symbol."""
    symbols = {
        symbol
        for one in read_bug_lists(str(kernel_cves))
        for bug in one.bugs
        for symbol in bug.configuration
    }
    assert symbols - set(SURFACE) == set()
