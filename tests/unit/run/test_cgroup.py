"""The group of a run, on directories that stand for control groups: files written, journal kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.errors import HostError, SetupError
from sandbox.host.cgroup import CPU, MEMORY, PIDS, QUOTA, SWAP, Hierarchy
from sandbox.host.paths import runtime_dir
from sandbox.plan.model import Supervise
from sandbox.run.cgroup import RunGroup, collect
from sandbox.run.journal import process_key

LIMITS = (
    (Supervise.GROUP_MEMORY_BYTES, 1000),
    (Supervise.GROUP_SWAP_BYTES, 50),
    (Supervise.GROUP_PIDS, 7),
    (Supervise.GROUP_CPU_PERCENT, 50),
)
V1_QUOTA = ("cpu.cfs_period_us", "cpu.cfs_quota_us")
FILES = {
    1: (
        "memory.limit_in_bytes",
        "memory.memsw.limit_in_bytes",
        "pids.max",
        "cgroup.procs",
        *V1_QUOTA,
    ),
    2: ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cgroup.procs", "cpu.max"),
}


@pytest.fixture(autouse=True)
def _own_runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runtime"
    path.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))


def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int) -> Hierarchy:
    """A hierarchy whose groups get the files that the kernel would make."""
    mkdir, rmdir = os.mkdir, os.rmdir

    def make(path: str, mode: int = 0o777) -> None:
        mkdir(path, mode)
        if "sandbox-" in os.path.basename(path):
            for name in FILES[version]:
                Path(path, name).touch()

    def remove(path: str) -> None:
        for name in os.listdir(path):
            os.unlink(f"{path}/{name}")
        rmdir(path)

    monkeypatch.setattr(os, "mkdir", make)
    monkeypatch.setattr(os, "rmdir", remove)
    return Hierarchy(version, str(tmp_path), frozenset({MEMORY, SWAP, PIDS, CPU, QUOTA}))


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (1, {"memory.limit_in_bytes": "1000", "memory.memsw.limit_in_bytes": "1050"}),
        (2, {"memory.max": "1000", "memory.swap.max": "50", "memory.oom.group": "1"}),
        (1, {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}),
        (2, {"cpu.max": "50000 100000"}),
    ],
)
def test_limits_are_written_and_the_child_joins(
    version: int, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """v1 bounds memory and swap as a sum, v2 each; everything is gone afterwards."""
    hierarchy = place(tmp_path, monkeypatch, version)
    leaf = tmp_path / "sandbox-ab12"
    with RunGroup((hierarchy,), LIMITS, "ab12") as group:
        group.join(4711)
        found = {name: (leaf / name).read_text() for name in expected}
        assert found == expected
        assert (leaf / "pids.max").read_text() == "7"
        assert (leaf / "cgroup.procs").read_text() == "4711"
        assert os.listdir(runtime_dir("groups")) != ["lock"]
    assert not leaf.exists()
    assert os.listdir(runtime_dir("groups")) == ["lock"]


def test_counters_are_read_by_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of both versions have other names and units."""
    leaf = tmp_path / "sandbox-ab12"
    with RunGroup((place(tmp_path, monkeypatch, 2),), LIMITS, "ab12") as group:
        assert group.hits() == frozenset()
        (leaf / "cpu.stat").write_text("usage_usec 1234567\nuser_usec 1\nnr_throttled 3\n")
        (leaf / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
        (leaf / "memory.peak").write_text("999\n")
        (leaf / "pids.events").write_text("max 1\n")
        (leaf / "cgroup.kill").touch()
        group.kill()
        assert (leaf / "cgroup.kill").read_text() == "1"
        assert (group.cpu_ms(), group.oom_kills()) == (1234, 2)
        assert group.memory_peak_bytes() == 999
        assert group.hits() == {"memory", "pids", "cpu_quota"}
    with RunGroup((place(tmp_path, monkeypatch, 1),), LIMITS, "cd34") as group:
        other = tmp_path / "sandbox-cd34"
        (other / "cpuacct.usage").write_text("1234567890\n")
        (other / "memory.oom_control").write_text("oom_kill_disable 0\noom_kill 1\n")
        assert (group.cpu_ms(), group.oom_kills()) == (1234, 1)
        assert group.memory_peak_bytes() is None
        assert group.hits() == {"memory"}


def test_what_cannot_be_made_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """The directory is named; no journal stays."""
    hierarchy = Hierarchy(1, f"{tmp_path}/none", frozenset({PIDS}))
    with pytest.raises(HostError, match="none/sandbox-ab12"), RunGroup((hierarchy,), (), "ab12"):
        pytest.fail("no group, but the run went on")
    assert os.listdir(runtime_dir("groups")) == ["lock"]


def test_a_refused_join_is_a_setup_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel does not move the child, the stage and the errno are named."""
    with RunGroup((place(tmp_path, monkeypatch, 1),), LIMITS, "ab12") as group:
        fd = group._joins[0]
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, fd)
        os.close(full)
        with pytest.raises(SetupError) as caught:
            group.join(1)
    assert (caught.value.fields["stage"], caught.value.code) == ("maps", "setup.maps")


def test_groups_of_dead_runs_are_collected_and_others_are_not(tmp_path: Path) -> None:
    """A journal of a dead process; one of a living one; one that names a foreign directory."""
    folder = runtime_dir("groups")
    foreign = tmp_path / "not-ours"
    for name, key, path in (
        ("dead", "999999999 1", tmp_path / "sandbox-dead"),
        ("alive", process_key(os.getpid()), tmp_path / "sandbox-alive"),
        ("evil", "999999999 1", foreign),
    ):
        path.mkdir()
        Path(folder, name).write_text(f"{key}\n{os.fsencode(path).hex()}\n", encoding="ascii")
    Path(folder, "broken").write_bytes(b"\xff\xfe")
    collect(folder)
    assert not (tmp_path / "sandbox-dead").exists()
    assert (tmp_path / "sandbox-alive").exists()
    assert foreign.exists()
    assert os.listdir(folder) == ["alive"]


def test_without_hierarchies_nothing_is_touched(tmp_path: Path) -> None:
    """No journal, no group, no counters."""
    with RunGroup((), (), "ab12") as group:
        assert not group.is_on
        assert (group.cpu_ms(), group.oom_kills(), group.memory_peak_bytes()) == (None, 0, None)
    assert os.listdir(tmp_path / "runtime") == []
