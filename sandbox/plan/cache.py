"""The files of the plan cache: written whole or not at all, and believed only if they are ours.

A directory is given by the caller. Whatever is wrong with a file (cut, foreign, open to others, a
link), it is passed over: a cache costs time at worst, never a run and never a wall.
"""

from __future__ import annotations

import os
import stat

from sandbox.plan.entry import ENTRY_MAX_BYTES

KEPT_MAX = 256
_KEPT_AFTER = 192  # so that not every new entry beyond KEPT_MAX looks at all others
_NAME_SIZE = 32
_HEX = frozenset("0123456789abcdef")


def is_entry_name(name: str) -> bool:
    """Say whether a file of this name can be an entry."""
    return len(name) == _NAME_SIZE and not set(name) - _HEX


def load(directory: str, name: str) -> bytes | None:
    """Return the bytes of an entry as they lie on disk, or None where no file of ours has it."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(os.path.join(directory, name), flags)
    except OSError:
        return None
    try:
        info = os.fstat(fd)
        is_ours = (
            stat.S_ISREG(info.st_mode)
            and info.st_uid == os.geteuid()
            and not info.st_mode & 0o077
            and info.st_nlink == 1
            and info.st_size <= ENTRY_MAX_BYTES
        )
        return os.read(fd, info.st_size + 1) if is_ours else None
    except OSError:
        return None
    finally:
        os.close(fd)


def store(directory: str, name: str, blob: bytes) -> bool:
    """Keep `blob` under `name`; say whether that worked. A full or read-only disk is no error."""
    if len(blob) > ENTRY_MAX_BYTES:
        return False
    if load(directory, name) == blob:
        return True
    path = os.path.join(directory, name)
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(temporary, flags, 0o600)
        try:
            with open(fd, "wb", buffering=0) as file:
                written = file.write(blob)
            if written != len(blob):
                raise OSError("cut short")
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        collect(directory)
    except OSError:
        return False
    return True


def collect(directory: str) -> None:
    """Remove the oldest files where there are more than KEPT_MAX.

    Errors: OSError where the directory cannot be read.
    """
    names = os.listdir(directory)
    if len(names) <= KEPT_MAX:
        return
    ages = []
    for name in names:
        path = os.path.join(directory, name)
        try:
            ages.append((os.lstat(path).st_mtime_ns, path))
        except OSError:
            continue  # another process collects as well
    for _age, path in sorted(ages)[:-_KEPT_AFTER]:
        _remove(path)


def clear(directory: str) -> int:
    """Remove every file; return how many are gone."""
    try:
        names = os.listdir(directory)
    except OSError:
        return 0
    return sum(_remove(os.path.join(directory, name)) for name in names)


def _remove(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False  # gone already, or a directory that is none of ours
    return True
