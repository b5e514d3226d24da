"""compose: the law of `extends`, on layers and on whole policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sandbox.policy.compose import merge
from sandbox.policy.model import Policy

_PLACES = st.integers(1, 99).map(lambda line: f"f.toml:{line}")
_SCALARS = st.dictionaries(
    st.sampled_from(["process.uid", "process.gid", "network.mode", "limits.wall"]),
    st.tuples(st.integers(0, 9), _PLACES),
)
_SETS = st.dictionaries(
    st.sampled_from(["env.allow", "filesystem.mounts", "limits.enforce", "syscalls.deny"]),
    st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 9), _PLACES)),
)
_LAYERS = st.builds(lambda scalars, sets: {**scalars, **sets}, _SCALARS, _SETS)


@given(_LAYERS, _LAYERS, _LAYERS)
def test_merge_is_associative(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    """A chain of policies means the same from either end."""
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@given(_LAYERS, _LAYERS)
def test_child_wins_and_nothing_is_lost(a: dict[str, Any], b: dict[str, Any]) -> None:
    """The child's values stand, and what it does not state is the parent's."""
    merged = merge(a, b)
    assert merge(a, a) == a
    assert merge({}, b) == b
    assert set(merged) == set(a) | set(b)
    for key, value in merged.items():
        if not isinstance(value, dict):
            assert value == b.get(key, a.get(key))
            continue
        assert value == {**a.get(key, {}), **b.get(key, {})}


def test_each_kind_merges_as_the_law_says(policy_of: Callable[..., Policy]) -> None:
    """Sets unite, tables merge by name, a mount replaces the one at its path whole."""
    text = """
    [isolation]
    landlock = { net = "off" }
    [env]
    allow = ["TZ"]
    set = { HOME = "/tmp" }
    [filesystem]
    mounts = [{ path = "/etc", mode = "ro", only = ["hosts"] }, { path = "/srv", mode = "tmpfs" }]
    [limits]
    enforce = { wall = "prefer" }
    """
    policy = policy_of(text, extends="strict")
    isolation = policy.isolation
    assert (
        isolation.landlock_fs,
        isolation.landlock_net,
        isolation.landlock_scope,
    ) == ("require", "off", "prefer")
    assert policy.env.allow == ("LANG", "LC_*", "TERM", "TZ")
    assert {name: value.text() for name, value in policy.env.set} == {
        "HOME": "/tmp",
        "PATH": "/usr/bin:/bin",
    }
    rules = {rule.path.text(): rule for rule in policy.filesystem.mounts}
    assert rules["/etc"].only == ("hosts",)
    assert {"/usr", "/srv", "${CWD}"} <= rules.keys()
    assert (policy.limits.demand("wall"), policy.limits.demand("pids")) == ("prefer", "require")


def test_every_stated_member_has_its_origin(policy_of: Callable[..., Policy]) -> None:
    """Members of sets and tables say which file named them."""
    policy = policy_of('env.allow = ["TZ"]', extends="strict")
    assert policy.origin("env.allow[TZ]") == "test.toml:3"
    assert policy.origin("env.allow[LANG]").split(":")[0] == "strict.toml"
    assert policy.origin("filesystem.mounts[/usr]").split(":")[0] == "strict.toml"
    assert policy.origin("env.allow[NOT_THERE]") == "built in"


def test_filter_origins_travel_with_the_filter(policy_of: Callable[..., Policy]) -> None:
    """The filter compiler can name the place of each of its keys."""
    policy = policy_of("")
    assert policy.syscalls.origins == (("syscalls.base", "test.toml:2"),)
