"""What a run says of its refused calls: on stderr, and in the log of runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from support.need import need_user_namespaces
from support.user import User

Run = Callable[..., CompletedProcess[bytes]]
PYTHON = ["/usr/bin/python3", "-I", "-c"]
UNSHARE = "import ctypes; libc = ctypes.CDLL(None, use_errno=True);"


@pytest.fixture(autouse=True)
def _needs_namespaces() -> None:
    need_user_namespaces()


MANY = f"{UNSHARE}\nfor n in range(8): libc.mount(b'x', b'/m/%d' % n, b'tmpfs', 0, None)\n"


def test_stderr_has_at_most_five_lines(sandbox_run: Run) -> None:
    """Only where the command failed, never under -q."""
    failed = sandbox_run("exec", *PYTHON, f"{MANY}exit(3)")
    lines = failed.stderr.decode().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("sandbox: refused: mount /m/0 by python3")
    assert lines[0].endswith("to allow it: --allow-syscall mount")
    assert "4 more kinds" in lines[4]
    assert sandbox_run("exec", *PYTHON, MANY).stderr == b""
    assert sandbox_run("exec", "-q", *PYTHON, f"{MANY}exit(3)").stderr == b""


def test_log_shows_runs(sandbox_run: Run) -> None:
    """Policy, command, ending, refused calls with rule and fix; in words and as JSON."""
    sandbox_run("exec", "--policy", "strict", "sh", "-c", "exit 5")
    sandbox_run("exec", "--env", "A=b c", *PYTHON, f"{MANY}exit(3)")
    sandbox_run("exec", "no-such-program-1")
    done = sandbox_run("log", "--json", "-n", "3")
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["policy"], one["reason"], one["exit_code"]) for one in runs] == [
        ("strict", "exited", 5),
        ("default", "exited", 3),
        ("default", "setup", None),
    ]
    assert runs[0]["command"] == ["sh", "-c", "exit 5"]
    assert runs[1]["options"] == ["--policy=default", "--env=A=b c"]
    assert len(runs[1]["denials"]) == 8
    assert runs[1]["denials"][0]["fix"] == "--allow-syscall mount"
    lines = sandbox_run("log", "--lines", "--run", runs[1]["run_id"]).stdout.decode().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith(
        "sandbox: refused: mount /m/0 by python3: EPERM, syscalls.deny[@mount]"
    )
    words = sandbox_run("log", "--denied", "-n", "1").stdout.decode()
    assert "run.finished" in words
    assert "refused: mount /m/0 by python3" in words
    assert "--allow-syscall mount" in words


def test_log_is_private_and_survives_damage(sandbox_run: Run, user: User) -> None:
    """Mode 0600; half a record is passed over; a link is not followed."""
    sandbox_run("exec", "true")
    path = user.home / ".local/state/sandbox/log/runs"
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open("ab") as file:
        file.write(path.read_bytes()[:40])
    sandbox_run("exec", "sh", "-c", "exit 6")
    last = json.loads(sandbox_run("log", "--json", "-n", "1").stdout)
    assert last["exit_code"] == 6
    path.unlink()
    path.symlink_to("/etc/hostname")
    assert sandbox_run("exec", "true").returncode == 0
    path.unlink()


def test_log_is_bounded(sandbox_run: Run, user: User) -> None:
    """At 1 MiB the file becomes the old one."""
    sandbox_run("exec", "true")
    path = user.home / ".local/state/sandbox/log/runs"
    record = path.read_bytes()
    path.write_bytes(record * (1 + (1 << 20) // len(record)))
    user.own(path.parent)
    sandbox_run("exec", "true")
    assert path.stat().st_size < 4096
    assert path.with_name("runs.1").stat().st_size >= 1 << 20
    path.with_name("runs.1").unlink()
