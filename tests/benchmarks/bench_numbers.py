"""The numbers that this project promises, measured, and judged.

Every row is a series of interleaved pairs with random choices (the seed is printed). The JSON has
the facts of the machine, each bound, whether it held, and every sample. The exit code is 1 where a
bound was missed or fewer than five peers ran; `--report` only reports. Started by root, everything
but the peers that are root's alone runs as an ordinary user.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measure import RunError, Series, spawn_ms
from benchmarks.peers import Peer, find_peers
from benchmarks.place import Place, build_directories, build_programs
from support.doors import make_doors
from support.install import python_for
from support.machine import facts
from support.user import PATH, User, ordinary_user, remove_tree

TESTS = Path(__file__).parents[1]
SCHEMA = 2
PEERS_AT_LEAST = 5
TIMEOUT_S = 3600


def options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="pairs of each row (40)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--output", type=Path, help="a file for the JSON")
    parser.add_argument("--report", action="store_true", help="exit with 0 also where bounds broke")
    parser.add_argument("--quick", action="store_true", help="few rounds; implies --report")
    parser.add_argument("--only", default="", help="groups of rows, by comma: " + " ".join(GROUPS))
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    found = parser.parse_args()
    if found.quick:
        found.rounds, found.report = min(found.rounds, 3), True
    return found


GROUPS = ("exec", "api", "miss", "filter", "throughput", "memory", "peers")


def wanted(arguments: argparse.Namespace) -> frozenset[str]:
    """Return the groups of rows that are asked for."""
    return frozenset(arguments.only.split(",") if arguments.only else GROUPS)


def worker_rows(arguments: argparse.Namespace) -> Iterator[Series]:
    """Measure what an ordinary user measures; runs as that user."""
    from benchmarks.rows_api import measure_api
    from benchmarks.rows_cost import measure_filter, measure_throughput
    from benchmarks.rows_exec import Exec, measure_exec, measure_misses

    base = arguments.worker
    place = Place(base, base / "doors" / "whole" / "sandbox", base / "doors" / "bare" / "sandbox")
    ctx = Exec(place, os.environ, random.Random(arguments.seed))
    groups = wanted(arguments)
    rounds = arguments.rounds
    if groups & {"exec", "api", "filter", "throughput"}:
        ctx.warm()
    if "exec" in groups:
        yield from measure_exec(ctx, rounds)
    if "api" in groups:
        yield from measure_api(ctx, rounds)
    if "filter" in groups:
        yield from measure_filter(ctx, rounds)
    if "throughput" in groups:
        window_s = 0.3 if arguments.quick else 1.0
        yield measure_throughput(ctx, rounds, window_s)
    if "miss" in groups:
        yield from measure_misses(ctx, rounds)


def worker(arguments: argparse.Namespace) -> int:
    """Print each row as a line of JSON."""
    for series in worker_rows(arguments):
        print(json.dumps(series.row()), flush=True)
    if "peers" in wanted(arguments):
        home = Path(os.environ["HOME"])
        user = User(os.getuid(), os.getgid(), arguments.worker, home, ())
        for row in peer_rows(home / "peers", user, arguments.rounds, as_root=False):
            print(json.dumps(row), flush=True)
    return 0


def run_worker(
    arguments: argparse.Namespace, user: User, python: Path, base: Path
) -> Iterator[dict[str, object]]:
    """Yield the rows of a worker that runs as `user`."""
    script = base / "tests" / "benchmarks" / "bench_numbers.py"
    argv = [*user.prefix, str(python), "-I", str(script), "--worker", str(base)]
    argv += ["--seed", str(arguments.seed), "--rounds", str(arguments.rounds)]
    argv += ["--only", arguments.only] + (["--quick"] if arguments.quick else [])
    env = {**user.environ(), "XDG_CACHE_HOME": str(user.home / ".cache")}
    with subprocess.Popen(argv, env=env, cwd=user.home, stdout=subprocess.PIPE, text=True) as work:
        assert work.stdout is not None
        for line in work.stdout:
            yield json.loads(line)
    if work.returncode:
        raise SystemExit(f"the measurement failed (exit {work.returncode})")


def lay_out(base: Path, user: User) -> Path:
    """Fill `base`; return the interpreter that the user runs."""
    python = python_for(user)
    place = Place(base, Path(), Path())
    build_programs(place.bin)
    build_directories(place)
    make_doors(base / "doors", python)
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("benchmarks", "support"):
        shutil.copytree(TESTS / name, base / "tests" / name, ignore=skip)
    user.own(base / "work")
    for name in ("log", "changing.toml", "filter"):
        (base / name).touch()
        user.own(base / name) if os.geteuid() else os.chown(base / name, user.uid, user.gid)
    return python


def memory_row(base: Path, user: User) -> dict[str, object]:
    """Return the row about memory, which needs root."""
    from benchmarks.rows_cost import measure_memory

    if os.geteuid() != 0:
        name = "memory beside the command: supervisor and pid 1"
        return {"name": name, "note": "not measured: pid 1 lets only root look"}
    launcher = base / "doors" / "whole" / "sandbox"
    env = {"XDG_CACHE_HOME": str(user.home / ".cache")}
    return measure_memory(user, launcher, str(base / "work" / "empty"), env).row()


def peer_rows(
    folder: Path, user: User, rounds: int, *, as_root: bool
) -> Iterator[dict[str, object]]:
    """Yield a row for each peer that runs as root, or as `user`, who then is this process."""
    folder.mkdir()
    peers = [peer for peer in find_peers(folder, user) if peer.needs_root is as_root]
    series = {id(peer): Series(peer.name, "", note=peer.what) for peer in peers}
    for number in range(-1, rounds):
        for peer in peers:
            _peer_run(peer, series[id(peer)], folder, number)
    for peer in peers:
        row: dict[str, object] = {"name": peer.name, "absent": peer.absent}
        if not peer.absent:
            row = {**series[id(peer)].row(), "version": peer.version_text(), "absent": ""}
        yield {**row, "as_root": peer.needs_root}


def _peer_run(peer: Peer, series: Series, folder: Path, number: int) -> None:
    if not peer.absent and peer.needs_root and os.geteuid() != 0:
        peer.absent = "root's only, and root did not start this"
    if peer.absent:
        return
    env = {"PATH": PATH, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    try:
        taken_ms = spawn_ms(_absolute(peer.argv(number + 1)), env, str(folder / "said"))
    except (RunError, OSError) as error:
        peer.absent = f"does not run here: {str(error)[-200:].strip()}"
        return
    if number >= 0:
        series.ours.append(taken_ms)


def _absolute(argv: list[str]) -> list[str]:
    return [shutil.which(argv[0], path=PATH) or argv[0], *argv[1:]]


def print_rows(rows: Sequence[dict[str, object]]) -> None:
    """Print the promised numbers as a Markdown table."""
    print("| what | median (p10–p90) | against | ratio | above | bound | held |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        bound = row.get("bound")
        judged = ["", ""]
        if isinstance(bound, dict):
            limit = bound.get("at_most", bound.get("at_least"))
            judged = [f"{bound['figure']} {limit}", "yes" if bound["held"] else "**no**"]
        spread = row.get("note", "")
        if "median" in row:
            spread = f"{row['median']} {row['unit']} ({row['p10']}–{row['p90']})"
        peer = f"{row.get('peer', '')} {row.get('peer_median', '')}".strip()
        cells = [row["name"], spread, peer, row.get("ratio", ""), row.get("above", ""), *judged]
        print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def print_peers(rows: Sequence[dict[str, object]]) -> None:
    """Print the peers as a Markdown table, and name the absent ones."""
    print("\n| a whole process that runs true | median ms (p10–p90) | as | what |")
    print("|---|---|---|---|")
    for row in rows:
        who = "root" if row["as_root"] else "user"
        if row["absent"]:
            print(f"| {row['name']} | absent | {who} | {row['absent']} |")
            continue
        spread = f"{row['median']} ({row['p10']}–{row['p90']})"
        print(f"| {row['name']} | {spread} | {who} | {row['note']} |")


def judge(rows: Sequence[dict[str, object]], peers: Sequence[dict[str, object]]) -> list[str]:
    """Return what is not as it should be."""
    missed = [
        f"missed: {row['name']}: {bound['figure']} is {bound['value']}"
        for row in rows
        if isinstance(bound := row.get("bound"), dict) and not bound["held"]
    ]
    ran = {row["name"] for row in peers if not row["absent"]}
    if peers and len(ran) < PEERS_AT_LEAST:
        missed.append(f"only {len(ran)} peers ran: {', '.join(sorted(map(str, ran)))}")
    return missed


def main() -> int:
    """Measure, print, write, judge."""
    arguments = options()
    if arguments.worker:
        return worker(arguments)
    print(f"seed {arguments.seed}, {arguments.rounds} rounds", flush=True)
    groups = wanted(arguments)
    base = Path(tempfile.mkdtemp(prefix="sandbox-bench-"))
    rows: list[dict[str, object]] = []
    peers: list[dict[str, object]] = []
    try:
        user = ordinary_user(base)
        python = lay_out(base, user)
        for row in run_worker(arguments, user, python, base):
            (peers if "absent" in row else rows).append(row)
        if "memory" in groups:
            rows.append(memory_row(base, user))
        if "peers" in groups:
            peers += peer_rows(base / "peers", user, arguments.rounds, as_root=True)
    finally:
        remove_tree(base)
    print_rows(rows)
    print_peers(peers)
    missed = judge(rows, peers)
    print("\n".join(missed))
    if arguments.output:
        head = {"schema": SCHEMA, "seed": arguments.seed, "rounds": arguments.rounds}
        data = {**head, "machine": facts(), "rows": rows, "peers": peers, "missed": missed}
        arguments.output.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return 1 if missed and not arguments.report else 0


if __name__ == "__main__":
    sys.exit(main())
