"""The cache of compiled filters: absent, broken or hostile, it never decides anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.policy import filter_cache, syscalls
from sandbox.policy.refusal_model import Refusal
from sandbox.policy.syscall_model import SyscallPolicy
from sandbox.record import replace
from support.syscalls import policy, rule

KEY = "0" * 64
ENTRY = (b"\x06\0\0\0\0\0\xff\x7f", frozenset({"read", "write"}), (383, 250, 1))
KEPT = (ENTRY[0], ENTRY[1], *ENTRY[2], ())


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of kept filters, in an empty cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "sandbox" / "filters"


def test_stored_filter_is_loaded(directory: Path) -> None:
    """What was stored comes back, from a private file in a private directory."""
    assert filter_cache.load(KEY) is None
    filter_cache.store(KEY, *ENTRY)
    assert filter_cache.load(KEY) == KEPT
    assert (directory / KEY).stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in directory.iterdir()] == [KEY]


def test_refusals_come_back_as_they_were(directory: Path) -> None:
    """What the plan says about refused calls is kept beside the filter."""
    told = (
        Refusal("syscalls.rules.x", "syscalls.toml:1", None, "a reason", ("read", "write")),
        Refusal("syscalls.denied", "", "--allow-syscall CALL", "", ("acct",)),
    )
    filter_cache.store(KEY, *ENTRY, told)
    assert filter_cache.load(KEY) == (*KEPT[:-1], told)
    assert directory.exists()


def truncate(path: Path) -> None:
    """Cut the file short."""
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    """Leave nothing."""
    path.write_bytes(b"")


def flip(path: Path) -> None:
    """Change one bit of the code."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def other_version(path: Path) -> None:
    """Write what a later version might."""
    path.write_bytes(path.read_bytes().replace(b"sandbox-filter 2", b"sandbox-filter 3"))


def writable(path: Path) -> None:
    """Let others write it."""
    path.chmod(0o622)


def symlink(path: Path) -> None:
    """Put a link to a good file in its place."""
    path.rename(path.with_name("good"))
    path.symlink_to("good")


def directory_instead(path: Path) -> None:
    """Put a directory in its place."""
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    """Put a named pipe in its place, which must not be waited for."""
    path.unlink()
    os.mkfifo(path, 0o600)


def too_large(path: Path) -> None:
    """Append more than any filter has."""
    path.write_bytes(path.read_bytes() + bytes(1 << 18))


def moved(path: Path) -> None:
    """Put the good filter of another policy in its place."""
    filter_cache.store("1" * 64, *ENTRY)
    path.with_name("1" * 64).replace(path)


@pytest.mark.parametrize(
    "spoil",
    [
        truncate,
        empty,
        flip,
        other_version,
        writable,
        symlink,
        directory_instead,
        fifo,
        too_large,
        moved,
    ],
)
def test_spoilt_file_is_passed_over(directory: Path, spoil: Callable[[Path], None]) -> None:
    """A file that is not exactly what was stored counts as absent."""
    filter_cache.store(KEY, *ENTRY)
    spoil(directory / KEY)
    assert filter_cache.load(KEY) is None


def test_spoilt_file_is_replaced(directory: Path) -> None:
    """The next store puts a good file in place of a torn one, or of a link."""
    filter_cache.store(KEY, *ENTRY)
    symlink(directory / KEY)
    filter_cache.store(KEY, *ENTRY)
    assert filter_cache.load(KEY) == KEPT
    assert not (directory / KEY).is_symlink()


@pytest.mark.as_root
def test_file_of_another_owner_is_passed_over(directory: Path) -> None:
    """Somebody else's bytes are not loaded, whatever they say."""
    filter_cache.store(KEY, *ENTRY)
    os.chown(directory / KEY, 65534, 65534)
    assert filter_cache.load(KEY) is None


@pytest.mark.as_root
def test_directory_of_another_owner_is_passed_over(directory: Path) -> None:
    """Nothing is read from, or written into, a directory that another user owns."""
    filter_cache.store(KEY, *ENTRY)
    os.chown(directory, 65534, 65534)
    assert filter_cache.load(KEY) is None
    filter_cache.store("2" * 64, *ENTRY)
    assert not (directory / ("2" * 64)).exists()


def test_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the directory should be costs the cache, not the run."""
    tmp_path.joinpath("file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    filter_cache.store(KEY, *ENTRY)
    assert filter_cache.load(KEY) is None


def test_full_disk_leaves_nothing_behind(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half-way removes its temporary file."""

    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    filter_cache.store(KEY, *ENTRY)
    assert list(directory.iterdir()) == []


