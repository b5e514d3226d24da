"""The C unit tests, and the fuzz seeds, under AddressSanitizer and UBSan; both machines' C."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.need import need_program

TOOL = Path(__file__).parents[2] / "tools" / "sanitize"
CSRC = Path(__file__).parents[3] / "csrc"


@pytest.mark.slow
@pytest.mark.time_limit(120)
def test_c_unit_tests_pass_under_sanitizers() -> None:
    """`make sanitize` finds nothing: no failed check, no invalid read, no undefined behaviour."""
    need_program("gcc")
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "PYTHON": sys.executable}
    done = subprocess.run([TOOL], env=env, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failures" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
def test_every_file_compiles_without_a_warning(machine: str) -> None:
    """The core and the launcher are C for both machines that filters are made for."""
    compiler = "gcc" if os.uname().machine == machine else f"{machine}-linux-gnu-gcc"
    need_program(compiler)
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror"]
    sources = sorted([*CSRC.glob("*.c"), *CSRC.glob("launcher/*.c")])
    assert len(sources) > 40
    for source in sources:
        define = '-DSBX_VERSION="0"'
        argv: list[str | Path] = [compiler, *flags, define, f"-I{CSRC}", "-c", source]
        argv += ["-o", "/dev/null"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, ""), source.name
