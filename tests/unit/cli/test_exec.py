from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sandbox.cli import capture as capture_module
from sandbox.cli import doctor
from sandbox.cli.capture import Capture
from sandbox.cli.exec import _request, ending_text, run
from sandbox.cli.exec_options import OPTIONS
from sandbox.cli.options import parse
from sandbox.errors import UsageError
from sandbox.host.doctor import ORDINARY_USER, Check
from sandbox.launch.result import Limit, Result
from sandbox.policy.compose import Flag


def test_words_become_a_request() -> None:
    """Flags in the order given; of a scalar the last; words of the command as bytes."""
    request = _request(
        parse(
            ("--ro", "/a", "--net=none", "--ro=/b", "--net", "host", "-q", "x", "\udcff", "é"),
            OPTIONS,
            "sandbox exec",
        )
    )
    assert request.argv == (b"x", b"\xff", "é".encode())
    assert request.policy == "default"
    assert request.flags == (
        Flag("ro", "/a", "--ro /a"),
        Flag("ro", "/b", "--ro=/b"),
        Flag("net", "host", "--net host"),
    )


def exit_code_of(*words: str, missing: tuple[str, ...] = ()) -> int:
    """The exit code of the usage error that the words give."""
    with pytest.raises(UsageError) as caught:
        run(words, missing)
    return caught.value.exit_code


def test_usage_errors_cannot_pass_for_the_command() -> None:
    """125 where a command would have run, 2 where nothing would."""
    assert exit_code_of("--bogus", "true") == 125
    assert exit_code_of("--result", "fd:987654", "true") == 125
    assert exit_code_of("--json", "true", missing=("standard output",)) == 125
    assert exit_code_of() == 2
    assert exit_code_of("--policy", "strict") == 2
    assert exit_code_of("--explain", "--bogus") == 2


@pytest.mark.parametrize(
    ("reason", "limit", "expected"),
    [
        ("exited", "wall", None),
        ("signaled", "wall", None),
        ("timeout", "wall", "the command was ended: its time was up (limit wall)"),
        ("oom", "memory", "the command was ended: it used too much memory (limit memory)"),
        ("limit", "output", "the command was ended by a limit (limit output)"),
        ("policy", "", "the command was ended by the system-call filter (SIGSYS)"),
    ],
)
def test_early_end_is_worded(reason: str, limit: str, expected: str | None) -> None:
    """A command that did not end by itself gets a line that says why."""
    result = Result(
        run_id="r",
        started="s",
        reason=reason,
        ended_by="sandbox",
        exit_code=0,
        limits=((limit, Limit(1, "supervisor", "tree", hit=True)),) if limit else (),
    )
    assert ending_text(result) == expected


def test_capture_keeps_both_streams() -> None:
    """Text stays text, other bytes become base64."""
    with Capture() as capture:
        stdout, stderr = capture.writers
        argv = [sys.executable, "-c", "import os; os.write(1, b'a\\xff'); os.write(2, b'b')"]
        subprocess.run(argv, stdout=stdout, stderr=stderr, timeout=30, check=True)
    assert capture.data() == {"stdout_base64": "Yf8=", "stderr": "b"}
    assert (capture.total_bytes, capture.is_truncated) == (3, False)


def test_capture_drops_what_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is never blocked, and the result says that something is missing."""
    monkeypatch.setattr(capture_module, "KEPT_BYTES", 5)
    with Capture() as capture:
        for _ in range(50):
            os.write(capture.writers[0], b"x" * 4096)
    assert capture.data()["stdout"] == "xxxxx"
    assert (capture.total_bytes, capture.is_truncated) == (50 * 4096, True)


CHECKS = (
    Check("landlock", "Landlock", True, True, detail="ABI 7"),
    Check("proc", "fresh /proc", False, False, "caller", "mount(proc)", 1, "masked", "unmask", "x"),
    Check("strict", "`strict`", False, True, cause="no\x1b", remedy=None),
    Check("proc", "fresh /proc", True, False, ORDINARY_USER),
)


def test_doctor_text() -> None:
    """One line a step; what failed has cause, detail and remedy; NO is what strict requires."""
    lines = doctor.doctor_text(CHECKS).splitlines()
    assert lines == [
        "Landlock                     ok    ABI 7",
        "fresh /proc                  no    masked",
        "                                   x",
        "                                   remedy: unmask",
        "`strict`                     NO    no\\x1b",
        "",
        "the same as an ordinary user (uid 65534):",
        "fresh /proc                  ok",
        "",
        "strict cannot run here",
    ]


def test_doctor_data() -> None:
    """The documented members, and no others."""
    data = doctor.doctor_data(CHECKS)
    members = {"schema", "kernel", "arch", "uid", "strict", "steps", "apparmor_profile"}
    assert set(data) == members
    assert data["strict"] is False
    assert set(data["steps"][0]) == {
        *("step", "ok", "is_required", "subject", "stage", "errno", "cause", "remedy", "detail")
    }


def test_doctor_takes_no_arguments() -> None:
    """A word too many is a usage error."""
    with pytest.raises(UsageError):
        doctor.run(("now",))
