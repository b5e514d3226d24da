"""The benchmark runs and reports. No test asserts a time: that is what the numbers are for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.need import need_program, need_user_namespaces

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


GROUPS = ("exec", "api", "filter", "throughput", "miss", "memory")
# Each as bound to what: wide, since a busy machine must not fail the suite.
SANE = {"sandbox exec, strict": 3.0, "sandbox exec, strict, no recording": 3.0}


@pytest.mark.slow
@pytest.mark.time_limit(180)
@pytest.mark.parametrize("group", GROUPS)
def test_numbers_have_their_shape(tmp_path: Path, group: str) -> None:
    """A quick run of each group gives rows with samples, spread, and a judged bound."""
    need_user_namespaces()
    need_program("bwrap")
    need_program("git")
    output = tmp_path / "bench.json"
    argv = [sys.executable, "-I", str(BENCH.with_name("bench_numbers.py")), "--quick"]
    argv += ["--only", group, "--output", str(output)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("seed ")
    data = json.loads(output.read_text(encoding="utf-8"))
    assert {"kernel", "processor", "cores"} <= data["machine"].keys()
    assert data["rows"]
    for row in data["rows"]:
        if "median" not in row:
            assert row["note"]  # it says why there is no figure
            continue
        assert row["p10"] <= row["median"] <= row["p90"]
        assert len(row["samples"][0]) == row["runs"] >= 2
        if "bound" in row:
            assert isinstance(row["bound"]["held"], bool)
        assert row.get("ratio", 0.0) < SANE.get(row["name"], 1000.0)
    missed = {row["name"] for row in data["rows"] if not row.get("bound", {"held": True})["held"]}
    assert len(missed) == len(data["missed"])


@pytest.mark.slow
@pytest.mark.time_limit(180)
def test_peers_run_or_say_why_not(tmp_path: Path) -> None:
    """Every peer has times and a version, or a reason; the distribution's own always runs."""
    need_user_namespaces()
    output = tmp_path / "bench.json"
    argv = [sys.executable, "-I", str(BENCH.with_name("bench_numbers.py")), "--quick"]
    argv += ["--rounds", "1", "--only", "peers", "--output", str(output)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    peers = json.loads(output.read_text(encoding="utf-8"))["peers"]
    assert {"unshare", "podman", "nsjail"} <= {peer["name"] for peer in peers}
    for peer in peers:
        assert peer["absent"] or (peer["version"] and peer["median"] > 0), peer
    assert [peer["absent"] for peer in peers if peer["name"] == "unshare"] == [""]
