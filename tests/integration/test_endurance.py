"""A thousand runs in a row and fifty at once leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support.leaks import descriptors
from support.need import need_user_namespaces
from support.user import User

RUNS = 1000
AT_ONCE = 50
# One process runs all of the thousand, as a long-lived caller of the Python API would: what one
# run leaks there adds up, and the start of the interpreter is not measured a thousand times.
LOOP = """
import os, sys, time
from sandbox.run.execute import Request, execute, prepare
prepared = prepare(Request(argv=(b"/bin/true",), policy="strict"))
def state():
    fds = sorted(os.listdir("/proc/self/fd"))
    rss = int(open("/proc/self/statm").read().split()[1])
    children = open("/proc/self/task/%d/children" % os.getpid()).read().split()
    return len(fds), rss, children
for _ in range(20):
    assert execute(prepared).exit_code == 0
fds, rss, children = state()
for number in range(int(sys.argv[1])):
    result = execute(prepared)
    assert result.exit_code == 0, (number, result)
fds_after, rss_after, children_after = state()
print(fds_after - fds, len(children_after), rss_after - rss)
"""
# Growth of the caller's resident memory that is not a leak: allocator slack, in pages.
SLACK_PAGES = 1024


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_user_namespaces()


def cgroups(user: User) -> set[str]:
    """Return the control groups of the user's that carry the project's name."""
    found = set()
    for parent, names, _files in os.walk("/sys/fs/cgroup"):
        paths = [os.path.join(parent, name) for name in names if "sandbox" in name]
        found |= {path for path in paths if _owner(path) == user.uid}
    return found


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid
    except FileNotFoundError:
        return None  # a run of somebody else that has just ended


def files_of(user: User) -> set[str]:
    """Return what lies in the user's home, in the caller's temporary directory and in /dev/shm."""
    found = {str(path) for path in user.home.rglob("*") if ".cache" not in path.parts}
    for directory in ("/tmp", "/dev/shm", "/var/tmp"):
        for entry in os.scandir(directory):
            if entry.stat(follow_symlinks=False).st_uid == user.uid:
                found.add(entry.path)
    return found


@pytest.mark.slow
@pytest.mark.leaks_nothing
@pytest.mark.time_limit(300)
def test_a_thousand_runs_leave_nothing(user: User, user_python: Path, work_dir: Path) -> None:
    """1,000 runs from one process leave no descriptor, zombie, file or control group."""
    warm = user.run([user_python, "-I", "-c", LOOP, "1"], cwd=work_dir)
    assert warm.returncode == 0, warm.stderr.decode()
    files, groups = files_of(user), cgroups(user)
    done = user.run([user_python, "-I", "-c", LOOP, str(RUNS)], cwd=work_dir, timeout=280.0)
    assert done.returncode == 0, done.stderr.decode()
    fds, children, pages = map(int, done.stdout.split())
    assert (fds, children) == (0, 0)
    assert pages < SLACK_PAGES
    assert (files_of(user) - files, cgroups(user) - groups) == (set(), set())


@pytest.mark.slow
@pytest.mark.leaks_nothing
@pytest.mark.time_limit(200)
def test_fifty_at_once_leave_nothing(user: User, sandbox_cmd: list[str], work_dir: Path) -> None:
    """50 sandboxes started together each keep their own exit code and leave nothing."""
    argv = [*sandbox_cmd, "exec", "--policy", "strict", "--", "/bin/sh", "-c"]
    files, groups, fds = files_of(user), cgroups(user), descriptors()

    def one(number: int) -> tuple[int, bytes]:
        done = subprocess.run(
            [*argv, f"sleep 0.2; echo {number}; exit {number}"],
            cwd=work_dir,
            env=user.environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=150,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(one, range(AT_ONCE)))
    assert found == [(number, f"{number}\n".encode()) for number in range(AT_ONCE)]
    assert (files_of(user) - files, cgroups(user) - groups) == (set(), set())
    assert descriptors() == fds


@pytest.mark.leaks_nothing
def test_runs_in_one_directory_share_its_placeholders(
    sandbox_run: Callable[..., CompletedProcess[bytes]], work_dir: Path
) -> None:
    """A run that ends while another one starts does not take its protected paths away."""

    def one(number: int) -> tuple[int, bytes]:
        done = sandbox_run("exec", "--", "/bin/sh", "-c", f"exit {number}")
        return done.returncode, done.stderr

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(one, range(24)))
    assert found == [(number, b"") for number in range(24)]
    assert list(work_dir.iterdir()) == []


@pytest.mark.leaks_nothing
def test_a_killed_supervisor_takes_the_command_along(
    user: User, sandbox_cmd: list[str], work_dir: Path
) -> None:
    """SIGKILL for the supervisor ends everything inside, though no signal reaches pid 1."""
    argv = [*sandbox_cmd, "exec", "--", "/bin/sh", "-c", "echo started; sleep 300 & wait"]
    process = subprocess.Popen(
        argv, cwd=work_dir, env=user.environ(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
    finally:
        process.kill()
    # end of file: nothing inside holds the pipe any more
    started = time.monotonic()
    assert process.stdout.read() == b""
    process.wait(timeout=10)
    process.stdout.close()
    assert time.monotonic() - started < 10


@pytest.mark.leaks_nothing
def test_a_background_process_ends_with_the_command(
    sandbox_run: Callable[..., CompletedProcess[bytes]],
) -> None:
    """The command's end is the sandbox's end: what it started in the background is killed."""
    done = sandbox_run("exec", "--", "/bin/sh", "-c", "sleep 300 >/dev/null 2>&1 & echo over")
    assert (done.returncode, done.stdout) == (0, b"over\n")
