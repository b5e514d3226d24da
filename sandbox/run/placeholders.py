"""Placeholders for absent protected paths: made before a run, counted, collected after it.

On the host a placeholder is a socket that nobody listens on, for the length of the run: version
control and search tools pass over sockets, inside (a directory lists the type of what is covered)
and outside, where an empty file would turn up as one to be committed. Inside it is covered by an
empty read-only file. A filesystem without sockets gets an empty file.

A journal in the runtime directory names each run's placeholders, so that two runs in one directory
share them and the next run collects those of a run that was killed.
"""

from __future__ import annotations

import os
import stat

from sandbox.host.paths import runtime_dir
from sandbox.record import record
from sandbox.run.journal import is_alive, locked, process_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

_MODE = 0o444


@record
class Entry:
    """One placeholder: its path, and the inode that was made (0, 0: not known)."""

    path: bytes
    dev: int = 0
    ino: int = 0


def _open_parent(path: bytes) -> int:
    """The directory of `path` as a descriptor; no component may be a symbolic link."""
    fd = os.open(b"/", os.O_PATH | os.O_DIRECTORY)
    for part in os.path.dirname(path).split(b"/"):
        if not part:
            continue
        try:
            step = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
        finally:
            os.close(fd)
        fd = step
    return fd


def _make(path: bytes) -> Entry | None:
    """Make the placeholder; None where it cannot or need not be made.

    Where the caller may not create it, the command may not either: it has the same rights.
    """
    try:
        parent = _open_parent(path)
    except OSError:
        return None
    name = os.path.basename(path)
    try:
        if not _make_at(name, stat.S_IFSOCK, parent) and not _make_at(name, stat.S_IFREG, parent):
            return None
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)
    return Entry(path, found.st_dev, found.st_ino)


def _make_at(name: bytes, kind: int, parent: int) -> bool:
    try:
        os.mknod(name, kind | _MODE, dir_fd=parent)
    except FileExistsError:
        return True  # another run's placeholder, or by now the real thing: covered all the same
    except OSError:
        return False
    return True


def _remove(entry: Entry) -> None:
    """Remove the placeholder if it still is what was made."""
    try:
        parent = _open_parent(entry.path)
    except OSError:
        return  # its directory is gone, and it with it
    name = os.path.basename(entry.path)
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        is_ours = entry.ino == 0 or (found.st_dev, found.st_ino) == (entry.dev, entry.ino)
        is_empty_file = stat.S_ISREG(found.st_mode) and found.st_size == 0
        is_placeholder = stat.S_ISSOCK(found.st_mode) or is_empty_file
        if is_ours and is_placeholder and not found.st_mode & ~_MODE & 0o777:
            os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return  # somebody removed it already
    finally:
        os.close(parent)


class Placeholders:
    """The placeholders of one run; a context manager that gives them back."""

    def __init__(self, paths: tuple[bytes, ...], run_id: str) -> None:
        self._paths = paths
        self._run_id = run_id
        self._entries: tuple[Entry, ...] = ()

    def __enter__(self) -> Self:
        if self._paths:
            folder = runtime_dir("placeholders")
            with locked(folder):
                _collect(folder)
                self._write(folder, tuple(Entry(path) for path in self._paths))
                made = [_make(path) for path in self._paths]
                self._entries = tuple(entry for entry in made if entry is not None)
                self._write(folder, self._entries)
        return self

    def __exit__(self, *_exc: object) -> None:
        if not self._paths:
            return
        folder = runtime_dir("placeholders")
        with locked(folder):
            os.unlink(os.path.join(folder, self._run_id))
            _drop(folder, self._entries)

    @property
    def covered(self) -> frozenset[bytes]:
        """The paths that exist now and are to be covered inside."""
        return frozenset(entry.path for entry in self._entries)

    def _write(self, folder: str, entries: tuple[Entry, ...]) -> None:
        lines = [process_key(os.getpid()) or "0 0"]
        lines += [f"{entry.dev} {entry.ino} {entry.path.hex()}" for entry in entries]
        path = os.path.join(folder, self._run_id)
        temporary = f"{path}.new"
        with open(temporary, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        os.rename(temporary, path)


def _journals(folder: str) -> Iterator[tuple[str, str, tuple[Entry, ...]]]:
    """Yield path, process key and entries of every journal; a broken one names nothing."""
    for name in os.listdir(folder):
        if name == "lock":
            continue
        path = os.path.join(folder, name)
        try:
            with open(path, encoding="ascii") as file:
                key, *rows = file.read().splitlines()
            entries = []
            for row in rows:
                dev, ino, path_hex = row.split()
                entries.append(Entry(bytes.fromhex(path_hex), int(dev), int(ino)))
        except (OSError, ValueError):
            key, entries = "", []
        yield path, key, tuple(entries)


def _drop(folder: str, entries: tuple[Entry, ...]) -> None:
    """Remove the placeholders that no living run still counts on."""
    held = {
        entry.path for _path, key, others in _journals(folder) if is_alive(key) for entry in others
    }
    for entry in entries:
        if entry.path not in held:
            _remove(entry)


def _collect(folder: str) -> None:
    """Give back what runs left that ended without doing so."""
    for path, key, entries in list(_journals(folder)):
        if not is_alive(key):
            os.unlink(path)
            _drop(folder, entries)
