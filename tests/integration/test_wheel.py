"""The wheel: what `make wheel` builds installs and runs where there is no compiler."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bare_root import inside, make_bare_root
from support.install import RUNTIME_PACKAGES, copy_distribution
from support.need import need_program
from support.user import User, remove_tree

ROOT = Path(__file__).parents[2]
SOURCES = ("sandbox", "csrc", "policies", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md")
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES = (PYTHON, "coreutils", "dash", "util-linux", "mount", "libseccomp2", "libc-bin")
TAG = ROOT / "tests" / "tools" / "tag_wheel.py"


def run(argv: list[str], cwd: Path, timeout_s: int = 120) -> subprocess.CompletedProcess[str]:
    """Run `argv` and return what came of it."""
    return subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def tagged(directory: Path) -> Path:
    """Build and tag the wheel as `make wheel` does, from a copy of the sources; return it."""
    tree = directory / "tree"
    skip = shutil.ignore_patterns("__pycache__", "*.so", "*.o", "*.egg-info", "_core.c", "_native")
    tree.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=skip)
        else:
            shutil.copyfile(source, tree / name)
    flags = ["--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--wheel-dir", "out"]
    built = run([sys.executable, "-I", "-m", "pip", "wheel", *flags, "."], tree, 200)
    assert built.returncode == 0, built.stderr
    (wheel,) = (tree / "out").glob("*.whl")
    done = run([sys.executable, "-I", str(TAG), str(wheel)], tree)
    assert done.returncode == 0, done.stderr
    return Path(tree / done.stdout.strip())


@pytest.fixture
def directory(session_dir: Path) -> Iterator[Path]:
    """A directory that an ordinary user may enter; removed afterwards."""
    path = session_dir / "wheel"
    path.mkdir()
    yield path
    remove_tree(path)


@pytest.mark.slow
@pytest.mark.as_root
@pytest.mark.time_limit(300)
def test_wheel_runs_where_there_is_no_compiler(directory: Path, user: User) -> None:
    """A root of a few packages, pip, the wheel: `sandbox exec --policy strict ls` holds there."""
    need_program("gcc")
    need_program("unshare")
    wheel = tagged(directory)
    assert "-cp311-abi3-manylinux_2_" in wheel.name
    root = make_bare_root(directory / "root", *PACKAGES)
    shutil.copyfile(wheel, root / "tmp" / wheel.name)
    site = root / "opt" / "venv" / "lib" / PYTHON / "site-packages"
    made = run(inside(root, PYTHON, "-m", "venv", "--without-pip", "/opt/venv"), directory)
    assert made.returncode == 0, made.stderr
    for name in (*RUNTIME_PACKAGES, "pip"):
        copy_distribution(name, site)
    none = run(inside(root, "sh", "-c", "command -v cc gcc clang tcc as ld make"), directory)
    assert none.stdout == ""
    flags = ["--no-index", "--no-deps", "--quiet", "--disable-pip-version-check"]
    pip = ["/opt/venv/bin/python", "-I", "-m", "pip", "install", *flags, f"/tmp/{wheel.name}"]
    installed = run(inside(root, *pip), directory)
    assert installed.returncode == 0, installed.stderr

    home, work = root / "srv" / "home", root / "srv" / "work"
    for path in (home, work):
        path.mkdir()
        shutil.chown(path, user.uid, user.gid)
    (work / "here").write_text("")
    line = 'cd /srv/work && exec /opt/venv/bin/sandbox exec "$@"'
    for _time in ("first", "cached"):
        words = inside(root, "sh", "-c", line, "sh", "--policy", "strict", "ls", uid=user.uid)
        done = run(words, directory)
        assert (done.returncode, done.stdout) == (0, "here\n"), done.stderr
    told = inside(root, "sh", "-c", line, "sh", "--json", "--policy", "strict", "ls", uid=user.uid)
    result = json.loads(run(told, directory).stdout)
    assert (result["tier"], result["exit_code"]) == ("full", 0)


def fake_wheel(path: Path, library: str, *, has_launcher: bool) -> Path:
    """A wheel around a library of this machine."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(library, "sandbox/_core.abi3.so")
        if has_launcher:
            archive.write("/bin/busybox", "sandbox-1.data/scripts/sandbox")
    return path


@pytest.mark.parametrize(
    ("library", "has_launcher", "words"),
    [
        ("/usr/bin/openssl", True, "which not every system has"),
        ("/usr/bin/env", False, "the static launcher is not in it"),
    ],
)
def test_wheel_that_runs_here_alone_gets_no_tag(
    tmp_path: Path, library: str, has_launcher: bool, words: str
) -> None:
    """A library beyond the C library, or a launcher that was left out."""
    need_program("readelf")
    need_program("openssl")
    need_program("busybox")
    name = "sandbox-1-cp311-abi3-linux_x86_64.whl"
    wheel = fake_wheel(tmp_path / name, library, has_launcher=has_launcher)
    done = run([sys.executable, "-I", str(TAG), str(wheel)], tmp_path)
    assert done.returncode == 1
    assert words in done.stderr
