"""Give a wheel the manylinux tag that its programs deserve (PEP 600), or say why it gets none.

The tag names the oldest glibc that has every symbol used. Libraries beyond those that every
distribution has would have to be shipped; the core needs none, and the launcher is static.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ALLOWED = re.compile(r"(lib(c|m|dl|rt|pthread|util)\.so\.\d|ld-linux-(x86-64|aarch64)\.so\.\d)$")
NEEDED = re.compile(r"\(NEEDED\).*\[(.*)\]")
VERSION = re.compile(r"\bGLIBC_(\d+)\.(\d+)")
PATHS = re.compile(r"\((RPATH|RUNPATH)\)")
LOWEST = (2, 17)  # what pip on x86-64 and aarch64 knows as the oldest
LAUNCHER = re.compile(r"\.data/scripts/sandbox$")


class Refused(Exception):
    """The wheel runs only where it was built."""


def glibc_of(name: str, program: Path) -> tuple[int, int]:
    """Return the glibc that the program `name` needs; (0, 0) for a static one.

    Errors: Refused for a library that may be absent elsewhere, or a path of this machine.
    """
    words = ["readelf", "--wide", "--dynamic", "--version-info", str(program)]
    text = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
    strange = [found for found in NEEDED.findall(text) if not ALLOWED.match(found)]
    if strange:
        raise Refused(f"{name} needs {', '.join(strange)}, which not every system has")
    if PATHS.search(text):
        raise Refused(f"{name} looks for libraries at a path of this machine")
    versions = [(int(major), int(minor)) for major, minor in VERSION.findall(text)]
    return max(versions, default=(0, 0))


def tag_of(wheel: Path) -> str:
    """Return the platform tag of the wheel.

    Errors: Refused, also where the native launcher is not in it.
    """
    needs = {}
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as directory:
        for name in archive.namelist():
            content = archive.read(name)
            if content.startswith(b"\x7fELF"):
                program = Path(directory) / "program"
                program.write_bytes(content)
                needs[name] = glibc_of(name, program)
    launchers = [needs[name] for name in needs if LAUNCHER.search(name)]
    if launchers != [(0, 0)]:
        raise Refused("the static launcher is not in it: install musl-tools or libc6-dev's libc.a")
    major, minor = max(LOWEST, *needs.values())
    machine = wheel.stem.partition("linux_")[2]
    if not machine:
        raise Refused(f"{wheel.name} is for no Linux machine")
    return f"manylinux_{major}_{minor}_{machine}"


def main(arguments: list[str]) -> int:
    """Tag the wheels, print their names; 1 for one that gets no tag."""
    for argument in arguments:
        wheel = Path(argument)
        try:
            tag = tag_of(wheel)
        except Refused as error:
            sys.stderr.write(f"{wheel.name}: {error}\n")
            return 1
        words = [sys.executable, "-m", "wheel", "tags", "--remove", f"--platform-tag={tag}"]
        done = subprocess.run(
            [*words, str(wheel)], capture_output=True, text=True, timeout=60, check=True
        )
        sys.stdout.write(f"{wheel.parent / done.stdout.strip()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
