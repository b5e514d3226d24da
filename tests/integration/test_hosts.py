"""Hosts that lack something: the run is refused with the reason, never quietly weaker."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support.user import User

Run = Callable[..., CompletedProcess[bytes]]

# Installs a filter that answers a few calls with an errno, then becomes the rest of its arguments:
# an older kernel, or an outer container, as far as the program below can tell.
LACKING = """
import os, sys
import pyseccomp as s
filter = s.SyscallFilter(s.ALLOW)
for entry in sys.argv[1].split(","):
    number, errno = entry.split(":")
    filter.add_rule(s.ERRNO(int(errno)), int(number))
filter.load()
os.execv(sys.argv[2], sys.argv[2:])
"""
ENOSYS, EPERM = 38, 1
CLONE = 56
LANDLOCK_CREATE_RULESET, SECCOMP, CLONE3, OPEN_TREE, OVERLAY = 444, 317, 435, 428, 430


@pytest.fixture
def lacking(user: User, user_python: Path, work_dir: Path) -> Run:
    """`lacking({number: errno}, *args)`: run the program where calls are answered like that."""

    def run(calls: dict[int, int], *args: str) -> CompletedProcess[bytes]:
        text = ",".join(f"{number}:{errno}" for number, errno in calls.items())
        python = str(user_python)
        program = [python, "-I", "-m", "sandbox", *args]
        return user.run([python, "-I", "-c", LACKING, text, *program], cwd=work_dir)

    return run


def test_a_missing_required_layer_refuses_to_start(lacking: Run) -> None:
    """strict without Landlock: 125, what is missing, which line requires it, what to do."""
    done = lacking({LANDLOCK_CREATE_RULESET: ENOSYS}, "exec", "--policy", "strict", "echo", "ran")
    assert (done.returncode, done.stdout) == (125, b"")
    for part in (b"landlock", b"strict.toml:", b"hint"):
        assert part in done.stderr


def test_a_missing_preferred_layer_is_in_the_result(lacking: Run, work_dir: Path) -> None:
    """default without Landlock runs, at a lower tier, and says so."""
    args = ("exec", "--result", "r.json", "echo", "ran")
    done = lacking({LANDLOCK_CREATE_RULESET: ENOSYS}, *args)
    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr
    result = json.loads((work_dir / "r.json").read_text())
    fs = result["effective"]["isolation.landlock.fs"]
    assert (fs["wanted"], fs["got"]) == ("prefer", "off")
    assert fs["note"]
    assert result["tier"] == "reduced"


@pytest.mark.parametrize(
    ("calls", "stage"),
    [
        ({CLONE3: EPERM}, b"seccomp filter already holds this process"),
        ({CLONE3: ENOSYS, CLONE: EPERM}, b"seccomp filter already holds this process"),
        ({CLONE3: ENOSYS, CLONE: ENOSYS}, b"namespaces cannot be made"),
        ({OPEN_TREE: ENOSYS}, b"mount"),
    ],
)
def test_a_call_that_set_up_needs_and_the_host_refuses(
    calls: dict[int, int], stage: bytes, lacking: Run
) -> None:
    """Each such failure names what failed, and the command is not started."""
    done = lacking(calls, "exec", "echo", "ran")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"hint" in done.stderr
    assert stage in done.stderr.lower()


def inside_userns(user: User, python: Path, work_dir: Path, script: str) -> CompletedProcess[bytes]:
    """Run a shell script as root of an own user and mount namespace of the ordinary user."""
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    return user.run([*argv, str(python), "-I", "-m", "sandbox"], cwd=work_dir)


def test_forbidden_user_namespaces_are_named(user: User, user_python: Path, work_dir: Path) -> None:
    """max_user_namespaces = 0: the sysctl stands in the message, its change in the hint."""
    script = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@" exec --policy strict echo ran'
    done = inside_userns(user, user_python, work_dir, script)
    assert (done.returncode, done.stdout) == (125, b""), done.stderr
    assert b"max_user_namespaces" in done.stderr


def masked_proc(policy: str) -> str:
    """A script that covers a part of /proc, as container engines do, and runs a command there."""
    return (
        "mount -t tmpfs -o ro none /proc/bus || exit 99;"
        f'exec "$@" exec --policy {policy} --result r.json echo ran'
    )


def test_a_masked_proc_refuses_strict(user: User, user_python: Path, work_dir: Path) -> None:
    """strict wants a fresh /proc; inside a container that hides parts of its own, it says why."""
    done = inside_userns(user, user_python, work_dir, masked_proc("strict"))
    assert (done.returncode, done.stdout) == (125, b""), done.stderr
    assert b"/proc" in done.stderr
    assert b"container" in done.stderr


def test_a_masked_proc_lowers_default_and_says_so(
    user: User, user_python: Path, work_dir: Path
) -> None:
    """default names a fallback: the caller's /proc, read-only; the result says so."""
    done = inside_userns(user, user_python, work_dir, masked_proc("default"))
    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr
    result = json.loads((work_dir / "r.json").read_text())
    assert "read-only" in json.dumps(result["effective"]["filesystem.proc"])
    assert result["tier"] == "reduced"


