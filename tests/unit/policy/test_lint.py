from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.policy.lint import lint
from sandbox.policy.load import load_policy
from sandbox.policy.model import Policy

RULE = '[syscalls.rules.x]\nnames = ["{}"]\nwhen = "{}"\naction = "{}"\nwhy = "w"'


@pytest.mark.parametrize("name", ["strict", "default", "tiny", "build", "offline"])
def test_shipped_policies_are_clean(name: str) -> None:
    """What ships has neither errors nor warnings."""
    assert lint(load_policy(name, is_base=False)) == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('syscalls.allow = ["bpf"]', "dangerous-call"),
        ('syscalls.allow = ["@mount"]', "dangerous-call"),
        ('syscalls.allow = ["acct"]\nsyscalls.deny = ["@privileged"]', "unreachable"),
        ('syscalls.allow = ["read"]', "redundant"),
        (RULE.format("kill", "arg1 != 1 or arg1 != 2", "errno:EPERM"), "always-true"),
        (RULE.format("kill", "arg1 == 1 and arg1 == 2", "errno:EPERM"), "never-true"),
        (RULE.format("kill", "arg1 & 0x3 == 4", "errno:EPERM"), "never-true"),
        (RULE.format("ioctl", "arg1 == TIOCSTI", "errno:EPERM"), "wide-int"),
        (
            'filesystem.hide = ["/srv"]\nfilesystem.mounts = [{ path = "/srv", mode = "ro" }]',
            "unreachable",
        ),
        (
            'filesystem.protect = ["@credentials"]\n'
            'filesystem.mounts = [{ path = "${HOME}/.ssh", mode = "ro" }]',
            "above-protected",
        ),
        ("isolation.nested_userns = true", "nested-userns"),
        ('isolation.seccomp = "off"', "no-filter"),
        ('summary = "Unknown code"\nisolation.landlock.fs = "prefer"', "prefer-in-strict"),
    ],
)
def test_mistake_is_found_at_its_line(
    policy_of: Callable[..., Policy], text: str, code: str
) -> None:
    """Each kind of finding has a policy that shows it, with the place of the line."""
    found = [one for one in lint(policy_of(text)) if one.code == code]
    assert found
    assert found[0].origin.startswith("test.toml:")
    assert found[0].hint


def test_two_rules_that_allow_everything_but_one_value_are_a_trap(
    policy_of: Callable[..., Policy],
) -> None:
    """Rules of one call are alternatives: != twice lets everything pass."""
    rule = (
        '[syscalls.rules.{}]\nnames = ["bpf"]\nwhen = "arg0 != {}"\naction = "allow"\nwhy = "w"\n'
    )
    found = lint(policy_of(rule.format("a", 1) + rule.format("b", 2)))
    assert [one.code for one in found] == ["always-true"]


def test_reason_makes_a_dangerous_call_a_decision(policy_of: Callable[..., Policy]) -> None:
    """A rule with a reason is no finding."""
    assert lint(policy_of(RULE.format("bpf", "arg0 == 0", "allow"))) == ()
