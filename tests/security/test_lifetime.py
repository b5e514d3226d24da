"""Nothing outlives its run: not the death of the caller, not daemons, not a time limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from security.answers import ask
from security.lifetime import end_all, new_processes, survivors
from security.places import Places

from support import leaks

GONE_WITHIN_S = 1.0
TREE = "trap '' TERM HUP; sleep 300 & (sleep 300; true) & echo ready; while :; do sleep 300; done"
DAEMONS = """
(setsid sleep 300 > /dev/null 2>&1 &)
(setsid sh -c 'sleep 300 & exec sleep 300' > /dev/null 2>&1 &)
(trap '' TERM HUP INT; nohup sleep 300 > /dev/null 2>&1 &)
exit 7
"""


@pytest.fixture
def known() -> Iterator[frozenset[int]]:
    """The processes that are there before the test; whatever is new is ended after it."""
    before = frozenset(leaks.descendants())
    yield before
    end_all(before)


def _start(argv: list[str], places: Places) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        cwd=places.work,
        env=dict(places.env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _exec(command: list[str], policy: str, script: str, *flags: str) -> list[str]:
    return [*command, "exec", "--policy", policy, *flags, "--", "/bin/sh", "-c", script]


def _kill_and_wait(process: subprocess.Popen[bytes], pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    process.wait(20)
    assert process.stdout is not None
    process.stdout.close()


def _wait_ready(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


def test_x03_control_children_outlive_a_killed_parent(
    places: Places, known: frozenset[int]
) -> None:
    """Without a sandbox, killing the parent leaves its children running."""
    process = _start([*places.user.prefix, "sh", "-c", TREE], places)
    _wait_ready(process)
    _kill_and_wait(process, process.pid)
    assert survivors(known, GONE_WITHIN_S)


@pytest.mark.parametrize("policy", ["strict", "default"])
def test_x03_run_dies_with_its_supervisor(
    policy: str, places: Places, sandbox_cmd: list[str], known: frozenset[int]
) -> None:
    """SIGKILL of the command line's process ends everything that it started."""
    process = _start(_exec(sandbox_cmd, policy, TREE), places)
    _wait_ready(process)
    assert len(new_processes(known)) >= 4
    _kill_and_wait(process, process.pid)
    assert survivors(known, GONE_WITHIN_S) == {}


@pytest.mark.parametrize("policy", ["strict", "default"])
def test_x03_run_ends_with_its_pid_1(
    policy: str, places: Places, sandbox_cmd: list[str], known: frozenset[int]
) -> None:
    """SIGKILL of the sandbox's pid 1 ends the rest, and the caller comes back with 137."""
    process = _start(_exec(sandbox_cmd, policy, TREE), places)
    _wait_ready(process)
    _kill_and_wait(process, _child_of(process.pid))
    assert process.returncode == 128 + signal.SIGKILL
    assert survivors(known, GONE_WITHIN_S) == {}


def _child_of(pid: int) -> int:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return int(text.split()[0])


@pytest.mark.parametrize("delay_ms", [0, 20, 40, 60, 80, 100, 120, 140, 170, 200, 250, 300])
def test_x03_run_dies_with_its_supervisor_at_every_stage(
    delay_ms: int, places: Places, sandbox_cmd: list[str], known: frozenset[int]
) -> None:
    """Wherever in the set-up the caller is killed, nothing is left."""
    process = _start(_exec(sandbox_cmd, "default", TREE), places)
    time.sleep(delay_ms / 1000)
    _kill_and_wait(process, process.pid)
    assert survivors(known, GONE_WITHIN_S) == {}


def test_x05_control_daemons_outlive_their_starter(places: Places, known: frozenset[int]) -> None:
    """Without a sandbox, a double fork with setsid survives."""
    process = _start([*places.user.prefix, "sh", "-c", DAEMONS], places)
    assert process.wait(20) == 7
    assert process.stdout is not None
    process.stdout.close()
    assert survivors(known, GONE_WITHIN_S)


@pytest.mark.parametrize("policy", ["strict", "default"])
def test_x05_daemons_end_with_the_run(
    policy: str, places: Places, sandbox_cmd: list[str], known: frozenset[int]
) -> None:
    """Inside they end with the command, whose exit code is kept."""
    process = _start(_exec(sandbox_cmd, policy, DAEMONS), places)
    assert process.wait(20) == 7
    assert process.stdout is not None
    process.stdout.close()
    assert survivors(known, GONE_WITHIN_S) == {}


@pytest.mark.parametrize("policy", ["strict", "default"])
def test_x10_time_limit_ends_the_whole_tree(
    policy: str, places: Places, sandbox_cmd: list[str], known: frozenset[int], work_dir: Path
) -> None:
    """After the time limit the tree is gone, also where it ignores SIGTERM; the result says why."""
    result = work_dir / "result.json"
    process = _start(
        _exec(sandbox_cmd, policy, TREE, "--timeout", "1s", "--result", str(result)), places
    )
    _wait_ready(process)
    started = time.monotonic()
    assert process.wait(20) == 124
    assert time.monotonic() - started < 1 + 2 + 3  # limit, grace of the policy, margin
    assert process.stdout is not None
    process.stdout.close()
    assert survivors(known, GONE_WITHIN_S) == {}
    data = json.loads(result.read_bytes())
    assert (data["reason"], data["ended_by"]) == ("timeout", "sandbox")


def test_x10_control_tree_runs_past_the_limit(places: Places, known: frozenset[int]) -> None:
    """Without a sandbox the tree does not end by itself, nor by SIGTERM."""
    process = _start([*places.user.prefix, "sh", "-c", TREE], places)
    _wait_ready(process)
    process.terminate()
    time.sleep(1.2)
    assert process.poll() is None
    _kill_and_wait(process, process.pid)


def test_x07_memory_of_the_tree_is_limited(
    places: Places, sandbox_cmd: list[str], known: frozenset[int], work_dir: Path
) -> None:
    """Under default, where no process is limited, the sum of all is; the result says so."""
    words = [str(places.probe), "X07", "256", "10"]
    control = ask([*places.user.prefix, *words[:3]], cwd=places.scratch, env=places.env)
    assert control.is_ok
    result = work_dir / "result.json"
    options = ["--ro", str(places.probe_dir), "--limit", "memory=64M", "--result", str(result)]
    process = _start([*sandbox_cmd, "exec", "--policy", "default", *options, *words], places)
    code = process.wait(30)
    assert process.stdout is not None
    process.stdout.close()
    assert code == 128 + signal.SIGKILL
    data = json.loads(result.read_bytes())
    assert data["reason"] == "oom"
    assert data["limits"]["memory"]["hit"] is True
    assert survivors(known, GONE_WITHIN_S) == {}
