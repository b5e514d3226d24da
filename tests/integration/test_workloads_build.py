"""The project's own build and unit tests, under the policy `build`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support.install import copy_distribution
from support.need import need_program, need_user_namespaces
from support.user import User

Run = Callable[..., CompletedProcess[bytes]]
ROOT = Path(__file__).parents[2]
NEEDED = (
    *("cffi", "pycparser", "pyseccomp", "structlog", "pip", "setuptools", "wheel"),
    *("pytest", "pluggy", "iniconfig", "packaging", "pygments"),
    *("hypothesis", "sortedcontainers"),
)
PARTS = (
    "csrc",
    "policies",
    "sandbox",
    "tests",
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)


@pytest.fixture
def project(user: User, work_dir: Path) -> Path:
    """A copy of this project, and a virtual environment with what its build and tests need."""
    need_user_namespaces()
    need_program("gcc")
    skip = shutil.ignore_patterns("__pycache__", "*.so", "*.o", "_core.c", "*.egg-info")
    target = work_dir / "project"
    target.mkdir()
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=skip)
        else:
            shutil.copyfile(source, target / name)
    made = user.run(["python3", "-m", "venv", "--without-pip", work_dir / "venv"], cwd=work_dir)
    assert made.returncode == 0, made.stderr
    (site,) = (work_dir / "venv/lib").glob("python3*/site-packages")
    if site.parent.name != f"python{sys.version_info.major}.{sys.version_info.minor}":
        pytest.skip(f"needs python3 to be {sys.version.split()[0]}, as the one that runs the tests")
    for name in NEEDED:
        copy_distribution(name, site)
    user.own(work_dir)
    return target


@pytest.mark.time_limit(160)
def test_this_project_builds_and_passes_its_unit_tests(sandbox_run: Run, project: Path) -> None:
    """pip compiles the core and installs the package; the tests of one module pass with it."""
    python = str(project.parent / "venv/bin/python")
    options = ["-q", "--no-build-isolation", "--no-deps", "--no-index", "--no-cache-dir"]
    pip = [python, "-m", "pip", "install", *options, "./project"]
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_record.py"]
    for argv, flags in ((pip, ()), (tests, ("--chdir", "project"))):
        done = sandbox_run("exec", "--policy", "build", *flags, "--", *argv, timeout=150.0)
        assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    assert b" passed" in done.stdout
    assert list(project.parent.glob("venv/lib/python3*/site-packages/sandbox/_core*.so"))


def test_build_reaches_no_network_but_its_own(sandbox_run: Run) -> None:
    """The loopback that test suites bind is there; a way out is not."""
    script = (
        "import socket; a = socket.create_server(('127.0.0.1', 0)); socket.create_connection("
        "a.getsockname()); print(socket.socket(socket.AF_INET).connect_ex(('192.0.2.1', 80)))"
    )
    done = sandbox_run("exec", "--policy", "build", "--", "python3", "-c", script)
    assert (done.returncode, done.stdout) == (0, b"101\n"), done.stderr  # ENETUNREACH
