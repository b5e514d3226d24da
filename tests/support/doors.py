"""The two doors of the program: the native launcher, and Python beside it.

`whole` is a directory with both, as pip installs them. `bare` has the launcher alone: what it
cannot run by itself ends there with 125, which tells a run from the cache from one by Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import sandbox
from support.user import User

TIMEOUT_S = 60.0
NO_PYTHON = b"sandbox: its Python side cannot be started"
_SCRIPT = "#!{python}\nfrom sandbox.cli.main import entry\n\nentry()\n"


def launcher_path() -> Path:
    """Return the launcher inside the installed package.

    Errors: LookupError where it was not built.
    """
    path = Path(next(iter(sandbox.__path__)), "_native", "sandbox-supervisor")
    if not path.exists():
        raise LookupError("the native launcher was not built: no static C library")
    return path


@dataclass(frozen=True)
class Doors:
    """Where the programs are: `python` is the door in Python, `native` the launcher."""

    python: Path
    native: Path
    bare: Path


def make_doors(folder: Path, python: Path) -> Doors:
    """Lay both doors out below `folder`, for the interpreter `python`."""
    for name in ("whole", "bare"):
        (folder / name).mkdir(parents=True)
        shutil.copyfile(launcher_path(), folder / name / "sandbox")
        (folder / name / "sandbox").chmod(0o755)
    script = folder / "whole" / "sandbox-python"
    # -I and -P as the launcher has them, so that both import the same package
    script.write_text(_SCRIPT.format(python=python), encoding="utf-8")
    script.chmod(0o755)
    return Doors(script, folder / "whole" / "sandbox", folder / "bare" / "sandbox")


@dataclass(frozen=True)
class Line:
    """A command line: its words, and what surrounds the process.

    Shape: `script` is one for sh(1) that runs "$@", for what a process cannot say of itself.
    """

    words: tuple[str | bytes, ...]
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    script: str = ""


@dataclass(frozen=True)
class Ended:
    """What is to be seen of a run from outside."""

    code: int
    stdout: bytes
    stderr: bytes


def run_line(user: User, door: Path, line: Line, cwd: Path) -> Ended:
    """Run `line` through `door` as `user`."""
    argv: list[str | bytes | Path] = [door, *line.words]
    if line.script:
        argv = ["/bin/sh", "-c", line.script, "sh", *argv]
    fixed = {"PATH": "/usr/bin:/bin", "HOME": str(user.home)}
    done = subprocess.run(
        [*user.prefix, *argv],
        cwd=cwd,
        env={**fixed, **line.env},
        input=line.stdin,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def fresh_tree(user: User, path: Path) -> Path:
    """Make the directory in which a line runs anew, so that no run sees what another left."""
    if path.exists():
        shutil.rmtree(path)
    (path / "sub").mkdir(parents=True)
    (path / "file").write_text("content\n", encoding="utf-8")
    (path / "script").write_text('#!/bin/sh\necho script "$@"\n', encoding="utf-8")
    (path / "script").chmod(0o755)
    (path / "plain").write_text("no program\n", encoding="utf-8")
    os.chmod(path, 0o755)
    return user.own(path)
