"""Where the command runs: the slots' values and the working directory inside."""

from __future__ import annotations

import os

from sandbox.errors import UsageError
from sandbox.host import observe
from sandbox.host.paths import home_dir
from sandbox.plan.model import EnvKind, MountKind, Slot
from sandbox.policy.settle import cwd_obstacle, is_within
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.model import MountOp, Plan
    from sandbox.policy.model import Policy

_READ_DIR = 1 << 3  # LANDLOCK_ACCESS_FS_READ_DIR
_SHOWING = (MountKind.BIND, MountKind.OVERLAY, MountKind.TMPFS, MountKind.MKDIR)


@record
class Places:
    """Slot values, the working directory inside, and what the user should know about it."""

    slots: tuple[bytes, ...]
    cwd: bytes
    notes: tuple[str, ...] = ()


def caller_slots(cwd: bytes = b"") -> list[bytes]:
    """Return the caller's absolute, canonical directories, in the order of Slot.

    Shape:  `cwd` is another working directory than the caller's own.
    Errors: UsageError where the working directory was deleted.
    """
    try:
        cwd = cwd or os.getcwdb()
    except FileNotFoundError as error:
        raise UsageError(
            "the working directory no longer exists",
            hint="change to a directory that does",
            code="usage.no-cwd",
        ) from error
    slots = [b""] * len(Slot)
    slots[Slot.CWD] = cwd
    slots[Slot.HOME] = _canonical(os.fsencode(home_dir()))
    slots[Slot.TMP] = _canonical(os.environb.get(b"TMPDIR") or b"/tmp")
    slots[Slot.RUNTIME] = _canonical(os.environb.get(b"XDG_RUNTIME_DIR", b""))
    return slots


def _canonical(path: bytes) -> bytes:
    """The real path of an existing absolute directory, else b""."""
    if not path.startswith(b"/"):
        return b""
    real = observe.realpath(path)
    return real if observe.is_dir(real) and real != b"/" else b""


def sandbox_home(plan: Plan) -> bytes:
    """The home inside: the value that the plan gives HOME, else /."""
    for rule in plan.env:
        if rule.kind is EnvKind.SET and rule.name == b"HOME" and not rule.value.slot:
            return rule.value.path
    return b"/"


def find_places(policy: Policy, plan: Plan, cwd: bytes = b"") -> Places:
    """Decide which directories the plan's slots name and where the command starts.

    A working directory that is no working tree (/, the home, what holds it, a system directory) is
    not mounted by a policy's ${CWD}: that would show far more. The command then starts in its own
    home.
    """
    slots = caller_slots(cwd)
    cwd = slots[Slot.CWD]
    notes: list[str] = []
    wants_cwd = any(op.target.slot is Slot.CWD for op in plan.mounts) or any(
        rule.path is not None and rule.path.slot is Slot.CWD for rule in plan.landlock
    )
    obstacle = cwd_obstacle(plan, tuple(slots)) if wants_cwd else None
    if obstacle:
        slots[Slot.CWD] = b""
    inside = policy.process.chdir
    if inside is None:
        inside = cwd if _is_shown(plan, slots, cwd) else _fallback(plan, slots)
        if obstacle and inside != cwd:
            notes.append(
                f"{os.fsdecode(cwd)} is not shown inside: {obstacle}; the command starts in "
                f"{os.fsdecode(inside) or 'its own directory'} (--rw . shows it)"
            )
    return Places(tuple(slots), inside, tuple(notes))


def _is_shown(plan: Plan, slots: list[bytes], path: bytes) -> bool:
    """Whether `path` exists inside, as far as the mounts tell: the innermost one decides."""
    values = tuple(slots)
    if not plan.namespaces:
        return _is_granted(plan, values, path)
    innermost: MountOp | None = None
    depth = -1
    for op in plan.mounts:
        if op.kind not in _SHOWING or (op.target.slot and not values[op.target.slot]):
            continue
        target = op.target.resolve(values)
        if is_within(path, target) and len(target) > depth:
            innermost, depth = op, len(target)
    if innermost is None:
        return False
    # what is made empty holds nothing but itself
    has_content = innermost.kind in (MountKind.BIND, MountKind.OVERLAY)
    return has_content or depth == len(path)


def _is_granted(plan: Plan, slots: tuple[bytes, ...], path: bytes) -> bool:
    """Whether Landlock lets the command list `path`, where there is no view."""
    return any(
        rule.access & _READ_DIR and is_within(path, rule.path.resolve(slots))
        for rule in plan.landlock
        if rule.path is not None and (not rule.path.slot or slots[rule.path.slot])
    )


def _fallback(plan: Plan, slots: list[bytes]) -> bytes:
    """Where the command starts if not in the caller's directory; b"" for the run's own."""
    if not plan.namespaces:
        return b""
    if plan.root_source is not None:
        return b"/"
    home = sandbox_home(plan)
    return home if _is_shown(plan, slots, home) else b"/"
