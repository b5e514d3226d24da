"""Protected paths below writable mounts: pinned, read-only or hidden, absent ones too.

A path that exists is laid over with itself read-only (or a mask), and every directory between it
and the writable mount's root becomes a mount point of its own: a directory that is one cannot be
renamed away from under the protection. An absent path gets a placeholder on the host, which is
covered by an empty read-only file inside, so that nothing can be created there. Placeholders are
made and collected by `placeholders.py`.
"""

from __future__ import annotations

import os
import stat

from sandbox.plan.model import (
    MountAttr,
    MountFlag,
    MountKind,
    MountOp,
    ProtectKind,
    SlotPath,
)
from sandbox.record import record
from sandbox.run.places import is_within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.model import Protect

_READ_ONLY = MountAttr.RDONLY | MountAttr.NOSUID | MountAttr.NODEV
_SAME = MountAttr.NOSUID | MountAttr.NODEV


@record
class Protection:
    """The mounts that protect, the absent paths that need a placeholder first (pairs of the path
    inside and on the host), and the symbolic links in protected places, which nothing can cover."""

    mounts: tuple[MountOp, ...]
    placeholders: tuple[tuple[bytes, bytes], ...]
    links: tuple[bytes, ...]


def _kind_of(path: bytes) -> int | None:
    """The file type at `path`, not following a link; None if absent."""
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


@record
class _Shown:
    """Where a host path is seen inside, and how much can be done to it there."""

    root: bytes
    target: bytes
    is_writable: bool
    is_lasting: bool


class _View:
    """The plan's mounts of host trees, resolved for this caller."""

    def __init__(self, mounts: tuple[MountOp, ...], slots: tuple[bytes, ...]) -> None:
        self._trees: list[tuple[bytes, bytes, MountOp]] = []
        self._targets: list[bytes] = []
        for op in mounts:
            if _is_absent(op, slots):
                continue
            target = op.target.resolve(slots)
            self._targets.append(target)
            if op.kind in (MountKind.BIND, MountKind.OVERLAY) and op.source is not None:
                self._trees.append((op.source.resolve(slots), target, op))

    def places(self, path: bytes) -> list[_Shown]:
        """Return every place inside at which the host's `path` is to be seen."""
        found = []
        for source, target, op in self._trees:
            if not is_within(path, source):
                continue
            suffix = path[len(source.rstrip(b"/")) :]
            inside = target.rstrip(b"/") + suffix
            if any(
                len(other) > len(target) and is_within(inside, other) for other in self._targets
            ):
                continue  # another mount covers that place
            is_lasting = op.kind is MountKind.BIND and not op.attrs & MountAttr.RDONLY
            is_writable = is_lasting or op.kind is MountKind.OVERLAY
            found.append(_Shown(target, inside, is_writable, is_lasting))
        return found


def _is_absent(op: MountOp, slots: tuple[bytes, ...]) -> bool:
    """Whether C will skip the operation: its slot has no value, or an optional source is absent."""
    paths = (op.target,) if op.source is None else (op.target, op.source)
    if any(path.slot and not slots[path.slot] for path in paths):
        return True
    if op.source is None or not op.flags & MountFlag.OPTIONAL:
        return False
    return not os.path.lexists(op.source.resolve(slots))


def _ancestors(path: bytes, root: bytes) -> list[bytes]:
    """The directories strictly between `root` and `path`, outermost first."""
    found = []
    at = os.path.dirname(path)
    while len(at) > len(root):
        found.append(at)
        at = os.path.dirname(at)
    return found[::-1]


class _Collector:
    """Gathers covers, pins, placeholders and links, each path once."""

    def __init__(self) -> None:
        self.covers: dict[bytes, MountOp] = {}
        self.pins: dict[bytes, MountOp] = {}
        self.placeholders: dict[bytes, bytes] = {}
        self.links: dict[bytes, None] = {}

    def add(self, item: Protect, path: bytes, shown: _Shown) -> None:
        """Protect the host's `path` where `shown` says it is seen."""
        is_hidden = item.kind is ProtectKind.HIDDEN
        if not is_hidden and not shown.is_lasting:
            return  # read-only already, or the writes are discarded
        depth = shown.target.count(b"/") - shown.root.rstrip(b"/").count(b"/")
        chain = [path]
        for _level in range(depth - 1):
            chain.insert(0, os.path.dirname(chain[0]))
        targets = [*_ancestors(shown.target, shown.root), shown.target]
        for step, target in zip(chain, targets, strict=True):
            kind = _kind_of(step)
            if kind == stat.S_IFLNK:
                self.links[step] = None
                return
            if kind is None:
                if step == path and shown.is_lasting:
                    self._absent(item, path, target)
                return
            if step == path or kind != stat.S_IFDIR:
                # a file where a directory would be (a worktree's .git) steers as much
                self._cover(item, target)
                return
            if shown.is_writable:
                self._pin(item, target)

    def _cover(self, item: Protect, target: bytes) -> None:
        kind, attrs = MountKind.SELF, _READ_ONLY
        if item.kind is ProtectKind.HIDDEN:
            kind, attrs = MountKind.MASK, MountAttr(0)
        known = self.covers.get(target)
        if known is None or kind is MountKind.MASK:
            self.covers[target] = MountOp(kind, SlotPath(target), attrs=attrs, origin=item.origin)

    def _absent(self, item: Protect, path: bytes, target: bytes) -> None:
        if any(is_within(target, covered) for covered in self.covers):
            return  # nothing can be created below what is read-only
        self.placeholders[target] = path
        self.covers[target] = MountOp(
            MountKind.FILE, SlotPath(target), mode_octal=0o444, origin=item.origin
        )

    def _pin(self, item: Protect, target: bytes) -> None:
        op = MountOp(MountKind.SELF, SlotPath(target), attrs=_SAME, origin=item.origin)
        self.pins.setdefault(target, op)


def plan_protection(
    protect: tuple[Protect, ...], mounts: tuple[MountOp, ...], slots: tuple[bytes, ...]
) -> Protection:
    """Return what protects the host paths of `protect` wherever `mounts` show them.

    Shape: mounts in the order to be made, outer before inner. A missing ancestor is never made
    (docs/limitations.md). A symbolic link cannot be mounted on: it is reported.
    """
    view = _View(mounts, slots)
    found = _Collector()
    for item in protect:
        if item.path.slot and not slots[item.path.slot]:
            continue
        path = item.path.resolve(slots)
        for shown in view.places(path):
            found.add(item, path, shown)
    for path in found.covers:
        found.pins.pop(path, None)
    ordered = sorted(
        (*found.pins.items(), *found.covers.items()),
        key=lambda pair: (pair[0].count(b"/"), pair[0]),
    )
    return Protection(
        tuple(op for _path, op in ordered), tuple(found.placeholders.items()), tuple(found.links)
    )
