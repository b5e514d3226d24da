"""Control groups: what is found by reading, what is tried, and what is printed for root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.host.cgroup import (
    CPU,
    MEMORY,
    PIDS,
    QUOTA,
    SWAP,
    Hierarchy,
    Mount,
    find_hierarchies,
    own_directory,
    read_mounts,
    read_own,
    try_group,
)
from sandbox.host.delegation import cgroup_limits, delegation_commands

Proc = Callable[[str, str], tuple[str, str]]
Found = tuple[tuple[Hierarchy, ...], str]
ALL = frozenset({MEMORY, SWAP, PIDS, CPU})


@pytest.fixture
def proc(tmp_path: Path) -> Callable[[str, str], tuple[str, str]]:
    """Write mountinfo and cgroup; `{}` is the directory."""

    def write(mountinfo: str, cgroup: str) -> tuple[str, str]:
        for name, text in (("mountinfo", mountinfo), ("cgroup", cgroup)):
            (tmp_path / name).write_text(text.replace("{}", str(tmp_path)), encoding="ascii")
        return str(tmp_path / "mountinfo"), str(tmp_path / "cgroup")

    return write


def make_group(path: Path, given: str | None = None) -> Path:
    """Make what looks like a group that the caller may fill; `given` is its subtree_control."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.procs").touch()
    if given is not None:
        (path / "cgroup.subtree_control").write_text(given, encoding="ascii")
    return path


def accept(hierarchy: Hierarchy) -> tuple[frozenset[str], str]:
    """A kernel that takes every limit."""
    return hierarchy.resources, ""


def v1_lines(*names: str) -> str:
    """Mount lines of v1 hierarchies."""
    return "".join(f"1 2 0:3 / {{}}/{name} rw - cgroup cgroup rw,{name}\n" for name in names)


def held(found: Found) -> dict[str, str]:
    """Resource and label of its holder."""
    return {name: item.label for item in found[0] for name in item.resources}


def test_v2_controllers_come_from_the_subtree(proc: Proc, tmp_path: Path) -> None:
    """What a group hands down can be limited in a child; cpu time is counted in any case."""
    make_group(tmp_path / "mine", "memory pids\n")
    files = proc("1 2 0:3 / {} rw - cgroup2 cgroup2 rw\n", "0::/mine\n")
    found = find_hierarchies(ALL, *files, accept)
    assert held(found) == dict.fromkeys(ALL, "cgroup-v2")
    assert found[1] == ""
    assert found[0][0].place == str(tmp_path / "mine")


