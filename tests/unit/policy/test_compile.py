"""compile: a policy and a host make a plan; what is missing is said or refused."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import HostError
from sandbox.host.facts import Host
from sandbox.plan.model import (
    EnvKind,
    EnvRule,
    IdKind,
    IdMap,
    Namespace,
    Plan,
    PlanFlag,
    Rlimit,
    Slot,
    SlotPath,
    Supervise,
)
from sandbox.policy import limits
from sandbox.policy.compile import compile_plan, needed_features
from sandbox.policy.compose import Flag, apply_flags
from sandbox.policy.load import load_policy
from sandbox.policy.model import Policy
from sandbox.policy.notes import dump_json
from sandbox.policy.shape import SECUREBITS
from sandbox.record import replace

pytestmark = pytest.mark.usefixtures("fake_filter")


def notes_of(plan: Plan) -> Any:
    """Return the notes as data."""
    return json.loads(plan.notes)


def rlimit(plan: Plan, number: int) -> Rlimit | None:
    """Return one resource limit."""
    return {item.resource: item for item in plan.rlimits}.get(number)


def without(host: Host, *features: str) -> Host:
    """Return the host without some features, each with a reason."""
    return replace(
        host,
        features=host.features - set(features),
        reasons=tuple((name, f"no {name} here") for name in features),
    )


def test_strict_has_every_wall(host: Host) -> None:
    """Seven namespaces, a read-only root, one id, no capability, Landlock and the filter."""
    plan = compile_plan(load_policy("strict"), host)
    expected = Namespace.USER | Namespace.MOUNT | Namespace.PID | Namespace.NET
    expected |= Namespace.IPC | Namespace.UTS | Namespace.CGROUP
    assert expected == plan.namespaces
    flags = PlanFlag.ROOT_READONLY | PlanFlag.LOCK_USERNS | PlanFlag.NO_NEW_PRIVS
    flags |= PlanFlag.NEW_SESSION | PlanFlag.LANDLOCK
    assert flags == plan.flags
    assert (IdMap(IdKind.UID, 1000, 1234), IdMap(IdKind.GID, 1000, 1234)) == plan.id_maps
    assert (plan.caps, plan.securebits, plan.hostname) == (0, 0xEF, b"sandbox")
    assert (
        plan.landlock_fs,
        plan.landlock_net,
        plan.landlock_scoped,
        plan.landlock_min_abi,
    ) == (0xFFFF, 3, 3, 7)
    assert (bytes(16), 999, 38) == (plan.filters[0].code, plan.proof_nr, plan.proof_errno)


def test_securebits_are_those_of_the_kernel() -> None:
    """NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE with their locks, KEEP_CAPS locked off."""
    assert SECUREBITS == 0b1110_1111


def test_same_input_gives_the_same_plan(host: Host) -> None:
    """A plan is a function of policy and host."""
    assert compile_plan(load_policy("strict"), host) == compile_plan(load_policy("strict"), host)


def test_default_has_loopback_and_no_port_rules(host: Host) -> None:
    """Test suites bind 127.0.0.1: lo is up, and Landlock leaves ports alone, noted as such."""
    plan = compile_plan(load_policy("default"), host)
    assert plan.flags & PlanFlag.LOOPBACK
    assert plan.landlock_net == 0
    entry = notes_of(plan)["effective"]["isolation.landlock.net"]
    assert (entry["got"], "internet sockets" in entry["note"]) == ("off", True)


def test_root_is_mapped_to_the_dedicated_id(host: Host) -> None:
    """The host's answer for the outside id goes into the maps."""
    root = replace(host, uid=0, gid=0, outside_uid=77, outside_gid=78)
    plan = compile_plan(load_policy("strict"), root)
    assert tuple(item.outside for item in plan.id_maps) == (77, 78)


def test_own_id_of_root_is_noted(host: Host) -> None:
    """Where the dedicated id is not to be had, the notes say so."""
    root = replace(host, uid=0, outside_uid=0, reasons=(("outside-id", "no such id"),))
    notes = notes_of(compile_plan(load_policy("strict"), root))["notes"]
    assert any("own id 0: no such id" in note for note in notes)


# ------------------------------------------------------------------- required and preferred
@pytest.mark.parametrize(
    ("feature", "key"),
    [
        ("netns", "isolation.namespaces.net"),
        ("userns", "isolation.namespaces.user"),
        ("cgroupns", "isolation.namespaces.cgroup"),
        ("seccomp", "isolation.seccomp"),
    ],
)
def test_missing_required_protection_refuses_to_start(host: Host, feature: str, key: str) -> None:
    """The error names the protection, where it is required, the reason and a remedy."""
    with pytest.raises(HostError) as info:
        compile_plan(load_policy("strict"), without(host, feature))
    assert info.value.code == "host.missing"
    assert f"{key} is required (strict.toml:" in info.value.message
    assert f"no {feature} here" in info.value.message
    assert info.value.hint
    assert key == info.value.fields["protection"]


