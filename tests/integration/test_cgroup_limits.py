"""Limits of a whole tree, held by control groups that root delegated to the ordinary user.

Root is needed to delegate; the sandbox itself runs as the ordinary user.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support import bombs
from support.groups import ENTER, V1, delegated_v1, delegated_v2, leaves, own_place
from support.user import User

pytestmark = [pytest.mark.as_root, pytest.mark.leaks_nothing]

Result = dict[str, Any]
Exec = Callable[..., tuple[Result, bytes]]

SPINNERS = "while :; do :; done & while :; do :; done & wait"


@pytest.fixture
def groups(user: User) -> Iterator[list[str]]:
    """A delegated group in each v1 hierarchy."""
    missing = [name for name in V1 if own_place(name) is None]
    if missing:
        pytest.skip(f"needs cgroup v1: no hierarchy with {', '.join(missing)}")
    with delegated_v1(user) as made:
        yield made
        assert leaves(made) == []


def enter(groups: list[str], user: User, python: Path, *args: str) -> list[str]:
    """The argv that runs the program as the user, from inside of `groups`."""
    program = [str(python), "-I", "-m", "sandbox", *args]
    return ["sh", "-c", ENTER, "sh", *groups, "--", *user.prefix, *program]


@pytest.fixture
def run_in(user: User, user_python: Path, work_dir: Path) -> Callable[..., Exec]:
    """`run_in(groups)("--limit", "pids=9", …)`: the result, and what came out."""

    def bind(groups: list[str]) -> Exec:
        def run(*args: str) -> tuple[Result, bytes]:
            argv = enter(groups, user, user_python, "exec", "--result", "r.json", *args)
            done = subprocess.run(
                argv,
                cwd=work_dir,
                env=user.environ(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=40,
                check=False,
            )
            assert done.returncode != 99, done.stderr
            data: Result = json.loads((work_dir / "r.json").read_text())
            data["shell"], data["stderr"] = done.returncode, done.stderr.decode()
            return data, done.stdout

        return run

    return bind


@pytest.fixture
def run(run_in: Callable[..., Exec], groups: list[str]) -> Exec:
    """Run inside of the delegated v1 groups."""
    return run_in(groups)


def keepers(result: Result) -> dict[str, str]:
    """Who enforced each limit."""
    return {name: item["enforced_by"] for name, item in result["limits"].items()}


def test_the_result_says_what_the_group_holds(run: Exec) -> None:
    """memory, swap, pids and cpu are the group's; the rest stays with rlimits and supervisor."""
    result, _out = run("--policy", "strict", "true")
    kept = keepers(result)
    assert {kept[name] for name in ("memory", "swap", "pids", "cpu")} == {"cgroup-v1"}
    assert (kept["open_files"], kept["wall"]) == ("rlimit", "supervisor")
    assert {result["limits"][name]["scope"] for name in ("memory", "pids", "cpu")} == {"tree"}
    assert result["effective"]["limits.tree"]["got"] == "on"
    assert result["usage"]["memory_peak_bytes"] > 0


def test_a_memory_bomb_is_killed_and_the_host_responds(run: Exec) -> None:
    """Many processes together pass the limit: reason oom; another program runs meanwhile."""
    with subprocess.Popen(
        ["sh", "-c", "i=0; while [ $i -lt 20 ]; do sleep 0.02; i=$((i+1)); done"]
    ) as other:
        started = time.monotonic()
        result, _out = run("--limit", "memory=100M", "python3", "-c", bombs.MEMORY)
        assert other.wait(timeout=20) == 0
    assert (result["reason"], result["limits"]["memory"]["hit"]) == ("oom", True)
    assert result["usage"]["memory_peak_bytes"] <= 100 << 20
    assert time.monotonic() - started < 20


def test_a_bomb_below_a_shell_is_an_oom_too(run: Exec) -> None:
    """Whether the shell sees its child die, or is ended itself: the reason is the memory."""
    script = "python3 -c 'b = bytearray(300 << 20)'; exit $?"
    result, _out = run("--limit", "memory=60M", "sh", "-c", script)
    assert (result["reason"], result["limits"]["memory"]["hit"]) == ("oom", True)


