"""A plan meets a caller: what depends on the slots' values and so cannot stand in a cached plan.

A plan names the working directory and the home by slots. Only when their values are known does it
show whether the working directory may be mounted at all, which mounts lie below which, and where a
protected path of the home is to be seen.
"""

from __future__ import annotations

from sandbox.plan.model import MountAttr, MountKind, ProtectKind, Slot
from sandbox.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.model import MountOp, Plan

# Trees that are not files of anybody's work: kernel interfaces, and sockets of running services,
# which could be asked to act outside.
_NEVER_CWD = (b"/proc", b"/sys", b"/dev", b"/run")
_SHOWS_HOST = (MountKind.BIND, MountKind.OVERLAY)
_COVERS = (*_SHOWS_HOST, MountKind.TMPFS, MountKind.PROC, MountKind.DEVPTS, MountKind.MASK)


@record
class Guard:
    """A protected path that is to be seen inside.

    Shape: `inside` is its path there, `host` the caller's path that it shows, `root` the path
           inside of the mount through which it is seen; `is_lasting`: writes there reach the
           host.
    """

    kind: ProtectKind
    inside: bytes
    host: bytes
    root: bytes
    is_lasting: bool
    origin: str


def is_within(path: bytes, ancestor: bytes) -> bool:
    """Say whether `path` is `ancestor` or lies below it; both absolute and canonical."""
    if not path.startswith(ancestor):  # almost always, and thousands of times in a launch
        return False
    return path == ancestor or path.startswith(ancestor.rstrip(b"/") + b"/")


def cwd_obstacle(plan: Plan, slots: tuple[bytes, ...]) -> str | None:
    """Return why the caller's working directory is not mounted for `${CWD}`, or None.

    Shape: / and the home or what holds it; kernel and service trees; a directory that the policy
           mounts by its own path, because at an equal path the stricter entry wins.
    """
    cwd, home = slots[Slot.CWD], slots[Slot.HOME]
    if cwd in (b"", b"/"):
        return "it is the root of the file system"
    if home and is_within(home, cwd):
        return "it is your home" if home == cwd else "it holds your home"
    if any(is_within(cwd, tree) for tree in _NEVER_CWD):
        return "it belongs to the system"
    for op in plan.mounts:
        if op.target.slot is Slot.NONE and op.target.path == cwd:
            return "the policy has its own entry for it"
    if cwd == b"/etc":
        return "the sandbox makes its own"
    return None


def arrange(plan: Plan, slots: tuple[bytes, ...]) -> Plan:
    """Return `plan` without what lies below an empty slot, ancestors mounted before descendants.

    Shape: the same plan where nothing has to change, which is the usual case.
    """
    mounts = tuple(op for op in plan.mounts if _has_value(op.target.slot, slots))
    ordered = tuple(sorted(mounts, key=lambda op: op.target.resolve(slots).count(b"/")))
    if not _is_arranged(mounts, slots):
        mounts = ordered
    rules = tuple(
        rule for rule in plan.landlock if rule.path is None or _has_value(rule.path.slot, slots)
    )
    if mounts == plan.mounts and rules == plan.landlock:
        return plan
    return replace(plan, mounts=mounts, landlock=rules)


def _has_value(slot: Slot, slots: tuple[bytes, ...]) -> bool:
    # The state directory is made when the run starts.
    return slot in (Slot.NONE, Slot.STATE) or bool(slots[slot])


def _is_arranged(mounts: tuple[MountOp, ...], slots: tuple[bytes, ...]) -> bool:
    """Say whether no mount would cover one that was made before it."""
    seen: set[bytes] = set()
    for op in mounts:
        path = op.target.resolve(slots)
        if op.kind in _COVERS and path in seen:
            return False
        while len(path) > 1:
            path = path.rpartition(b"/")[0] or b"/"
            seen.add(path)
    return True


def host_path(plan: Plan, slots: tuple[bytes, ...], inside: bytes) -> tuple[bytes, MountOp] | None:
    """Return the caller's path that is seen at `inside`, and its mount; None if there is none.

    Shape: the last of the deepest mounts counts, as it covers the others.
    """
    return _shown_through(_covers(plan, slots), slots, inside)


def _covers(plan: Plan, slots: tuple[bytes, ...]) -> list[tuple[bytes, MountOp]]:
    """Return the mounts that decide what is seen, each with its path inside."""
    return [
        (op.target.resolve(slots), op)
        for op in plan.mounts
        if op.kind in _COVERS and _has_value(op.target.slot, slots)
    ]


def _shown_through(
    covers: list[tuple[bytes, MountOp]], slots: tuple[bytes, ...], inside: bytes
) -> tuple[bytes, MountOp] | None:
    found: MountOp | None = None
    place = b""
    for target, op in covers:
        if len(target) >= len(place) and is_within(inside, target):
            found, place = op, target
    if found is None or found.kind not in _SHOWS_HOST or found.source is None:
        return None
    return found.source.resolve(slots).rstrip(b"/") + inside[len(place) :], found


def guards(plan: Plan, slots: tuple[bytes, ...]) -> tuple[Guard, ...]:
    """Return the protected paths of `plan` that are to be seen inside, each place once.

    Shape: entries below `${HOME}` count wherever a mount shows that part of the home. A path that
           is itself the target of a mount was asked for by name and is left out.
    """
    named = {
        op.target.resolve(slots)
        for op in plan.mounts
        if op.kind in _SHOWS_HOST and _has_value(op.target.slot, slots)
    }
    covers, sources = _covers(plan, slots), _sources(plan, slots)
    found: dict[bytes, Guard] = {}
    for item in plan.protect:
        if not _has_value(item.path.slot, slots):
            continue
        path = item.path.resolve(slots)
        places = [path] if item.path.slot is not Slot.HOME else _seen_at(sources, path)
        for inside in places:
            shown = _shown_through(covers, slots, inside)
            if shown is None or inside in named or inside in found:
                continue
            host, op = shown
            is_lasting = op.kind is MountKind.BIND and not op.attrs & MountAttr.RDONLY
            if item.kind is not ProtectKind.HIDDEN and not is_lasting:
                continue
            root = op.target.resolve(slots)
            found[inside] = Guard(item.kind, inside, host, root, is_lasting, item.origin)
    return tuple(found.values())


def _sources(plan: Plan, slots: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    """Return each path of the caller that a mount shows, and where."""
    return [
        (op.source.resolve(slots), op.target.resolve(slots))
        for op in plan.mounts
        if op.kind in _SHOWS_HOST
        and op.source is not None
        and _has_value(op.target.slot, slots)
        and _has_value(op.source.slot, slots)
    ]


def _seen_at(sources: list[tuple[bytes, bytes]], host: bytes) -> list[bytes]:
    """Return where mounts show the caller's path `host`."""
    return [
        target + host[len(source.rstrip(b"/")) :]
        for source, target in sources
        if is_within(host, source)
    ]
