"""The Python API in a warm process: run(), Pool and Session, each against its plain counterpart."""

from __future__ import annotations

import os
import subprocess
import time

import sandbox
from benchmarks.measure import Bound, Series, spawn_ms
from benchmarks.rows_exec import STRICT, Exec

TIMEOUT_S = 60
REFILL_S = 0.02  # the pool makes the next sandbox meanwhile


def now_ms() -> float:
    """Return the monotonic clock in milliseconds."""
    return time.monotonic_ns() / 1e6


def measure_api(ctx: Exec, rounds: int) -> list[Series]:
    """Return the rows of the API."""
    return [_run(ctx, rounds), *_pool(ctx, rounds), *_session(ctx, rounds)]


def _mounts(ctx: Exec) -> dict[str, str]:
    return {str(ctx.place.bin): "ro"}


def _run(ctx: Exec, rounds: int) -> Series:
    series = Series(
        'sandbox.run(…, policy="strict"), warm',
        "bubblewrap, same walls, by subprocess.run",
        bound=Bound("ratio", 0.60),
        note="random program and directory; output captured on both sides",
    )
    for number in range(-3, rounds):
        directory, cwd = ctx.rng.choice(sorted(ctx.place.directories().items()))
        _name, argv = ctx.rng.choice(sorted(ctx.place.programs().items()))
        peer = ctx.peer(STRICT, directory)
        os.chdir(cwd)
        # as every call after the first: what is prepared once is kept
        sandbox.run(["/bin/true"], policy="strict", mounts=_mounts(ctx), check=True)
        times = {}
        for side in ctx.rng.sample(("ours", "peer"), 2):
            peer.rewind()
            started = now_ms()
            if side == "ours":
                sandbox.run(argv, policy="strict", mounts=_mounts(ctx), check=True)
            else:
                subprocess.run(
                    peer.command(argv),
                    env=ctx.env,
                    pass_fds=peer.fds,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=True,
                    timeout=TIMEOUT_S,
                )
            times[side] = now_ms() - started
        if number >= 0:
            series.add(times["ours"], times["peer"])
    return series


def _plain_start_ms(argv: list[str]) -> float:
    """From posix_spawn(3) to main(), by the clock of the program itself."""
    reader, writer = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1)]
    started = now_ms()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
    os.close(writer)
    stamp = os.read(reader, 8)
    os.close(reader)
    os.waitpid(pid, 0)
    return int.from_bytes(stamp, "little") / 1e6 - started


def _pool(ctx: Exec, rounds: int) -> list[Series]:
    series = Series(
        "Pool, strict: from call to command started",
        "plain posix_spawn of the same program",
        bound=Bound("above", 0.45),
        note=f"a static program's own clock at main(); {REFILL_S * 1000:.0f} ms between calls",
    )
    argv = [str(ctx.place.bin / "stamp")]
    with sandbox.Pool("strict", size=2, mounts=_mounts(ctx)) as pool:
        for number in range(-3, rounds):
            time.sleep(REFILL_S)
            plain = _plain_start_ms(argv)
            started = now_ms()
            process = pool.start(argv)
            assert process.stdout is not None
            stamp = process.stdout.read(8)
            process.wait()
            process.close()
            if number >= 0:
                series.add(int.from_bytes(stamp, "little") / 1e6 - started, plain)
    return [series]


def _session(ctx: Exec, rounds: int) -> list[Series]:
    bare = Series(
        "Session, strict: a whole command",
        "plain posix_spawn and wait",
        bound=Bound("above", 0.15),
        note="output to /dev/null on both sides; random program",
    )
    captured = Series(
        "Session, strict: a whole command, output captured",
        "subprocess.run",
        note="random program",
    )
    null = sandbox.DEVNULL
    with sandbox.Session("strict", mounts=_mounts(ctx)) as session:
        for number in range(-3, rounds):
            _name, argv = ctx.rng.choice(sorted(ctx.place.programs().items()))
            plain = spawn_ms(argv, ctx.env, ctx.place.log)
            started = now_ms()
            session.run(argv, stdout=null, stderr=null, check=True)
            ours = now_ms() - started
            started = now_ms()
            session.run(argv, check=True)
            ours_captured = now_ms() - started
            started = now_ms()
            subprocess.run(
                argv,
                env=ctx.env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=TIMEOUT_S,
            )
            if number >= 0:
                bare.add(ours, plain)
                captured.add(ours_captured, now_ms() - started)
    return [bare, captured]
