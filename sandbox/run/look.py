"""What a command would find at a path on this host: read off the plan, nothing is mounted.

The same plan that `sandbox exec` would run, with the caller's directories in its slots, so the
answer cannot differ from what happens. Ordinary permissions of files are not judged: they hold as
well, inside as outside.
"""

from __future__ import annotations

import os

from sandbox.plan.model import MountAttr, MountKind, Slot
from sandbox.policy.settle import guards, is_within
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.model import MountOp
    from sandbox.run.request import Prepared

_LINKS_MAX = 40  # as the kernel: MAXSYMLINKS
_MADE = {
    MountKind.DEV: ("device", ("see", "read", "write")),
    MountKind.DEVPTS: ("terminals of the sandbox's own", ("see", "read", "write")),
    MountKind.FILE: ("a file that the sandbox makes", ("see", "read")),
    MountKind.MKDIR: ("a directory that the sandbox makes", ("see",)),
    MountKind.MQUEUE: ("message queues of the sandbox's own", ("see", "read", "write")),
}


@record
class Look:
    """What is at a path.

    Shape: `what` in words; `rights` of see, read, write, persist, exec; `inside` the path after
           links of the view, `host` the caller's path that it shows; `origin` file:line, `guard`
           says that a protection group decided.
    """

    what: str
    rights: tuple[str, ...]
    inside: str
    host: str | None
    origin: str
    guard: bool = False


def look(prepared: Prepared, path: bytes) -> Look:
    """Return what the command would find at the absolute `path`."""
    slots = prepared.invocation.slots
    inside = _followed(prepared, path)
    covering: MountOp | None = None
    depth = -1
    for op in prepared.plan.mounts:
        if op.kind is MountKind.SYMLINK or (op.target.slot and not slots[op.target.slot]):
            continue
        target = op.target.resolve(slots) or b"/"
        if is_within(inside, target) and len(target) >= depth:
            covering, depth = op, len(target)
    text = os.fsdecode(inside)
    if covering is None:
        below = [op for op in prepared.plan.mounts if is_within(op.target.resolve(slots), inside)]
        if below:
            return Look("a directory that holds what is shown below it", ("see",), text, None, "")
        return Look("nothing: no entry of the policy shows it", (), text, None, "")
    for guard in guards(prepared.plan, slots):
        if is_within(inside, guard.inside):
            return _guarded(covering, text, guard.kind.name == "HIDDEN", guard.host, guard.origin)
    return _at(covering, inside, slots)


def _followed(prepared: Prepared, path: bytes) -> bytes:
    """Follow the links that the plan makes, such as /bin → usr/bin."""
    slots = prepared.invocation.slots
    links = {
        op.target.resolve(slots): op.data
        for op in prepared.plan.mounts
        if op.kind is MountKind.SYMLINK
    }
    path = os.path.normpath(path)
    for _ in range(_LINKS_MAX):
        for place, target in links.items():
            if is_within(path, place):
                start = os.path.join(os.path.dirname(place), target)
                path = os.path.normpath(start + path[len(place) :])
                break
        else:
            return path
    return path


def _guarded(op: MountOp, inside: str, is_hidden: bool, host: bytes, origin: str) -> Look:
    shown = os.fsdecode(host)
    if is_hidden:
        return Look("hidden by a protection group", (), inside, shown, origin, guard=True)
    rights = ["see", "read"]
    if not op.attrs & MountAttr.NOEXEC:
        rights.append("exec")
    what = "read-only by a protection group"
    return Look(what, tuple(rights), inside, shown, origin, guard=True)


def _at(op: MountOp, inside: bytes, slots: tuple[bytes, ...]) -> Look:
    text = os.fsdecode(inside)
    if op.kind is MountKind.MASK:
        return Look("hidden", (), text, None, op.origin)
    if op.kind is MountKind.PROC:
        own = "processes of the sandbox only" if op.data == b"pid" else "a /proc of its own"
        return Look(own, ("see", "read"), text, None, op.origin)
    if op.kind in _MADE:
        return Look(*_MADE[op.kind], text, None, op.origin)
    rights = ["see"]
    if op.kind is not MountKind.TMPFS:
        rights.append("read")
    if not op.attrs & MountAttr.RDONLY:
        rights.append("write")
        if op.kind is MountKind.BIND:
            rights.append("persist")
    if not op.attrs & MountAttr.NOEXEC:
        rights.append("exec")
    host = None
    if op.source is not None and op.source.slot is not Slot.STATE:
        below = inside[len(op.target.resolve(slots).rstrip(b"/")) :]
        host = os.fsdecode(op.source.resolve(slots).rstrip(b"/") + below)
    words = {
        MountKind.TMPFS: "private memory, gone afterwards",
        MountKind.OVERLAY: "the caller's, writes kept apart",
    }
    what = words.get(op.kind, "the caller's" if op.attrs & MountAttr.RDONLY else "the caller's own")
    return Look(what, tuple(rights), text, host, op.origin)
