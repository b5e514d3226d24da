"""The native supervisor, as a Python program starts it: limits, signals, output, its own end."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from sandbox._core import lib
from sandbox.record import replace
from support import jobs
from support.supervised import Start, flags, prepared, runtime, start

__all__ = ["runtime", "start"]  # fixtures


def code_of(ending: Any) -> int:
    """Return the exit code of the command, or minus its signal."""
    return os.waitstatus_to_exitcode(ending.status.wait_status)


def test_a_command_starts_ends_and_is_reported(start: Start) -> None:
    """STARTED, then ENDED with the wait status, then the end of the channel and of the process."""
    job = start("exit 3")
    ending = job.ended()
    assert (code_of(ending), ending.cause, flags(ending)) == (3, 0, {"STATUS_KNOWN"})
    assert job.receive() is None
    assert job.wait() == 0


def test_a_failed_start_is_reported_and_nothing_ran(runtime: Path) -> None:
    """FAILED with the place, no STARTED and no ENDED; no placeholder is left."""
    made = prepared("true", "default")
    invocation = replace(made.invocation, programs=(b"/no/such/program",))
    data = jobs.encode_job(made.plan, invocation, made.placeholders)
    with jobs.start_job(data, {}) as job:
        failure = job.expect(lib.SBX_MESSAGE_FAILED).record("sbx_error")
        assert failure.stage == lib.SBX_STAGE_EXEC
        assert job.receive() is None
    assert (os.listdir("."), os.listdir(runtime)) == ([], ["lock"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("magic", 1), ("version", 2), ("plan_offset", 4), ("plan_size", 1 << 30), ("flags", 1)],
)
def test_a_broken_job_is_refused(runtime: Path, field: str, value: int) -> None:
    """A header that lies is answered with FAILED at the check, whatever it says."""
    made = prepared("true")
    data = bytearray(jobs.encode_job(made.plan, made.invocation))
    fields = ["magic", "version", "plan_offset", "plan_size", "invocation_offset"]
    fields += ["invocation_size", "placeholders_offset", "placeholders_size", "flags"]
    struct.pack_into("=I", data, 4 * fields.index(field), value)
    with jobs.start_job(bytes(data), {}) as job:
        failure = job.expect(lib.SBX_MESSAGE_FAILED).record("sbx_error")
        assert failure.stage == lib.SBX_STAGE_CHECK
        assert job.wait() == 0


def test_a_timeout_asks_then_kills(start: Start) -> None:
    """TERM first; a tree that ignores it is killed after its grace."""
    job = start("trap '' TERM; setsid sleep 60 & sleep 60 & wait", wall_ms=200, term_grace_ms=200)
    ending = job.ended()
    assert (ending.cause, ending.wall_us < 5_000_000) == (lib.SBX_CAUSE_TIMEOUT, True)
    assert ending.wall_us >= 400_000


def test_memory_of_the_tree_is_watched(start: Start) -> None:
    """Several processes count together; the peak is known."""
    hold = "python3 -c 'import time; held = bytearray(30 << 20); time.sleep(60)'"
    job = start(f"{hold} & {hold} & wait", memory_bytes=50 << 20)
    ending = job.ended()
    assert (ending.cause, flags(ending) >= {"PEAK_KNOWN"}) == (lib.SBX_CAUSE_MEMORY, True)
    assert ending.memory_peak_bytes > 50 << 20


def test_output_is_counted_cut_and_ends_the_run(start: Start) -> None:
    """What is over the limit is dropped, and the tree ends for it."""
    reader, writer = os.pipe()
    job = start("head -c 3000 /dev/zero; sleep 60", writer, output_bytes=1000, term_grace_ms=100)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert len(file.read()) == 1000
    ending = job.ended()
    assert (ending.cause, ending.output_bytes) == (lib.SBX_CAUSE_OUTPUT, 1000)
    assert flags(ending) >= {"COUNTED", "OUTPUT_TRUNCATED"}


@pytest.mark.parametrize("kind", ["pipe", "socket", "file"])
def test_all_output_arrives_in_order(start: Start, tmp_path: Path, kind: str) -> None:
    """stdout and stderr that are one file keep their order; every byte arrives."""
    if kind == "pipe":
        reader, writer = os.pipe()
    elif kind == "socket":
        ours, theirs = socket.socketpair()
        reader, writer = ours.detach(), theirs.detach()
    else:
        writer = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
        reader = os.open(tmp_path / "out", os.O_RDONLY)
    script = "i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); echo $i >&2; i=$((i+1)); done"
    job = start(f"{script}; head -c 300000 /dev/zero", writer, writer, output_bytes=1 << 20)
    os.close(writer)
    if kind == "file":
        job.ended()
    with os.fdopen(reader, "rb") as file:
        lines, _newline, zeros = file.read().rpartition(b"\n")
    assert [int(line) for line in lines.splitlines()] == list(range(500))
    assert zeros == bytes(300_000)


def test_a_slow_reader_stalls_neither_deadline_nor_end(start: Start) -> None:
    """Nobody reads: the command waits, its deadline comes, two seconds later all is given up."""
    reader, writer = os.pipe()
    began = time.monotonic()
    job = start("cat /dev/zero", writer, output_bytes=1 << 30, wall_ms=300, term_grace_ms=100)
    os.close(writer)
    ending = job.ended()
    took_s = time.monotonic() - began
    os.close(reader)
    assert ending.cause == lib.SBX_CAUSE_TIMEOUT
    assert 2.0 < took_s < 6.0
    assert ending.output_bytes < 1 << 18  # what pipes and one buffer hold: back-pressure


def test_a_slow_reader_of_a_run_that_ended_gets_everything(start: Start) -> None:
    """The end of a run waits for its reader, however long that takes."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    job = start("head -c 60000 /dev/zero", writer, output_bytes=1 << 20)
    os.close(writer)
    job.expect(lib.SBX_MESSAGE_STARTED)
    time.sleep(0.5)
    with os.fdopen(reader, "rb") as file:
        assert len(file.read()) == 60_000
    assert job.expect(lib.SBX_MESSAGE_ENDED).record("sbx_ending").output_bytes == 60_000