def test_missing_landlock_stops_strict_and_is_noted_by_default(host: Host) -> None:
    """strict requires the second wall; default goes without it and says so."""
    poor = replace(without(host, "landlock"), landlock_abi=0)
    with pytest.raises(HostError, match=r"isolation.landlock.fs is required .* no landlock here"):
        compile_plan(load_policy("strict"), poor)
    plan = compile_plan(load_policy("default"), poor)
    assert not plan.flags & PlanFlag.LANDLOCK
    assert plan.landlock == ()
    assert plan.landlock_min_abi == 0
    notes = notes_of(plan)
    assert notes["tier"] == "reduced"
    assert "isolation.landlock.fs: no landlock here" in notes["notes"]


@pytest.mark.parametrize(("abi", "has_files"), [(1, False), (2, True), (3, True)])
def test_default_wants_a_landlock_that_can_rename(host: Host, abi: int, has_files: bool) -> None:
    """ABI 1 refuses renames between directories: default goes without it, noted."""
    plan = compile_plan(load_policy("default"), replace(host, landlock_abi=abi))
    assert has_files == bool(plan.landlock_fs)
    note = notes_of(plan)["effective"]["isolation.landlock.fs"]["note"]
    assert has_files == (note is None)


@pytest.mark.parametrize(
    ("abi", "net", "scoped"), [(1, 0, 0), (3, 0, 0), (4, 3, 0), (5, 3, 0), (6, 3, 3), (7, 3, 3)]
)
def test_strict_takes_what_the_abi_has(host: Host, abi: int, net: int, scoped: int) -> None:
    """Ports come with ABI 4, scopes with ABI 6; the namespaces hold the same before."""
    plan = compile_plan(load_policy("strict"), replace(host, landlock_abi=abi))
    assert (net, scoped, abi) == (plan.landlock_net, plan.landlock_scoped, plan.landlock_min_abi)


def test_preferred_namespace_may_be_missing(host: Host, policy_of: Callable[..., Policy]) -> None:
    """A preferred protection is taken where it is there, else it is a note."""
    policy = policy_of('isolation.namespaces.time = "prefer"', extends="strict")
    plan = compile_plan(policy, host)
    assert plan.namespaces & Namespace.TIME
    assert plan.flags & PlanFlag.ZERO_CLOCKS
    poor = compile_plan(policy, without(host, "timens"))
    assert not poor.namespaces & Namespace.TIME
    assert notes_of(poor)["tier"] == "reduced"


def test_shared_network_makes_no_namespace(host: Host) -> None:
    """`--net host` is the user's word: no gap, but said in the effective protections."""
    policy = apply_flags(load_policy("strict"), (Flag("net", "host", "--net host"),))
    plan = compile_plan(policy, host)
    notes = notes_of(plan)
    assert not plan.namespaces & Namespace.NET
    assert notes["effective"]["isolation.namespaces.net"]["got"] == "off"
    assert tuple(notes["overrides"][0][key] for key in ("value", "was", "origin")) == (
        "host",
        "none",
        "command line",
    )


def test_needed_features_are_those_of_the_policy() -> None:
    """Nothing is asked of the host that the policy does not use."""
    assert "overlay-tmpfs-upper" in needed_features(load_policy("strict"))
    assert "overlay-tmpfs-upper" not in needed_features(load_policy("default"))
    assert "timens" not in needed_features(load_policy("strict"))


# ------------------------------------------------------------------------------- limits
def test_strict_limits(host: Host) -> None:
    """Resource limits for each process, the supervisor for the rest, and who holds what."""
    plan = compile_plan(load_policy("strict"), host)
    assert Rlimit(limits.RLIMIT_CPU, 30, 31) == rlimit(plan, limits.RLIMIT_CPU)
    assert Rlimit(limits.RLIMIT_NPROC, 64, 64) == rlimit(plan, limits.RLIMIT_NPROC)
    assert Rlimit(limits.RLIMIT_DATA, 512 << 20, 512 << 20) == rlimit(plan, limits.RLIMIT_DATA)
    assert Rlimit(limits.RLIMIT_CORE, 0, 0) == rlimit(plan, limits.RLIMIT_CORE)
    assert dict(plan.supervise) == {
        Supervise.WALL_MS: 60_000,
        Supervise.OUTPUT_BYTES: 8 << 20,
        Supervise.TERM_GRACE_MS: 2000,
        Supervise.MEMORY_BYTES: 512 << 20,
    }
    known = notes_of(plan)["limits"]
    assert known["cpu"] == {"requested": 30_000, "enforced_by": "rlimit", "scope": "process"}
    assert known["pids"] == {"requested": 64, "enforced_by": "rlimit", "scope": "tree"}
    assert (known["wall"]["enforced_by"], known["wall"]["scope"]) == ("supervisor", "tree")
    assert (known["swap"]["enforced_by"], known["swap"]["requested"]) == ("none", 0)


def test_default_watches_memory_alone(host: Host) -> None:
    """Runtimes do not survive RLIMIT_DATA: only the resident memory is watched."""
    plan = compile_plan(load_policy("default"), host)
    assert rlimit(plan, limits.RLIMIT_DATA) is None
    assert dict(plan.supervise)[Supervise.MEMORY_BYTES] == 2 << 30
    assert rlimit(plan, limits.RLIMIT_FSIZE) is None
    assert notes_of(plan)["limits"]["wall"]["enforced_by"] == "none"


