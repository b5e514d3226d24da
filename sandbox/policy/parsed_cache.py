"""Parsed policy files, kept so that a launch need not import `tomllib` (29 ms with `re`, `typing`).

An entry holds what the TOML parser returned, never a decision: it is checked against the schema on
each use like the text itself. It is used only while the file is the same one (device, inode, size,
mtime, ctime), lies in our 0700 directory, and belongs to the caller alone. Anything else about an
entry means that there is none.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys
import time

from sandbox.errors import StateError
from sandbox.host import paths
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FORMAT = 2
_ENTRY_MAX_BYTES = 8 << 20
# A file changed within one tick of the clock keeps its times: entries for files this young are
# not written (the "racy" problem of git's index).
_SETTLED_NS = 2_000_000_000


@record
class Parsed:
    """A policy file as read: its SHA-256, its values, the places of its keys, TOML or JSON."""

    sha256: str
    data: dict[str, Any]
    places: dict[tuple[str | int, ...], tuple[int, int]]
    is_json: bool = False


def _key(info: os.stat_result) -> tuple[int, ...]:
    return (
        _FORMAT,
        sys.hexversion,  # marshal's form belongs to the interpreter
        info.st_dev,
        info.st_ino,
        info.st_size,
        info.st_mtime_ns,
        info.st_ctime_ns,
    )


def _path(info: os.stat_result) -> str:
    return os.path.join(paths.cache_dir("policies"), f"{info.st_dev:x}-{info.st_ino:x}")


def load(info: os.stat_result) -> Parsed | None:
    """Return what is kept for the policy file with the status `info`, or None."""
    try:
        fd = os.open(_path(info), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, StateError):
        return None
    try:
        own = os.fstat(fd)
        is_ours = stat.S_ISREG(own.st_mode) and own.st_uid == os.geteuid()
        if not is_ours or own.st_mode & 0o077 or own.st_size > _ENTRY_MAX_BYTES:
            return None
        body = os.read(fd, own.st_size)
        key, sha256, data, places, is_json = marshal.loads(body)  # noqa: S302  # written by us alone
    except (OSError, EOFError, ValueError, TypeError):
        return None
    finally:
        os.close(fd)
    if key != _key(info) or type(sha256) is not str or type(data) is not dict:
        return None
    return Parsed(sha256, data, places, is_json) if type(places) is dict else None


def store(info: os.stat_result, parsed: Parsed) -> None:
    """Keep `parsed` for the file with the status `info`; a full or read-only disk is no error."""
    if time.time_ns() - max(info.st_mtime_ns, info.st_ctime_ns) < _SETTLED_NS:
        return
    try:
        body = marshal.dumps(
            (_key(info), parsed.sha256, parsed.data, parsed.places, parsed.is_json)
        )
        path = _path(info)
    except (ValueError, StateError):
        return  # a date in the file (marshal has none), or no cache directory
    import contextlib  # only where an entry is written

    temporary = f"{path}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb", closefd=True) as file:
            file.write(body)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):  # it was never made
            os.unlink(temporary)
