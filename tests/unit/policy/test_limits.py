"""Limits: which backend holds what, and what is refused where nothing can."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.errors import HostError, PolicyError
from sandbox.host.cgroup import Hierarchy
from sandbox.host.facts import Host
from sandbox.host.idmap import Range, SubIds
from sandbox.plan.model import IdKind, PlanFlag, Supervise
from sandbox.policy.compile import compile_plan, needed_features
from sandbox.policy.limits import (
    RLIMIT_AS,
    RLIMIT_CPU,
    RLIMIT_DATA,
    RLIMIT_NPROC,
    compile_limits,
    group_needs,
)
from sandbox.policy.model import Policy
from sandbox.record import replace

PolicyOf = Callable[..., Policy]
ALL = frozenset({"memory", "swap", "pids", "cpu"})


def held_by(host: Host, *resources: str, version: int = 2) -> Host:
    """Return the host with one delegated hierarchy."""
    return replace(host, hierarchies=(Hierarchy(version, "/g", frozenset(resources)),))


def test_a_group_takes_the_sums(host: Host, policy_of: PolicyOf) -> None:
    """No RLIMIT_DATA, no RLIMIT_NPROC, no watch: the kernel counts. RLIMIT_CPU stays."""
    policy = policy_of("", extends="strict")
    bounds = compile_limits(policy, held_by(host, *ALL))
    kept = {note.name: (note.enforced_by, note.scope) for note in bounds.notes}
    assert {kept[name] for name in ALL} == {("cgroup-v2", "tree")}
    assert {item.resource for item in bounds.rlimits} & {
        RLIMIT_DATA,
        RLIMIT_NPROC,
        RLIMIT_CPU,
    } == {RLIMIT_CPU}
    supervise = dict(bounds.supervise)
    assert Supervise.MEMORY_BYTES not in supervise
    assert supervise[Supervise.GROUP_MEMORY_BYTES] == 512 << 20
    assert supervise[Supervise.GROUP_SWAP_BYTES] == 0
    assert (supervise[Supervise.GROUP_PIDS], supervise[Supervise.GROUP_CPU_MS]) == (64, 30_000)
    assert {item.name: item.got for item in bounds.effective} == {
        "limits.swap": "on",
        "limits.tree": "on",
    }


def test_without_a_group_everything_is_as_before(host: Host, policy_of: PolicyOf) -> None:
    """strict: data of one process and the watch; pids by RLIMIT_NPROC; sums are a gap."""
    bounds = compile_limits(policy_of("", extends="strict"), host)
    kept = {note.name: note.enforced_by for note in bounds.notes}
    assert (kept["memory"], kept["pids"], kept["cpu"]) == ("supervisor", "rlimit", "rlimit")
    assert kept["swap"] == "none"
    assert {RLIMIT_DATA, RLIMIT_NPROC} <= {item.resource for item in bounds.rlimits}
    assert all(item.is_gap for item in bounds.effective)


def test_half_a_group_is_a_gap_that_names_the_other_half(host: Host, policy_of: PolicyOf) -> None:
    """cpu is counted, memory only watched: `tree` is not had."""
    bounds = compile_limits(policy_of("", extends="strict"), held_by(host, "cpu"))
    tree = {item.name: item for item in bounds.effective}["limits.tree"]
    assert (tree.got, tree.is_gap) == ("off", True)
    assert "memory" in str(tree.note)
    assert "cpu" not in str(tree.note)


@pytest.mark.parametrize("name", ["tree", "swap"])
def test_a_required_sum_refuses_and_names_the_line(
    name: str, host: Host, policy_of: PolicyOf
) -> None:
    """The place in the policy, and the two ways out; with a group it compiles."""
    policy = policy_of(f'limits.enforce = {{ {name} = "require" }}', extends="strict")
    with pytest.raises(HostError) as caught:
        compile_limits(policy, host)
    assert "test.toml:3" in caught.value.message
    assert "--print-delegation" in str(caught.value.hint)
    compile_limits(policy, held_by(host, *ALL, version=1))


def test_a_quota_is_held_by_a_group_or_not_at_all(host: Host, policy_of: PolicyOf) -> None:
    """With a group the kernel holds it; without one it is a gap, and the priority the lowest."""
    policy = policy_of('limits.cpu_quota = "50%"')
    assert group_needs(policy.limits) == {"cpu_quota", "share"}
    with_group = compile_limits(policy, held_by(host, "cpu_quota"))
    assert (Supervise.GROUP_CPU_PERCENT, 50) in with_group.supervise
    assert not with_group.is_low_priority
    note = {note.name: note for note in with_group.notes}["cpu_quota"]
    assert (note.requested, note.enforced_by, note.scope) == (50, "cgroup-v2", "tree")
    without = compile_limits(policy, host)
    assert without.is_low_priority
    gap = {item.name: item for item in without.effective}["limits.cpu_quota"]
    assert (gap.got, gap.is_gap, "lowest priority" in str(gap.note)) == ("off", True, True)
    assert {note.name: note.enforced_by for note in without.notes}["cpu_quota"] == "none"


def test_a_required_quota_refuses_without_a_group(host: Host, policy_of: PolicyOf) -> None:
    """No silent weakening; switched off it is nobody's, and the priority stays."""
    text = 'limits.cpu_quota = "50%"\nlimits.enforce = {{ cpu_quota = "{}" }}'
    with pytest.raises(HostError, match=r"cpu_quota is required .*test\.toml:4"):
        compile_limits(policy_of(text.format("require")), host)
    unheld = compile_limits(policy_of(text.format("off")), held_by(host, "cpu_quota"))
    assert (unheld.is_low_priority, dict(unheld.supervise).get(Supervise.GROUP_CPU_PERCENT)) == (
        False,
        None,
    )


