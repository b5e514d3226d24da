"""The benchmark runs and reports. No test asserts a time: that is what the numbers are for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.need import need_user_namespaces

BENCH = Path(__file__).parent / "bench_startup.py"


@pytest.mark.slow
def test_benchmark_writes_rows_and_machine_facts(tmp_path: Path) -> None:
    """Two rounds give a row for each policy, with spread and ratio base, and name the machine."""
    need_user_namespaces()
    output = tmp_path / "bench.json"
    argv = [sys.executable, "-I", str(BENCH), "--rounds", "2", "--output", str(output)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    data = json.loads(output.read_text(encoding="utf-8"))
    names = {row["name"].partition(",")[0] for row in data["rows"]}
    assert {"strict", "default", "tiny", "python3 -c pass"} <= names
    assert {"median_ms", "p10_ms", "p90_ms", "above_python_ms"} <= data["rows"][0].keys()
    assert {"kernel", "processor", "cores", "python"} <= data["machine"].keys()


@pytest.mark.slow
def test_policy_benchmark_reports(tmp_path: Path) -> None:
    """One round gives a row for `default` and one for the large policy."""
    output = tmp_path / "bench.json"
    argv = [sys.executable, str(BENCH.with_name("bench_policy.py")), "--rounds", "1"]
    argv += ["--output", str(output)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(output.read_text(encoding="utf-8"))["rows"]
    assert [row["name"] for row in rows] == ["default, empty caches", "2000 path rules"]
