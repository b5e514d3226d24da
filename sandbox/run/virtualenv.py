"""The active virtual environment, part of `@toolchains`: shown read-only where it is not anyway.

An environment value never becomes a path of a policy; this one is the caller's own statement of
which Python they work with, and it counts only for a directory that is a virtual environment.
"""

from __future__ import annotations

import os

from sandbox.host import observe
from sandbox.plan.model import (
    LandlockKind,
    LandlockRule,
    MountAttr,
    MountFlag,
    MountKind,
    MountOp,
    Slot,
    SlotPath,
)
from sandbox.policy.landlock import rights_of
from sandbox.policy.settle import host_path, is_within
from sandbox.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.model import Plan

_READ_ONLY = MountAttr.RDONLY | MountAttr.NOSUID | MountAttr.NODEV


def with_virtualenv(plan: Plan, slots: tuple[bytes, ...], value: bytes) -> Plan:
    """Return `plan` with the environment `value` (VIRTUAL_ENV) in its view, if it is one.

    Shape: the same plan where there is none, or where a mount shows it already.
    Source: PEP 405: a virtual environment has a pyvenv.cfg at its top.
    """
    path = observe.realpath(value) if value.startswith(b"/") else b""
    if not path or not observe.is_file(os.path.join(path, b"pyvenv.cfg")):
        return plan
    home = slots[Slot.HOME]
    if (home and is_within(home, path)) or host_path(plan, slots, path) is not None:
        return plan
    where = SlotPath(path)
    flags = MountFlag.RECURSIVE | MountFlag.IDMAP
    op = MountOp(MountKind.BIND, where, where, flags, _READ_ONLY, origin="@toolchains")
    rights = rights_of("ro", is_noexec=False) & plan.landlock_fs
    rules = (LandlockRule(LandlockKind.PATH, rights, where),) if rights else ()
    return replace(plan, mounts=(*plan.mounts, op), landlock=plan.landlock + rules)
