"""How long does it take to resolve and compile a policy, beyond imports?

Two subjects: `default` with empty caches (its files parsed, its filter compiled), and a policy of
2,000 path rules. `--output FILE` writes JSON with the facts of the machine; the
table goes to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from sandbox.host.facts import detect
from sandbox.policy import calltable, filter_check, filter_program, seccomp_library
from sandbox.policy.compile import compile_plan
from sandbox.policy.load import load_policy, parse_policy
from support.machine import facts

IMPORTED = (calltable, filter_check, filter_program)  # paid before the clock starts
RULES = 2000


def many_paths() -> bytes:
    """Return a policy of 2,000 rules, mounts and hidden paths in turn, on several levels."""
    paths = [f"/srv/d{i % 10}/e{i % 50}/f{i}" for i in range(RULES)]
    mounts = ",\n".join(f'{{ path = "{p}", mode = "ro", optional = true }}' for p in paths[::2])
    hide = ", ".join(f'"{path}"' for path in paths[1::2])
    head = 'schema = 1\nextends = ["default"]\n[filesystem]\n'
    return f"{head}mounts = [{mounts}]\nhide = [{hide}]\n".encode()


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    seccomp_library.import_pyseccomp()
    host, text = detect(), many_paths()

    def cold() -> None:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["XDG_CACHE_HOME"] = cache
            compile_plan(load_policy("default"), host)

    def large() -> None:
        compile_plan(parse_policy(text, "large"), host)

    subjects: tuple[tuple[str, Callable[[], object]], ...] = (
        ("default, empty caches", cold),
        (f"{RULES} path rules", large),
    )
    rows = []
    for name, subject in subjects:
        times_ms = []
        for _ in range(options.rounds):
            start = time.perf_counter()
            subject()
            times_ms.append((time.perf_counter() - start) * 1000)
        median = statistics.median(times_ms)
        rows.append({"name": name, "median_ms": round(median, 1), "best_ms": min(times_ms)})
        print(f"{name:24} {median:8.1f} ms")
    if options.output:
        data = {"machine": facts(), "rows": rows}
        options.output.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
