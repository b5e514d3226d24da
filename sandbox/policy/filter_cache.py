"""Compiled filters, kept between runs: the libraries that make one cost more than a whole run.

A file is named after everything that the bytes depend on, and holds its own digest. It is written
under another name and renamed, so that a reader sees all of it or nothing. Whatever is wrong with a
file (torn, foreign, writable by others, a link), it is passed over and made anew; a cache that
cannot be written costs time, never a run.
"""

from __future__ import annotations

import hashlib
import os
import stat

from sandbox.errors import StateError
from sandbox.host import observe, paths
from sandbox.policy.find import is_source_tree, shipped_dir
from sandbox.policy.refusal_model import Refusal, from_line, to_line
from sandbox.policy.syscall_model import SyscallPolicy

_MAGIC = b"sandbox-filter 3\n"
_DIGEST_BYTES = 32
_SIZE_MAX_BYTES = 1 << 17
_KEPT_MAX = 64  # files beyond that are leftovers of older policies and versions
_LIBRARY = "libseccomp.so.2"
_LIBRARY_DIRS = (
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
)
_COMPILER = (
    "bpf.py",
    "bpf_layout.py",
    "call_sets.py",
    "calltable.py",
    "condition_names.py",
    "conditions.py",
    "filter_check.py",
    "filter_program.py",
    "refusal_model.py",
    "refusals.py",
    "seccomp_library.py",
    "simulate.py",
    "syscall_model.py",
    "syscalls.py",
    "verdicts.py",
)

_Numbers = tuple[int, int, int]  # known, proof_nr, proof_errno
# code, allowed, then _Numbers, then the lines that refuse
_Kept = tuple[bytes, frozenset[str], int, int, int, tuple[Refusal, ...]]


def key_of(policy: SyscallPolicy, arch: str) -> str:
    """Return the name under which the filter of `policy` for `arch` is kept: 64 hex digits.

    It covers the policy without reasons and places, the library, and the files of the compiler and
    of the call sets by size and time, because a source tree changes without changing its version.
    """
    parts = [*_canonical(policy), f"arch {arch}", f"libseccomp {_library_version()}"]
    here = os.path.dirname(os.path.abspath(__file__))
    sources = [os.path.join(here, name) for name in _COMPILER]
    are_edited = is_source_tree()  # an installation is replaced as a whole
    for path in (*sources, os.path.join(shipped_dir(), "syscalls.toml")):
        try:
            info = os.stat(path)
            if are_edited or path not in sources:
                observe.saw_file(path, info)
            parts.append(f"{info.st_size} {info.st_mtime_ns}")
        except OSError:  # a zipped or stripped installation has no sources to change
            parts.append("-")
    text = "\0".join((_package_version(), *parts))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _canonical(policy: SyscallPolicy) -> list[str]:
    lines = [
        f"base {policy.base}",
        "allow " + " ".join(sorted(policy.allow)),
        "deny " + " ".join(sorted(policy.deny)),
        f"unknown {policy.unknown} denied {policy.denied} foreign {policy.foreign_abi}",
        "families " + " ".join(sorted(policy.socket_families)),
        *sorted("within " + " ".join(sorted(names)) for names in policy.within),
    ]
    for rule in sorted(policy.rules, key=lambda one: one.name):
        names = " ".join(sorted(rule.names))
        lines.append(f"rule {rule.name}\1{names}\1{rule.when}\1{rule.action}")
    return lines


def _library_version() -> str:
    """Return what the library's link points to ("libseccomp.so.2.5.4"), without loading it."""
    for directory in _LIBRARY_DIRS:
        try:
            return observe.readlink(os.path.join(directory, _LIBRARY))
        except OSError:
            continue
    return "unknown"


def _package_version() -> str:
    import sandbox

    return str(getattr(sandbox, "__version__", ""))


def load(key: str) -> _Kept | None:
    """Return the kept filter, in the order of CompiledFilter without its `arch`; None if none."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(os.path.join(_directory(), key), flags)
    except (OSError, StateError):
        return None
    try:
        info = os.fstat(fd)
        is_ours = stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid()
        if not is_ours or info.st_mode & 0o022 or info.st_size > _SIZE_MAX_BYTES:
            return None
        content = os.read(fd, _SIZE_MAX_BYTES)
    except OSError:
        return None
    finally:
        os.close(fd)
    return _decode(key, content)


def store(
    key: str,
    code: bytes,
    allowed: frozenset[str],
    numbers: _Numbers,
    refusals: tuple[Refusal, ...] = (),
) -> None:
    """Keep a filter under `key`; where that is impossible, do nothing."""
    content = _encode(key, code, allowed, numbers, refusals)
    try:
        directory = _directory()
        temporary = os.path.join(directory, f"{key}.{os.getpid()}.{os.urandom(4).hex()}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(content)
            os.rename(temporary, os.path.join(directory, key))
        except BaseException:
            os.unlink(temporary)
            raise
        _collect(directory)
    except (OSError, StateError):
        return  # full, read-only or absent: the next run compiles again


def _directory() -> str:
    return paths.cache_dir("filters")


def _collect(directory: str) -> None:
    """Remove the oldest files beyond the number that is worth keeping."""
    entries = sorted(os.scandir(directory), key=lambda entry: entry.stat().st_mtime_ns)
    for entry in entries[:-_KEPT_MAX]:
        os.unlink(entry.path)


def _encode(
    key: str,
    code: bytes,
    allowed: frozenset[str],
    numbers: _Numbers,
    refusals: tuple[Refusal, ...],
) -> bytes:
    names = " ".join(sorted(allowed))
    lines = (key, names, " ".join(map(str, numbers)), to_line(refusals), "")
    body = "\n".join(lines).encode("utf-8", "surrogateescape") + code
    return _MAGIC + hashlib.sha256(body).digest() + body


def _decode(key: str, content: bytes) -> _Kept | None:
    start = len(_MAGIC) + _DIGEST_BYTES
    body = content[start:]
    digest = content[len(_MAGIC) : start]
    if not content.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
        return None
    named, names, numbers, refusals, code = body.split(b"\n", 4)
    if named != key.encode():
        return None
    known, proof_nr, proof_errno = map(int, numbers.split())
    told = from_line(refusals.decode("utf-8", "surrogateescape"))
    return code, frozenset(names.decode().split()), known, proof_nr, proof_errno, told