def test_limit_that_is_off_is_not_set(host: Host, policy_of: Callable[..., Policy]) -> None:
    """`enforce.pids = "off"` leaves the number without effect."""
    policy = policy_of('limits.enforce.pids = "off"', extends="strict")
    plan = compile_plan(policy, host)
    assert rlimit(plan, limits.RLIMIT_NPROC) is None
    assert notes_of(plan)["limits"]["pids"]["enforced_by"] == "none"


def test_required_sum_cannot_be_held(host: Host, policy_of: Callable[..., Policy]) -> None:
    """A limit that needs a cgroup and is required refuses to start, with its place."""
    policy = policy_of('limits.enforce.tree = "require"', extends="strict")
    with pytest.raises(HostError, match=r"limits.tree is required \(test.toml:3\)"):
        compile_plan(policy, host)


def test_limit_is_capped_by_the_callers_own(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only privilege may raise a hard limit: the caller's is taken, and that is noted."""
    monkeypatch.setattr(resource, "getrlimit", lambda _number: (40, 50))
    plan = compile_plan(load_policy("strict"), host)
    assert Rlimit(limits.RLIMIT_NOFILE, 50, 50) == rlimit(plan, limits.RLIMIT_NOFILE)
    assert Rlimit(limits.RLIMIT_CPU, 30, 31) == rlimit(plan, limits.RLIMIT_CPU)
    assert any("the limit open_files is 50" in note for note in notes_of(plan)["notes"])


# -------------------------------------------------------------------------- environment, notes
def test_environment_rules_decide_in_order(host: Host) -> None:
    """What the command line forces comes first, then what passes, then what the policy sets."""
    flags = (Flag("env", "TZ=UTC", "--env TZ=UTC"), Flag("env", "EDITOR", "--env EDITOR"))
    plan = compile_plan(apply_flags(load_policy("strict"), flags), host)
    assert (
        EnvRule(EnvKind.SET, b"TZ", SlotPath(b"UTC")),
        EnvRule(EnvKind.ALLOW, b"EDITOR"),
        EnvRule(EnvKind.ALLOW, b"LANG"),
        EnvRule(EnvKind.ALLOW, b"LC_*"),
        EnvRule(EnvKind.ALLOW, b"TERM"),
        EnvRule(EnvKind.SET, b"HOME", SlotPath(b"/home/sandbox")),
        EnvRule(EnvKind.SET, b"PATH", SlotPath(b"/usr/bin:/bin")),
    ) == plan.env


def test_toolchain_variables_lead_to_the_callers_home(host: Host) -> None:
    """Managers look for their files below the home outside."""
    plan = compile_plan(load_policy("default"), host)
    values = {rule.name: rule.value for rule in plan.env if rule.kind is EnvKind.SET}
    assert SlotPath(b"/.cargo", Slot.HOME) == values[b"CARGO_HOME"]
    assert b"PATH" in {rule.name for rule in plan.env if rule.kind is EnvKind.ALLOW}


def test_notes_describe_policy_and_calls(host: Host) -> None:
    """Files with their hashes, the size of the filter, the groups that the caller completes."""
    policy = load_policy("default")
    notes = notes_of(compile_plan(policy, host))
    assert notes["policy"]["name"] == "default"
    assert notes["policy"]["sha256"] == policy.sha256
    assert [Path(item["path"]).name for item in notes["policy"]["files"]] == [
        "default.toml",
        "strict.toml",
    ]
    assert {"allowed": 2, "known": 400}.items() <= notes["calls"].items()
    assert notes["groups"] == ["@gitconfig", "@toolchains"]
    assert notes["tier"] == "full"
    assert set(notes["effective"]["isolation.seccomp"]) == {"wanted", "got", "by", "note"}


def test_hidden_paths_can_be_explained(host: Host, policy_of: Callable[..., Policy]) -> None:
    """The rule table leads from a denial to the line that states it."""
    plan = compile_plan(policy_of('filesystem.hide = ["/srv"]', extends="strict"), host)
    rule = json.loads(plan.rules)["filesystem.hide[/srv]"]
    assert (rule["origin"], rule["fix"]) == ("test.toml:3", "remove it at test.toml:3")


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(st.characters(codec=None))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@given(_JSON)
def test_json_is_what_the_standard_library_reads(data: Any) -> None:
    """Our writer's text means the data, lone surrogates included."""
    assert data == json.loads(dump_json(data))


@pytest.mark.parametrize(("tty", "is_named"), [("relay", False), ("setsid", False), ("raw", True)])
def test_raw_terminal_is_named(
    host: Host, policy_of: Callable[..., Policy], tty: str, is_named: bool
) -> None:
    """Only the mode without a session of its own stands in the result."""
    plan = compile_plan(policy_of(f"extends = ['strict']\nprocess.tty = '{tty}'"), host)
    assert ("process.tty" in notes_of(plan)["effective"]) is is_named
    assert bool(plan.flags & PlanFlag.NEW_SESSION) is not is_named
