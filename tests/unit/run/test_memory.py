"""The watch on a tree's resident memory."""

from __future__ import annotations

import os
import subprocess
import sys

from sandbox.run.memory import tree_memory_bytes, tree_pids

HOLD = "import sys; b = b'x' * (64 << 20); print('ready', flush=True); sys.stdin.read()"


def test_the_tree_is_found_and_its_memory_counted() -> None:
    """A child that holds 64 MiB is seen below this process, with about that much."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in tree_pids(os.getpid())
        used = tree_memory_bytes(os.getpid(), 1 << 20)
        child.communicate(timeout=20)
    assert 60 << 20 < used < 200 << 20


def test_a_process_that_is_gone_counts_nothing() -> None:
    """A pid that ended is no error."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait(timeout=20)
    assert tree_memory_bytes(child.pid, 0) == 0
