"""Limits that the supervisor and the kernel keep without a cgroup."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from support import bombs
from support.need import need_program
from support.user import User

Run = Callable[..., CompletedProcess[bytes]]
Result = dict[str, Any]
ResultOf = Callable[..., tuple[Result, bytes]]


LEAK = """
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	char *p = malloc(16);
	(void)argv;
	memset(p, 'x', 16);
	printf("%c\\n", p[argc > 1 ? 16 : 3]);
	free(p);
	return 0;
}
"""


@pytest.fixture
def result_of(sandbox_run: Run, work_dir: Path) -> Callable[..., tuple[Result, bytes]]:
    """Run with options and a command; return the JSON result and what came out."""

    def run(*args: str) -> tuple[Result, bytes]:
        done = sandbox_run("exec", "--result", "result.json", *args)
        data: Result = json.loads((work_dir / "result.json").read_text())
        data["shell"] = done.returncode
        return data, done.stdout

    return run


def test_a_timeout_ends_the_whole_tree(result_of: ResultOf) -> None:
    """TERM, grace, KILL: daemons in other sessions too; exit 124 and reason timeout."""
    script = "trap '' TERM; setsid sleep 60 & sleep 60 & wait; sleep 60"
    started = time.monotonic()
    result, _out = result_of("--timeout", "300ms", "sh", "-c", script)
    assert (result["shell"], result["reason"], result["ended_by"]) == (124, "timeout", "sandbox")
    assert result["limits"]["wall"]["hit"] is True
    assert time.monotonic() - started < 20


def test_output_is_cut_at_its_limit(result_of: ResultOf) -> None:
    """A flood ends the run; exactly the limit is passed on."""
    result, output = result_of("--limit", "output=1M", "sh", "-c", "yes | cat")
    assert (len(output), result["reason"]) == (1 << 20, "limit")
    assert result["usage"]["output_truncated"] is True
    assert result["limits"]["output"]["hit"] is True


def test_memory_of_one_process_is_limited_under_strict(sandbox_run: Run) -> None:
    """RLIMIT_DATA makes an allocation fail; the interpreter says so itself."""
    script = "b = bytearray(700 << 20)"
    done = sandbox_run("exec", "--policy", "strict", "python3", "-c", script)
    assert (done.returncode, b"MemoryError" in done.stderr) == (1, True)


def test_memory_of_the_tree_is_watched(result_of: ResultOf) -> None:
    """Many small processes together go over the limit, and are ended: reason oom."""
    result, _out = result_of("--limit", "memory=150M", "python3", "-c", bombs.MEMORY)
    assert (result["reason"], result["ended_by"]) == ("oom", "sandbox")
    assert result["limits"]["memory"]["hit"] is True


def test_a_sanitized_program_runs_under_default(
    sandbox_run: Run, user: User, work_dir: Path
) -> None:
    """AddressSanitizer reserves terabytes of address space; only resident memory is watched."""
    need_program("gcc")
    (work_dir / "leak.c").write_text(LEAK, encoding="ascii")
    user.own(work_dir)
    built = sandbox_run("exec", "gcc", "-g", "-fsanitize=address", "-o", "leak", "leak.c")
    assert built.returncode == 0, built.stderr
    assert sandbox_run("exec", "./leak").stdout == b"x\n"
    found = sandbox_run("exec", "./leak", "over")
    assert b"heap-buffer-overflow" in found.stderr


def test_address_space_is_limited_only_where_asked(sandbox_run: Run) -> None:
    """RLIMIT_AS: a reservation fails that nothing was ever written to."""
    script = "import mmap; mmap.mmap(-1, 3 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); print(1)"
    assert sandbox_run("exec", "python3", "-c", script).stdout == b"1\n"
    done = sandbox_run("exec", "--limit", "address_space=1G", "python3", "-c", script)
    assert (done.returncode, done.stdout) == (1, b"")


def test_processes_are_limited(sandbox_run: Run) -> None:
    """Past the limit fork fails with EAGAIN, in this sandbox only."""
    done = sandbox_run("exec", "--limit", "pids=20", "python3", "-c", bombs.FORKS)
    assert 10 <= int(done.stdout) < 20


def test_file_size_and_open_files_are_limited(sandbox_run: Run, result_of: ResultOf) -> None:
    """SIGXFSZ ends what writes too much; EMFILE stops what opens too much."""
    script = "exec head -c 4M /dev/zero > big"
    result, _out = result_of("--limit", "file_size=1M", "sh", "-c", script)
    assert (result["reason"], result["signal"]) == ("limit", 25)
    done = sandbox_run("exec", "--limit", "open_files=32", "sh", "-c", "ulimit -n")
    assert done.stdout == b"32\n"


def test_cpu_time_is_limited(result_of: ResultOf) -> None:
    """A spinner is ended by SIGXCPU: reason limit."""
    result, _out = result_of("--limit", "cpu=1s", "sh", "-c", "while :; do :; done")
    assert (result["reason"], result["limits"]["cpu"]["hit"]) == ("limit", True)


def test_a_quota_without_a_group_is_the_lowest_priority(result_of: ResultOf) -> None:
    """Nothing can hold it, and the result says so; all other processes come first."""
    result, output = result_of("--limit", "cpu_quota=20%", "nice")
    assert output == b"19\n"
    assert result["limits"]["cpu_quota"] == {
        "requested": 20,
        "enforced_by": "none",
        "scope": "tree",
        "hit": False,
    }
    effective = result["effective"]["limits.cpu_quota"]
    assert (effective["got"], "lowest priority" in effective["note"]) == ("off", True)
    refused, output = result_of("--policy", "strict", "--limit", "cpu_quota=20%", "nice")
    assert (refused["shell"], output) == (125, b"")


def test_a_tmpfs_is_full_at_its_size(sandbox_run: Run) -> None:
    """ENOSPC inside, and nothing outside is touched."""
    script = "head -c 100M /dev/zero > /tmp/big; ls -l /tmp/big | cut -d' ' -f5"
    done = sandbox_run(
        "exec", "--policy", "strict", "--limit", "file_size=none", "sh", "-c", script
    )
    assert b"No space left" in done.stderr
    assert int(done.stdout) <= 64 << 20


@pytest.mark.parametrize(
    "text",
    ["memory=lots", "nonsense=1", "memory=-1", "pids=0x", "cpu=1", "cpu_quota=50", "cpu_quota=0%"],
)
def test_a_limit_that_means_nothing_is_an_error(text: str, sandbox_run: Run) -> None:
    """The flag is named, and what would be right."""
    done = sandbox_run("exec", "--limit", text, "true")
    assert done.returncode == 125, done.stdout
    assert b"hint" in done.stderr


def test_the_result_says_who_keeps_each_limit(sandbox_run: Run, work_dir: Path) -> None:
    """Nothing is claimed that nobody enforces."""
    target = work_dir / "r.json"
    sandbox_run("exec", "--policy", "strict", "--result", str(target), "true")
    limits = json.loads(target.read_text())["limits"]
    kept = {name: item["enforced_by"] for name, item in limits.items()}
    assert kept["wall"] == "supervisor"
    assert kept["pids"] == "rlimit"
    assert kept["swap"] == "none"
