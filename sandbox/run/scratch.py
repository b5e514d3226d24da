"""The state directory of one run.

It holds the upper sides of overlays that cannot lie on a tmpfs, and the private directory of a
command without a view of its own.
"""

from __future__ import annotations

import os
import stat

from sandbox.errors import StateError
from sandbox.host.paths import state_dir
from sandbox.plan.model import IdKind, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from sandbox.plan.model import IdMap, Plan


def upper_names(plan: Plan) -> tuple[bytes, ...]:
    """The directories below ${STATE} that the plan writes to."""
    paths = [op.upper for op in plan.mounts]
    paths.append(plan.root_upper)
    paths += [rule.path for rule in plan.landlock]
    return tuple(
        path.path.lstrip(b"/") for path in paths if path is not None and path.slot is Slot.STATE
    )


class Scratch:
    """Makes the run's directory with its uppers, and removes it; a context manager."""

    def __init__(self, plan: Plan, run_id: str) -> None:
        self._names = upper_names(plan)
        self._ids = plan.id_maps
        self._run_id = run_id
        self.path = b""

    def __enter__(self) -> Self:
        if not self._names:
            return self
        # what is below is opened without following links
        parent = os.path.realpath(os.fsencode(state_dir("runs")))
        path = os.path.join(parent, self._run_id.encode("ascii"))
        try:
            os.mkdir(path, 0o711)
            for name in self._names:
                os.mkdir(os.path.join(path, name), 0o700)
                _give(os.path.join(path, name), self._ids)
        except OSError as error:
            raise StateError(
                f"cannot make the directory for private writes {os.fsdecode(path)}: "
                f"{error.strerror}",
                hint="free some space, or set XDG_STATE_HOME to a directory with room",
            ) from error
        self.path = path
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.path:
            remove_tree(self.path)
            self.path = b""


def _give(path: bytes, ids: tuple[IdMap, ...]) -> None:
    """Hand a directory to the outside ids where they are not the caller's."""
    outside = {item.kind: item.outside for item in ids}
    uid, gid = outside.get(IdKind.UID), outside.get(IdKind.GID)
    if uid is not None and gid is not None and uid != os.geteuid():
        os.chown(path, uid, gid)


def remove_tree(path: bytes) -> None:
    """Remove a directory that a command has filled; nothing in it is followed.

    Shape: needs no more memory or descriptors for a deep tree: what lies two levels down is moved
           up one. overlayfs leaves its work directory at mode 000, so modes are opened first.
    """
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    moved = 0
    try:
        while names := os.listdir(top):
            for name in names:
                if _unlink(name, top):
                    continue
                moved = _hoist(os.fsencode(name), top, moved)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(path)


def _hoist(name: bytes, top: int, moved: int) -> int:
    """Empty the directory `name`: files are removed, directories move to `top`."""
    _open_up(name, top)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
    try:
        for inner in os.listdir(fd):
            if _unlink(inner, fd):
                continue
            _open_up(inner, fd)  # a move writes the directory itself
            while True:
                moved += 1
                new = b".moved-%d" % moved
                if not _exists(new, top):
                    break
            os.rename(inner, new, src_dir_fd=fd, dst_dir_fd=top)
    finally:
        os.close(fd)
    return moved


def _open_up(name: str | bytes, parent: int) -> None:
    """Give the owner every right to a directory; a link of that name is an error."""
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{fd}", stat.S_IRWXU)
    finally:
        os.close(fd)


def _unlink(name: str | bytes, parent: int) -> bool:
    """Remove what is no directory; say whether that is done."""
    if stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
        return False
    os.unlink(name, dir_fd=parent)
    return True


def _exists(name: bytes, parent: int) -> bool:
    try:
        os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    return True
