"""The native supervisor, as a Python program starts it: limits, signals, output, its own end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox._core import lib
from sandbox.plan.model import Plan, Supervise
from sandbox.record import replace
from sandbox.run.execute import prepare
from sandbox.run.request import Prepared, Request
from support import jobs
from support.need import need_user_namespaces

Start = Callable[..., jobs.Job]


@pytest.fixture(autouse=True)
def _runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep journals and the working directory of a test its own."""
    if not jobs.PROGRAM.exists():
        pytest.skip("needs the native supervisor: the build found no static C library")
    need_user_namespaces()
    runtime, work = tmp_path / "runtime", tmp_path / "work"
    runtime.mkdir(mode=0o700)
    work.mkdir(mode=0o777)
    work.chmod(0o777)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o011)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.chdir(work)


def prepared(script: str, policy: str = "strict", **limits: int) -> Prepared:
    """Prepare `sh -c script` with exactly these limits: wall_ms, output_bytes …"""
    made = prepare(Request(argv=(b"sh", b"-c", script.encode()), policy=policy))
    wanted = tuple((Supervise[name.upper()], value) for name, value in limits.items())
    plan: Plan = replace(made.plan, supervise=wanted)
    return replace(made, plan=plan)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start supervisors of scripts, with output in a pipe or wherever it is told to go."""
    running: list[jobs.Job] = []

    def begin(
        script: str, out: int | None = None, err: int | None = None, **options: object
    ) -> jobs.Job:
        made = prepared(script, **options)  # type: ignore[arg-type]  # limits are numbers
        null = os.open(os.devnull, os.O_RDWR)
        fds = {0: null, 1: null if out is None else out, 2: null if err is None else err}
        try:
            invocation = jobs.with_streams(made.invocation, 0, 1, 2)
            job = jobs.start_job(jobs.encode_job(made.plan, invocation, made.placeholders), fds)
        finally:
            os.close(null)
        running.append(job)
        return job

    yield begin
    for job in running:
        job.__exit__()


def flags(ending: object) -> set[str]:
    """Return the names of an ending's flags."""
    names = ("USER_ENDED", "OUTPUT_TRUNCATED", "STATUS_KNOWN", "COUNTED", "PEAK_KNOWN")
    value: int = ending.flags  # type: ignore[attr-defined]  # a cffi record
    return {name for name in names if value & getattr(lib, f"SBX_ENDING_{name}")}


def test_a_command_starts_ends_and_is_reported(start: Start) -> None:
    """STARTED, then ENDED with the wait status, then the end of the channel and of the process."""
    job = start("exit 3")
    ending = job.ended()
    assert (os.waitstatus_to_exitcode(ending.status.wait_status), ending.cause) == (3, 0)
    assert flags(ending) == {"STATUS_KNOWN"}
    assert job.receive() is None
    assert job.wait() == 0


def test_a_failed_start_is_reported_and_nothing_ran(start: Start, tmp_path: Path) -> None:
    """FAILED with the place, no STARTED and no ENDED; no placeholder is left."""
    made = prepared("true", "default")
    invocation = replace(made.invocation, programs=(b"/no/such/program",))
    data = jobs.encode_job(made.plan, invocation, made.placeholders)
    with jobs.start_job(data, {}) as job:
        failure = job.expect(lib.SBX_MESSAGE_FAILED).record("sbx_error")
        assert failure.stage == lib.SBX_STAGE_EXEC
        assert job.receive() is None
    assert os.listdir(".") == []


def test_a_timeout_asks_then_kills(start: Start) -> None:
    """TERM first; a tree that ignores it is killed after its grace."""
    job = start("trap '' TERM; setsid sleep 60 & sleep 60 & wait", wall_ms=200, term_grace_ms=200)
    began = time.monotonic()
    ending = job.ended()
    assert (ending.cause, time.monotonic() - began < 5) == (lib.SBX_CAUSE_TIMEOUT, True)
    assert ending.wall_us >= 400_000


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


def test_a_signal_reaches_the_command(start: Start) -> None:
    """SIGNAL is passed on; an ending one is noted as the user's."""
    job = start("trap 'exit 9' TERM; while :; do sleep 0.05; done")
    job.expect(lib.SBX_MESSAGE_STARTED)
    time.sleep(0.3)
    job.send(lib.SBX_MESSAGE_SIGNAL, signal.SIGTERM)
    ending = job.expect(lib.SBX_MESSAGE_ENDED).record("sbx_ending")
    assert os.waitstatus_to_exitcode(ending.status.wait_status) == 9
    assert flags(ending) == {"STATUS_KNOWN", "USER_ENDED"}
