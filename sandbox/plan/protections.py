"""What each protection of a plan stops, and since which kernel.

A protection is judged by the plan's own bits, so that the explanation cannot drift from the walls.
"""

from __future__ import annotations

from sandbox.plan.model import MountFlag, MountKind, Namespace, PlanFlag, RootKind
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.plan.model import Plan


@record
class Protection:
    """One wall: what it stops, the first kernel that has it, whether this plan uses it."""

    name: str
    stops: str
    since: str
    is_on: bool


def _namespace(bit: Namespace) -> Callable[[Plan], bool]:
    return lambda plan: bool(plan.namespaces & bit)


def _flag(bit: PlanFlag) -> Callable[[Plan], bool]:
    return lambda plan: bool(plan.flags & bit)


def _kind(kind: MountKind) -> Callable[[Plan], bool]:
    return lambda plan: any(op.kind is kind for op in plan.mounts)


def _is_idmapped(plan: Plan) -> bool:
    return any(op.flags & MountFlag.IDMAP for op in plan.mounts)


def _has_overlay(plan: Plan) -> bool:
    return plan.root_kind is RootKind.OVERLAY or _kind(MountKind.OVERLAY)(plan)


def _has_landlock(field: str) -> Callable[[Plan], bool]:
    return lambda plan: bool(plan.flags & PlanFlag.LANDLOCK) and bool(getattr(plan, field))


# Linux versions: namespaces(7), capabilities(7), landlock(7), seccomp(2), mount_setattr(2).
_TABLE: tuple[tuple[str, str, str, Callable[[Plan], bool]], ...] = (
    ("user namespace", "rights of the caller's id on the host", "3.8", _namespace(Namespace.USER)),
    ("mount namespace", "paths that are not named in the view", "2.4", _namespace(Namespace.MOUNT)),
    (
        "pid namespace",
        "seeing, tracing or signalling processes outside; survivors of the run",
        "2.6.24",
        _namespace(Namespace.PID),
    ),
    (
        "network namespace",
        "every connection: interfaces, abstract sockets, the host's loopback",
        "2.6.29",
        _namespace(Namespace.NET),
    ),
    (
        "ipc namespace",
        "System V shared memory and message queues of others",
        "2.6.19",
        _namespace(Namespace.IPC),
    ),
    ("uts namespace", "reading or setting the host's name", "2.6.19", _namespace(Namespace.UTS)),
    (
        "cgroup namespace",
        "reading where in the host's cgroups it runs",
        "4.6",
        _namespace(Namespace.CGROUP),
    ),
    ("time namespace", "reading the host's uptime", "5.6", _namespace(Namespace.TIME)),
    (
        "nested namespaces off",
        "a private mount tree, in which a covering mount could be taken away",
        "4.9",
        _flag(PlanFlag.LOCK_USERNS),
    ),
    (
        "read-only root",
        "new files and directories outside the writable entries",
        "5.12",
        _flag(PlanFlag.ROOT_READONLY),
    ),
    ("overlay", "writes from reaching the files they change", "5.11", _has_overlay),
    ("masks", "reading paths of the view that are hidden", "5.2", _kind(MountKind.MASK)),
    ("idmapped mounts", "files of root's outside, where root is the caller", "5.12", _is_idmapped),
    (
        "protected paths",
        "code that runs later outside: hooks, start-up files, agent configuration",
        "5.2",
        lambda plan: bool(plan.protect),
    ),
    (
        "no capabilities",
        "every privileged act, also inside",
        "2.6.25",
        lambda plan: plan.caps == 0,
    ),
    (
        "no new privileges",
        "rights gained through set-user-id programs and file capabilities",
        "3.5",
        _flag(PlanFlag.NO_NEW_PRIVS),
    ),
    (
        "Landlock files",
        "file access beyond the mounts, as a second wall",
        "5.13",
        _has_landlock("landlock_fs"),
    ),
    ("Landlock ports", "TCP ports that are not listed", "6.7", _has_landlock("landlock_net")),
    (
        "Landlock scopes",
        "signals and abstract sockets to processes outside",
        "6.12",
        _has_landlock("landlock_scoped"),
    ),
    (
        "seccomp filter",
        "system calls that are not listed: less of the kernel to attack",
        "3.5",
        lambda plan: bool(plan.filters),
    ),
    (
        "own session",
        "text pushed into the caller's terminal, its job control",
        "2.0",
        _flag(PlanFlag.NEW_SESSION),
    ),
)


def protections(plan: Plan) -> tuple[Protection, ...]:
    """Return every known protection, in a fixed order, with whether `plan` uses it."""
    return tuple(Protection(*row[:3], row[3](plan)) for row in _TABLE)
