"""The profile that container engines bring along, read from the disk of this machine."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from sandbox.cli.main import main
from sandbox.policy.arguments import telling_arguments
from sandbox.policy.calltable import call_numbers
from sandbox.policy.exchange.named import DOCKER_CAPABILITIES, named_policy
from sandbox.policy.exchange.oci_names import CAPABILITIES
from sandbox.policy.exchange.oci_read import Container
from sandbox.policy.exchange.report import LOOSER
from sandbox.policy.judge import answer, open_court
from sandbox.policy.syscall_model import Action
from support import oci

# Moby's form, with the conditions of its own default profile; podman and buildah load it.
PROFILE = Path("/usr/share/containers/seccomp.json")
PACKAGE = "golang-github-containers-common"
ARCHES = {"x86_64": ("amd64", "x86_64"), "aarch64": ("arm64", "aarch64")}
KINDS = {"allow": "SCMP_ACT_ALLOW", "kill": "SCMP_ACT_KILL_PROCESS", "trap": "SCMP_ACT_TRAP"}
FAMILIES_END = 46  # families beyond have no name, so an import refuses them, and says so


@pytest.fixture
def profile() -> dict[str, Any]:
    """The profile on the disk."""
    if not PROFILE.exists():
        pytest.skip(f"needs {PACKAGE}: {PROFILE} is not there")
    found: dict[str, Any] = json.loads(PROFILE.read_text())
    return found


def said(action: Action) -> tuple[str, int]:
    """An action in the words of a profile."""
    return KINDS.get(action.kind, "SCMP_ACT_ERRNO"), action.errno


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    "caps",
    [frozenset[str](), DOCKER_CAPABILITIES, frozenset({"SYS_ADMIN"}), frozenset(CAPABILITIES)],
    ids=["no-caps", "docker-caps", "sys-admin", "all-caps"],
)
def test_every_call_of_the_real_profile_is_answered_as_it_says(
    profile: dict[str, Any], arch: str, caps: frozenset[str]
) -> None:
    """Call by call, on every side of every test: what the engine's own reading comes to."""
    policy, losses = named_policy("docker", str(PROFILE), Container(arch, caps, (6, 1)))
    assert [loss for loss in losses if loss.effect == LOOSER] == []
    loaded = oci.as_loaded(profile, ARCHES[arch], caps, (6, 1))
    court = open_court(policy, arch)
    different = []
    for name in call_numbers(arch):
        for given in islice(telling_arguments([court.verdicts[name]]), 600):
            expected = oci.answer(loaded, name, given)
            if name in ("socket", "socketpair") and given[0] & 0xFFFFFFFF >= FAMILIES_END:
                continue
            if said(answer(court, name, given)) != expected:
                different.append((name, given, expected))
    assert different == []


def compared(capfd: pytest.CaptureFixture[str], *words: str) -> Any:
    """What `sandbox policy tighter WORDS --json` prints."""
    main(["policy", "tighter", *words, "--json"])
    return json.loads(capfd.readouterr().out)


@pytest.mark.usefixtures("profile")
def test_one_command_says_what_the_engine_would_have_allowed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Calls alone are compared, and each comes with both places."""
    found = compared(capfd, "strict", f"docker:{PROFILE}", "--caps", "docker")
    assert found["areas"] == ["calls"]
    witnesses = {one["witness"].partition(":")[0] for one in found["widenings"]}
    assert witnesses >= {"keyctl", "unshare", "ptrace", "clone3", "mount", "socket", "ioctl"}
    assert witnesses >= {"chroot"}  # by the capability that Docker gives
    assert "bpf" not in witnesses
    assert {one["other_origin"] for one in found["widenings"]} == {f"docker:{PROFILE}"}
    assert all(".toml:" in one["base_origin"] for one in found["widenings"])
    assert main(["policy", "tighter", "strict", f"docker:{PROFILE}"]) == 1
    out, err = capfd.readouterr()
    assert "calls alone are compared" in err
    assert "values:" not in out


@pytest.mark.usefixtures("profile")
def test_other_way_round_names_the_few_calls_that_are_newer(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """strict allows nothing that the profile refuses, but for a call that is younger than it."""
    found = compared(capfd, f"docker:{PROFILE}", "strict")
    assert {one["witness"] for one in found["widenings"]} <= {"fchmodat2"}


# ------------------------------------------------------------------ what moby's own file contains

START = {"names": ["execve", "exit_group", "write"], "action": "SCMP_ACT_ALLOW"}
SYS_ADMIN = frozenset({"SYS_ADMIN"})


def answers_of(
    tmp_path: Path, entries: list[dict[str, Any]], name: str, *given: int, **container: Any
) -> tuple[str, int]:
    """What an imported profile of these entries answers to a call."""
    path = tmp_path / "profile.json"
    data = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [{"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": None}],
        "syscalls": [START, *entries],
    }
    path.write_text(json.dumps(data))
    asked = Container(container.get("arch", "x86_64"), container.get("caps", frozenset()), (6, 1))
    policy, _ = named_policy("docker", str(path), asked)
    arguments = (*given, *(0,) * (6 - len(given)))
    return said(answer(open_court(policy, asked.arch), name, arguments))


def test_masked_test_without_a_second_value_means_no_bit(tmp_path: Path) -> None:
    """moby states clone's namespaces as a mask and nothing else."""
    test = {"index": 0, "value": 0x7E020000, "op": "SCMP_CMP_MASKED_EQ"}
    excludes = {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"]}
    clone = {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [test], "excludes": excludes}
    assert answers_of(tmp_path, [clone], "clone", 17)[0] == "SCMP_ACT_ALLOW"
    assert answers_of(tmp_path, [clone], "clone", 0x10000011) == ("SCMP_ACT_ERRNO", 1)
    assert answers_of(tmp_path, [clone], "clone", 17, caps=SYS_ADMIN)[0] == "SCMP_ACT_ERRNO"


def test_first_entry_without_tests_decides(tmp_path: Path) -> None:
    """As libseccomp loads it: later ones, and those with tests, have no effect."""
    allow = {"names": ["setns"], "action": "SCMP_ACT_ALLOW"}
    refuse = {"names": ["setns", "kcmp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}
    test = {"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}
    tested = {"names": ["setns"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9, "args": [test]}
    assert answers_of(tmp_path, [allow, refuse], "setns")[0] == "SCMP_ACT_ALLOW"
    assert answers_of(tmp_path, [allow, refuse], "kcmp") == ("SCMP_ACT_ERRNO", 13)
    assert answers_of(tmp_path, [refuse, allow], "setns") == ("SCMP_ACT_ERRNO", 13)
    assert answers_of(tmp_path, [tested, allow], "setns", 5)[0] == "SCMP_ACT_ALLOW"


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [({"errno": "EACCES"}, 13), ({"errno": "EACCES", "errnoRet": 38}, 38), ({"errno": ""}, 1)],
)
def test_errno_may_be_a_name(tmp_path: Path, numbers: dict[str, Any], expected: int) -> None:
    """containers/common states both; the number counts."""
    entry = {"names": ["mount"], "action": "SCMP_ACT_ERRNO", **numbers}
    path = tmp_path / "profile.json"
    data = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS", "syscalls": [START, entry]}
    path.write_text(json.dumps(data))
    policy, _ = named_policy("docker", str(path), Container("x86_64", frozenset(), (6, 1)))
    court = open_court(policy, "x86_64")
    assert answer(court, "mount", (0,) * 6).errno == expected
    assert answer(court, "kcmp", (0,) * 6).errno == 38
