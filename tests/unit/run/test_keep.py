"""What goes into the plan cache, and what does not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.host.cgroup import Hierarchy
from sandbox.host.observe import Facts, recording
from sandbox.plan import cache
from sandbox.plan.entry import FactKind, decode_entry, encode_facts, entry_key, entry_name
from sandbox.plan.model import EnvKind, EnvRule, IdKind, IdMap, MountKind, MountOp, Slot, SlotPath
from sandbox.policy import filter_cache
from sandbox.policy.compose import Flag
from sandbox.record import replace
from sandbox.run import keep
from sandbox.run.execute import prepare
from sandbox.run.request import Prepared, Request

Change = Callable[[Prepared], Prepared]
STATE = SlotPath(b"/x", Slot.STATE)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Prepared, Facts]:
    """A request that can be kept, whoever runs the tests, and its facts."""
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "tree").mkdir()
    monkeypatch.chdir(tmp_path / "tree")
    monkeypatch.setattr(keep, "SETTLED_NS", 0)  # the installation may be seconds old
    with recording() as facts:
        prepared = prepare(Request((b"true",), "strict"))
    # root's control groups and maps depend on the machine
    facts.gap = ""
    host = replace(prepared.host, hierarchies=(), is_privileged=False)
    maps = (IdMap(IdKind.UID, 1000, 1000), IdMap(IdKind.GID, 1000, 1000))
    plan = replace(prepared.plan, id_maps=maps)
    return replace(prepared, host=host, plan=plan), facts


def in_plan(**fields: Any) -> Change:
    """Return a change of the plan."""
    return lambda prepared: replace(prepared, plan=replace(prepared.plan, **fields))


def in_host(**fields: Any) -> Change:
    """Return a change of the host."""
    return lambda prepared: replace(prepared, host=replace(prepared.host, **fields))


def with_flag(value: str) -> Change:
    """Return the change that --env makes to the request."""
    flags = (Flag("env", value, f"--env {value}"),)
    return lambda prepared: replace(prepared, request=replace(prepared.request, flags=flags))


OBSTACLES: dict[str, tuple[Change, str]] = {
    "no namespaces": (in_plan(namespaces=0), "without namespaces"),
    "helpers": (
        in_plan(id_maps=tuple(IdMap(IdKind.UID, at, at) for at in range(4))),
        "newuidmap",
    ),
    "control group": (
        in_host(hierarchies=(Hierarchy(2, "/sys/fs/cgroup/x", frozenset({"memory"})),)),
        "control group",
    ),
    "upper on disk": (
        in_plan(
            mounts=(MountOp(MountKind.OVERLAY, SlotPath(b"/x"), SlotPath(b"/x"), upper=STATE),)
        ),
        "on disk",
    ),
    "root's upper on disk": (in_plan(root_upper=STATE), "on disk"),
    "directory of the run": (in_plan(env=(EnvRule(EnvKind.SET, b"TMPDIR", STATE),)), "on disk"),
    "value in the options": (with_flag("N=secret"), "secret"),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_the_launcher_cannot_run_is_not_kept(
    name: str, asked: tuple[Prepared, Facts], tmp_path: Path
) -> None:
    """The reason says why, and nothing is written."""
    change, reason = OBSTACLES[name]
    prepared, facts = asked
    assert keep.obstacle(prepared, facts) == ""
    assert reason in keep.obstacle(change(prepared), facts)
    assert not keep.keep(change(prepared), facts, [])
    assert not (tmp_path / ".cache" / "sandbox" / "plans").exists()


def test_a_variable_that_is_passed_is_no_value(asked: tuple[Prepared, Facts]) -> None:
    """`--env NAME` says nothing about the value."""
    prepared, facts = asked
    assert keep.obstacle(with_flag("NAME")(prepared), facts) == ""


def test_root_writes_maps_itself(asked: tuple[Prepared, Facts]) -> None:
    """Many extents are an obstacle only where helpers write them."""
    prepared, facts = asked
    many = in_plan(id_maps=tuple(IdMap(IdKind.UID, at, at) for at in range(4)))(prepared)
    assert keep.obstacle(in_host(is_privileged=True)(many), facts) == ""


def test_a_gap_and_a_young_file_are_obstacles(
    asked: tuple[Prepared, Facts], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no fact can hold, and what its times do not yet tell."""
    prepared, facts = asked
    monkeypatch.setattr(keep, "SETTLED_NS", 2_000_000_000)
    facts.newest_ns = time.time_ns()
    assert "only just changed" in keep.obstacle(prepared, facts)
    facts.gap = "something"
    assert keep.obstacle(prepared, facts) == "something"


