"""Looking at the host on the way to a plan, and remembering what was seen.

A prepared request may be used again while everything that it was made from is as it was. So what
`prepare()` looks at, it looks at through this module: inside of `recording()` each look leaves a
fact (docs/plan-format.md), outside it is the plain call. Within one recording a path is looked at
once, so that all of a request rests on one and the same answer.
"""

from __future__ import annotations

import errno
import os
import stat

# No `threading`: its import is not free, and this is its base.
from _thread import _local

from sandbox.plan.entry import CONTENT_MAX_BYTES, Fact, FactKind, Probe, checksum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import AnyStr

_LINKS_MAX = 40  # as the kernel follows at most
_ABSENT = (errno.ENOENT, errno.ENOTDIR)
_WORD = (1 << 64) - 1
_BY_NAME = (FactKind.ABSENT, FactKind.KIND, FactKind.LINK)


class Facts:
    """What was seen so far. `gap` says why the facts do not carry the request, "" if they do."""

    def __init__(self) -> None:
        self.gap = ""
        self.newest_ns = 0  # the latest change of a file that counts by its times
        self.kinds: dict[bytes, int] = {}
        self.links: dict[bytes, bytes] = {}
        self._found: dict[tuple[int, bytes, int], Fact] = {}

    def add(self, kind: FactKind, path: bytes, value: tuple[int, ...] = (), extra: int = 0) -> None:
        """Remember one fact; of the same look the first answer counts."""
        key = (kind, path, extra)
        if key not in self._found:
            if path and not path.startswith(b"/"):
                self.miss(f"{os.fsdecode(path)} was looked at by a relative path")
            self._found[key] = Fact(kind, path, value)

    def miss(self, reason: str) -> None:
        """Note that something was looked at that no fact can hold."""
        self.gap = self.gap or reason

    def listed(self) -> tuple[Fact, ...]:
        """Return the facts in the order in which they were found, without what others imply.

        Nothing lies below what is absent. A link's text says that it is a link. A directory that
        counts by its times keeps its names, their types and the texts of its links: none of them
        changes without it, and a mount over one of them changes no type.
        """
        lasting = {fact.path for fact in self._found.values() if self._is_directory(fact)}
        return tuple(
            fact
            for fact in self._found.values()
            if fact.kind not in _BY_NAME
            or not (
                (fact.kind is FactKind.KIND and fact.path in self.links)
                or os.path.dirname(fact.path) in lasting
                or (fact.kind is FactKind.ABSENT and self._is_below_absent(fact.path))
            )
        )

    @staticmethod
    def _is_directory(fact: Fact) -> bool:
        return fact.kind is FactKind.FILE and stat.S_ISDIR(fact.value[-1] >> 32)

    def _is_below_absent(self, path: bytes) -> bool:
        return -self.kinds.get(os.path.dirname(path), 0) in _ABSENT


_now = _local()  # `facts` of this thread's recording


def current() -> Facts | None:
    """Return the facts of the recording in this thread, or None."""
    found: Facts | None = getattr(_now, "facts", None)
    return found


class recording:  # noqa: N801  # reads as a verb: with recording() as facts
    """A context in which looks leave facts; only the innermost one gets them."""

    def __enter__(self) -> Facts:
        self._outer = current()
        _now.facts = facts = Facts()
        return facts

    def __exit__(self, *_exc: object) -> None:
        _now.facts = self._outer


def miss(reason: str) -> None:
    """Note that the request rests on something that no fact can hold."""
    facts = current()
    if facts is not None:
        facts.miss(reason)


def _kind(path: bytes, facts: Facts | None) -> int:
    """Return the file type of lstat(2), or the negative errno."""
    if facts is not None:
        known = facts.kinds.get(path)
        if known is not None:
            return known
    try:
        kind = stat.S_IFMT(os.lstat(path).st_mode)
    except OSError as error:
        kind = -(error.errno or errno.EIO)
    except ValueError:
        return -errno.EINVAL  # a NUL: no path at all
    if facts is not None:
        facts.kinds[path] = kind
        if kind >= 0:
            facts.add(FactKind.KIND, path, (kind,))
        else:
            facts.add(FactKind.ABSENT, path, () if -kind in _ABSENT else (-kind,))
    return kind


