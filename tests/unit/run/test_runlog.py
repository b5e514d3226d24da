"""The log of runs: what is written is read, and what is damaged is passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox._core import ffi, lib
from sandbox.launch.listener import Denial
from sandbox.launch.result import Result, Setup, Usage
from sandbox.policy.compose import Flag
from sandbox.run import runlog
from sandbox.run.denied import denial_data, denial_lines
from sandbox.run.request import Request

REQUEST = Request(
    argv=(b"make", b"", b"a b\xff", b""),
    policy="strict",
    flags=(Flag("ro", "/data", "--ro /data"), Flag("net", "host", "--net=host")),
    tighten=("./t.toml",),
)
DENIAL = Denial(12, 0xC000003E, 165, (0, 1, 2, 3, 4, 2**64 - 1), 1, 7, 99, b"make", b"/mnt\xff")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own; return the log in it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "sandbox" / "log" / "runs"


def result(**fields: object) -> Result:
    """A result that exited."""
    known = {"run_id": "a" * 16, "started": "", "reason": "exited", "ended_by": "command"}
    return Result(**{**known, "exit_code": 3, "usage": Usage(wall_ms=21), **fields})  # type: ignore[arg-type]  # by name


def test_what_is_written_is_read(state: Path) -> None:
    """Every field, bytes included; the file is private."""
    runlog.append(REQUEST, "strict", result(), [DENIAL], 5.5, 8)
    (run,) = runlog.read_log()
    assert (run.run_id, run.started_us, run.wall_us) == ("a" * 16, 5_500_000, 21_000)
    assert (run.reason, run.value, run.is_signaled) == ("exited", 3, False)
    assert (run.policy, run.cwd, run.is_cut) == ("strict", os.getcwdb(), False)
    assert run.options == ("--policy=strict", "--tighten=./t.toml", "--ro=/data", "--net=host")
    assert run.argv == (b"make", b"", b"a b\xff", b"")
    assert (run.denials, run.denials_lost) == ((DENIAL,), 8)
    assert state.stat().st_mode & 0o777 == 0o600


def test_how_it_ended() -> None:
    """A signal, and a command that was not started."""
    runlog.append(REQUEST, "p", result(reason="timeout", exit_code=None, signal=15), (), 0)
    setup = Setup("exec", "no such program", exit_code=127)
    failed = result(reason="setup", ended_by="sandbox", exit_code=None, setup=setup)
    runlog.append(REQUEST, "p", failed, (), 0)
    first, second = runlog.read_log()
    assert (first.reason, first.value, first.is_signaled) == ("timeout", 15, True)
    assert (second.reason, second.value, second.is_signaled) == ("setup", 127, False)


def test_long_commands_are_cut() -> None:
    """A record stays small, and says that words are missing."""
    request = Request(argv=(b"a",) + (b"b" * 1000,) * 100)
    runlog.append(request, "p", result(), [DENIAL] * 300, 0)
    (run,) = runlog.read_log()
    assert run.is_cut
    assert run.argv[0] == b"a"
    assert len(run.denials) == 64


@pytest.mark.parametrize("damage", ["half", "text", "reason", "noise"])
def test_damage_is_passed_over(state: Path, damage: str) -> None:
    """The records around it are read."""
    runlog.append(REQUEST, "p", result(), [DENIAL], 1)
    record = state.read_bytes()
    broken = {
        "half": record[: len(record) // 2],
        "text": record[:48] + b"\xff\xff\xff\xff" + record[52:],
        "reason": record[:32] + b"\x09\0\0\0" + record[36:],
        "noise": b"\x53\x42\x58" * 7,
    }[damage]
    state.write_bytes(record + broken + record)
    assert len(list(runlog.read_log())) == 2


def test_foreign_files_are_not_written(state: Path, tmp_path: Path) -> None:
    """A link, a file that others may read, a pipe: the log does without."""
    state.parent.mkdir(parents=True, mode=0o700)
    target = tmp_path / "target"
    target.write_bytes(b"")
    path, head = os.fsencode(state), ffi.new("struct sbx_log_record *")

    def append() -> int:
        return lib.sbx_log_append(path, head, ffi.NULL, ffi.NULL)

    state.symlink_to(target)
    assert append() < 0
    state.unlink()
    os.link(target, state)
    assert append() < 0
    state.unlink()
    state.touch(0o644)
    assert append() < 0
    state.unlink()
    os.mkfifo(state, 0o600)
    assert append() < 0
    assert target.read_bytes() == b""
    state.unlink()
    assert append() == 0


def test_lines_are_at_most_five() -> None:
    """Five where all fit; else four, and how many more."""
    entries = denial_data([DENIAL] * 7, None, "x86_64")
    assert entries[0]["call"] == "mount"
    assert entries[0]["rule"] is None
    assert denial_lines(entries[:5], 0)[4].startswith("refused: mount /mnt\\xff by make: EPERM ×7")
    lines = denial_lines(entries, 9)
    assert len(lines) == 5
    assert lines[4] == (
        "refused: 3 more kinds, 9 calls without a record; see `sandbox log -n 1` or --result"
    )
    assert len(denial_lines(entries[:5], 1)) == 5