def test_a_reader_that_went_away_breaks_the_pipe(start: Start) -> None:
    """The command is told by SIGPIPE, as it would be without a relay."""
    reader, writer = os.pipe()
    job = start("cat /dev/zero; exit 7", writer, output_bytes=1 << 40)
    os.close(writer)
    os.read(reader, 100)
    os.close(reader)
    assert code_of(job.ended(5)) == 7


@pytest.mark.parametrize("limits", [{}, {"output_bytes": 1 << 20}], ids=["plain", "counted"])
def test_early_closed_streams_are_seen_closed(start: Start, limits: dict[str, int]) -> None:
    """The supervisor holds no end of the command's streams: a reader sees the end at once."""
    reader, writer = os.pipe()
    keys, typed = os.pipe()
    job = start("exec <&- >&-; sleep 60", writer, keys=keys, **limits)
    os.close(writer)
    os.close(keys)
    job.expect(lib.SBX_MESSAGE_STARTED)
    assert os.read(reader, 10) == b""
    with pytest.raises(BrokenPipeError):
        os.write(typed, b"x")
    os.close(reader)
    os.close(typed)


def test_a_signal_reaches_the_command(start: Start) -> None:
    """SIGNAL is passed on; an ending one is noted as the user's."""
    reader, writer = os.pipe()
    job = start("trap 'exit 9' TERM; echo; while :; do sleep 0.05; done", writer)
    os.close(writer)
    assert os.read(reader, 1) == b"\n"
    job.expect(lib.SBX_MESSAGE_STARTED)
    job.send(lib.SBX_MESSAGE_SIGNAL, signal.SIGTERM)
    ending = job.expect(lib.SBX_MESSAGE_ENDED).record("sbx_ending")
    os.close(reader)
    assert (code_of(ending), flags(ending)) == (9, {"STATUS_KNOWN", "USER_ENDED"})


