"""tighter: the witnesses hold, and brute force finds nothing that was not named."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.errors import PolicyError
from sandbox.policy.judge import Court, judge, open_court, parse_call
from sandbox.policy.load import load_policy, parse_policy
from sandbox.policy.model import Policy
from sandbox.policy.syscalls import resolve_calls
from sandbox.policy.tighter import as_call, widenings
from support.policies import PATHS, arguments, policy_texts

RIGHTS = {"ro": "sr", "rw": "srwp", "tmpfs": "sw", "overlay": "srw"}
CORPUS = [*PATHS, *(f"{path}/file" for path in PATHS), "/", "/srv/x/y/z", "/elsewhere"]


def rights(policy: Policy, path: str) -> set[str]:
    """The rights at `path`, by the longest entry that holds it: a second opinion, on text."""
    best, found = -1, set()
    for rule in policy.filesystem.mounts:
        place = rule.path.text()
        if (path == place or path.startswith(place + "/")) and len(place) > best:
            best, found = len(place), {*RIGHTS[rule.mode], *("" if rule.is_noexec else "x")}
    for hide in policy.filesystem.hide:
        place = hide.path.text()
        if (path == place or path.startswith(place + "/")) and len(place) >= best:
            best, found = len(place), set()
    return found


def two(first: str, second: str) -> tuple[Policy, Policy] | None:
    """Both policies; None where one of the generated texts is refused for what it says."""
    try:
        policies = parse_policy(first.encode(), "a"), parse_policy(second.encode(), "b")
        for policy in policies:
            resolve_calls(policy.syscalls, "x86_64")
    except PolicyError:
        return None
    return policies


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(policy_texts(), policy_texts(), st.lists(arguments, min_size=4, max_size=12))
def test_brute_force_over_calls_paths_and_networks_agrees(
    first: str, second: str, tried: list[tuple[int, ...]]
) -> None:
    """What B allows and A does not, call by call and path by path, is named; nothing else is."""
    policies = two(first, second)
    if policies is None:
        return
    a, b = policies
    found = widenings(a, b)
    calls = {one.witness.partition(":")[0] for one in found if one.area == "calls"}
    had, has = resolve_calls(a.syscalls, "x86_64"), resolve_calls(b.syscalls, "x86_64")
    for name, verdict in has.items():
        for given_arguments in ((0,) * 6, *tried):
            passes = verdict.answer(given_arguments).kind == "allow"
            if passes and had[name].answer(given_arguments).kind != "allow":
                assert name in calls, (name, given_arguments)
    gained = [path for path in CORPUS if rights(b, path) - rights(a, path)]
    named = {one.witness for one in found if one.area == "paths"}
    for path in gained:
        assert any(path == one or path.startswith(one.rstrip("/") + "/") for one in named), path
    for one in named:
        assert rights(b, one) - rights(a, one), one
    is_wider = a.network.mode == "none" and b.network.mode == "host"
    assert any(one.key == "network.mode" for one in found) == is_wider


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(policy_texts(), policy_texts())
def test_each_witness_of_a_call_passes_in_b_and_not_in_a(first: str, second: str) -> None:
    """The compiled filters themselves answer the witness as the report says."""
    policies = two(first, second)
    if policies is None:
        return
    try:
        courts = [open_court(policy, "x86_64") for policy in policies]
    except PolicyError:  # a policy under which no command could run has no filter
        return
    for one in widenings(*policies):
        if one.area == "calls" and one.other == "allow" and one.base.startswith("errno"):
            if one.witness.partition(":")[0] not in courts[0].verdicts:
                continue  # a call that aarch64 alone has
            answers = [_answer(court, one.witness) for court in courts]
            assert (answers[0] != "allow", answers[1]) == (True, "allow"), one


def _answer(court: Court, witness: str) -> str:
    return judge(court, parse_call(witness, court.arch)).action.kind


@pytest.mark.parametrize(
    ("witness", "expected"),
    [
        ("read", "read"),
        ("socket(inet)", "socket:AF_INET"),
        ("ioctl(0, 0x5412)", "ioctl:0:0x5412"),
    ],
)
def test_witness_is_written_as_simulate_reads_it(witness: str, expected: str) -> None:
    """Anybody can try a witness."""
    assert as_call(witness) == expected


def test_widening_names_both_places() -> None:
    """A widening carries the line of each side."""
    found = widenings(load_policy("strict"), load_policy("default"))
    cwd = next(one for one in found if one.witness == "${CWD}")
    assert cwd.base_origin.startswith("strict.toml:")
    assert cwd.other_origin.startswith("default.toml:")
