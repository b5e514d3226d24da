"""What a sandbox costs besides time: throughput of many, memory of one, the filter's price."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from benchmarks.measure import AT_LEAST, Bound, RunError, Series
from benchmarks.rows_exec import STRICT, Exec
from support.user import User

TIMEOUT_S = 60
WINDOW_S = 2.0
SANDBOXES = 10
ALLOW_ALL = bytes.fromhex("060000000000ff7f")  # ret SECCOMP_RET_ALLOW


def _output(argv: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(
        argv, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        raise RunError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def measure_throughput(ctx: Exec, windows: int, window_s: float = WINDOW_S) -> Series:
    """Return complete sandboxes per second, one lane for each core."""
    os.chdir(ctx.place.directories()["empty"])
    cores = len(os.sched_getaffinity(0))
    series = Series(
        "complete sandboxes with an own network, strict",
        "bubblewrap, same walls",
        unit="1/s",
        bound=Bound("median", 600.0, AT_LEAST),
        note=f"{cores} lanes, static program; a run is a window of {window_s} s",
    )
    program = ctx.place.programs()["static"]
    loop = [str(ctx.place.bin / "spawn_loop"), str(window_s), str(cores)]

    def rate(argv: list[str]) -> float:
        count, micros = _output([*loop, *argv], ctx.env).split()
        return int(count) / int(micros) * 1e6

    # its lanes would read one file: without the filter, which favours it
    peer = ctx.peer(STRICT, "empty")
    words = [*peer.argv]
    while "--add-seccomp-fd" in words:
        at = words.index("--add-seccomp-fd")
        del words[at : at + 2]
    while "--file" in words:
        at = words.index("--file")
        del words[at : at + 3]
    for _window in range(windows):
        series.add(rate(ctx.ours(STRICT, program)), rate([*words, "--", *program]))
    series.note += "; bubblewrap without filter and made-up files"
    return series


def measure_filter(ctx: Exec, rounds: int) -> list[Series]:
    """Return the cost of an allowed call behind the filter of `strict`, and behind the least one.

    What the least one costs is the price of any filter on this kernel.
    """
    found = [
        Series(
            "getppid() behind the filter of strict",
            "getppid() without",
            unit="ns",
            bound=Bound("above", 15.0),
            note="each run: the best of 400 batches of 2,000 calls, in turns on one processor",
        ),
        Series("getppid() behind a filter of one instruction", "getppid() without", unit="ns"),
    ]
    programs = (ctx.peer(STRICT, "empty").filters[0], ALLOW_ALL)
    path = ctx.place.base / "filter"
    for _round in range(rounds):
        for series, code in zip(found, programs, strict=True):
            path.write_bytes(code)
            argv = [str(ctx.place.bin / "getppid"), str(path)]
            plain, behind = _output(argv, ctx.env).split()
            series.add(int(behind) / 1000, int(plain) / 1000)
    return found


def _private_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    rows = (line.split() for line in text.splitlines())
    return sum(int(row[1]) for row in rows if row[0].startswith("Private_"))


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])


def measure_memory(user: User, launcher: Path, cwd: str, env: dict[str, str]) -> Series:
    """Return what supervisor and pid 1 have for themselves while a command sleeps.

    Context: root, since pid 1 lets nobody else look.
    """
    series = Series(
        "memory beside the command: supervisor and pid 1",
        "",
        unit="KiB",
        bound=Bound("median", 600.0),
        note=f"Private_* of smaps_rollup, {SANDBOXES} sandboxes of strict side by side",
    )
    argv = [str(launcher), "exec", "--policy", "strict", "--", "sleep"]
    # from the plan cache: a Python that prepares is a supervisor of another size
    user.run([*argv, "0"], cwd=Path(cwd), env=env)
    argv += ["60"]
    runs = [user.start(argv, cwd=Path(cwd), env=env) for _number in range(SANDBOXES)]
    try:
        time.sleep(2)
        for run in runs:
            init = _child(run.pid)
            series.ours.append(_private_kib(run.pid) + _private_kib(init))
    finally:
        for run in runs:
            run.kill()
            run.communicate(timeout=TIMEOUT_S)
    return series
