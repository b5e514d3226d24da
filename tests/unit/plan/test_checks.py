"""The core refuses a plan without namespaces that only looks as if it held something."""

from __future__ import annotations

import pytest

from sandbox._core import ffi, lib
from sandbox.plan.encode import encode_plan
from sandbox.plan.model import (
    IdKind,
    IdMap,
    MountKind,
    MountOp,
    Plan,
    PlanFlag,
    RootKind,
    SlotPath,
    Supervise,
)
from sandbox.record import replace
from support import plans

BARE = plans.bare_plan()
WRONG = {
    "rights through exec": replace(BARE, flags=PlanFlag(0)),
    "kept capabilities": replace(BARE, caps=1),
    "a root": replace(BARE, root_kind=RootKind.BIND, root_source=SlotPath(b"/x")),
    "a mount": replace(BARE, mounts=(MountOp(MountKind.TMPFS, SlotPath(b"/tmp")),)),
    "an id map": replace(BARE, id_maps=(IdMap(IdKind.UID, 0, 0), IdMap(IdKind.GID, 0, 0))),
    "the lock": replace(BARE, flags=BARE.flags | PlanFlag.LOCK_USERNS),
    "loopback": replace(BARE, flags=BARE.flags | PlanFlag.LOOPBACK),
    "a host name": replace(BARE, hostname=b"x"),
}


def check(plan: Plan) -> int:
    """Return the errno of the checker, 0 for accepted."""
    blob = encode_plan(plan)
    error = ffi.new("struct sbx_error *")
    words = ffi.new("uint64_t[]", len(blob) // 8 + 1)
    ffi.buffer(words)[: len(blob)] = blob
    return -int(lib.sbx_plan_check(words, len(blob), error))


def test_a_plan_without_namespaces_is_accepted() -> None:
    """No maps, no mounts, no_new_privs."""
    assert check(BARE) == 0


@pytest.mark.parametrize("name", WRONG)
def test_what_needs_a_namespace_is_refused(name: str) -> None:
    """Nothing that would silently have no effect."""
    assert check(WRONG[name]) == 22


def test_every_limit_of_the_supervisor_is_known() -> None:
    """A key that the model has and the checker lacks would fail each run that has the limit."""
    assert check(replace(BARE, supervise=tuple((key, 1) for key in Supervise))) == 0
    assert check(replace(BARE, flags=BARE.flags | PlanFlag.LOW_PRIORITY)) == 0
