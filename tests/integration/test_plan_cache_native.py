"""The launcher runs from no entry of the plan cache that is not whole, its own and private."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.doors import NO_PYTHON, Doors, Line, fresh_tree, make_doors, run_line
from support.need import need_user_namespaces
from support.user import User

WORDS = ("exec", "--policy", "strict", "--hostname", "box", "--", "echo", "ran")
FLIPS_PER_SECTION = 24


@pytest.fixture(scope="module")
def doors(user: User, user_python: Path) -> Doors:
    """Both doors, in a place where the ordinary user can run them."""
    need_user_namespaces()
    return make_doors(user.base / "doors-cache", user_python)


class Cached:
    """A stored entry, and what becomes of it."""

    def __init__(self, user: User, doors: Doors, work: Path) -> None:
        self.user, self.doors, self.work = user, doors, work
        self.cache = user.make_dir("cache-")
        self.folder = self.cache / "sandbox" / "plans"
        self.line = Line(WORDS, env={"XDG_CACHE_HOME": str(self.cache)})
        for _ in range(8):  # what has only just changed is not stored yet
            assert run_line(user, doors.python, self.line, work).stdout == b"ran\n"
            if self.is_native():
                break
            threading.Event().wait(0.5)
        (self.path,) = (path for path in self.folder.iterdir() if path.name.isalnum())
        self.blob = self.path.read_bytes()

    def is_native(self) -> bool:
        """Whether the launcher runs the line by itself; what it prints has to be right then."""
        ended = run_line(self.user, self.doors.bare, self.line, self.work)
        if NO_PYTHON in ended.stderr:
            return False
        assert (ended.code, ended.stdout, ended.stderr) == (0, b"ran\n", b"")
        return True

    def put(self, blob: bytes) -> None:
        """Replace the entry."""
        self.path.unlink(missing_ok=True)
        self.path.write_bytes(blob)
        self.path.chmod(0o600)
        self.user.own(self.path.parent)


@pytest.fixture
def cached(user: User, doors: Doors, work_dir: Path) -> Cached:
    """An entry from which the launcher runs."""
    found = Cached(user, doors, fresh_tree(user, work_dir / "tree"))
    assert found.is_native()
    return found


def sections(blob: bytes) -> list[tuple[int, int, int]]:
    """Return the parts of a blob: kind (0: head and table), first byte, size."""
    count = struct.unpack_from("=IIII", blob)[3]
    found = [(0, 0, 16 + 16 * count)]
    for index in range(count):
        kind, _records, offset, size = struct.unpack_from("=IIII", blob, 16 + 16 * index)
        found.append((kind, offset, size))
    return found


@pytest.mark.slow
@pytest.mark.time_limit(120)
def test_flipped_bits_are_noticed_in_every_section(cached: Cached) -> None:
    """One wrong bit, wherever it is, and the entry is as if it were not there."""
    for kind, start, size in sections(cached.blob):
        step = max(1, size // FLIPS_PER_SECTION)
        for offset in range(start, start + size, step):
            broken = bytearray(cached.blob)
            broken[offset] ^= 1 << (offset % 8)
            cached.put(bytes(broken))
            assert not cached.is_native(), f"section {kind}, byte {offset}"
    cached.put(cached.blob)
    assert cached.is_native()


def test_truncated_and_longer_entries_are_ignored(cached: Cached) -> None:
    """A crash may leave any part of a file, or more than there was."""
    size = len(cached.blob)
    for end in (0, 1, 15, 16, 100, size // 2, size - 8, size - 1):
        cached.put(cached.blob[:end])
        assert not cached.is_native(), end
    cached.put(cached.blob + bytes(8))
    assert not cached.is_native()
    cached.put(cached.blob + bytes(5 << 20))
    assert not cached.is_native()


def test_entry_of_another_key_is_ignored(cached: Cached) -> None:
    """An entry that was renamed does not answer for what it was not made for."""
    line = Line(("exec", "--policy", "tiny", "/bin/true"), env=cached.line.env)
    before = set(cached.folder.iterdir())
    assert run_line(cached.user, cached.doors.python, line, cached.work).code == 0
    (other,) = set(cached.folder.iterdir()) - before
    cached.put(other.read_bytes())
    assert not cached.is_native()


def test_entry_must_be_a_private_file(cached: Cached) -> None:
    """Others may neither have written it nor hold another name of it."""
    for mode in (0o620, 0o602, 0o640, 0o604, 0o660, 0o666):
        cached.path.chmod(mode)
        assert not cached.is_native(), oct(mode)
    cached.path.chmod(0o600)
    assert cached.is_native()
    os.link(cached.path, cached.path.parent / "second")
    assert not cached.is_native()
    (cached.path.parent / "second").unlink()
    assert cached.is_native()


def test_entry_must_be_a_regular_file(cached: Cached) -> None:
    """A link, a directory, a pipe and a device are no entries; a pipe does not block."""
    elsewhere = cached.cache / "elsewhere"
    cached.path.rename(elsewhere)
    cached.path.symlink_to(elsewhere)
    assert not cached.is_native()
    cached.path.unlink()
    cached.path.mkdir()
    assert not cached.is_native()
    cached.path.rmdir()
    os.mkfifo(cached.path, 0o600)
    cached.user.own(cached.folder)
    assert not cached.is_native()


@pytest.mark.parametrize("name", ["sandbox", "sandbox/plans"])
def test_directories_must_be_private(cached: Cached, name: str) -> None:
    """Where others may write, they may exchange entries."""
    folder = cached.cache / name
    for mode in (0o720, 0o702, 0o777):
        folder.chmod(mode)
        assert not cached.is_native(), oct(mode)
    folder.chmod(0o700)
    assert cached.is_native()
    moved = folder.with_name("moved")
    folder.rename(moved)
    folder.symlink_to(moved)
    assert not cached.is_native()


@pytest.mark.as_root
@pytest.mark.parametrize("name", ["", "sandbox", "sandbox/plans"])
def test_another_owner_is_refused(cached: Cached, root: User, name: str) -> None:
    """An entry, or a directory of entries, that belongs to somebody else counts for nothing."""
    target = cached.cache / name if name else cached.path
    os.chown(target, cached.user.uid + 1, -1)
    target.chmod(0o755 if target.is_dir() else 0o600)
    assert not cached.is_native()


@pytest.mark.as_root
def test_entry_of_another_user_is_ignored(cached: Cached) -> None:
    """The ids stand in the entry too: a copy made by its reader is not the reader's."""
    argv = ["setpriv", f"--reuid={cached.user.uid + 1}", f"--regid={cached.user.gid + 1}"]
    shutil.copyfile(cached.path, cached.path.with_name("copy"))
    for path in (cached.cache, cached.cache / "sandbox", cached.folder, cached.path):
        os.chown(path, cached.user.uid + 1, cached.user.gid + 1)
    done = subprocess.run(
        [*argv, "--clear-groups", "--", "env", cached.doors.bare, *WORDS],
        cwd=cached.work,
        env={**cached.user.environ(), "PATH": "/usr/bin:/bin", **cached.line.env},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert NO_PYTHON in done.stderr


@pytest.mark.slow
@pytest.mark.time_limit(120)
def test_concurrent_writers_leave_whole_entries(cached: Cached) -> None:
    """Readers between writers see an entry or none, never half of one."""
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            cached.path.unlink(missing_ok=True)
            ended = run_line(cached.user, cached.doors.python, cached.line, cached.work)
            assert (ended.code, ended.stdout, ended.stderr) == (0, b"ran\n", b"")

    def read(_index: int) -> int:
        ended = run_line(cached.user, cached.doors.native, cached.line, cached.work)
        assert (ended.code, ended.stdout, ended.stderr) == (0, b"ran\n", b"")
        return 1

    with ThreadPoolExecutor(5) as pool:
        writers = [pool.submit(rewrite) for _ in range(2)]
        try:
            assert sum(pool.map(read, range(60))) == 60
        finally:
            stop.set()
        for writer in writers:
            writer.result()


def test_broken_entry_is_replaced(cached: Cached) -> None:
    """What cannot be used is prepared anew, says nothing, and is stored again."""
    cached.put(b"\0" * 100)
    ended = run_line(cached.user, cached.doors.native, cached.line, cached.work)
    assert (ended.code, ended.stdout, ended.stderr) == (0, b"ran\n", b"")
    assert cached.is_native()


def test_handed_over_lines_leave_no_trace_in_the_cache(cached: Cached) -> None:
    """A line with an error in it stores nothing."""
    before = sorted(cached.folder.iterdir())
    line = Line(("exec", "--policy", "nonsense", "true"), env=cached.line.env)
    assert run_line(cached.user, cached.doors.native, line, cached.work).code == 125
    assert sorted(cached.folder.iterdir()) == before
