"""policies/syscalls.toml: every name exists, every call and rule has its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.errors import PolicyError
from sandbox.policy import call_sets, calltable
from sandbox.policy.call_sets import expand, find_set, load_sets
from sandbox.policy.conditions import parse_condition
from sandbox.policy.syscall_model import SyscallRule

SETS = load_sets()
NAMES = [name for name, _ in SETS.sets]
# The groups that policies of systemd units name, as far as x86-64 and aarch64 have their calls.
OF_SYSTEMD = [
    "@aio",
    "@basic-io",
    "@chown",
    "@clock",
    "@cpu-emulation",
    "@debug",
    "@file-system",
    "@io-event",
    "@ipc",
    "@keyring",
    "@memlock",
    "@module",
    "@mount",
    "@network-io",
    "@obsolete",
    "@pkey",
    "@privileged",
    "@process",
    "@raw-io",
    "@reboot",
    "@resources",
    "@sandbox",
    "@setuid",
    "@signal",
    "@swap",
    "@sync",
    "@timer",
]


@pytest.mark.parametrize("name", NAMES)
def test_each_call_of_a_set_exists_and_has_a_reason(name: str) -> None:
    """No allowance without a why; no name that no architecture knows."""
    reasons = find_set(SETS, name).reasons
    assert [call for call, why in reasons if not why.strip()] == []
    assert [call for call, _ in reasons if not calltable.is_call_name(call)] == []


def test_each_set_is_in_the_next() -> None:
    """tiny is part of strict, and strict of default."""
    tiny, strict, default = (expand(SETS, [name], place="test") for name in NAMES)
    assert tiny < strict < default


@pytest.mark.parametrize("name", [group for group, _ in SETS.groups])
def test_each_group_expands_to_calls(name: str) -> None:
    """Groups name calls and groups that exist."""
    calls = expand(SETS, [name], place="test")
    assert calls
    assert all(calltable.is_call_name(call) for call in calls)


def test_groups_are_named_as_in_systemd() -> None:
    """Unit lines map to policies one to one."""
    assert set(OF_SYSTEMD) <= dict(SETS.groups).keys()


@pytest.mark.parametrize("rule", SETS.rules, ids=lambda rule: rule.name)
def test_each_shipped_rule_is_used_parses_and_says_why(rule: SyscallRule) -> None:
    """A rule that no set names would protect nobody; its place is its line in the file."""
    if rule.when:
        parse_condition(rule.when)
    lines = Path(call_sets.sets_path()).read_text(encoding="utf-8").splitlines()
    file, _, line = rule.origin.partition(":")
    assert (file, lines[int(line) - 1]) == ("syscalls.toml", f"[rules.{rule.name}]")
    assert rule.why
    assert any(rule.name in entry.rules for _, entry in SETS.sets)
    assert expand(SETS, rule.names, place=rule.name)


@pytest.mark.parametrize("name", NAMES)
def test_each_rule_of_a_set_exists(name: str) -> None:
    """A set names only rules that are stated."""
    assert set(find_set(SETS, name).rules) <= {rule.name for rule in SETS.rules}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file"),
        ("schema = ", "Invalid value"),
        ("schema = 1", "groups"),
        ('[groups]\n[rules.r]\nnames = "read"\n[sets]', "action"),
    ],
)
def test_broken_file_says_what_to_do(
    text: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing or damaged file is an error of the installation."""
    if text is not None:
        (tmp_path / "syscalls.toml").write_text(text)
    monkeypatch.setattr(call_sets, "shipped_dir", lambda: str(tmp_path))
    with pytest.raises(PolicyError) as caught:
        load_sets()
    assert said in caught.value.message
    assert caught.value.hint == "install the package again"