def test_concurrent_writers_and_readers_see_whole_files(directory: Path) -> None:
    """A reader meets no file or a whole one; at the end there is one and no leftover."""
    filter_cache.store(KEY, *ENTRY)

    def write(_index: int) -> None:
        filter_cache.store(KEY, *ENTRY)

    def read(_index: int) -> bool:
        return filter_cache.load(KEY) == KEPT

    with ThreadPoolExecutor(8) as pool:
        writes = pool.map(write, range(100))
        reads = list(pool.map(read, range(300)))
        list(writes)
    assert all(reads)
    assert [path.name for path in directory.iterdir()] == [KEY]


def test_old_files_are_collected(directory: Path) -> None:
    """The cache keeps a bounded number of files, the newest ones."""
    for index in range(80):
        filter_cache.store(f"{index:064}", *ENTRY)
        os.utime(directory / f"{index:064}", (index, index))
    names = sorted(path.name for path in directory.iterdir())
    assert len(names) <= 65
    assert f"{79:064}" in names
    assert f"{0:064}" not in names


# ------------------------------------------------------------------------- keys
BASE = policy(rule("r", "ioctl read", "arg1 == 1"), deny="mount", families="unix inet")


@pytest.mark.parametrize(
    "changed",
    [
        replace(BASE, base="@tiny-2026.11"),
        replace(BASE, allow=BASE.allow | {"getpid"}),
        replace(BASE, deny=frozenset()),
        replace(BASE, unknown=BASE.denied),
        replace(BASE, foreign_abi=BASE.denied),
        replace(BASE, socket_families=frozenset({"unix"})),
        replace(BASE, rules=()),
        replace(BASE, rules=(replace(BASE.rules[0], when="arg1 == 2"),)),
        replace(BASE, rules=(replace(BASE.rules[0], names=("ioctl",)),)),
        replace(BASE, rules=(replace(BASE.rules[0], name="s"),)),
    ],
)
def test_key_changes_with_what_the_filter_depends_on(changed: SyscallPolicy) -> None:
    """Two policies with different filters never share a file."""
    assert filter_cache.key_of(changed, "x86_64") != filter_cache.key_of(BASE, "x86_64")


def test_key_ignores_reasons_places_and_order() -> None:
    """The same filter, stated elsewhere and for other reasons, is found."""
    entry = BASE.rules[0]
    other = replace(entry, names=entry.names[::-1], why="another", origin="elsewhere:9")
    told = replace(BASE, rules=(other,), origins=(("syscalls.base", "x:1"),))
    assert filter_cache.key_of(told, "x86_64") == filter_cache.key_of(BASE, "x86_64")
    assert filter_cache.key_of(BASE, "aarch64") != filter_cache.key_of(BASE, "x86_64")


def test_key_changes_with_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another libseccomp may compile something else."""
    before = filter_cache.key_of(BASE, "x86_64")
    tmp_path.joinpath("libseccomp.so.2").symlink_to("libseccomp.so.9.9.9")
    monkeypatch.setattr(filter_cache, "_LIBRARY_DIRS", (str(tmp_path),))
    assert filter_cache.key_of(BASE, "x86_64") != before


# ------------------------------------------------------------------------- in use
def test_second_compilation_is_a_lookup(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """compile_filter returns the same from the cache, and compiles nothing for it."""
    first = syscalls.compile_filter(BASE, "aarch64")
    monkeypatch.setattr(syscalls, "compile_uncached", None)
    assert syscalls.compile_filter(BASE, "aarch64") == first
    assert len(list(directory.iterdir())) == 1


def test_lookup_imports_neither_pyseccomp_nor_toml(directory: Path, tmp_path: Path) -> None:
    """What a run with a cached filter does not need it does not load."""
    import subprocess

    syscalls.compile_filter(BASE, "x86_64")
    text = (
        "import sys; from support.syscalls import policy, rule; loaded = set(sys.modules);"
        "from sandbox.policy import syscalls;"
        "table = policy(rule('r', 'ioctl read', 'arg1 == 1'), deny='mount', families='unix inet');"
        "syscalls.compile_filter(table, 'x86_64');"
        "print(sorted({'pyseccomp', 'ctypes', 'tomllib', 'json', 're', 'subprocess',"
        " 'sandbox.policy.bpf', 'sandbox.policy.simulate'} & (set(sys.modules) - loaded)))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    argv = [sys.executable, "-P", "-c", text]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=env, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
