"""Where the benchmark runs: an ordinary user's home, three directories, five programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).with_name("programs")
POLICIES = ("strict", "default", "tiny")
TREE_WIDTH, TREE_DEPTH = 12, 3  # 12 + 144 + 1728 directories, with a file in each
QUIET = """schema = 1
extends = ["strict"]
summary = "strict, without the record of refused calls"
[audit]
denials = "off"
"""


@dataclass(frozen=True)
class Place:
    """What is below `base`; `sandbox` is the launcher with its Python side beside it."""

    base: Path
    sandbox: Path
    bare: Path

    @property
    def bin(self) -> Path:
        """Return the directory of the compiled programs."""
        return self.base / "bin"

    @property
    def quiet(self) -> str:
        """Return the policy that is strict without recording."""
        return str(self.base / "quiet.toml")

    @property
    def log(self) -> str:
        """Return the file that takes what runs say."""
        return str(self.base / "log")

    def directories(self) -> dict[str, str]:
        """Return the working directories by name."""
        return {name: str(self.base / "work" / name) for name in ("empty", "git", "deep")}

    def programs(self) -> dict[str, list[str]]:
        """Return the programs by name, each with an absolute path."""
        return {
            "static": [str(self.bin / "nothing")],
            "true": ["/bin/true"],
            "ls": ["/bin/ls"],
            "sh": ["/bin/sh", "-c", ":"],
            "python": ["/usr/bin/python3", "-c", "pass"],
        }


def build_programs(folder: Path) -> None:
    """Compile the C programs, static, with the leanest C library there is."""
    folder.mkdir(parents=True, exist_ok=True)
    compiler = shutil.which("musl-gcc") or shutil.which("gcc") or "cc"
    for source in sorted(PROGRAMS.glob("*.c")):
        argv = [compiler, "-static", "-O2", "-Wall", "-Wextra", "-o", str(folder / source.stem)]
        # the kernel's headers, which musl-gcc leaves out, come after the library's own
        argv += [
            "-idirafter",
            "/usr/include",
            "-idirafter",
            f"/usr/include/{os.uname().machine}-linux-gnu",
            str(source),
        ]
        subprocess.run(argv, check=True, timeout=60)


def build_directories(place: Place) -> None:
    """Make the three working directories and the policy without recording."""
    found = {name: Path(path) for name, path in place.directories().items()}
    for path in found.values():
        path.mkdir(parents=True)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(found["git"]), "GIT_CONFIG_NOSYSTEM": "1"}
    (found["git"] / "README").write_text("A repository.\n", encoding="utf-8")
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@example.invalid")
    for words in (("init", "-q", "."), ("add", "README"), (*identity, "commit", "-qm", "First")):
        subprocess.run(["git", *words], cwd=found["git"], env=env, check=True, timeout=60)
    _grow(found["deep"], TREE_DEPTH)
    Path(place.quiet).write_text(QUIET, encoding="utf-8")


def _grow(folder: Path, depth: int) -> None:
    (folder / "file").write_bytes(b"x" * 64)
    if depth:
        for number in range(TREE_WIDTH):
            child = folder / f"d{number}"
            child.mkdir()
            _grow(child, depth - 1)
