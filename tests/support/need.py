"""Skips that name what is missing. SANDBOX_TESTS_MUST_RUN=1 makes each a failure (conftest.py)."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

import pytest

MUST_RUN = os.environ.get("SANDBOX_TESTS_MUST_RUN") == "1"


def need_program(name: str) -> str:
    """Return the path of `name`, or skip."""
    path = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin")
    if path is None:
        pytest.skip(f"needs {name}: not installed")
    return path


@cache
def user_namespace_problem() -> str | None:
    """Return why an ordinary user cannot make namespaces here, or None if that works."""
    argv = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--net", "true"]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=20, check=False)
    except FileNotFoundError:
        return "needs unshare: not installed"
    if done.returncode == 0:
        return None
    return f"needs user-namespace: {done.stderr.decode(errors='replace').strip()}"


def need_user_namespaces() -> None:
    """Skip where user namespaces are not to be had."""
    problem = user_namespace_problem()
    if problem is not None:
        pytest.skip(problem)
