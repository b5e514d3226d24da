"""order: its answers against brute force over calls, paths, variables and families."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.plan.model import SlotPath
from sandbox.policy import lattice
from sandbox.policy.condition_names import SOCKET_FAMILIES
from sandbox.policy.model import HideRule, MountRule, Policy
from sandbox.policy.order import widenings
from sandbox.policy.sight import WITNESS
from sandbox.policy.syscalls import resolve_calls
from support.layers import PATHS, Layers, policy_of

SEEDS = st.integers(0, 2**64 - 1)
BRUTE = settings(
    max_examples=250, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
VECTORS = tuple(
    (first, second, third, 0, 0, 0)
    for first, second, third in itertools.product(
        (*range(20), 0x7E020000), (0, 4, 5, 6, 7, 9, 0x5412, 1 << 32 | 5), (0, 3, 4, 6)
    )
)


def pair(seed: int) -> tuple[Policy, Policy]:
    """Return two policies, the second often close to the first."""
    layers = Layers(seed)
    one, two = layers.layer(is_whole=True), layers.layer(is_whole=True)
    close: dict[str, Any] = {**one, **{key: two[key] for key in layers.some(tuple(two), 3)}}
    return policy_of(one), policy_of(close)


@BRUTE
@given(SEEDS)
def test_calls_agree_with_brute_force(seed: int) -> None:
    """A call that passes with arguments that `base` refuses is among the witnesses."""
    base, other = pair(seed)
    had, has = (resolve_calls(policy.syscalls, "x86_64") for policy in (base, other))
    wider = {
        name
        for name, verdict in has.items()
        for vector in VECTORS
        if verdict.answer(vector).kind == "allow" and had[name].answer(vector).kind != "allow"
    }
    calls = {
        item.witness.partition("(")[0]
        for item in widenings(base, other)
        if item.key.startswith("syscalls.")
    }
    assert wider <= calls
    for name in calls - wider:  # on the other architecture, or with arguments not tried above
        one, two = (resolve_calls(policy.syscalls, "aarch64").get(name) for policy in (base, other))
        assert had.get(name) != has.get(name) or one != two


def rights_at(policy: Policy, path: SlotPath) -> tuple[frozenset[str], SlotPath | None]:
    """Return what the entries of `policy` give at `path`, by looking at each of them."""
    best: MountRule | HideRule | None = None
    rules: list[MountRule | HideRule] = [*policy.filesystem.mounts, *policy.filesystem.hide]
    for rule in rules:
        base = rule.path.path
        is_above = rule.path.slot is path.slot and (path.path + b"/").startswith(base + b"/")
        if is_above and (best is None or len(base) >= len(best.path.path)):
            best = rule
    if best is None or isinstance(best, HideRule):
        return frozenset(), None
    rest = path.path[len(best.path.path) :]
    name = rest[1:].split(b"/")[0].decode()
    if best.only and rest and not any(_matches(name, pattern) for pattern in best.only):
        return frozenset(), None
    source = best.source or best.path
    host = SlotPath(source.path + rest, source.slot) if best.mode != "tmpfs" else None
    return lattice.rights_of(best.mode, is_noexec=best.is_noexec), host


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


@BRUTE
@given(SEEDS)
def test_paths_agree_with_brute_force(seed: int) -> None:
    """A path with more rights, or another file, is reported there or at one above it; else none."""
    layers = Layers(seed)
    plain: dict[str, Any] = {"filesystem.groups": {}, "filesystem.protect": {}}
    one = policy_of({**layers.layer(is_whole=True), **plain})
    two = policy_of({**layers.layer(is_whole=True), **plain})
    names = (b"/zzz", b"/sx", b"/share", b"/doc")  # each kind of name that `only` may admit
    below = [SlotPath(path.path + name, path.slot) for path in PATHS for name in names]
    wider = set()
    for path in (*PATHS, *below):
        (had, host), (has, host_now) = rights_at(one, path), rights_at(two, path)
        is_other = "read" in has and None not in (host, host_now) and host != host_now
        if not has <= had or is_other:
            wider.add(path.text())
    found = {item.witness for item in widenings(one, two) if item.key == "filesystem.mounts"}
    patterns = {
        rule.path.text(): frozenset((*rule.only, *patterns_of(other, rule.path)))
        for policy, other in ((one, two), (two, one))
        for rule in policy.filesystem.mounts
    }
    assert [path for path in wider if not any(shows(item, path, patterns) for item in found)] == []
    if not wider:
        assert found == set()


def patterns_of(policy: Policy, path: SlotPath) -> tuple[str, ...]:
    """Return what the entry of `policy` at `path` alone admits."""
    return next((rule.only for rule in policy.filesystem.mounts if rule.path == path), ())


def shows(witness: str, path: str, patterns: dict[str, frozenset[str]]) -> bool:
    """Whether `witness` is `path` or above it, or stands for it: for a name that no pattern has."""
    if (path + "/").startswith(witness.rstrip("/") + "/"):
        return True
    parent, _, name = witness.rpartition("/")
    if name != WITNESS or not path.startswith(parent + "/"):
        return False
    first = path[len(parent) + 1 :].split("/", maxsplit=1)[0]
    return not any(_matches(first, pattern) for pattern in patterns.get(parent, ()))


@BRUTE
@given(SEEDS)
def test_variables_agree_with_brute_force(seed: int) -> None:
    """A variable that passes under `other` alone is admitted by a pattern that is reported."""
    base, other = pair(seed)
    names = ("TERM", "LC_ALL", "LC_X", "L", "LANG", "PATH", "CARGO_HOME", "NONE")
    wider = {
        name
        for name in names
        if lattice.covers_env(other.env.allow, name)
        and not lattice.covers_env(base.env.allow, name)
    }
    patterns = [item.witness for item in widenings(base, other) if item.key == "env.allow"]
    assert all(lattice.covers_env(patterns, name) for name in wider)
    assert bool(wider) == bool(patterns)


def test_every_family_is_judged_by_name() -> None:
    """A policy with one family more is wider by this one alone."""
    layers = Layers(1)
    layer = layers.layer(is_whole=True)
    layer["syscalls.base"] = ("@default-2026.11", "x:1")
    for key in ("syscalls.deny", "syscalls.allow", "syscalls.rules"):
        layer.pop(key, None)
    for name in SOCKET_FAMILIES:
        if name == "unix":
            continue
        one = policy_of({**layer, "syscalls.socket_families": {"unix": ("unix", "x:1")}})
        two = policy_of(
            {
                **layer,
                "syscalls.socket_families": {"unix": ("unix", "x:1"), name: (name, "x:1")},
            }
        )
        found = {item.witness for item in widenings(one, two)}
        assert found == {f"socket({name})", f"socketpair({name})"}
        assert widenings(two, one) == ()
