from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.policy.difference import differences
from sandbox.policy.load import load_policy
from sandbox.policy.model import Policy


@pytest.mark.parametrize("name", ["strict", "default", "tiny", "build"])
def test_policy_does_not_differ_from_itself(name: str) -> None:
    """The difference is empty on the diagonal."""
    assert differences(load_policy(name), load_policy(name), "x86_64") == ()


def test_different_texts_with_one_effect_are_the_same(policy_of: Callable[..., Policy]) -> None:
    """A group against its members, a condition against its equivalent: no difference."""
    a = policy_of(
        'syscalls.deny = ["@keyring"]\n'
        '[syscalls.rules.x]\nnames = ["kill"]\nwhen = "u32(arg1) in {1, 2}"\n'
        'action = "errno:EPERM"\nwhy = "w"\n'
    )
    b = policy_of(
        'syscalls.deny = ["add_key", "keyctl", "request_key"]\n'
        '[syscalls.rules.x]\nnames = ["kill"]\nwhen = "u32(arg1) == 1 or u32(arg1) == 2"\n'
        'action = "errno:EPERM"\nwhy = "w"\n'
    )
    assert differences(a, b, "x86_64") == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('syscalls.allow = ["bpf"]', ("calls", "bpf", "errno:EPERM", "allow")),
        ('env.allow = ["X"]', ("values", "env.allow[X]", "", "yes")),
        ("limits.pids = 7", ("values", "limits.pids", "none", "7")),
        (
            'filesystem.mounts = [{ path = "/srv", mode = "ro" }]',
            ("paths", "/srv", "not shown", "ro"),
        ),
        (
            'filesystem.mounts = [{ path = "/srv", source = "/x", mode = "rw", noexec = true }]',
            ("paths", "/srv", "not shown", "rw noexec, from /x"),
        ),
    ],
)
def test_change_has_both_sides_and_the_place(
    policy_of: Callable[..., Policy], text: str, expected: tuple[str, ...]
) -> None:
    """Each effect is named once, with what each side has there."""
    changes = differences(policy_of(""), policy_of(text), "x86_64")
    found = [(one.area, one.name, one.a, one.b) for one in changes]
    assert found == [expected]
    assert changes[0].b_origin.startswith("test.toml:")


def test_condition_that_differs_in_one_value_is_found(policy_of: Callable[..., Policy]) -> None:
    """Rules of one name that answer one argument differently are a difference of that call."""
    rule = '[syscalls.rules.x]\nnames = ["kill"]\nwhen = "u32(arg1) {}"\naction = "kill"\nwhy = "w"'
    a, b = policy_of(rule.replace("{}", "== 9")), policy_of(rule.replace("{}", "in {9, 15}"))
    assert [one.name for one in differences(a, b, "x86_64")] == ["kill"]