def kind_of(path: AnyStr) -> int:
    """Return the type (S_IFMT bits) of what lies at `path`, a link not followed.

    Errors: OSError as lstat(2).
    """
    kind = _kind(os.fsencode(path), current())
    if kind < 0:
        raise OSError(-kind, os.strerror(-kind), path)
    return kind


def lexists(path: AnyStr) -> bool:
    """Say whether anything has this name."""
    return _kind(os.fsencode(path), current()) >= 0


def is_link(path: AnyStr) -> bool:
    """Say whether `path` is a symbolic link."""
    return _kind(os.fsencode(path), current()) == stat.S_IFLNK


def realpath(path: AnyStr) -> AnyStr:
    """Return what os.path.realpath returns."""
    facts = current()
    if facts is None:
        return os.path.realpath(path)
    real = _walk(os.fsencode(path), facts)
    if isinstance(path, str):
        return os.fsdecode(real)
    return real


def _walk(path: bytes, facts: Facts) -> bytes:
    """Follow `path` name by name, as the kernel would; what is absent is kept as it is written."""
    if b"\0" in path:
        raise ValueError("embedded null byte")
    names = path.split(b"/")[::-1]
    at = b"" if path.startswith(b"/") else os.getcwdb().rstrip(b"/")
    links = 0
    while names:
        name = names.pop()
        if name in (b"", b"."):
            continue
        if name == b"..":
            at = at.rpartition(b"/")[0]
            continue
        here = at + b"/" + name
        if _kind(here, facts) != stat.S_IFLNK:
            at = here
            continue
        links += 1
        target = _target(here, facts) if links <= _LINKS_MAX else None
        if target is None:
            facts.miss(f"{os.fsdecode(here)} leads nowhere")
            return os.path.realpath(path)
        names += target.split(b"/")[::-1]
        at = b"" if target.startswith(b"/") else at
    return at or b"/"


def _target(path: bytes, facts: Facts) -> bytes | None:
    known = facts.links.get(path)
    if known is not None:
        return known
    try:
        target = os.readlink(path)
    except OSError:
        return None
    facts.links[path] = target
    facts.add(FactKind.LINK, path, (checksum(target), len(target)))
    return target


def readlink(path: str) -> str:
    """Return what os.readlink returns.

    Errors: OSError as readlink(2).
    """
    facts = current()
    if facts is None:
        return os.readlink(path)
    name = os.fsencode(path)
    if _kind(name, facts) != stat.S_IFLNK:
        os.readlink(path)  # for the error that it raises
        facts.miss(f"{path} became a link")
    target = _target(name, facts)
    return os.readlink(path) if target is None else os.fsdecode(target)


def _kind_behind(path: AnyStr) -> int:
    """Return the type of what `path` leads to, or the negative errno."""
    facts = current()
    name = os.fsencode(path)
    if b"\0" in name:
        return -errno.EINVAL
    if facts is not None:
        kind = _kind(_walk(name, facts), facts)
        if kind == stat.S_IFLNK:
            return -errno.ELOOP
        if b"/." not in name:
            return kind  # else the kernel wants a directory in front of the dots
    try:
        return stat.S_IFMT(os.stat(path).st_mode)
    except OSError as error:
        return -(error.errno or errno.EIO)


def exists(path: AnyStr) -> bool:
    """Say whether `path` leads to anything."""
    return _kind_behind(path) >= 0


def is_dir(path: AnyStr) -> bool:
    """Say whether `path` leads to a directory."""
    return _kind_behind(path) == stat.S_IFDIR


