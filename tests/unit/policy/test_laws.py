"""The laws of composition, on more than 10,000 random layers (support/layers.py)."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.errors import PolicyError, SandboxError
from sandbox.host.facts import Host
from sandbox.plan.model import EnvKind, MountAttr, MountKind, MountOp, Plan, ProtectKind, SlotPath
from sandbox.policy import lattice
from sandbox.policy.call_sets import expand, load_sets
from sandbox.policy.canonical import canonical_json
from sandbox.policy.compile import compile_plan
from sandbox.policy.compose import inherit
from sandbox.policy.find import parse
from sandbox.policy.meet import tighten, tighten_all
from sandbox.policy.order import widenings
from sandbox.policy.read import read_layer
from sandbox.policy.syscalls import resolve_calls
from support.layers import PATHS, Layers, policy_of

Layer = dict[str, Any]
SEEDS = st.integers(0, 2**64 - 1)


def laws(examples: int) -> settings:
    """Return settings for that many examples; a seed that fails is printed by hypothesis."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


# What any random policy must say to be compiled on a host that has everything.
CONSISTENT: Layer = {
    "isolation.namespaces.net": ("require", "c:1"),
    "limits.enforce": {"tree": ("off", "c:2"), "swap": ("off", "c:2")},
}


def outcome(parents: list[Layer], child: Layer) -> tuple[str, object]:
    """Return the canonical form of what `child` is over `parents`, or which conflict it is."""
    try:
        return "composed", canonical_json(inherit(parents, child))
    except PolicyError as error:
        return error.code, sorted(map(str, parents)) and error.code


@laws(1500)
@given(SEEDS)
def test_parents_have_no_order(seed: int) -> None:
    """`extends` is commutative over parents, also in whether they conflict."""
    layers = Layers(seed)
    a, b, c, child = (layers.layer() for _ in range(4))
    expected = outcome([a, b, c], child)
    assert expected == outcome([c, a, b], child) == outcome([b, a, c], child)


@laws(1000)
@given(SEEDS)
def test_a_parent_twice_is_that_parent_once(seed: int) -> None:
    """`extends` is idempotent over parents, and a policy over itself is itself."""
    layers = Layers(seed)
    a, child = layers.layer(), layers.layer()
    assert inherit([a, a], child) == inherit([a], child)
    assert canonical_json(inherit([a], a)) == canonical_json(a)


@laws(1000)
@given(SEEDS)
def test_what_a_child_states_holds(seed: int) -> None:
    """A child's single values, names and paths are the result's; parents fill what is left."""
    layers = Layers(seed)
    parent, child = layers.layer(), layers.layer()
    result = inherit([parent], child)
    assert set(result) == set(parent) | set(child)
    for key, value in child.items():
        if isinstance(value, dict):
            assert value.items() <= result[key].items()
        else:
            assert result[key] == value


@laws(700)
@given(SEEDS)
def test_layers_have_no_order(seed: int) -> None:
    """The meet is commutative and associative over layers, with what exceeds the base."""
    layers = Layers(seed)
    base = layers.layer(is_whole=True)
    a, b, c = (layers.layer() for _ in range(3))
    results = [tighten_all(base, order) for order in ((a, b, c), (c, b, a), (b, a, c))]
    assert len({canonical_json(result) for result, _ in results}) == 1
    assert sorted(map(str, results[0][1])) == sorted(map(str, results[1][1]))


@laws(800)
@given(SEEDS)
def test_a_layer_twice_is_that_layer_once(seed: int) -> None:
    """The meet is idempotent."""
    layers = Layers(seed)
    base, a = layers.layer(is_whole=True), layers.layer()
    once = tighten(base, a)[0]
    assert canonical_json(tighten(once, a)[0]) == canonical_json(once)


@laws(500)
@given(SEEDS)
def test_the_meet_is_never_wider(seed: int) -> None:
    """`meet(a, b) ≤ a`, whatever b asks for."""
    layers = Layers(seed)
    base, layer = layers.layer(is_whole=True), layers.layer()
    met = tighten(base, layer)[0]
    assert widenings(policy_of(base), policy_of(met)) == ()


@laws(1000)
@given(SEEDS)
def test_deny_beats_allow(seed: int) -> None:
    """No call that is denied, by name or by group, may pass, whatever else is stated."""
    layers = Layers(seed)
    merged = inherit([layers.layer(is_whole=True)], layers.layer())
    syscalls = policy_of(merged).syscalls
    verdicts = resolve_calls(syscalls, "x86_64")
    for name in expand(load_sets(), syscalls.deny, place="test"):
        verdict = verdicts.get(name)
        if verdict is not None:
            actions = [verdict.default, *(clause.action for clause in verdict.clauses)]
            assert "allow" not in {action.kind for action in actions}


