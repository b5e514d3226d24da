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

from sandbox.host import observe, paths
from sandbox.plan.model import MountAttr, MountKind, MountOp, Protect, ProtectKind, Slot, SlotPath
from sandbox.policy.settle import is_within
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.model import Plan
    from sandbox.policy.settle import Guard

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
    """The file type at `path`, not following a link; None if absent.

    A socket is absent: it is the placeholder of another run, which removes it as soon as nobody
    counts on it any more, so this run has to count on it as well.
    """
    try:
        kind = observe.kind_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if kind == stat.S_IFSOCK else kind


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

    def add(self, guard: Guard) -> None:
        """Protect one path where it is seen, and pin the directories above it."""
        targets = [*_ancestors(guard.inside, guard.root), guard.inside]
        hosts = [guard.host]
        for _level in targets[1:]:
            hosts.insert(0, os.path.dirname(hosts[0]))
        for host, target in zip(hosts, targets, strict=True):
            kind = _kind_of(host)
            if kind == stat.S_IFLNK:
                self.links[host] = None
                return
            if kind is None:
                if (
                    target == guard.inside
                    and guard.is_lasting
                    and guard.kind is not ProtectKind.PRESENT
                ):
                    self._absent(guard)
                return
            if target == guard.inside or kind != stat.S_IFDIR:
                # a file where a directory would be (a worktree's .git) steers as much
                self._cover(guard, target)
                return
            if guard.is_lasting:
                op = MountOp(MountKind.SELF, SlotPath(target), attrs=_SAME, origin=guard.origin)
                self.pins.setdefault(target, op)

    def _cover(self, guard: Guard, target: bytes) -> None:
        kind, attrs = MountKind.SELF, _READ_ONLY
        if guard.kind is ProtectKind.HIDDEN:
            kind, attrs = MountKind.MASK, MountAttr(0)
        if target not in self.covers or kind is MountKind.MASK:
            self.covers[target] = MountOp(kind, SlotPath(target), attrs=attrs, origin=guard.origin)

    def _absent(self, guard: Guard) -> None:
        if any(is_within(guard.inside, covered) for covered in self.covers):
            return  # nothing can be created below what is read-only
        self.placeholders[guard.inside] = guard.host
        self.covers[guard.inside] = MountOp(
            MountKind.FILE, SlotPath(guard.inside), mode_octal=0o444, origin=guard.origin
        )


def own_protections(plan: Plan, slots: tuple[bytes, ...]) -> tuple[Protect, ...]:
    """Return what keeps a command from our own directories, whatever the policy protects.

    A prepared run, a filter or a policy that a command could plant there would be the walls of the
    next one. Where no mount is writable nothing is looked at.
    """
    if not any(op.kind is MountKind.BIND and not op.attrs & MountAttr.RDONLY for op in plan.mounts):
        return ()
    home = slots[Slot.HOME]
    found = []
    for name in paths.own_dirs():
        real = observe.realpath(os.fsencode(name))
        place = SlotPath(real)
        if home and is_within(real, home) and real != home:
            place = SlotPath(real[len(home) :], Slot.HOME)
        found.append(Protect(ProtectKind.PRESENT, place, "built in"))
    return tuple(found)


def plan_protection(guards: tuple[Guard, ...]) -> Protection:
    """Return what protects the places of `guards` on this host, now.

    Shape: mounts in the order to be made, outer before inner. A missing ancestor is never made
    (docs/limitations.md). A symbolic link cannot be mounted on: it is reported.
    """
    found = _Collector()
    for guard in guards:
        found.add(guard)
    for path in found.covers:
        found.pins.pop(path, None)
    ordered = sorted(
        (*found.pins.items(), *found.covers.items()),
        key=lambda pair: (pair[0].count(b"/"), pair[0]),
    )
    return Protection(
        tuple(op for _path, op in ordered), tuple(found.placeholders.items()), tuple(found.links)
    )
