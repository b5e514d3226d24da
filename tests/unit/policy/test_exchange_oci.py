"""Docker, OCI and Kubernetes profiles: in, out, and round."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.errors import PolicyError
from sandbox.policy.exchange.convert import export_text, import_bytes
from sandbox.policy.exchange.oci_read import Container
from sandbox.policy.exchange.report import LOOSER, Result
from sandbox.policy.load import load_policy, parse_policy
from sandbox.policy.model import Policy
from sandbox.policy.syscall_model import Action
from sandbox.policy.syscalls import resolve_calls
from support import oci
from support.policies import arguments, policy_texts

PLAIN = Container("x86_64", frozenset(), (6, 1))
KINDS = {"allow": "SCMP_ACT_ALLOW", "kill": "SCMP_ACT_KILL_PROCESS", "trap": "SCMP_ACT_TRAP"}


def imported(profile: Any, form: str = "docker", container: Container = PLAIN) -> Result:
    """The result of importing JSON data."""
    return import_bytes(json.dumps(profile).encode(), "profile.json", form, container)


def policy_from(result: Result) -> Policy:
    """The policy that an import comes to."""
    return parse_policy(result.text.encode(), "imported")


def said(action: Action) -> tuple[str, int]:
    """An action in the words of a profile."""
    return KINDS.get(action.kind, "SCMP_ACT_ERRNO"), action.errno


def model(policy: Policy, name: str, given_arguments: tuple[int, ...]) -> tuple[str, int]:
    """What the policy answers, in the words of a profile."""
    return said(resolve_calls(policy.syscalls, "x86_64")[name].answer(given_arguments))


def is_named(result: Result, name: str) -> bool:
    """Whether the report names the call."""
    return any(name in loss.calls for loss in result.losses)


TRIED = st.lists(arguments, min_size=3, max_size=10)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(oci.profiles(), TRIED)
def test_import_answers_as_the_profile_does(
    profile: dict[str, Any], tried: list[tuple[int, ...]]
) -> None:
    """Call by call and argument by argument; what differs is named, and never looser."""
    result = imported(profile)
    verdicts = resolve_calls(policy_from(result).syscalls, "x86_64")
    for name in (*oci.NAMES, "execve", "getpid"):
        for given_arguments in ((0,) * 6, *tried):
            expected = oci.answer(profile, name, given_arguments)
            found = said(verdicts[name].answer(given_arguments))
            if name == "socket" and given_arguments[0] & 0xFFFFFFFF > 45:
                assert found[0] != "SCMP_ACT_ALLOW"  # named: families of no name
            else:
                assert found == expected or is_named(result, name), name
                assert oci.strictness(found) <= oci.strictness(expected)


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(policy_texts(), TRIED)
def test_export_answers_as_the_policy_does(text: str, tried: list[tuple[int, ...]]) -> None:
    """What the profile answers otherwise is named, and it lets nothing more pass."""
    try:
        policy = parse_policy(text.encode(), "generated")
        result = export_text(policy, "docker", "x86_64")
    except PolicyError:
        return
    profile = json.loads(result.text)
    assert not result.is_looser
    for name, verdict in resolve_calls(policy.syscalls, "x86_64").items():
        for given_arguments in ((0,) * 6, *tried) if verdict.clauses else ((0,) * 6,):
            expected = said(verdict.answer(given_arguments))
            found = oci.answer(profile, name, given_arguments)
            assert found == expected or is_named(result, name), (name, given_arguments)
            if found[0] == "SCMP_ACT_ALLOW":
                assert expected[0] == "SCMP_ACT_ALLOW", (name, given_arguments)


@pytest.mark.parametrize(
    ("name", "form"),
    [("strict", "docker"), ("tiny", "oci"), ("strict", "kubernetes"), ("default", "docker")],
)
def test_round_trip_of_shipped_policies_loses_only_what_it_names(name: str, form: str) -> None:
    """Out and in again: the same calls pass, with the same arguments; other answers are named."""
    policy = load_policy(name)
    out = export_text(policy, form, "x86_64")
    back = imported(json.loads(out.text), form)
    again = policy_from(back)
    before = resolve_calls(policy.syscalls, "x86_64")
    after = resolve_calls(again.syscalls, "x86_64")
    from sandbox.policy.arguments import telling_arguments

    for call, verdict in before.items():
        for given_arguments in telling_arguments((verdict,)):
            one, two = verdict.answer(given_arguments), after[call].answer(given_arguments)
            assert (one.kind == "allow") == (two.kind == "allow"), (call, given_arguments)
            assert one == two or is_named(out, call), (call, given_arguments)
    assert (out.is_looser, back.is_looser) == (False, False)


def test_moby_conditions_depend_on_the_container() -> None:
    """includes and excludes are weighed against capabilities, architecture and kernel."""
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        ],
        "syscalls": [
            {"names": ["read", "execve", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {
                "names": ["mount"],
                "action": "SCMP_ACT_ALLOW",
                "includes": {"caps": ["CAP_SYS_ADMIN"]},
            },
            {
                "names": ["arch_prctl"],
                "action": "SCMP_ACT_ALLOW",
                "includes": {"arches": ["amd64"]},
            },
            {
                "names": ["clone3"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 38,
                "excludes": {"caps": ["CAP_SYS_ADMIN"]},
            },
        ],
    }
    none = (0,) * 6
    policy = policy_from(imported(profile))
    assert model(policy, "mount", none) == ("SCMP_ACT_ERRNO", 1)
    assert model(policy, "ptrace", none)[0] == "SCMP_ACT_ALLOW"
    assert model(policy, "clone3", none) == ("SCMP_ACT_ERRNO", 38)
    admin = Container("x86_64", frozenset({"SYS_ADMIN"}), (4, 4))
    policy = policy_from(imported(profile, container=admin))
    assert model(policy, "mount", none)[0] == "SCMP_ACT_ALLOW"
    assert model(policy, "ptrace", none)[0] == "SCMP_ACT_ERRNO"
    assert model(policy, "clone3", none) == ("SCMP_ACT_ERRNO", 1)


def test_config_json_is_found_out() -> None:
    """A whole OCI config.json gives its linux.seccomp."""
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}
    result = imported({"ociVersion": "1.2.0", "linux": {"seccomp": profile}}, "oci")
    assert any(loss.what == "SECCOMP_FILTER_FLAG_LOG" for loss in result.losses)
    assert model(policy_from(result), "mount", (0,) * 6)[0] == "SCMP_ACT_ALLOW"


def test_unknown_call_that_a_deny_list_would_allow_is_looser() -> None:
    """An export whose default lets new calls pass says so and is looser."""
    text = 'schema = 1\n[syscalls]\nallow = ["execve"]\ndenied = "allow"\ndeny = ["@mount"]\n'
    result = export_text(parse_policy(text.encode(), "p"), "docker", "x86_64")
    assert [loss.what for loss in result.losses if loss.effect == LOOSER] == ["syscalls.unknown"]


ENTRY = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}


def profile_with(**changes: Any) -> dict[str, Any]:
    """A profile of one entry, with parts of the entry replaced."""
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{**ENTRY, **changes}]}


@pytest.mark.parametrize(
    ("profile", "place"),
    [
        ([], "$: expected an object, got an array"),
        ({}, "$: it has no defaultAction"),
        ({"defaultAction": 3}, "$.defaultAction: expected a string, got a number"),
        ({"defaultAction": "SCMP_ACT_MAYBE"}, "$.defaultAction: no action is called"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 9999}, "$.defaultErrnoRet: 9999"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": {}}, "$.syscalls: expected an array"),
        ({"defaultAction": "SCMP_ACT_ERRNO"}, "allows no call"),
        (profile_with(names=[]), "$.syscalls[0].names: an entry without a call"),
        (profile_with(names=[1]), "$.syscalls[0].names[0]: expected a string"),
        (profile_with(action=None), "$.syscalls[0].action: expected a string, got nothing"),
        (profile_with(args=[{"index": 6}]), "$.syscalls[0].args[0].index: 6"),
        (profile_with(args=[{"index": True}]), "args[0].index: expected a number"),
        (profile_with(args=[{"index": 0, "value": -1}]), "args[0].value: -1"),
        (profile_with(args=[{"index": 0, "value": 1 << 64}]), "args[0].value: 1844"),
        (profile_with(args=[{"index": 0, "value": 1, "op": "=="}]), "args[0].op: no operator"),
        (profile_with(includes=[]), ""),
        (profile_with(includes={"minKernel": "new"}), "includes.minKernel: expected a version"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "flags": ["X"]}, "$.flags[0]: no flag"),
    ],
)
def test_wrong_profile_is_refused_with_its_place(profile: Any, place: str) -> None:
    """Types, ranges and names are checked; the message says where."""
    if not place:
        imported(profile)
        return
    with pytest.raises(PolicyError) as error:
        imported(profile)
    assert place in error.value.message
    assert error.value.code == "policy.import"