def test_a_full_disk_is_an_error_and_leaves_nothing(
    user: User, user_python: Path, work_dir: Path
) -> None:
    """With no room for a result, the error says so; the command's output still came out."""
    script = (
        "mkdir small; mount -t tmpfs -o size=4k,nr_inodes=8 none small;"
        "head -c 4096 /dev/zero > small/filler;"
        'exec "$@" exec --policy strict --result small/r.json echo ran'
    )
    done = inside_userns(user, user_python, work_dir, script)
    assert done.returncode == 125, done.stderr
    assert b"r.json" in done.stderr
    assert b"no space" in done.stderr.lower()


def test_the_core_works_from_a_threaded_process(user: User, user_python: Path) -> None:
    """Threads that allocate, lock and end while another starts sandboxes do no harm."""
    script = """
import threading
from sandbox.run.execute import Request, execute, prepare

stop = threading.Event()

def churn():
    while not stop.is_set():
        [bytes(n) for n in range(200)]
        threading.Thread(target=len, args=("x",)).start()

threads = [threading.Thread(target=churn) for _ in range(4)]
for thread in threads:
    thread.start()
codes = []

def start():
    for _ in range(5):
        codes.append(execute(prepare(Request((b"true",), policy="strict"))).exit_code)

runners = [threading.Thread(target=start) for _ in range(4)]
for runner in runners:
    runner.start()
for runner in runners:
    runner.join()
stop.set()
for thread in threads:
    thread.join()
print(codes == [0] * 20)
"""
    done = user.run([user_python, "-I", "-c", script], cwd=user.home, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"True\n"), done.stderr


def test_a_run_outlives_the_thread_that_started_it(user: User, user_python: Path) -> None:
    """A parent-death signal follows the thread; the control pipe does not."""
    script = """
import threading
from sandbox.launch.spawn import spawn
from sandbox.plan.encode import encode_invocation, encode_plan
from sandbox.run.execute import Request, prepare

ready = prepare(Request((b"sh", b"-c", b"sleep 0.3; exit 7"), policy="strict"))
found = []
thread = threading.Thread(
    target=lambda: found.append(
        spawn(encode_plan(ready.plan), encode_invocation(ready.invocation))
    )
)
thread.start()
thread.join()
with found[0] as child:
    assert child.start_failure() is None
    print(child.status().wait_status >> 8)
"""
    done = user.run([user_python, "-I", "-c", script], cwd=user.home, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"7\n"), done.stderr


def test_closed_standard_streams_are_no_hazard(
    user: User, sandbox_cmd: list[str], work_dir: Path
) -> None:
    """With 0, 1 and 2 closed no descriptor of ours takes their place; the exit code is kept."""
    line = " ".join(map(str, sandbox_cmd)) + " exec --policy strict sh -c 'exit 3' <&- >&- 2>&-"
    done = subprocess.run(
        ["sh", "-c", line], cwd=work_dir, env=user.environ(), timeout=30, check=False
    )
    assert done.returncode == 3
