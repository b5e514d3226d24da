"""Placeholders: made, shared, collected."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.run.placeholders import Placeholders


@pytest.fixture(autouse=True)
def _runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An own runtime directory for each test."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))


def place(tmp_path: Path, name: str = "CLAUDE.md") -> tuple[Path, bytes]:
    """A protected path that is absent."""
    path = tmp_path / name
    return path, os.fsencode(path)


def test_a_placeholder_lives_as_long_as_the_run(tmp_path: Path) -> None:
    """It is a socket that nobody can write to or listen on, and gone afterwards."""
    path, raw = place(tmp_path)
    with Placeholders((raw,), "run") as held:
        assert held.covered == {raw}
        assert (path.is_socket(), path.stat().st_mode & 0o333) == (True, 0)
    assert not path.exists()


def test_two_runs_share_one_placeholder(tmp_path: Path) -> None:
    """It stays until the last run that counts on it ends."""
    path, raw = place(tmp_path)
    with Placeholders((raw,), "first"):
        with Placeholders((raw,), "second"):
            assert path.exists()
        assert path.exists()
    assert not path.exists()


def test_a_file_that_somebody_filled_is_kept(tmp_path: Path) -> None:
    """What is no longer the empty placeholder is not ours to remove."""
    path, raw = place(tmp_path)
    with Placeholders((raw,), "run"):
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"


def test_a_killed_run_is_collected_by_the_next(tmp_path: Path) -> None:
    """The journal outlives the run, and the next one gives back what it left."""
    path, _raw = place(tmp_path)
    script = (
        "import os, sys\n"
        "from sandbox.run.placeholders import Placeholders\n"
        "with Placeholders((os.fsencode(sys.argv[1]),), 'killed'):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], timeout=20, check=False)
    assert (done.returncode, path.exists()) == (-9, True)
    other, other_raw = place(tmp_path, "AGENTS.md")
    with Placeholders((other_raw,), "next"):
        assert not path.exists()
    assert not other.exists()


def test_a_place_that_the_caller_cannot_write_needs_none(tmp_path: Path) -> None:
    """The command has no more rights there than the caller."""
    gone = os.fsencode(tmp_path / "absent/CLAUDE.md")
    with Placeholders((gone,), "run") as held:
        assert held.covered == frozenset()


def test_a_link_on_the_way_is_not_followed(tmp_path: Path) -> None:
    """Nothing is created where a symbolic link leads."""
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with Placeholders((os.fsencode(tmp_path / "link/CLAUDE.md"),), "run") as held:
        assert held.covered == frozenset()
    assert list((tmp_path / "target").iterdir()) == []


def test_a_broken_journal_is_collected_and_names_nothing(tmp_path: Path) -> None:
    """Garbage in the runtime directory neither stops a run nor removes a file."""
    folder = tmp_path / "runtime/sandbox/placeholders"
    folder.mkdir(parents=True, mode=0o700)
    os.chmod(tmp_path / "runtime/sandbox", 0o700)
    (folder / "broken").write_bytes(b"\xff\n1 2 zz\n")
    _path, raw = place(tmp_path)
    with Placeholders((raw,), "run"):
        assert not (folder / "broken").exists()