def test_a_fork_bomb_is_stopped(run: Exec) -> None:
    """fork fails at the limit of the group, and the result says that it was reached."""
    result, out = run("--limit", "pids=20", "python3", "-c", bombs.FORKS)
    assert 10 <= int(out) < 20
    assert (result["reason"], result["limits"]["pids"]["hit"]) == ("exited", True)


def test_spinners_are_limited_together(run: Exec) -> None:
    """No process reaches the limit alone; the sum does, and ends the run: reason limit."""
    result, _out = run("--limit", "cpu=2s", "sh", "-c", SPINNERS)
    assert (result["reason"], result["limits"]["cpu"]["hit"]) == ("limit", True)
    used = result["usage"]["user_ms"] + result["usage"]["sys_ms"]
    assert used < 3500


def test_a_quota_slows_spinners_and_the_host_responds(run: Exec) -> None:
    """20 % of one processor for all: five times as long; who only wakes up meanwhile ends first."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run, "--limit", "cpu_quota=20%", "python3", "-c", bombs.SPIN)
        for _ in range(20):
            time.sleep(0.02)
        assert not future.done()
        result, _out = future.result()
    used_ms = result["usage"]["user_ms"] + result["usage"]["sys_ms"]
    assert (result["reason"], used_ms >= 600) == ("exited", True)
    assert result["usage"]["wall_ms"] >= 3 * used_ms
    limit = result["limits"]["cpu_quota"]
    assert (limit["requested"], limit["enforced_by"], limit["hit"]) == (20, "cgroup-v1", True)
    assert result["effective"]["limits.cpu_quota"]["got"] == "on"


def test_a_quota_above_that_of_the_caller_is_held_by_it(run: Exec, groups: list[str]) -> None:
    """v1 refuses more than a group further up has, which then slows all of it."""
    (place,) = [path for path in groups if Path(path, "cpu.cfs_quota_us").exists()]
    Path(place, "cpu.cfs_quota_us").write_text("30000", encoding="ascii")
    result, _out = run("--limit", "cpu_quota=150%", "python3", "-c", bombs.SPIN)
    used_ms = result["usage"]["user_ms"] + result["usage"]["sys_ms"]
    assert (result["reason"], used_ms >= 600) == ("exited", True)
    assert result["limits"]["cpu_quota"]["enforced_by"] == "cgroup-v1"
    assert result["usage"]["wall_ms"] >= 2 * used_ms


def test_a_timeout_ends_the_tree(run: Exec) -> None:
    """TERM, grace, KILL; nothing stays in the group (the fixture looks)."""
    script = "trap '' TERM; setsid sleep 30 & sleep 30 & wait; sleep 30"
    result, _out = run("--timeout", "300ms", "sh", "-c", script)
    assert (result["shell"], result["reason"]) == (124, "timeout")


def test_the_group_is_the_root_of_the_cgroup_namespace(run: Exec) -> None:
    """The command sees no name of the host's groups, its own neither."""
    _result, out = run("cat", "/proc/self/cgroup")
    rows = dict(line.split(":")[1:] for line in out.decode().splitlines())
    assert {rows[name] for name in ("memory", "pids", "cpu")} == {"/"}


def test_a_required_sum_runs_only_where_it_is_held(
    run: Exec, run_in: Callable[..., Exec], work_dir: Path
) -> None:
    """enforce.tree = require: inside it runs, outside it refuses and says how to get there."""
    policy = work_dir / "sums.toml"
    policy.write_text(
        'schema = 1\nextends = ["default"]\nlimits.enforce = { tree = "require" }\n',
        encoding="ascii",
    )
    inside, _out = run("--policy", str(policy), "true")
    assert (inside["shell"], inside["effective"]["limits.tree"]["by"]) == (0, "cgroup-v1")
    outside, _out = run_in([])("--policy", str(policy), "true")
    assert (outside["shell"], outside["reason"]) == (125, "setup")
    assert "print-delegation" in outside["setup"]["remedy"]
    assert f"{policy}:3" in outside["setup"]["cause"]


