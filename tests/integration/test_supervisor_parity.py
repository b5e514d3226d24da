"""Both supervisors say the same of the same run, and share their placeholders."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from sandbox._core import lib
from sandbox.launch.spawn import spawn
from sandbox.plan.encode import encode_invocation, encode_plan
from sandbox.record import replace
from sandbox.run.placeholders import Placeholders
from sandbox.run.relay import Relay
from sandbox.run.supervise import Ending, Supervisor
from support import jobs
from support.supervised import Start, flags, prepared, runtime, start

__all__ = ["runtime", "start"]  # fixtures

CAUSES = ("", "timeout", "memory", "cpu", "output", "cancelled")
HOLD = "python3 -c 'import time; held = bytearray(30 << 20); time.sleep(60)'"
CASES: tuple[tuple[str, dict[str, int]], ...] = (
    ("true", {}),
    ("exit 7", {"output_bytes": 1000}),
    ("kill -9 $$", {}),
    ("echo one; echo two >&2", {"output_bytes": 1000}),
    ("head -c 5000 /dev/zero", {"output_bytes": 5000}),
    ("head -c 5001 /dev/zero; sleep 60", {"output_bytes": 5000, "term_grace_ms": 100}),
    ("trap 'exit 5' TERM; sleep 60 & wait", {"wall_ms": 1500}),
    ("trap '' TERM; sleep 60", {"wall_ms": 200, "term_grace_ms": 200}),
    ("sleep 60", {"wall_ms": 200, "output_bytes": 10}),
    (f"{HOLD} & {HOLD} & wait", {"memory_bytes": 50 << 20}),
    ("sleep 0.3", {"memory_bytes": 50 << 20}),
    ("setsid sh -c 'sleep 60' & exit 3", {"wall_ms": 5000}),
)


def by_python(script: str, limits: dict[str, int]) -> tuple[Ending, Relay | None, bytes]:
    """Run a script under the supervisor in Python; return what it says, and the output."""
    made = prepared(script, "strict", **limits)
    reader, writer = os.pipe()
    fds = tuple(replace(fd, source=writer) for fd in made.invocation.fds if fd.target in (1, 2))
    relay = Relay(fds, limits["output_bytes"]) if "output_bytes" in limits else None
    invocation = replace(made.invocation, fds=fds if relay is None else relay.fds)
    began = time.monotonic()
    with spawn(encode_plan(made.plan), encode_invocation(invocation)) as child:
        if relay is not None:
            relay.release_writers()
        assert child.start_failure() is None
        ending = Supervisor(child, made.plan, relay).run(began)
    if relay is not None:
        relay.drain(2.0)
        relay.__exit__(None, None, None)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        return ending, relay, file.read()


def told(ending: Any) -> tuple[object, ...]:
    """Return what is exact in a native ending."""
    known = "STATUS_KNOWN" in flags(ending)
    status = ending.status.wait_status if known else None
    counted = "COUNTED" in flags(ending)
    return (
        status,
        CAUSES[ending.cause],
        (ending.output_bytes, "OUTPUT_TRUNCATED" in flags(ending)) if counted else None,
        "PEAK_KNOWN" in flags(ending),
    )


@pytest.mark.parametrize(("script", "limits"), CASES, ids=[case[0][:20] for case in CASES])
def test_endings_are_the_same(start: Start, script: str, limits: dict[str, int]) -> None:
    """Status, cause, counted output and what was watched: equal through both supervisors."""
    ending, relay, expected = by_python(script, limits)
    reader, writer = os.pipe()
    job = start(script, writer, writer, **limits)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == expected
    assert told(job.ended()) == (
        ending.status and ending.status.wait_status,
        ending.cause,
        relay and (relay.total_bytes, relay.is_truncated),
        ending.memory_peak_bytes is not None,
    )


def test_a_killed_init_is_told_alike(start: Start) -> None:
    """pid 1 that dies without a report leaves no status, and the run is over."""
    job = start("sleep 60")
    os.kill(job.expect(lib.SBX_MESSAGE_STARTED).value, signal.SIGKILL)
    ending = job.expect(lib.SBX_MESSAGE_ENDED, 5).record("sbx_ending")
    assert told(ending) == (None, "", None, False)


def sockets() -> set[str]:
    """Return the placeholders in the working directory."""
    return {name for name in os.listdir(".") if stat.S_IMODE(os.lstat(name).st_mode) == 0o444}


def test_both_doors_share_placeholders(start: Start, runtime: Path) -> None:
    """Whoever leaves last gives them back, in whichever order the two leave."""
    paths = tuple(host for _inside, host in prepared("true", "default").placeholders)
    names = {os.fsdecode(os.path.basename(path)) for path in paths}
    for native_first in (True, False):
        job = start("sleep 60", policy="default")
        job.expect(lib.SBX_MESSAGE_STARTED)
        assert (sockets(), len(names) > 2) == (names, True)
        made = Placeholders(paths, "0123456789abcdef")
        made.__enter__()
        if native_first:
            job.__exit__()
            assert sockets() == names
            made.__exit__()
        else:
            made.__exit__()
            assert sockets() == names
            job.__exit__()
        assert (sockets(), os.listdir(runtime)) == (set(), ["lock"])


def test_python_collects_what_a_killed_supervisor_left(start: Start, runtime: Path) -> None:
    """The next run in Python removes placeholders and journal."""
    job = start("sleep 60", policy="default")
    job.expect(lib.SBX_MESSAGE_STARTED)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    assert sockets() != set()
    with Placeholders((os.fsencode(Path("other").absolute()),), "0123456789abcdef"):
        assert sockets() == {"other"}
    assert (sockets(), os.listdir(runtime)) == (set(), ["lock"])


def test_the_supervisor_collects_what_a_killed_python_left(start: Start, runtime: Path) -> None:
    """The next native run removes them, a half-written journal too."""
    script = """
        import os, signal, sys
        from sandbox.run.placeholders import Placeholders
        Placeholders((os.path.abspath("left").encode(),), "fedcba9876543210").__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, timeout=20)
    (runtime / "broken").write_text("1 1\nno row\n")
    assert sockets() == {"left"}
    job = start("true", policy="default")
    job.expect(lib.SBX_MESSAGE_STARTED)
    assert "left" not in sockets()
    job.expect(lib.SBX_MESSAGE_ENDED)
    assert (sockets(), os.listdir(runtime)) == (set(), ["lock"])


def test_what_became_real_is_not_removed(start: Start) -> None:
    """A path that another process has filled meanwhile stays."""
    job = start("sleep 60", policy="default")
    job.expect(lib.SBX_MESSAGE_STARTED)
    os.unlink("CLAUDE.md")
    Path("CLAUDE.md").write_text("mine")
    job.__exit__()
    assert os.listdir(".") == ["CLAUDE.md"]


def test_a_placeholder_that_cannot_be_made_is_not_covered(runtime: Path, tmp_path: Path) -> None:
    """Its cover is left out of the invocation; the run starts all the same."""
    made = prepared("true", "default")
    missing = tuple(
        (inside, host.replace(b"/work/", b"/absent/")) for inside, host in made.placeholders
    )
    data = jobs.encode_job(made.plan, replace(made.invocation, fds=()), missing)
    with jobs.start_job(data, {}) as job:
        assert job.ended().status.wait_status == 0
    assert (sockets(), os.listdir(runtime)) == (set(), ["lock"])