@pytest.mark.usefixtures("fake_filter")
def test_an_unheld_quota_is_told_in_the_plan(host: Host, policy_of: PolicyOf) -> None:
    """The child lowers its own priority, since the plan says so."""
    policy = policy_of('limits.cpu_quota = "150%"')
    assert compile_plan(policy, host).flags & PlanFlag.LOW_PRIORITY
    assert not compile_plan(policy, held_by(host, "cpu_quota")).flags & PlanFlag.LOW_PRIORITY


@pytest.mark.parametrize("text", ["50", '"50"', '"0%"', '"-5%"', '"1.5"', '"99999999%"', "true"])
def test_a_quota_is_written_in_percent(text: str, policy_of: PolicyOf) -> None:
    """A bare number could mean processors: the sign is needed."""
    with pytest.raises(PolicyError, match="percent of one processor"):
        policy_of(f"limits.cpu_quota = {text}")


def test_off_is_held_by_nobody(host: Host, policy_of: PolicyOf) -> None:
    """A limit that the policy switches off goes into no group."""
    policy = policy_of('limits.enforce = { memory = "off", pids = "off" }', extends="strict")
    bounds = compile_limits(policy, held_by(host, *ALL))
    kept = {note.name: note.enforced_by for note in bounds.notes}
    assert (kept["memory"], kept["pids"]) == ("none", "none")
    assert not {Supervise.GROUP_MEMORY_BYTES, Supervise.GROUP_PIDS} & set(dict(bounds.supervise))


def test_only_what_is_limited_is_looked_for(policy_of: PolicyOf) -> None:
    """Swap goes with memory; without limits no group is looked for at all."""
    none = policy_of('limits.swap = "0"')
    assert group_needs(none.limits) == frozenset()
    assert not any(name.startswith("group.") for name in needed_features(none))
    default = policy_of("", extends="default")
    assert {f"group.{name}" for name in ("memory", "swap", "pids")} <= needed_features(default)


def test_address_space_is_a_limit_of_its_own(host: Host, policy_of: PolicyOf) -> None:
    """RLIMIT_AS only where asked for; elsewhere the result does not speak of it."""
    asked = compile_limits(policy_of('limits.address_space = "1G"'), host)
    assert [item.soft for item in asked.rlimits if item.resource == RLIMIT_AS] == [1 << 30]
    silent = compile_limits(policy_of(""), host)
    assert "address_space" not in {note.name for note in silent.notes}


@pytest.mark.usefixtures("fake_filter")
def test_multi_maps_the_ranges_of_the_host(host: Host, policy_of: PolicyOf) -> None:
    """The own ids first; the ranges beside them; a host without any refuses, naming the file."""
    policy = policy_of('process.id_map = "multi"')
    assert "subids" in needed_features(policy)
    ranges = (Range(100000, 65536),)
    plan = compile_plan(policy, replace(host, subids=SubIds(ranges, ranges)))
    assert [item.kind for item in plan.id_maps].count(IdKind.UID) == 3
    assert (plan.id_maps[0].inside, plan.id_maps[0].outside) == (1000, 1234)
    gap = SubIds(gap="/etc/subuid gives uid 1234 no range", remedy="usermod …")
    with pytest.raises(HostError, match="/etc/subuid"):
        compile_plan(policy, replace(host, subids=gap))
