"""The supervisor inside the launcher: signals, streams and kill -9, as for `env COMMAND`."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import leaks
from support.doors import Doors, make_doors
from support.need import need_user_namespaces
from support.user import User

Begin = Callable[..., "subprocess.Popen[bytes]"]
WAIT_S = 20.0


@pytest.fixture(scope="module")
def doors(user: User, user_python: Path) -> Doors:
    """A launcher without its Python side: what it runs, it runs itself."""
    need_user_namespaces()
    try:
        return make_doors(user.base / "launched", user_python)
    except LookupError as error:
        pytest.skip(f"needs the native launcher: {error}")


@pytest.fixture
def begin(user: User, doors: Doors, work_dir: Path) -> Iterator[Begin]:
    """Start `sandbox exec --policy P sh -c SCRIPT` from a warm cache; `wrap` is a script around."""
    running: list[subprocess.Popen[bytes]] = []
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(user.home)}

    def start(script: str, policy: str = "strict", wrap: str = "") -> subprocess.Popen[bytes]:
        options = ["exec", "--policy", policy]
        warm = [*user.prefix, str(doors.python), *options, "true"]
        subprocess.run(warm, cwd=work_dir, env=environment, timeout=60, check=True)
        argv = [str(doors.bare), *options, "sh", "-c", script]
        if wrap:
            argv = ["/bin/sh", "-c", wrap, "sh", *argv]
        process = subprocess.Popen(
            [*user.prefix, *argv],
            cwd=work_dir,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate(timeout=WAIT_S)


def first_line(process: subprocess.Popen[bytes]) -> bytes:
    """Wait for the command's first line."""
    assert process.stdout is not None
    return process.stdout.readline()


def states_below(pid: int) -> set[str]:
    """Return the states of a process and of everything below it but pid 1 of the sandbox."""
    found, queue = set(), [pid]
    while queue:
        at = queue.pop()
        text = Path(f"/proc/{at}/stat").read_text(errors="replace")
        head, _, tail = text.rpartition(")")
        if "sandbox-init" not in head:
            found.add(tail.split()[0])
        queue += map(int, Path(f"/proc/{at}/task/{at}/children").read_text().split())
    return found


def wait_for_states(pid: int, wanted: set[str]) -> None:
    """Wait until launcher and command are in these states."""
    deadline = time.monotonic() + WAIT_S
    while (found := states_below(pid)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH"])
def test_a_signal_is_passed_on(begin: Begin, name: str) -> None:
    """The command's own handling decides; the launcher ends with the command's exit code."""
    process = begin(f"trap 'exit 5' {name}; echo; while :; do sleep 0.05; done")
    first_line(process)
    process.send_signal(signal.Signals[f"SIG{name}"])
    assert process.wait(WAIT_S) == 5


def test_an_ignored_signal_stays_ignored(begin: Begin) -> None:
    """nohup(1) means what it says, to the launcher and to the command."""
    process = begin("echo; sleep 0.5; echo over", wrap="trap '' HUP; exec \"$@\"")
    first_line(process)
    process.send_signal(signal.SIGHUP)
    out, _err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, out) == (0, b"over\n")


def test_a_stop_stops_both_and_a_continue_wakes_both(begin: Begin) -> None:
    """TSTP and CONT, as a shell's job control sends them."""
    process = begin("echo; exec sleep 60")  # no vfork, whose wait is no stop
    first_line(process)
    process.send_signal(signal.SIGTSTP)
    wait_for_states(process.pid, {"T"})
    process.send_signal(signal.SIGCONT)
    wait_for_states(process.pid, {"S"})


def test_a_reader_that_has_enough_ends_the_command(begin: Begin) -> None:
    """`sandbox exec yes | head -1` ends at once: the command gets SIGPIPE."""
    process = begin("yes")
    first_line(process)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    assert process.wait(WAIT_S) == 128 + signal.SIGPIPE


def test_a_launcher_that_waits_is_small(begin: Begin) -> None:
    """It keeps at most 300 KiB for itself."""
    process = begin("echo; sleep 60")
    first_line(process)
    rows = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
    private = sum(int(row.split()[1]) for row in rows if row.startswith("Private_"))
    assert private <= 300, rows


def left_after_a_second(known: set[int]) -> list[str]:
    """Return the processes that are there a second later and were not before."""
    deadline = time.monotonic() + 1.0
    while True:
        leaks.reap_orphans(known)
        found = [f"{pid} {text}" for pid, text in leaks.descendants().items() if pid not in known]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.time_limit(120)
def test_a_killed_launcher_leaves_nothing(
    user: User, doors: Doors, work_dir: Path, begin: Begin
) -> None:
    """Killed at any moment: no process is left after a second; the next command cleans up."""
    begin("true", policy="default").wait(WAIT_S)
    known, mounts = set(leaks.descendants()), leaks.mounts()
    generator = random.Random(4)
    argv = [*user.prefix, str(doors.bare), "exec", "--policy", "default", "sleep", "60"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(user.home)}
    for round_number in range(60):
        process = subprocess.Popen(argv, cwd=work_dir, env=environment, stderr=subprocess.DEVNULL)
        delay_s = generator.uniform(0, 0.03)
        time.sleep(delay_s)
        process.kill()
        process.wait(WAIT_S)
        assert left_after_a_second(known) == [], f"round {round_number}, {delay_s:.4f} s"
    assert leaks.mounts() == mounts
    next_command = [*user.prefix, str(doors.native), "exec", "--policy", "default", "true"]
    done = subprocess.run(next_command, cwd=work_dir, env=environment, timeout=60, check=False)
    assert (done.returncode, os.listdir(work_dir)) == (0, [])
