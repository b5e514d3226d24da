"""What does `sandbox.run` cost in a program that is warm, and how many can two programs run?

Each round runs `sandbox.run([...], policy="strict")` and the same bubblewrap by `subprocess.run`,
in an order that turns; the ratio is taken within each round. Then `--processes` programs run as
many as they can. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import sandbox
from benchmarks.bench_startup import bubblewrap
from support.machine import facts


def ours(argv: list[str]) -> None:
    """Run the program by the API."""
    if sandbox.run(argv, policy="strict").returncode != 0:
        raise SystemExit(f"{argv} failed")


def theirs() -> None:
    """Run bubblewrap's `true`, with its output captured as ours is."""
    subprocess.run(bubblewrap(), stdin=subprocess.DEVNULL, capture_output=True, check=True)


def plain() -> None:
    """Run `true` with nothing around it."""
    subprocess.run(["/bin/true"], stdin=subprocess.DEVNULL, capture_output=True, check=True)


def elapsed_ms(action: Callable[[], None]) -> float:
    """Return how long it took."""
    started = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - started) / 1e6


def latency(rounds: int) -> dict[str, list[float]]:
    """Return the times of each subject, one for each round."""
    subjects = {"sandbox.run": lambda: ours(["/bin/true"]), "subprocess true": plain}
    if shutil.which("bwrap"):
        subjects["bubblewrap"] = theirs
    names = list(subjects)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-3, rounds):
        turn = number % len(names)
        for name in [*names[turn:], *names[:turn]]:
            took = elapsed_ms(subjects[name])
            if number >= 0:
                times[name].append(took)
    return times


def _many(argv: list[str], seconds: float, counts: multiprocessing.Queue[int]) -> None:
    ours(argv)
    deadline = time.monotonic() + seconds
    count = 0
    while time.monotonic() < deadline:
        ours(argv)
        count += 1
    counts.put(count)


def throughput(argv: list[str], processes: int, seconds: float) -> float:
    """Return how many sandboxes a second the processes run together."""
    context = multiprocessing.get_context("spawn")
    counts: multiprocessing.Queue[int] = context.Queue()
    workers = [
        context.Process(target=_many, args=(argv, seconds, counts)) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    total = sum(counts.get(timeout=seconds + 60) for _ in workers)
    for worker in workers:
        worker.join()
    return total / seconds


def static_program(directory: Path) -> list[str]:
    """Return the argv of a static program that ends at once; /bin/true without a compiler."""
    source, target = directory / "static.c", directory / "static"
    source.write_text("int main(void) { return 0; }\n", encoding="ascii")
    compiler = shutil.which("musl-gcc") or shutil.which("cc")
    built = (
        compiler is not None
        and not subprocess.run(
            [compiler, "-O2", "-static", "-o", target, source], capture_output=True, check=False
        ).returncode
    )
    return [str(target) if built else "/bin/true"]


def main() -> int:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="runs of each subject (60)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the throughput (5)")
    parser.add_argument("--processes", type=int, default=2, help="programs at once (2)")
    parser.add_argument("--output", type=Path, help="a file for the JSON")
    arguments = parser.parse_args()
    output = arguments.output.absolute() if arguments.output else None
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as base:
        os.chdir(base)
        times = latency(arguments.rounds)
        argv = static_program(Path(base))
        rate = throughput(argv, arguments.processes, arguments.seconds)
        os.chdir("/")
    rows = []
    for name, values in times.items():
        row: dict[str, object] = {"name": name, "median_ms": round(statistics.median(values), 2)}
        if "bubblewrap" in times:
            pairs = zip(values, times["bubblewrap"], strict=True)
            row["ratio_to_peer"] = round(statistics.median(a / b for a, b in pairs), 2)
        rows.append(row)
        print(f"{name:16} {row['median_ms']} ms  ÷ bubblewrap {row.get('ratio_to_peer', '-')}")
    print(f"{arguments.processes} programs: {rate:.0f} sandboxes a second ({Path(argv[0]).name})")
    if output:
        data = {"schema": 1, "machine": facts(), "rows": rows, "per_second": round(rate, 1)}
        output.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
