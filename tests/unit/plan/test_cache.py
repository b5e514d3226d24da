"""The files of the plan cache: whole or absent, ours or ignored."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from sandbox.plan import cache
from sandbox.plan.entry import ENTRY_MAX_BYTES

NAME = "0123456789abcdef" * 2
BLOB = b"SBXE" + bytes(range(256)) * 100


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A directory as paths.cache_dir() makes it."""
    path = tmp_path / "plans"
    path.mkdir(mode=0o700)
    return str(path)


def test_what_was_stored_is_loaded(folder: str) -> None:
    """The file is closed to others, and nothing else is left in the directory."""
    assert cache.load(folder, NAME) is None
    assert cache.store(folder, NAME, BLOB)
    assert cache.load(folder, NAME) == BLOB
    assert os.listdir(folder) == [NAME]
    assert os.stat(Path(folder, NAME)).st_mode & 0o777 == 0o600
    assert cache.store(folder, NAME, BLOB + b"x")
    assert cache.load(folder, NAME) == BLOB + b"x"


def test_the_same_bytes_are_not_written_again(folder: str) -> None:
    """A run on a terminal passes here each time, and each time with the same result."""
    cache.store(folder, NAME, BLOB)
    before = os.stat(Path(folder, NAME)).st_ino
    assert cache.store(folder, NAME, BLOB)
    assert os.stat(Path(folder, NAME)).st_ino == before


def test_a_umask_does_not_open_or_close_it(folder: str) -> None:
    """The mode is 0600 under umask 0 as well."""
    old = os.umask(0)
    try:
        cache.store(folder, NAME, BLOB)
    finally:
        os.umask(old)
    assert os.stat(Path(folder, NAME)).st_mode & 0o777 == 0o600


def odd_files() -> dict[str, str]:
    """Return shell commands that make the stored file one that does not count."""
    return {
        "symbolic link": f"mv {NAME} real; ln -s real {NAME}",
        "hard link": f"ln {NAME} second",
        "readable by the group": f"chmod g+r {NAME}",
        "writable by others": f"chmod o+w {NAME}",
        "directory": f"rm {NAME}; mkdir {NAME}",
        "fifo": f"rm {NAME}; mkfifo -m 600 {NAME}",
        "too large": f"truncate -s 5M {NAME}",
        "gone": f"rm {NAME}",
    }


@pytest.mark.parametrize("name", odd_files())
def test_an_odd_file_is_passed_over(name: str, folder: str) -> None:
    """It is not read, and reading it does not hang."""
    cache.store(folder, NAME, BLOB)
    assert os.system(f"cd {folder} && {odd_files()[name]}") == 0
    assert cache.load(folder, NAME) is None


@pytest.mark.parametrize("name", [name for name in odd_files() if name != "directory"])
def test_an_odd_file_is_replaced(name: str, folder: str) -> None:
    """The next run puts a sound one in its place, and a link's target stays as it is."""
    cache.store(folder, NAME, BLOB)
    os.system(f"cd {folder} && {odd_files()[name]}")
    assert cache.store(folder, NAME, BLOB + b"new")
    assert cache.load(folder, NAME) == BLOB + b"new"
    real = Path(folder, "real")
    assert not real.exists() or real.read_bytes() == BLOB


@pytest.mark.as_root
def test_a_file_of_another_user_is_passed_over(folder: str) -> None:
    """Whoever may put files there cannot choose the walls."""
    cache.store(folder, NAME, BLOB)
    os.chown(Path(folder, NAME), 12345, 12345)
    assert cache.load(folder, NAME) is None


def test_a_directory_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """Nothing is stored, and nobody is told."""
    assert not cache.store(str(tmp_path / "absent"), NAME, BLOB)
    taken = tmp_path / "plans"
    (taken / NAME).mkdir(parents=True)
    assert not cache.store(str(taken), NAME, BLOB)
    assert os.listdir(taken) == [NAME]


def test_an_entry_that_is_too_large_is_not_stored(folder: str) -> None:
    """The launcher would not read it."""
    assert not cache.store(folder, NAME, bytes(ENTRY_MAX_BYTES + 1))
    assert os.listdir(folder) == []


def test_concurrent_writers_leave_one_whole_file(folder: str) -> None:
    """Readers see one of the entries at any time, never a mixture, never a part."""
    blobs = [bytes([index]) * 50_000 for index in range(8)]
    seen: list[bytes] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            found = cache.load(folder, NAME)
            if found is not None:
                seen.append(found)

    def write(blob: bytes) -> None:
        for _ in range(30):
            assert cache.store(folder, NAME, blob)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(blob,)) for blob in blobs]
    reader.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert os.listdir(folder) == [NAME]
    assert cache.load(folder, NAME) in blobs
    assert set(seen) <= set(blobs)


def test_the_oldest_go(folder: str) -> None:
    """The directory does not grow without end, and the newest stay."""
    for index in range(cache.KEPT_MAX + 1):
        name = f"{index:032x}"
        path = Path(folder, name)
        path.write_bytes(b"x")
        os.utime(path, (index, index))
    assert cache.store(folder, NAME, BLOB)
    left = os.listdir(folder)
    assert len(left) < cache.KEPT_MAX
    assert NAME in left
    assert f"{cache.KEPT_MAX:032x}" in left
    assert f"{0:032x}" not in left


def test_clear_removes_what_a_killed_writer_left(folder: str) -> None:
    """All files go; a directory is none of ours."""
    cache.store(folder, NAME, BLOB)
    Path(folder, f"{NAME}.17.abcd").write_bytes(b"part")
    Path(folder, "odd").mkdir()
    assert cache.clear(folder) == 2
    assert os.listdir(folder) == ["odd"]
    assert cache.clear(folder + "/absent") == 0