def test_a_terminal_signal_to_the_supervisor_is_none_of_the_commands(start: Start) -> None:
    """INT, HUP, QUIT and TSTP to its process change nothing; TERM is passed on."""
    job = start("sleep 60")
    job.expect(lib.SBX_MESSAGE_STARTED)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        os.kill(job.pid, number)
    with pytest.raises(TimeoutError):
        job.receive(0.2)
    os.kill(job.pid, signal.SIGTERM)
    ending = job.expect(lib.SBX_MESSAGE_ENDED).record("sbx_ending")
    assert code_of(ending) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("value", "cause"), [(0, "CANCELLED"), (3, "CPU"), (99, "CANCELLED")], ids=str
)
def test_kill_ends_all_for_the_callers_reason(start: Start, value: int, cause: str) -> None:
    """KILL carries a cause: a caller watches limits that only it can see."""
    job = start("trap '' TERM; sleep 60")
    job.expect(lib.SBX_MESSAGE_STARTED)
    job.send(lib.SBX_MESSAGE_KILL, value)
    ending = job.expect(lib.SBX_MESSAGE_ENDED, 5).record("sbx_ending")
    assert ending.cause == getattr(lib, f"SBX_CAUSE_{cause}")


def test_a_caller_that_closes_the_channel_ends_all(start: Start) -> None:
    """Nobody is left who wants the result: tree and supervisor end, placeholders go."""
    job = start("trap '' TERM; sleep 60", policy="default")
    init = job.expect(lib.SBX_MESSAGE_STARTED).value
    assert os.listdir(".") != []
    job.channel.close()
    assert job.wait(5) == 0
    assert jobs.gone_within([init], 1) == []
    assert os.listdir(".") == []


def test_a_held_child_waits_for_its_caller(start: Start) -> None:
    """SPAWNED names pid 1; the command starts only after SETTLED."""
    job = start("exit 4", is_held=True)
    pid = job.expect(lib.SBX_MESSAGE_SPAWNED).value
    assert Path(f"/proc/{pid}").exists()
    with pytest.raises(TimeoutError):
        job.receive(0.2)
    job.send(lib.SBX_MESSAGE_SETTLED)
    assert code_of(job.ended()) == 4


def test_what_the_job_does_not_name_is_closed(runtime: Path) -> None:
    """A descriptor that the caller left inheritable is not held open by the supervisor."""
    reader, writer = os.pipe()
    made = prepared("sleep 60")
    data = jobs.encode_job(made.plan, jobs.with_streams(made.invocation, 0, 1, 2, 9))
    null = os.open(os.devnull, os.O_RDWR)
    with jobs.start_job(data, {0: null, 1: null, 2: null, 7: writer, 9: null}) as job:
        os.close(writer)
        os.close(null)
        job.expect(lib.SBX_MESSAGE_STARTED)
        assert os.read(reader, 1) == b""
    os.close(reader)


def test_refused_calls_are_told_before_the_end(start: Start) -> None:
    """Each distinct refusal is one DENIAL, between STARTED and ENDED."""
    job = start("unshare --user true; unshare --user true")
    job.expect(lib.SBX_MESSAGE_STARTED)
    seen = []
    while (message := job.receive()) is not None and message.kind == lib.SBX_MESSAGE_DENIAL:
        seen.append(message.record("sbx_denial"))
    assert message is not None
    ending = message.record("sbx_ending")
    if ending.denials_errno:
        pytest.skip(f"needs seccomp-notify: {os.strerror(ending.denials_errno)}")
    assert (ending.denial_count, [denial.count for denial in seen]) == (1, [2])


def test_two_processes_wait_in_little_memory(start: Start) -> None:
    """While the command runs, supervisor and pid 1 keep at most 300 KiB each for themselves."""
    job = start("sleep 60", wall_ms=60_000)
    pids = [job.pid, job.expect(lib.SBX_MESSAGE_STARTED).value]
    time.sleep(0.2)
    # pid 1 is not dumpable: root alone can look
    for pid in pids if os.geteuid() == 0 else pids[:1]:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        private = sum(int(row.split()[1]) for row in rows if row.startswith("Private_"))
        assert private <= 300, rows
