"""The rules of the suite hold: skips can be failures, nothing hangs, nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def run_suite(directory: Path, code: str, **env: str) -> str:
    """Run `code` as a test file under this suite's conftest and return what pytest printed."""
    (directory / "test_case.py").write_text(code, encoding="utf-8")
    flags = ["-p", "conftest", "-p", "no:cacheprovider", "--import-mode=importlib"]
    config = ["-c", str(TESTS.parent / "pyproject.toml"), "--rootdir", str(directory)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *flags, *config, str(directory)],
        env={**os.environ, "PYTHONPATH": str(TESTS), "SANDBOX_TESTS_MUST_RUN": "", **env},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.stdout + done.stderr


SKIP = 'import pytest\ndef test_x():\n    pytest.skip("needs wings: not installed")\n'
SKIP_FILE = 'import pytest\npytest.skip("needs wings", allow_module_level=True)\n'


@pytest.mark.parametrize("code", [SKIP, SKIP_FILE], ids=["test", "file"])
def test_skip_is_a_failure_where_everything_must_run(tmp_path: Path, code: str) -> None:
    """A skipped test and a skipped file fail with SANDBOX_TESTS_MUST_RUN=1, and only then."""
    assert "1 skipped" in run_suite(tmp_path, code)
    output = run_suite(tmp_path, code, SANDBOX_TESTS_MUST_RUN="1")
    assert ("SANDBOX_TESTS_MUST_RUN=1, but needs wings" in output, "skipped" in output) == (
        True,
        False,
    )


def test_expected_failures_are_no_skips(tmp_path: Path) -> None:
    """An xfail stays one where everything must run."""
    code = "import pytest\n@pytest.mark.xfail\ndef test_x():\n    assert False\n"
    assert "1 xfailed" in run_suite(tmp_path, code, SANDBOX_TESTS_MUST_RUN="1")


def test_hanging_test_is_ended(tmp_path: Path) -> None:
    """A test that waits for ever fails when its time is up, whatever it catches."""
    code = (
        "import time, pytest\n@pytest.mark.time_limit(0.5)\ndef test_x():\n"
        "    try:\n        time.sleep(100)\n    except Exception:\n        pass\n"
    )
    output = run_suite(tmp_path, code)
    assert ("took longer than 0.5 s" in output, "1 failed" in output) == (True, True)


LEAKS = {
    "process": 'import subprocess\nsubprocess.Popen(["setsid", "sleep", "9"])\n',
    "orphan": 'import subprocess\nsubprocess.run(["sh", "-c", "setsid sleep 9 >&- 2>&- &"])\n',
    "descriptor": "import os\nos.open('/', os.O_RDONLY)\n",
}


@pytest.mark.parametrize("kind", LEAKS)
def test_leak_is_found(tmp_path: Path, kind: str) -> None:
    """What a test marked `leaks_nothing` leaves behind fails it, orphaned processes too."""
    body = "".join(f"    {line}\n" for line in LEAKS[kind].splitlines())
    code = f"import pytest\n@pytest.mark.leaks_nothing\ndef test_x():\n{body}"
    output = run_suite(tmp_path, code)
    assert "left behind:" in output
    assert {"process": "sleep", "orphan": "sleep", "descriptor": "descriptor"}[kind] in output


def test_clean_test_leaks_nothing(tmp_path: Path) -> None:
    """A test that waits for what it starts and closes what it opens passes."""
    code = (
        "import pytest, subprocess\n@pytest.mark.leaks_nothing\ndef test_x():\n"
        '    subprocess.run(["true"], check=True)\n    open("/dev/null").close()\n'
    )
    assert "1 passed" in run_suite(tmp_path, code)


def test_tests_about_root_are_left_out_for_others(tmp_path: Path) -> None:
    """A test marked `as_root` runs for root and is deselected, not skipped, for others."""
    code = "import pytest\n@pytest.mark.as_root\ndef test_x(): pass\ndef test_y(): pass\n"
    expected = "2 passed" if os.geteuid() == 0 else "1 passed, 1 deselected"
    assert expected in run_suite(tmp_path, code, SANDBOX_TESTS_MUST_RUN="1")
