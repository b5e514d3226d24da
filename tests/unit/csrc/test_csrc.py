"""The C unit tests, and the fuzz seeds, under AddressSanitizer and UBSan."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.need import need_program

TOOL = Path(__file__).parents[2] / "tools" / "sanitize"


@pytest.mark.slow
@pytest.mark.time_limit(120)
def test_c_unit_tests_pass_under_sanitizers() -> None:
    """`make sanitize` finds nothing: no failed check, no invalid read, no undefined behaviour."""
    need_program("gcc")
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "PYTHON": sys.executable}
    done = subprocess.run([TOOL], env=env, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failures" in done.stdout
