"""Fixtures of the tests that run scripts under the native supervisor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox._core import lib
from sandbox.plan.model import Supervise
from sandbox.record import replace
from sandbox.run.execute import prepare
from sandbox.run.request import Prepared, Request
from support import jobs
from support.need import need_user_namespaces

Start = Callable[..., jobs.Job]


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep journals and the working directory of a test its own; return that of the journals."""
    if not jobs.PROGRAM.exists():
        pytest.skip("needs the native supervisor: the build found no static C library")
    need_user_namespaces()
    base, work = tmp_path / "runtime", tmp_path / "work"
    base.mkdir(mode=0o700)
    work.mkdir()
    work.chmod(0o777)
    for path in (tmp_path, *tmp_path.parents):  # a command that root starts is somebody else
        if path.stat().st_uid == os.geteuid() and path.stat().st_mode & 0o011 != 0o011:
            path.chmod(path.stat().st_mode | 0o011)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    monkeypatch.chdir(work)
    return base / "sandbox" / "placeholders"


def prepared(script: str, policy: str = "strict", **limits: int) -> Prepared:
    """Prepare `sh -c script` with exactly these limits: wall_ms, output_bytes …"""
    made = prepare(Request(argv=(b"sh", b"-c", script.encode()), policy=policy))
    wanted = tuple((Supervise[name.upper()], value) for name, value in limits.items())
    return replace(made, plan=replace(made.plan, supervise=wanted))


@pytest.fixture
def start(runtime: Path) -> Iterator[Start]:
    """Start supervisors of scripts, with /dev/null or what is given as 0, 1 and 2."""
    running: list[jobs.Job] = []

    def begin(
        script: str,
        out: int | None = None,
        err: int | None = None,
        *,
        keys: int | None = None,
        policy: str = "strict",
        is_held: bool = False,
        **limits: int,
    ) -> jobs.Job:
        made = prepared(script, policy, **limits)
        null = os.open(os.devnull, os.O_RDWR)
        given = (keys, out, err)
        fds = {number: null if fd is None else fd for number, fd in enumerate(given)}
        try:
            invocation = jobs.with_streams(made.invocation, 0, 1, 2)
            invocation = replace(invocation, is_held=is_held)
            data = jobs.encode_job(made.plan, invocation, made.placeholders)
            job = jobs.start_job(data, fds)
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