def test_the_next_run_collects_what_a_killed_supervisor_left(
    user: User, user_python: Path, work_dir: Path, groups: list[str], run: Exec
) -> None:
    """SIGKILL leaves empty groups and a journal; the next run removes both."""
    argv = enter(groups, user, user_python, "exec", "sh", "-c", "echo up; sleep 30")
    with subprocess.Popen(
        argv, cwd=work_dir, env=user.environ(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        assert len(leaves(groups)) == 3
        os.kill(running.pid, signal.SIGKILL)
    left = leaves(groups)
    assert left
    deadline = time.monotonic() + 10
    while any((Path(path) / "cgroup.procs").read_text() for path in left):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run("true")
    assert leaves(groups) == []


def test_v2_without_memory_counts_time_and_leaves_memory_to_the_watch(
    run_in: Callable[..., Exec], user: User
) -> None:
    """What the v2 tree lacks falls back, and each limit says to whom."""
    if own_place("") is None:
        pytest.skip("needs cgroup2: not mounted")
    with delegated_v2(user) as made:
        run = run_in(made)
        result, _out = run("--limit", "cpu=2s", "sh", "-c", SPINNERS)
        kept = keepers(result)
        assert (result["reason"], kept["cpu"]) == ("limit", "cgroup-v2")
        given = Path(made[0], "cgroup.subtree_control").read_text().split()
        if "memory" not in given:
            assert (kept["memory"], kept["pids"]) == ("supervisor", "rlimit")
            note = result["effective"]["limits.tree"]["note"]
            assert "memory" in note
            assert "cpu" not in note
        timed, _out = run("--timeout", "300ms", "sh", "-c", "trap '' TERM; sleep 30")
        assert timed["reason"] == "timeout"
        assert leaves(made) == []


def test_v2_alone_in_a_private_mount_namespace(
    user: User, user_python: Path, work_dir: Path
) -> None:
    """A host with nothing but cgroup2 at the usual place is understood as such."""
    script = (
        "umount -l /sys/fs/cgroup && mount -t tmpfs none /sys/fs/cgroup"
        " && mount -t cgroup2 none /sys/fs/cgroup || exit 98; "
    )
    with delegated_v2(user) as made:
        name = os.path.relpath(made[0], own_place("") or "/")
        argv = enter(
            [f"/sys/fs/cgroup/{name}"],
            user,
            user_python,
            *("exec", "--result", "r.json", "--limit", "cpu=30s", "true"),
        )
        argv[2] = script + ENTER
        done = subprocess.run(
            ["unshare", "--mount", *argv],
            cwd=work_dir,
            env=user.environ(),
            capture_output=True,
            timeout=40,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        kept = keepers(json.loads((work_dir / "r.json").read_text()))
        assert kept["cpu"] == "cgroup-v2"
        assert leaves(made) == []


def test_root_uses_groups_below_its_own(root_sandbox_cmd: list[str], root: User) -> None:
    """Root needs no delegation; its group is gone afterwards."""
    path = own_place("pids")
    if path is None:
        pytest.skip("needs cgroup v1: no hierarchy with pids")
    done = subprocess.run(
        [*root_sandbox_cmd, "exec", "--result", "r.json", "true"],
        cwd=root.home,
        env=root.environ(),
        capture_output=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((root.home / "r.json").read_text())
    assert keepers(result)["pids"].startswith("cgroup-")
    assert f"sandbox-{result['run_id']}" not in os.listdir(path)


def test_root_cannot_raise_a_limit_above_its_hard_one(
    root_sandbox_cmd: list[str], root: User
) -> None:
    """Without CAP_SYS_RESOURCE the caller's own limit stays, noted, and the run goes on."""
    drop = ["setpriv", "--inh-caps=-sys_resource", "--bounding-set=-sys_resource", "--"]
    argv = ["prlimit", "--nofile=100:100", *drop, *root_sandbox_cmd]
    done = subprocess.run(
        [*argv, "exec", "--limit", "open_files=4096", "sh", "-c", "ulimit -n"],
        cwd=root.home,
        env=root.environ(),
        capture_output=True,
        timeout=40,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"100\n"), done.stderr
