"""order: what one policy allows beyond another, each with a witness."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from sandbox.policy.load import load_policy
from sandbox.policy.model import Policy
from sandbox.policy.order import Widening, widenings


@pytest.mark.parametrize("name", ["strict", "default", "tiny"])
def test_every_policy_is_as_tight_as_itself(name: str) -> None:
    """The order is reflexive."""
    assert widenings(load_policy(name), load_policy(name)) == ()


def test_strict_is_tighter_than_default_and_not_the_other_way() -> None:
    """What default gives beyond strict is named: calls, paths, variables, limits."""
    strict, default = load_policy("strict"), load_policy("default")
    assert widenings(default, strict) == ()
    keys = {item.key for item in widenings(strict, default)}
    assert {"env.allow", "filesystem.mounts", "limits.memory", "syscalls.allow"} <= keys


_ALLOW = ("errno:EPERM", "allow")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('network.mode = "host"', ("network.mode", "host", "none", "host")),
        ("limits.pids = 100", ("limits.pids", "100", "64", "100")),
        ('syscalls.allow = ["ptrace"]', None),  # @debug is denied, and deny beats allow
        ('syscalls.allow = ["sendmmsg"]', ("syscalls.allow", "sendmmsg", *_ALLOW)),
        ('env.allow = ["LC_ALL"]', None),
        ('env.allow = ["L*"]', ("env.allow", "L*", "stays outside", "passes from the caller")),
        (
            'isolation.seccomp = "prefer"',
            ("isolation.seccomp", "prefer", "require", "prefer"),
        ),
        ('filesystem.mounts = [{ path = "/etc", mode = "ro", only = ["alternatives"] }]', None),
        (
            'filesystem.mounts = [{ path = "/tmp", mode = "tmpfs", size = "64M" }]',
            ("filesystem.mounts", "/tmp", "tmpfs noexec", "tmpfs"),
        ),
        (
            'filesystem.mounts = [{ path = "/usr", mode = "ro", source = "/opt" }]',
            ("filesystem.mounts", "/usr", "ro of /usr", "ro of /opt"),
        ),
        (
            'filesystem.mounts = [{ path = "${CWD}/out", mode = "rw" }]',
            ("filesystem.mounts", "${CWD}/out", "overlay", "rw"),
        ),
    ],
)
def test_a_widening_has_its_witness(
    policy_of: Callable[..., Policy], text: str, expected: tuple[str, str, str, str] | None
) -> None:
    """Each kind of grant is found, and what grants nothing is none."""
    found = widenings(load_policy("strict"), policy_of(text, extends="strict"))
    assert found == (() if expected is None else (Widening(*expected),))


def test_the_order_is_transitive_over_the_shipped_policies() -> None:
    """Where b is within a and c within b, c is within a."""
    policies = [load_policy(name) for name in ("strict", "default", "tiny")]
    for a, b, c in itertools.product(policies, repeat=3):
        if not widenings(a, b) and not widenings(b, c):
            assert widenings(a, c) == ()


def test_an_argument_that_passes_is_the_witness_of_a_weaker_rule(
    policy_of: Callable[..., Policy],
) -> None:
    """A call that both allow is compared by its arguments; a family by its name."""
    strict = load_policy("strict")
    weaker = policy_of(
        """
        [syscalls.rules.terminal-injection]
        names = ["ioctl"]
        when = "u32(arg1) == TIOCSTI"
        action = "errno:EPERM"
        """,
        extends="strict",
    )
    found = widenings(strict, weaker)
    assert [(item.key, item.witness) for item in found] == [
        ("syscalls.rules.terminal-injection", "ioctl(0, 0x541c)")
    ]
    wider = policy_of('syscalls.socket_families = ["inet"]', extends="strict")
    assert [item.witness for item in widenings(strict, wider)] == [
        "socket(inet)",
        "socketpair(inet)",
    ]
    assert widenings(wider, strict) == widenings(weaker, strict) == ()