def test_an_entry_has_what_the_run_needs(asked: tuple[Prepared, Facts]) -> None:
    """Key, ids, policy, notes, and facts about the kernel and the program itself."""
    prepared, facts = asked
    prepared = replace(prepared, notes=("look out",), placeholders=((b"/in", b"/out"),))
    words = [b"--policy", b"strict", b"-q"]
    assert keep.keep(prepared, facts, words)
    key = entry_key(os.getcwdb(), os.environb, words)
    blob = cache.load(keep.directory(), entry_name(key))
    assert blob is not None
    entry = decode_entry(blob)
    assert entry is not None
    assert (entry.key, entry.uid, entry.gid) == (key, os.geteuid(), os.getegid())
    assert (entry.policy, entry.notes) == ("strict", ("look out",))
    assert entry.placeholders == ((b"/in", b"/out"),)
    paths = {fact.path for fact in entry.facts}
    assert b"/proc/sys/kernel/random/boot_id" in paths
    assert any(path.endswith(b"/_core.abi3.so") for path in paths)
    assert set(facts.listed()) <= {
        replace(fact, value=fact.value[: len(known.value)])
        for fact in entry.facts
        for known in facts.listed()
        if (known.kind, known.path) == (fact.kind, fact.path)
    }


def test_a_source_that_is_edited_is_noticed(
    asked: tuple[Prepared, Facts], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a source tree every module counts; an installation is replaced as a whole."""
    prepared, facts = asked
    found = {}
    for is_tree in (True, False):
        monkeypatch.setattr(keep, "is_source_tree", lambda is_tree=is_tree: is_tree)
        assert keep.keep(prepared, facts, [b"%d" % is_tree])
        key = entry_key(os.getcwdb(), os.environb, [b"%d" % is_tree])
        entry = decode_entry(cache.load(keep.directory(), entry_name(key)) or b"")
        assert entry is not None
        found[is_tree] = {fact.path for fact in entry.facts}
    own = os.fsencode(keep.__file__)
    assert own in found[True]
    assert own not in found[False]


def test_another_libseccomp_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's link tells which one compiles filters, and its absence counts as well."""
    monkeypatch.setattr(filter_cache, "_LIBRARY_DIRS", (str(tmp_path / "a"), str(tmp_path)))
    link = tmp_path / "libseccomp.so.2"
    link.symlink_to("libseccomp.so.2.5.4")
    policy = prepare(Request((b"true",), "strict")).policy.syscalls
    with recording() as facts:
        first = filter_cache.key_of(policy, "x86_64")
    buffer, start, count = encode_facts(facts.listed())
    kinds = [fact.kind for fact in facts.listed() if fact.path == os.fsencode(link)]
    assert kinds == [FactKind.LINK]
    assert keep_holds(buffer, start, count)
    link.unlink()
    link.symlink_to("libseccomp.so.2.6.0")
    assert not keep_holds(buffer, start, count)
    assert filter_cache.key_of(policy, "x86_64") != first
    link.unlink()
    link.symlink_to("libseccomp.so.2.5.4")
    assert keep_holds(buffer, start, count)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "libseccomp.so.2").symlink_to("libseccomp.so.2.5.5")
    assert not keep_holds(buffer, start, count)


def keep_holds(buffer: bytes, start: int, count: int) -> bool:
    """Say whether the packed facts hold."""
    from sandbox.plan.entry import first_broken

    return first_broken(buffer, start, count) == count