@laws(1000)
@given(SEEDS)
def test_the_canonical_form_is_a_policy(seed: int) -> None:
    """Canonical JSON read as a policy file has the same canonical form."""
    layers = Layers(seed)
    made = canonical_json(tighten(layers.layer(is_whole=True), layers.layer())[0])
    read = read_layer("f.json", parse(made, "f.json"))
    assert canonical_json(read) == made
    assert policy_of(read).sha256 == policy_of(inherit([], read)).sha256


def test_modes_are_a_lattice_of_rights() -> None:
    """The meet of two modes gives what both give, at most, and of the modes the widest of those."""
    for one, two in ((a, b) for a in lattice.RIGHTS for b in lattice.RIGHTS):
        both = lattice.RIGHTS[one] & lattice.RIGHTS[two]
        mode = lattice.mode_of(both)
        assert mode == lattice.mode_of(lattice.RIGHTS[two] & lattice.RIGHTS[one])
        if mode is None:
            assert {one, two} == {"tmpfs", "ro"}
            continue
        assert lattice.RIGHTS[mode] <= both
        assert all(
            other <= lattice.RIGHTS[mode] for other in lattice.RIGHTS.values() if other <= both
        )
    assert [lattice.mode_of(rights) for rights in lattice.RIGHTS.values()] == list(lattice.RIGHTS)


# ----------------------------------------------------- what is compiled, judged without order.py


def rights_in(plan_mounts: tuple[MountOp, ...], path: SlotPath) -> frozenset[str]:
    """Return what the mounts of a plan give at `path`: the deepest at or above it decides."""
    found: MountOp | None = None
    for op in plan_mounts:
        above = op.target.path.rstrip(b"/")
        is_above = path.path == op.target.path or path.path.startswith(above + b"/")
        if op.kind in _VIEW and op.target.slot is path.slot and is_above:
            found = op if found is None or len(op.target.path) >= len(found.target.path) else found
    if found is None or found.kind is MountKind.MASK:
        return frozenset()
    mode = {MountKind.TMPFS: "tmpfs", MountKind.OVERLAY: "overlay"}.get(found.kind, "rw")
    if found.kind is MountKind.TMPFS and found.size_bytes == 4096:
        return frozenset()  # the cover of a hidden path that something is shown below
    if found.attrs & MountAttr.RDONLY:
        mode = "ro"
    return lattice.rights_of(mode, is_noexec=bool(found.attrs & MountAttr.NOEXEC))


_VIEW = (MountKind.BIND, MountKind.TMPFS, MountKind.OVERLAY, MountKind.MASK)
_BELOW = tuple(SlotPath(path.path.rstrip(b"/") + b"/any", path.slot) for path in PATHS)


@laws(400)
@given(SEEDS)
def test_compilation_is_monotone(fake_filter: ModuleType, host: Host, seed: int) -> None:
    """A tighter policy's plan gives no path, variable or network more, and bounds no less."""
    layers = Layers(seed)
    base = inherit([layers.layer(is_whole=True)], CONSISTENT)
    met = tighten(base, layers.layer())[0]
    try:
        wide, narrow = compile_plan(policy_of(base), host), compile_plan(policy_of(met), host)
    except SandboxError:
        return  # a path that this machine lacks; a demand that it cannot meet, which is tighter
    for path in (*PATHS, *_BELOW):
        assert rights_in(narrow.mounts, path) <= rights_in(wide.mounts, path), path
    passing = {rule.name for rule in wide.env if rule.kind is EnvKind.ALLOW}
    for rule in narrow.env:
        assert rule.kind is not EnvKind.ALLOW or lattice.covers_env(
            {name.decode() for name in passing}, rule.name.decode()
        )
    assert wide.namespaces & ~narrow.namespaces == 0
    assert _hidden(narrow) >= _hidden(wide)
    bounds = {rlimit.resource: rlimit.soft for rlimit in narrow.rlimits}
    for rlimit in wide.rlimits:
        assert bounds[rlimit.resource] <= rlimit.soft
    watched = dict(narrow.supervise)
    for key, value in wide.supervise:
        assert watched[key] <= value


def _hidden(plan: Plan) -> set[SlotPath]:
    return {item.path for item in plan.protect if item.kind is ProtectKind.HIDDEN}


@laws(300)
@given(SEEDS)
def test_filters_are_monotone(seed: int) -> None:
    """No call, with any of the arguments tried, passes under the tighter policy alone."""
    layers = Layers(seed)
    base = layers.layer(is_whole=True)
    met = tighten(base, layers.layer())[0]
    wide = resolve_calls(policy_of(base).syscalls, "x86_64")
    narrow = resolve_calls(policy_of(met).syscalls, "x86_64")
    for name, verdict in narrow.items():
        for arguments in _ARGUMENTS:
            if verdict.answer(arguments).kind == "allow":
                assert wide[name].answer(arguments).kind == "allow", (name, arguments)


_ARGUMENTS = tuple(
    (first, second, third, 0, 0, 0)
    for first in (0, 1, 2, 4, 10, 16)
    for second in (0, 5, 7, 9, 0x5412, 1 << 32 | 5)
    for third in (0, 4)
)