def test_a_delegated_parent_hands_down_what_the_own_group_cannot(
    proc: Proc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The own v2 group has processes; the group above belongs to the caller as under systemd."""
    make_group(tmp_path / "app", "memory pids\n")
    make_group(tmp_path / "app" / "run.scope", "")
    files = proc("1 2 0:3 / {} rw - cgroup2 cgroup2 rw\n", "0::/app/run.scope\n")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(os, "stat", _as_owner(4711))
    places = {
        name: item.place
        for item in find_hierarchies(ALL, *files, accept)[0]
        for name in item.resources
    }
    assert places[MEMORY] == str(tmp_path / "app")
    assert places[CPU] == str(tmp_path / "app" / "run.scope")


def _as_owner(uid: int) -> Callable[..., object]:
    real = os.stat

    class Info:
        st_uid = uid

    def stat(path: object, **options: object) -> object:
        return Info() if str(path).endswith("/app") else real(path, **options)  # type: ignore[arg-type]  # as given

    return stat


@pytest.mark.as_root
def test_root_does_not_take_a_parent_that_nobody_gave_it(proc: Proc, tmp_path: Path) -> None:
    """Root may write everywhere; only its own group, or one that systemd marked, is its own."""
    make_group(tmp_path / "system", "memory pids\n")
    make_group(tmp_path / "system" / "own", "")
    files = proc("1 2 0:3 / {} rw - cgroup2 cgroup2 rw\n", "0::/system/own\n")
    assert held(find_hierarchies(ALL, *files, accept)) == {CPU: "cgroup-v2"}


def test_hybrid_takes_each_resource_where_it_is(proc: Proc, tmp_path: Path) -> None:
    """A v2 tree for other things still counts cpu time; memory and pids are v1's."""
    make_group(tmp_path / "unified", "hugetlb\n")
    for name in ("memory", "pids", "cpuacct"):
        make_group(tmp_path / name / "a")
    mounts = "1 2 0:3 / {}/unified rw - cgroup2 cgroup2 rw\n" + v1_lines(
        "memory", "pids", "cpuacct"
    )
    own = "0::/\n3:memory:/a\n2:pids:/a\n1:cpuacct:/a\n"
    found = find_hierarchies(ALL, *proc(mounts, own), accept)
    expected = {MEMORY: "cgroup-v1", SWAP: "cgroup-v1", PIDS: "cgroup-v1", CPU: "cgroup-v2"}
    assert held(found) == expected


def test_one_directory_serves_two_controllers(proc: Proc, tmp_path: Path) -> None:
    """Controllers mounted together make one hierarchy, so one group."""
    make_group(tmp_path / "both" / "a")
    mounts = "1 2 0:3 / {}/both rw - cgroup cgroup rw,pids,memory\n"
    found = find_hierarchies(ALL, *proc(mounts, "3:memory,pids:/a\n"), accept)
    assert [item.resources for item in found[0]] == [frozenset({MEMORY, SWAP, PIDS})]


def test_a_quota_needs_the_controller_cpu(proc: Proc, tmp_path: Path) -> None:
    """v2 counts time in every group, but holds it back only where cpu was handed down."""
    make_group(tmp_path / "mine", "memory\n")
    make_group(tmp_path / "cpu" / "a")
    mounts = "1 2 0:3 / {} rw - cgroup2 cgroup2 rw\n"
    need = frozenset({CPU, QUOTA})
    alone = find_hierarchies(need, *proc(mounts, "0::/mine\n"), accept)
    assert (held(alone), bool(alone[1])) == ({CPU: "cgroup-v2"}, True)
    both = find_hierarchies(need, *proc(mounts + v1_lines("cpu"), "0::/mine\n1:cpu:/a\n"), accept)
    assert held(both) == {CPU: "cgroup-v2", QUOTA: "cgroup-v1"}
    (tmp_path / "mine" / "cgroup.subtree_control").write_text("cpu\n", encoding="ascii")
    v2 = find_hierarchies(need, *proc(mounts, "0::/mine\n"), accept)
    assert held(v2) == dict.fromkeys(need, "cgroup-v2")


def test_swap_goes_with_memory_alone(proc: Proc, tmp_path: Path) -> None:
    """v1 bounds the sum of both: without memory there is no bound on swap."""
    make_group(tmp_path / "memory" / "a")
    files = proc(v1_lines("memory"), "3:memory:/a\n")
    assert find_hierarchies(frozenset({SWAP}), *files, accept)[0] == ()


def test_a_container_shows_its_group_at_the_mount_point() -> None:
    """The root field of mountinfo is the group at the mount point; others are out of sight."""
    mount = Mount(1, "/docker/abc", "/sys/fs/cgroup/memory", ("memory",))
    assert own_directory(mount, "/docker/abc/x") == "/sys/fs/cgroup/memory/x"
    assert own_directory(mount, "/docker/abc") == "/sys/fs/cgroup/memory"
    for other in ("/docker/abcd", "/", "/../x", None):
        assert own_directory(mount, other) is None


def test_a_mount_point_may_hold_spaces(proc: Proc) -> None:
    """mountinfo writes them in octal."""
    files = proc("1 2 0:3 / /a\\040b rw - cgroup2 cgroup2 rw\n", "")
    assert read_mounts(files[0])[0].point == "/a b"


@pytest.mark.parametrize("text", ["", "garbage\n", "0::\n", "::::\n", "\udcff:x\n"])
def test_garbage_is_no_group(text: str, tmp_path: Path) -> None:
    """Neither file can make the reader fail; nothing is found."""
    path = tmp_path / "f"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read_mounts(str(path)) == []
    read_own(str(path))
    found, reason = find_hierarchies(ALL, str(path), str(path))
    assert (found, bool(reason)) == ((), True)


def test_a_limit_that_cannot_be_set_has_no_holder(proc: Proc, tmp_path: Path) -> None:
    """A directory that is no control group is tried, refused, and left as it was."""
    make_group(tmp_path / "memory" / "a")
    files = proc(v1_lines("memory"), "3:memory:/a\n")
    found, reason = find_hierarchies(ALL, *files)
    assert found == ()
    assert "cannot be moved" in reason
    assert sorted(os.listdir(tmp_path / "memory" / "a")) == ["cgroup.procs"]


def test_a_trial_in_a_missing_directory_says_so() -> None:
    """No group, no exception."""
    works, why = try_group(Hierarchy(1, "/nonexistent", ALL))
    assert (works, "no group can be made" in why) == (frozenset(), True)


def test_doctor_names_the_backend(proc: Proc, tmp_path: Path) -> None:
    """What holds what, for a delegated host, a half delegated one, and one without cgroups."""
    for name in ("memory", "pids", "cpuacct"):
        make_group(tmp_path / name / "a")
    own = "3:memory:/a\n2:pids:/a\n1:cpuacct:/a\n"
    whole = cgroup_limits(*proc(v1_lines("memory", "pids", "cpuacct"), own), accept)
    assert (whole.is_delegated, whole.detail) == (True, "cgroup-v1: memory, pids, cpu, swap")
    half = cgroup_limits(*proc(v1_lines("pids"), own), accept)
    assert not half.is_delegated
    assert half.detail == "cgroup-v1: pids; resource limits and the supervisor: memory, cpu"
    none = cgroup_limits(*proc("garbage\n", "also garbage"), accept)
    assert (none.is_delegated, none.cause) == (False, "no cgroup hierarchy is mounted")
    assert "--print-delegation" in str(none.remedy)


def test_v1_delegation_is_printed_below_the_own_group(proc: Proc, tmp_path: Path) -> None:
    """One group in each hierarchy; its limits stay root's. The shell accepts the text."""
    mounts = v1_lines("memory", "pids", "cpuacct", "blkio")
    own = "4:memory:/it's\n3:pids:/\n2:cpuacct:/\n1:blkio:/\n"
    text = delegation_commands(1000, 1001, 77, *proc(mounts, own))
    assert text.count("mkdir -p") == 3
    assert f"chown 1000:1001 '{tmp_path}/pids/sandbox-1000'" in text
    assert "limit_in_bytes" not in text
    assert "echo 77 >" in text
    assert _parses(text)


@pytest.mark.parametrize("is_systemd", [True, False])
def test_v2_delegation_is_printed(is_systemd: bool, proc: Proc, tmp_path: Path) -> None:
    """systemd is asked to delegate; without it a subtree is made beside the processes."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n", encoding="ascii")
    files = proc("1 2 0:3 / {} rw - cgroup2 cgroup2 rw\n", "0::/user\n")
    systemd = str(tmp_path) if is_systemd else f"{tmp_path}/none"
    text = delegation_commands(1000, 1000, None, *files, systemd)
    assert ("systemd-run" in text) == is_systemd
    assert ("PID:?" in text) != is_systemd
    assert _parses(text)


def test_nothing_to_delegate_is_a_comment(proc: Proc) -> None:
    """Printed text is always harmless to run."""
    text = delegation_commands(1000, 1000, None, *proc("", ""))
    assert all(line.startswith("#") for line in text.splitlines())


def _parses(text: str) -> bool:
    return (
        subprocess.run(["sh", "-n"], input=text.encode(), check=False, timeout=20).returncode == 0
    )
