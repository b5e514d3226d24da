"""The bubblewrap command that comes nearest to a plan.

The same namespaces, mounts, environment, hostname, ids and filter bytes; the filter in its plain
form, since bubblewrap has nobody who would answer. What it cannot do is left out in its favour: an
overlay becomes a writable bind, devpts and the limits are missing, files below a bind too; and
where the filter has no wait4(2), which its pid 1 calls behind the filter, it goes without pid 1.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence

from sandbox.plan.model import MountAttr, MountFlag, MountKind
from sandbox.policy.compose import Flag
from sandbox.run.execute import prepare
from sandbox.run.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.model import MountOp
    from sandbox.run.request import Prepared

_RET = 0x06  # BPF_RET | BPF_K
_USER_NOTIF, _ERRNO, _ACTION = 0x7FC00000, 0x00050000, 0xFFFF0000
_SHOWING = (MountKind.BIND, MountKind.OVERLAY)


def plain_filter(code: bytes) -> bytes:
    """Return the program with errno answers where it has notifications: the errno is beside."""
    out = bytearray(code)
    for at in range(0, len(code), 8):
        operation = int.from_bytes(code[at : at + 2], "little")
        value = int.from_bytes(code[at + 4 : at + 8], "little")
        if operation == _RET and value & _ACTION == _USER_NOTIF:
            plain = _ERRNO | value & 0xFFFF
            out[at + 4 : at + 8] = plain.to_bytes(4, "little")
    return bytes(out)


def memory_file(name: str, content: bytes) -> int:
    """Return a descriptor of a file in memory."""
    fd = os.memfd_create(name)
    os.write(fd, content)
    return fd


def _plain_mount(op: MountOp, source: str, target: str) -> tuple[str, ...]:
    match op.kind:
        case MountKind.BIND:
            return ("--ro-bind" if op.attrs & MountAttr.RDONLY else "--bind", source, target)
        case MountKind.OVERLAY:
            return ("--bind", source, target)
        case MountKind.DEV:
            return ("--dev-bind", source, target)
        case MountKind.TMPFS:
            size = ("--size", str(op.size_bytes)) if op.size_bytes else ()
            return (*size, "--tmpfs", target)
        case MountKind.PROC:
            return ("--proc", target)
        case MountKind.SYMLINK:
            return ("--symlink", os.fsdecode(op.data), target)
        case MountKind.MKDIR:
            return ("--dir", target)
        case _:
            return ()  # SELF: --proc does it to those below /proc; DEVPTS, MQUEUE: cannot


def _mask(target: str) -> tuple[str, ...]:
    if os.path.isdir(target):
        return ("--tmpfs", target)
    return ("--ro-bind", "/dev/null", target) if os.path.exists(target) else ()


class Bubblewrap:
    """A command line before the program, and the files it reads; `rewind` before every run."""

    def __init__(
        self, policy: str, flags: tuple[Flag, ...], cwd: str, *, has_init: bool = True
    ) -> None:
        request = Request((b"/bin/true",), policy=policy, flags=flags, cwd=os.fsencode(cwd))
        self._prepared = prepare(request)
        self.fds: list[int] = []
        self._has_init = has_init
        self.filters = [filter_.code for filter_ in self._prepared.plan.filters]
        self.argv = list(self._words())

    def rewind(self) -> None:
        """Let the files be read from their beginning again."""
        for fd in self.fds:
            os.lseek(fd, 0, os.SEEK_SET)

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the whole command line."""
        return [*self.argv, "--", *argv]

    def close(self) -> None:
        """Close the files."""
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def _words(self) -> Iterator[str]:
        plan, invocation = self._prepared.plan, self._prepared.invocation
        yield shutil.which("bwrap") or "bwrap"
        yield from ("--unshare-all", "--unshare-user", "--unshare-cgroup", "--die-with-parent")
        yield from ("--new-session", "--cap-drop", "ALL", "--clearenv")
        if not self._has_init:
            yield "--as-pid-1"
        yield from ("--uid", str(plan.uid), "--gid", str(plan.gid))
        yield from ("--hostname", plan.hostname.decode() or "sandbox")
        for pair in invocation.env:
            name, _, value = os.fsdecode(pair).partition("=")
            yield from ("--setenv", name, value)
        for op in plan.mounts + invocation.extra_mounts:
            yield from self._mount(self._prepared, op)
        yield from ("--remount-ro", "/", "--chdir", os.fsdecode(invocation.cwd))
        for code in self.filters:
            yield from ("--add-seccomp-fd", self._file("filter", plain_filter(code)))

    def _file(self, name: str, content: bytes) -> str:
        self.fds.append(memory_file(name, content))
        return str(self.fds[-1])

    def _mount(self, prepared: Prepared, op: MountOp) -> tuple[str, ...]:
        slots = prepared.invocation.slots
        target = os.fsdecode(op.target.resolve(slots))
        source = os.fsdecode(op.source.resolve(slots)) if op.source else target
        if op.source and not os.path.exists(source) and op.flags & MountFlag.OPTIONAL:
            return ()
        if op.kind is MountKind.MASK:
            return _mask(target)
        if op.kind is MountKind.FILE:
            if self._is_below_bind(prepared, target):
                return ()
            return ("--file", self._file("content", op.data), target)
        return _plain_mount(op, source, target)

    @staticmethod
    def _is_below_bind(prepared: Prepared, target: str) -> bool:
        slots = prepared.invocation.slots
        shown = (op.target for op in prepared.plan.mounts if op.kind in _SHOWING)
        return any(target.startswith(os.fsdecode(path.resolve(slots)) + "/") for path in shown)
