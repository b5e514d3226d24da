"""`sandbox doctor` on the machine that runs the tests."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from support.need import need_user_namespaces

Run = Callable[..., subprocess.CompletedProcess[bytes]]


def test_doctor_tries_every_step(sandbox_run: Run) -> None:
    """As an ordinary user: JSON with every step, and the exit code that follows from it."""
    done = sandbox_run("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.stderr == b""
    assert done.returncode == (0 if report["strict"] else 1)
    steps = {step["step"]: step for step in report["steps"]}
    assert {"user-namespace", "landlock", "cgroup-limits", "strict"} <= set(steps)
    for step in steps.values():
        assert step["ok"] or (step["cause"] and step["remedy"])


def test_doctor_says_that_strict_runs(sandbox_run: Run) -> None:
    """Where user namespaces are to be had, strict runs, and the last line says so."""
    need_user_namespaces()
    done = sandbox_run("doctor")
    assert done.returncode == 0, done.stdout.decode()
    assert done.stdout.endswith(b"\nstrict can run here\n")


def test_doctor_as_root_asks_for_ordinary_users(root_sandbox_cmd: list[str], root: object) -> None:
    """Root learns what an ordinary user would meet."""
    done = subprocess.run(
        [*root_sandbox_cmd, "doctor", "--json"], capture_output=True, timeout=60, check=False
    )
    subjects = {step["subject"] for step in json.loads(done.stdout)["steps"]}
    assert subjects == {"caller", "ordinary-user"}
