"""The working directory inside, and the slots."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from sandbox.errors import UsageError
from sandbox.plan.model import EnvKind, EnvRule, MountKind, MountOp, Slot, SlotPath
from sandbox.policy.settle import is_within
from sandbox.record import replace
from sandbox.run.places import caller_slots, find_places
from support import plans

POLICY = SimpleNamespace(process=SimpleNamespace(chdir=None))
PLAN = replace(
    plans.full_plan(),
    mounts=(
        MountOp(MountKind.TMPFS, SlotPath(b"/home/sandbox")),
        MountOp(MountKind.BIND, SlotPath(b"", Slot.CWD), SlotPath(b"", Slot.CWD)),
    ),
    env=(EnvRule(EnvKind.SET, b"HOME", SlotPath(b"/home/sandbox")),),
)


def test_the_command_starts_where_the_caller_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A working tree is shown at its own path."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "tree").mkdir()
    monkeypatch.chdir(tmp_path / "tree")
    found = find_places(POLICY, PLAN)  # type: ignore[arg-type]  # the one field it reads
    assert (found.cwd, found.notes) == (os.fsencode(tmp_path / "tree"), ())


@pytest.mark.parametrize("above", [".", "..", "/"])
def test_a_home_and_what_holds_it_are_not_shown(
    above: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command starts in its own home, and one note says why."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    monkeypatch.chdir(above)
    found = find_places(POLICY, PLAN)  # type: ignore[arg-type]  # the one field it reads
    assert (found.cwd, found.slots[Slot.CWD], len(found.notes)) == (b"/home/sandbox", b"", 1)


def test_a_deleted_working_directory_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to show, and the message says so."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match="no longer exists"):
        caller_slots()


def test_is_within_compares_components() -> None:
    """/ab is not below /a."""
    assert is_within(b"/a/b", b"/a")
    assert is_within(b"/a", b"/")
    assert not is_within(b"/ab", b"/a")
