"""How long does a whole process take that runs `true` behind the walls?

Every round runs each subject once, in an order that turns, so that load and clock speed hit all
alike; the ratio to bubblewrap is taken within each round. `--output FILE` writes JSON with the
facts of the machine; the table goes to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.machine import facts

PEER = "bubblewrap"
FLOOR = "python3 -c pass"


@dataclass(frozen=True)
class Subject:
    """One thing to measure: its name, its argv, where it caches and what happens before a run."""

    name: str
    argv: list[str]
    cache: Path
    before: Callable[[], None] | None = None


def sandbox(policy: str, *flags: str) -> list[str]:
    """Return the argv of one run of `true` under `policy`."""
    command = [sys.executable, "-I", "-m", "sandbox", "exec", "--policy", policy, *flags]
    return [*command, "--", "/bin/true"]


def bubblewrap() -> list[str]:
    """Return a bubblewrap command with the namespaces and binds that `strict` has."""
    argv = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    argv += ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib64"):
        argv += ["--symlink", f"usr/{name}", f"/{name}"]
    for name in ("/etc/ld.so.cache", "/etc/alternatives"):
        if os.path.exists(name):
            argv += ["--ro-bind", name, name]
    argv += ["--tmpfs", "/tmp", "--tmpfs", "/dev/shm", "--tmpfs", "/home/sandbox"]
    argv += ["--proc", "/proc", "--dev", "/dev", "--bind", os.getcwd(), os.getcwd()]
    return [*argv, "--cap-drop", "ALL", "--hostname", "sandbox", "--", "/bin/true"]


def subjects(base: Path) -> list[Subject]:
    """Return what is measured; caches are below `base`.

    The subject whose filters are compiled each time forgets them in a cache of its own.
    """
    warm, cold = base / "warm", base / "cold"

    def forget() -> None:
        shutil.rmtree(cold / "sandbox" / "filters", ignore_errors=True)

    found = [Subject("/bin/true", ["/bin/true"], warm)]
    if shutil.which("bwrap"):
        found.append(Subject(PEER, bubblewrap(), warm))
    found.append(Subject(FLOOR, [sys.executable, "-I", "-c", "pass"], warm))
    cached = ("strict", "default", "tiny")
    found.extend(Subject(f"{name}, filters cached", sandbox(name), warm) for name in cached)
    return [*found, Subject("strict, filters compiled", sandbox("strict"), cold, forget)]


def run_once(subject: Subject, env: dict[str, str], cwd: str) -> float:
    """Run `subject` and return its wall time in milliseconds."""
    if subject.before is not None:
        subject.before()
    started = time.perf_counter_ns()
    done = subprocess.run(
        subject.argv,
        env={**env, "XDG_CACHE_HOME": str(subject.cache)},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    elapsed = (time.perf_counter_ns() - started) / 1e6
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace")
        raise SystemExit(f"{subject.name}: exit {done.returncode}\n{text}")
    return elapsed


def measure(found: list[Subject], rounds: int, env: dict[str, str]) -> dict[str, list[float]]:
    """Return the times of every subject, one for each round."""
    times: dict[str, list[float]] = {subject.name: [] for subject in found}
    cwd = os.getcwd()
    for number in range(-2, rounds):  # two rounds warm the caches
        turn = number % len(found)
        for subject in [*found[turn:], *found[:turn]]:
            elapsed = run_once(subject, env, cwd)
            if number >= 0:
                times[subject.name].append(elapsed)
    return times


def summary(times: dict[str, list[float]]) -> list[dict[str, object]]:
    """Return median, p10, p90 and the paired figures for each subject."""
    rows = []
    for name, values in times.items():
        tenths = statistics.quantiles(values, n=10)
        row: dict[str, object] = {
            "name": name,
            "median_ms": round(statistics.median(values), 2),
            "p10_ms": round(tenths[0], 2),
            "p90_ms": round(tenths[-1], 2),
        }
        above = [a - b for a, b in zip(values, times[FLOOR], strict=True)]
        row["above_python_ms"] = round(statistics.median(above), 2)
        if PEER in times:
            ratios = [a / b for a, b in zip(values, times[PEER], strict=True)]
            row["ratio_to_peer"] = round(statistics.median(ratios), 2)
        rows.append(row)
    return rows


def print_table(rows: list[dict[str, object]]) -> None:
    """Print the rows as a Markdown table."""
    print("| whole process running true | median ms | p10–p90 | above python | ÷ bubblewrap |")
    print("|---|---|---|---|---|")
    for row in rows:
        spread = f"{row['p10_ms']}–{row['p90_ms']}"
        cells = [row["name"], row["median_ms"], spread, row["above_python_ms"]]
        cells.append(row.get("ratio_to_peer", "not installed"))
        print("| " + " | ".join(str(cell) for cell in cells) + " |")


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="runs of each subject (40)")
    parser.add_argument("--output", type=Path, help="a file for the JSON")
    arguments = parser.parse_args()
    output = arguments.output.absolute() if arguments.output else None
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as base:
        home = Path(base, "home")
        work = Path(base, "work")
        home.mkdir()
        work.mkdir()
        os.chdir(work)
        env = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
        found = subjects(Path(base, "cache"))
        rows = summary(measure(found, arguments.rounds, env))
        os.chdir("/")
    print_table(rows)
    if output:
        data = {"schema": 1, "rounds": arguments.rounds, "machine": facts(), "rows": rows}
        output.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
