"""Runs in delegated control groups from the plan cache: by the launcher, as by the door in Python.

Root is needed to delegate; the sandbox itself runs as the ordinary user.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import bombs
from support.doors import NO_PYTHON, Doors, Ended, make_doors
from support.groups import ENTER, V1, delegated_v1, leaves, own_place
from support.need import need_user_namespaces
from support.user import User

pytestmark = [pytest.mark.as_root, pytest.mark.leaks_nothing]

Run = Callable[..., Ended]
LINES = {
    "a plain run": ("--policy", "strict", "--", "cat", "/proc/self/cgroup"),
    "a memory bomb": ("--limit", "memory=60M", "--", "python3", "-c", bombs.MEMORY),
    "a fork bomb": ("--limit", "pids=20", "--", "python3", "-c", bombs.FORKS),
    "a slowed spinner": ("--limit", "cpu_quota=50%", "--", "python3", "-c", bombs.SPIN),
    "its end in time": (
        *("--limit", "cpu_quota=20%", "--limit", "wall=800ms", "--"),
        *("sh", "-c", "while :; do :; done"),
    ),
    "spinners together": (
        *("--limit", "cpu=1s", "--", "sh", "-c"),
        "while :; do :; done & while :; do :; done & wait",
    ),
    "a tree that stays": ("--timeout", "300ms", "--", "sh", "-c", "trap '' TERM; setsid sleep 9"),
    "output": ("--limit", "output=1K", "--", "sh", "-c", "yes"),
    "a program that is not there": ("--", "/nowhere/prog"),
}


@pytest.fixture(scope="session")
def doors(user: User, user_python: Path) -> Doors:
    """Both doors, in a place where the ordinary user can run them."""
    need_user_namespaces()
    return make_doors(user.base / "doors-in-groups", user_python)


@pytest.fixture
def groups(user: User) -> Iterator[list[str]]:
    """A delegated group in each v1 hierarchy."""
    missing = [name for name in V1 if own_place(name) is None]
    if missing:
        pytest.skip(f"needs cgroup v1: no hierarchy with {', '.join(missing)}")
    with delegated_v1(user) as made:
        yield made
        assert leaves(made) == []


@pytest.fixture
def run(user: User, groups: list[str], work_dir: Path) -> Run:
    """`run(door, word …)`: `exec` by the user, from inside of the groups."""

    def run_line(door: Path, *words: str) -> Ended:
        done = subprocess.run(
            ["sh", "-c", ENTER, "sh", *groups, "--", *user.prefix, str(door), "exec", *words],
            cwd=work_dir,
            env=user.environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=40,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run_line


@pytest.mark.parametrize("name", LINES)
def test_both_doors_end_alike(name: str, doors: Doors, run: Run, groups: list[str]) -> None:
    """The door in Python leaves the entry, from which the launcher runs without it."""
    wanted = run(doors.python, *LINES[name])
    got = run(doors.bare, *LINES[name])
    if name == "a program that is not there":
        assert NO_PYTHON in got.stderr  # nothing ran, so Python is to say why
        got = run(doors.native, *LINES[name])
    assert got == wanted
    assert leaves(groups) == []


def test_the_launcher_slows_a_spinner(doors: Doors, run: Run) -> None:
    """The entry carries the quota: both processes need 0.6 s, at a fifth of one processor."""
    words = ("--limit", "cpu_quota=20%", "--", "python3", "-c", bombs.SPIN)
    assert run(doors.python, *words).code == 0
    started_s = time.monotonic()
    assert run(doors.bare, *words).code == 0
    assert time.monotonic() - started_s >= 3 * 0.6


def test_an_entry_is_not_used_outside_of_its_groups(
    doors: Doors, run: Run, user: User, work_dir: Path
) -> None:
    """Who is in another group gets another plan: the launcher asks Python."""
    words = ("--limit", "pids=30", "--", "true")
    assert run(doors.python, *words).code == 0
    assert run(doors.bare, *words).code == 0
    outside = subprocess.run(
        [*user.prefix, str(doors.bare), "exec", *words],
        cwd=work_dir,
        env=user.environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=40,
        check=False,
    )
    assert NO_PYTHON in outside.stderr


def test_a_group_that_is_full_is_left_to_python(doors: Doors, run: Run, groups: list[str]) -> None:
    """The launcher cannot make its group: nothing ran, and Python says what it says."""
    words = ("--limit", "pids=30", "--", "true")
    assert run(doors.python, *words).code == 0
    place = groups[V1.index("pids")]
    os.chown(place, 0, 0)
    assert NO_PYTHON in run(doors.bare, *words).stderr
    assert run(doors.native, *words).code == 0
