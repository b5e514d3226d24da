"""The package installs plainly, editable and from its source distribution.

Nothing is fetched: the build uses the tools of the environment that runs the tests.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.need import need_program
from support.user import remove_tree

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 150
NEEDED = ("cffi", "pycparser", "pyseccomp", "structlog", "setuptools", "wheel", "packaging", "pip")
SOURCES = (
    "sandbox csrc policies tests docs .ci setup.py pyproject.toml MANIFEST.in Makefile README.md "
    "ARCHITECTURE.md SECURITY.md CONTRIBUTING.md CHANGELOG.md LICENSE"
)
PROBE = """
import sandbox, sandbox._core, importlib.resources as r
names = sorted(p.name for p in r.files("sandbox.policies").iterdir() if p.name.endswith(".toml"))
print(names, sandbox._core.lib.SBX_FORMAT_VERSION)
"""
REFUSING = """#!/bin/sh
for word; do case $word in -static*) echo "no static libc" >&2; exit 1 ;; esac; done
exec /usr/bin/gcc "$@"
"""
FIND = "import sandbox; print(sandbox.__path__[0] + '/_native/sandbox-supervisor')"


def run(argv: list[str | Path], cwd: Path) -> str:
    """Run `argv`, which has to succeed, and return its output."""
    done = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A copy of the sources without anything built."""
    need_program("gcc")
    copy = tmp_path / "tree"
    copy.mkdir()
    skip = shutil.ignore_patterns("__pycache__", "*.so", "*.o", "*.egg-info", "_core.c", "_native")
    for name in SOURCES.split():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=skip)
        else:
            shutil.copyfile(source, copy / name)
    yield copy
    remove_tree(tmp_path)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of a new environment that sees the packages of this one, but not ours."""
    venv = tmp_path / "venv"
    run([sys.executable, "-I", "-m", "venv", "--without-pip", venv], tmp_path)
    site = next((venv / "lib").glob("python*")) / "site-packages"
    for name in NEEDED:
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # needed by some versions of the others only
        for entry in found.files or ():
            if ".." not in entry.parts:
                target = site / entry
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(entry.locate()), target)
    return venv / "bin" / "python"


def pip_install(python: Path, cwd: Path, *what: str | Path) -> None:
    """Install without the network and without a build environment of pip's own."""
    flags = ["--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check"]
    run([python, "-I", "-m", "pip", "install", "--quiet", *flags, *what], cwd)


def assert_works(python: Path, tmp_path: Path) -> None:
    """The package is complete: core, shipped policies, version, the launcher and both doors."""
    version = importlib.metadata.version("sandbox")
    shipped = sorted(path.name for path in (ROOT / "policies").glob("*.toml"))
    expected = f"{shipped} 1\n"
    assert run([python, "-I", "-c", PROBE], tmp_path) == expected
    launcher, supervisor = python.parent / "sandbox", run([python, "-I", "-c", FIND], tmp_path)
    assert launcher.read_bytes() == Path(supervisor.strip()).read_bytes()
    assert launcher.read_bytes()[:4] == b"\x7fELF"
    assert b"/ld-" not in launcher.read_bytes()  # static: no loader, no library
    for path in (launcher, Path(supervisor.strip())):
        assert path.stat().st_mode & 0o7777 == 0o755
    for program in (launcher, python.parent / "sandbox-python"):
        assert version in run([program, "--version"], tmp_path)


@pytest.mark.slow
@pytest.mark.time_limit(200)
def test_plain_install_works(python: Path, tree: Path, tmp_path: Path) -> None:
    """`pip install .` gives a complete package."""
    pip_install(python, tree, ".")
    assert_works(python, tmp_path)


@pytest.mark.slow
@pytest.mark.time_limit(200)
def test_editable_install_works(python: Path, tree: Path, tmp_path: Path) -> None:
    """`pip install -e .` gives a complete package, and a change of a source is seen."""
    pip_install(python, tree, "--editable", ".")
    assert_works(python, tmp_path)
    with (tree / "sandbox" / "text.py").open("a", encoding="utf-8") as file:
        file.write("\nCHANGED = True\n")
    code = "from sandbox.text import CHANGED; print(CHANGED)"
    assert run([python, "-I", "-c", code], tmp_path) == "True\n"


@pytest.mark.slow
@pytest.mark.time_limit(300)
def test_source_distribution_installs_and_is_whole(
    python: Path, tree: Path, tmp_path: Path
) -> None:
    """The sdist holds every source file, and installs."""
    code = "from setuptools import build_meta; print(build_meta.build_sdist('out'))"
    (tree / "out").mkdir()
    name = run([python, "-c", code], tree).splitlines()[-1]
    with tarfile.open(tree / "out" / name) as archive:
        packed = {member.name.partition("/")[2] for member in archive.getmembers()}
    wanted = {
        str(path.relative_to(tree))
        for top in SOURCES.split()
        for path in ((tree / top).rglob("*") if (tree / top).is_dir() else [tree / top])
        if path.is_file() and ".egg-info" not in str(path)
    }
    assert wanted - packed == set()
    pip_install(python, tmp_path, tree / "out" / name)
    assert_works(python, tmp_path)


@pytest.mark.slow
@pytest.mark.time_limit(200)
def test_wheel_holds_the_core_for_the_stable_abi(python: Path, tree: Path, tmp_path: Path) -> None:
    """The wheel is tagged cp311-abi3 and holds no sources of the build."""
    flags = ["--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--wheel-dir", "out"]
    run([python, "-I", "-m", "pip", "wheel", *flags, "."], tree)
    (wheel,) = (tree / "out").glob("*.whl")
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert [name for name in names if name.endswith((".c", ".h"))] == []
    assert "sandbox/_core.abi3.so" in names
    assert "sandbox/_native/sandbox-supervisor" in names


@pytest.mark.slow
@pytest.mark.time_limit(200)
def test_without_a_static_libc_the_program_is_a_script(
    python: Path, tree: Path, tmp_path: Path
) -> None:
    """What cannot be linked statically costs the speed only, and the build says so."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cc", "musl-gcc"):
        (tools / name).write_text(REFUSING)
        (tools / name).chmod(0o755)
    env = {"PATH": f"{tools}:/usr/bin:/bin"}
    flags = ["--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check"]
    argv = [str(python), "-I", "-m", "pip", "install", "--verbose", *flags, "."]
    done = subprocess.run(
        argv, cwd=tree, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("the native launcher is left out") == 1
    program = python.parent / "sandbox"
    assert program.read_bytes().startswith(f"#!{python}".encode())
    assert importlib.metadata.version("sandbox") in run([program, "--version"], tmp_path)