def is_file(path: AnyStr) -> bool:
    """Say whether `path` leads to a regular file."""
    return _kind_behind(path) == stat.S_IFREG


def access(path: str, mode: int) -> bool:
    """Return what os.access returns."""
    answer = os.access(path, mode)
    facts = current()
    if facts is not None:
        facts.add(FactKind.ACCESS, os.fsencode(path), (mode, int(answer)), mode)
    return answer


def owner(path: str) -> int:
    """Return the uid of what `path` leads to.

    Errors: OSError as stat(2).
    """
    uid = os.stat(path).st_uid
    facts = current()
    if facts is not None:
        facts.add(FactKind.OWNER, os.fsencode(path), (uid,))
    return uid


def saw_file(path: AnyStr, info: os.stat_result) -> None:
    """Remember the file at `path`, whose status `info` was taken when it was read."""
    facts = current()
    if facts is None:
        return
    name = os.fsencode(path)
    if not name.startswith(b"/"):
        name = os.getcwdb() + b"/" + name
    changed, altered = info.st_mtime_ns, info.st_ctime_ns
    facts.newest_ns = max(facts.newest_ns, changed, altered)
    mode = info.st_mode << 32 | info.st_uid
    value = (info.st_dev, info.st_ino, info.st_size, changed, altered, mode)
    facts.add(FactKind.FILE, name, tuple(word & _WORD for word in value))


def names_in(path: AnyStr) -> list[AnyStr]:
    """Return the names in a directory.

    Errors: OSError as opendir(3).
    """
    if current() is not None:
        saw_file(path, os.stat(path))  # its times change with its names
    return os.listdir(path)


def read_file(path: AnyStr, limit: int) -> bytes | None:
    """Return up to `limit` bytes of the file that `path` leads to; None where it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if current() is not None and exists(path):
            _unreadable(path, error)
        return None
    try:
        saw_file(path, os.fstat(fd))
        content = b""
        while len(content) < limit:
            piece = os.read(fd, limit - len(content))
            if not piece:
                break
            content += piece
        return content
    except OSError as error:  # a directory
        _unreadable(path, error)
        return None
    finally:
        os.close(fd)


def _unreadable(path: AnyStr, error: OSError) -> None:
    miss(f"{os.fsdecode(path)} cannot be read: {error.strerror}")


def read_kernel_file(path: str) -> bytes | None:
    """Return a file of /proc or /sys, which has no times; None where it cannot be read."""
    facts = current()
    name = os.fsencode(path)
    try:
        with open(path, "rb", buffering=0) as file:
            content = b""
            while piece := file.read(CONTENT_MAX_BYTES):
                content += piece
    except OSError as error:
        if facts is not None and _kind(name, facts) >= 0:
            _unreadable(path, error)
        return None
    if facts is not None:
        facts.add(FactKind.CONTENT, name, (checksum(content), len(content)))
        if len(content) >= CONTENT_MAX_BYTES:
            facts.miss(f"{path} is too long")
    return content


def cgroup_mounts(path: str) -> list[bytes]:
    """Return the lines of a mountinfo (proc(5)) that are about control groups; none without it."""
    facts = current()
    name = os.fsencode(path)
    try:
        with open(path, "rb") as file:
            lines = [line.rstrip(b"\n") for line in file if b" - cgroup" in line]
    except OSError as error:
        if facts is not None and _kind(name, facts) >= 0:
            _unreadable(path, error)
        return []
    if facts is not None:
        chained = 0
        for line in lines:
            chained = checksum(line, chained)
        facts.add(FactKind.CGROUP_MOUNTS, name, (chained, len(lines)))
    return lines


def probed(probe: Probe, answer: int, argument: int = 0) -> int:
    """Remember what the kernel answered to a question that is about no path; return it."""
    facts = current()
    if facts is not None:
        extra = int(probe) << 32 | argument
        facts.add(FactKind.PROBE, b"", (probe, argument, answer & _WORD), extra)
    return answer
