"""The active virtual environment as part of the view."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.plan.model import MountAttr, MountKind, MountOp, Slot, SlotPath
from sandbox.record import replace
from sandbox.run.virtualenv import with_virtualenv
from support import plans

CWD = SlotPath(b"", Slot.CWD)
PLAN = replace(plans.full_plan(), mounts=(MountOp(MountKind.BIND, CWD, CWD),), landlock=())
SLOTS = (b"", b"/work", b"/home/me", b"/tmp", b"", b"")


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A directory that looks like a virtual environment."""
    (tmp_path / "pyvenv.cfg").touch()
    return tmp_path


def test_an_active_environment_is_shown_read_only_and_granted(venv: Path) -> None:
    """The mount and its Landlock rule come together."""
    plan = with_virtualenv(PLAN, SLOTS, os.fsencode(venv))
    assert plan.mounts[-1].target.path == os.fsencode(venv)
    assert plan.mounts[-1].attrs & MountAttr.RDONLY
    assert [rule.path for rule in plan.landlock] == [SlotPath(os.fsencode(venv))]


def test_one_that_is_shown_already_changes_nothing(venv: Path) -> None:
    """An environment in the working tree stays writable, as the tree is."""
    slots = (b"", os.fsencode(venv.parent), b"/home/me", b"/tmp", b"", b"")
    assert with_virtualenv(PLAN, slots, os.fsencode(venv)) is PLAN


@pytest.mark.parametrize("value", [b"", b"relative", b"/", b"/usr", b"/nowhere"])
def test_what_is_no_environment_is_not_shown(value: bytes) -> None:
    """VIRTUAL_ENV cannot be used to show any directory."""
    assert with_virtualenv(PLAN, SLOTS, value) is PLAN


def test_a_home_is_not_shown_as_an_environment(venv: Path) -> None:
    """A pyvenv.cfg in the home, or above it, opens nothing."""
    slots = (b"", b"/work", os.fsencode(venv / "me"), b"/tmp", b"", b"")
    assert with_virtualenv(PLAN, slots, os.fsencode(venv)) is PLAN
