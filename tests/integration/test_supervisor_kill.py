"""Kill -9 of whoever takes part, at every stage of a run: nothing is left after a second."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from sandbox._core import lib
from sandbox.record import replace
from support import jobs, leaks
from support.supervised import Start, prepared, runtime, start

__all__ = ["runtime", "start"]  # fixtures

# From before the supervisor reads its job until after the command runs.
LONGEST_S = 0.03
ROUNDS = 70


def left_after_a_second(known: set[int]) -> list[str]:
    """Return the processes that are there a second later and were not before."""
    deadline = time.monotonic() + 1.0
    while True:
        leaks.reap_orphans(known)
        found = [f"{pid} {text}" for pid, text in leaks.descendants().items() if pid not in known]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.005)


def job_bytes() -> bytes:
    """Return a job that runs for long, with everything that can be left behind."""
    made = prepared("sleep 60", "default", wall_ms=60_000, output_bytes=1 << 20)
    invocation = replace(made.invocation, fds=())
    return jobs.encode_job(made.plan, invocation, made.placeholders)


def kill_child_of(pid: int) -> None:
    """Kill pid 1 of the sandbox, if it is there yet."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return


def start_and_be_killed(data: bytes, delay_s: float) -> None:
    """Be a caller that is killed; runs in a forked child."""
    pid = os.fork()
    if pid == 0:
        try:
            jobs.start_job(data, {})
            time.sleep(60)
        finally:
            os._exit(1)
    time.sleep(delay_s)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def run_once(victim: str, data: bytes, delay_s: float) -> None:
    """Start a run and kill the victim after a while."""
    if victim == "caller":
        start_and_be_killed(data, delay_s)
        return
    job = jobs.start_job(data, {})
    time.sleep(delay_s)
    if victim == "supervisor":
        os.kill(job.pid, signal.SIGKILL)
    else:
        kill_child_of(job.pid)
    if victim == "init":  # before there was one nothing was killed: let go
        job.channel.close()
    job.wait()
    job.channel.close()


@pytest.mark.slow
@pytest.mark.time_limit(150)
@pytest.mark.parametrize("victim", ["supervisor", "init", "caller"])
def test_nothing_is_left_whoever_is_killed_whenever(
    runtime: Path, start: Start, victim: str
) -> None:
    """Processes and mounts are gone within a second; the next run collects the placeholders."""
    data = job_bytes()
    mounts = leaks.mounts()
    known = set(leaks.descendants())
    generator = random.Random(victim)
    for round_number in range(ROUNDS):
        delay_s = generator.uniform(0, LONGEST_S)
        run_once(victim, data, delay_s)
        assert left_after_a_second(known) == [], f"round {round_number}, after {delay_s:.4f} s"
    assert leaks.mounts() == mounts
    job = start("true", policy="default")
    job.ended()
    assert job.wait() == 0
    assert (os.listdir("."), os.listdir(runtime)) == ([], ["lock"])


@pytest.mark.parametrize("victim", ["supervisor", "init"])
def test_a_held_child_ends_with_its_supervisor(start: Start, victim: str) -> None:
    """Between clone and the release of the child, too."""
    known = set(leaks.descendants())
    job = start("sleep 60", is_held=True, policy="default")
    init = job.expect(lib.SBX_MESSAGE_SPAWNED).value
    os.kill(job.pid if victim == "supervisor" else init, signal.SIGKILL)
    job.wait()
    assert left_after_a_second(known) == []


def test_a_stopped_supervisor_that_is_killed_leaves_nothing(start: Start) -> None:
    """SIGSTOP at the worst moment, then SIGKILL."""
    known = set(leaks.descendants())
    job = start("trap '' HUP TERM; setsid sleep 60 & sleep 60", policy="default")
    job.expect(lib.SBX_MESSAGE_STARTED)
    os.kill(job.pid, signal.SIGSTOP)
    time.sleep(0.05)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    assert left_after_a_second(known) == []
