"""Protected paths: what covers them, pins, placeholders."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sandbox.plan.model import (
    MountAttr,
    MountKind,
    MountOp,
    Protect,
    ProtectKind,
    Slot,
    SlotPath,
)
from sandbox.policy.settle import guards
from sandbox.record import replace
from sandbox.run.protect import Protection, own_protections, plan_protection
from support import plans

CWD = SlotPath(b"", Slot.CWD)
READ_WRITE = MountOp(MountKind.BIND, CWD, CWD)


def below_cwd(path: bytes, kind: ProtectKind = ProtectKind.READONLY) -> Protect:
    """A protected path of the working directory."""
    return Protect(kind, SlotPath(path, Slot.CWD))


def protection(
    tree: Path, *items: Protect, mounts: tuple[MountOp, ...] = (READ_WRITE,)
) -> Protection:
    """What protects `items` where `mounts` show `tree` as the working directory and the home."""
    plan = replace(plans.bare_plan(), mounts=mounts, protect=items)
    return plan_protection(guards(plan, slots(tree)))


def slots(tree: Path) -> tuple[bytes, ...]:
    """Slots whose working directory is `tree`."""
    return (b"", os.fsencode(tree), os.fsencode(tree), b"", b"", b"")


def test_an_existing_path_is_read_only_and_its_parents_are_pinned(tmp_path: Path) -> None:
    """.git becomes a mount point, so that it cannot be renamed from under its hooks."""
    (tmp_path / ".git/hooks").mkdir(parents=True)
    found = protection(tmp_path, below_cwd(b"/.git/hooks"))
    git = os.fsencode(tmp_path / ".git")
    rows = [(op.kind, op.target.path, bool(op.attrs & MountAttr.RDONLY)) for op in found.mounts]
    assert rows == [
        (MountKind.SELF, git, False),
        (MountKind.SELF, git + b"/hooks", True),
    ]
    assert found.placeholders == ()


def test_an_absent_path_gets_a_placeholder_where_its_parent_exists(tmp_path: Path) -> None:
    """A missing ancestor is never made."""
    found = protection(tmp_path, below_cwd(b"/.mcp.json"), below_cwd(b"/.git/hooks"))
    path = os.fsencode(tmp_path / ".mcp.json")
    assert found.placeholders == ((path, path),)
    assert [(op.kind, op.data) for op in found.mounts] == [(MountKind.FILE, b"")]


def test_a_hidden_path_is_masked(tmp_path: Path) -> None:
    """Credentials are not shown at all."""
    (tmp_path / ".ssh").mkdir()
    found = protection(tmp_path, below_cwd(b"/.ssh", ProtectKind.HIDDEN))
    assert [op.kind for op in found.mounts] == [MountKind.MASK]


def test_a_protected_parent_covers_what_is_below_it(tmp_path: Path) -> None:
    """Below a read-only directory nothing can be created: no placeholder is needed there."""
    (tmp_path / ".vscode").mkdir()
    found = protection(tmp_path, below_cwd(b"/.vscode"), below_cwd(b"/.vscode/settings.json"))
    assert found.placeholders == ()


def test_a_symbolic_link_is_reported(tmp_path: Path) -> None:
    """It cannot be mounted on, and the caller is told."""
    (tmp_path / "CLAUDE.md").symlink_to("AGENTS.md")
    found = protection(tmp_path, below_cwd(b"/CLAUDE.md"))
    assert found.links == (os.fsencode(tmp_path / "CLAUDE.md"),)


def test_a_slot_without_a_value_protects_nothing() -> None:
    """A working directory that is not shown needs no protection."""
    plan = replace(plans.bare_plan(), mounts=(READ_WRITE,), protect=(below_cwd(b"/.git/hooks"),))
    assert guards(plan, (b"",) * 6) == ()


def test_what_no_mount_shows_needs_no_protection(tmp_path: Path) -> None:
    """A home that is not in the view is left alone."""
    (tmp_path / ".ssh").mkdir()
    found = protection(tmp_path, below_cwd(b"/.ssh", ProtectKind.HIDDEN), mounts=())
    assert (found.mounts, found.placeholders) == ((), ())


def test_a_read_only_mount_still_hides_credentials(tmp_path: Path) -> None:
    """Read-only is enough for what must not change, not for what must not be read."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".bashrc").touch()
    shown = MountOp(MountKind.BIND, CWD, CWD, attrs=MountAttr.RDONLY)
    items = (below_cwd(b"/.ssh", ProtectKind.HIDDEN), below_cwd(b"/.bashrc"))
    found = protection(tmp_path, *items, mounts=(shown,))
    assert [op.kind for op in found.mounts] == [MountKind.MASK]


def test_a_tree_shown_elsewhere_is_protected_there(tmp_path: Path) -> None:
    """--bind HOME:/mnt/h must not uncover the keys below another name."""
    (tmp_path / ".ssh").mkdir()
    moved = MountOp(MountKind.BIND, SlotPath(b"/mnt/h"), CWD)
    item = Protect(ProtectKind.HIDDEN, SlotPath(b"/.ssh", Slot.HOME))
    found = protection(tmp_path, item, mounts=(moved,))
    assert [op.target.path for op in found.mounts] == [b"/mnt/h/.ssh"]


def test_a_more_specific_mount_has_its_own_say(tmp_path: Path) -> None:
    """What the user mounts on a protected place is not covered by it."""
    (tmp_path / ".vscode").mkdir()
    over = MountOp(MountKind.BIND, SlotPath(b"/.vscode", Slot.CWD), SlotPath(b"/usr"))
    found = protection(tmp_path, below_cwd(b"/.vscode"), mounts=(READ_WRITE, over))
    assert found.mounts == ()


def test_a_file_in_the_place_of_a_directory_is_frozen(tmp_path: Path) -> None:
    """In a linked worktree .git is a file that says where the hooks are."""
    (tmp_path / ".git").write_text("gitdir: /elsewhere")
    found = protection(tmp_path, below_cwd(b"/.git/hooks"))
    assert [(op.kind, op.target.path) for op in found.mounts] == [
        (MountKind.SELF, os.fsencode(tmp_path / ".git"))
    ]


def test_what_shells_read_gets_no_placeholder_outside_a_home(tmp_path: Path) -> None:
    """A tree of dotfiles keeps those it has; any other tree is left alone."""
    (tmp_path / ".bashrc").touch()
    items = (
        below_cwd(b"/.bashrc", ProtectKind.PRESENT),
        below_cwd(b"/.zshrc", ProtectKind.PRESENT),
    )
    found = protection(tmp_path, *items)
    assert [op.target.path for op in found.mounts] == [os.fsencode(tmp_path / ".bashrc")]
    assert found.placeholders == ()


def test_the_placeholder_of_another_run_counts_as_absent(tmp_path: Path) -> None:
    """That run may end at any moment and take it away, so this one holds on to it too."""
    path = tmp_path / ".mcp.json"
    os.mknod(path, stat.S_IFSOCK | 0o444)
    found = protection(tmp_path, below_cwd(b"/.mcp.json"))
    assert found.placeholders == ((os.fsencode(path), os.fsencode(path)),)
    assert [op.kind for op in found.mounts] == [MountKind.FILE]


def test_our_own_directories_are_protected_whatever_the_policy_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prepared run that a command could plant would be the walls of the next one."""
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    plan = replace(plans.bare_plan(), mounts=(READ_WRITE,), protect=())
    found = [item.path for item in own_protections(plan, slots(tmp_path))]
    assert found == [
        SlotPath(b"/.config/sandbox", Slot.HOME),
        SlotPath(b"/.cache/sandbox", Slot.HOME),
        SlotPath(b"/elsewhere/sandbox"),
    ]
    read_only = replace(READ_WRITE, attrs=MountAttr.RDONLY)
    assert own_protections(replace(plan, mounts=(read_only,)), slots(tmp_path)) == ()


def test_a_cache_that_is_a_link_is_protected_where_it_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link itself can only be replaced where it lies, and is named as what it is."""
    (tmp_path / "real" / "sandbox").mkdir(parents=True)
    (tmp_path / ".cache").symlink_to("real")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    plan = replace(plans.bare_plan(), mounts=(READ_WRITE,), protect=())
    places = own_protections(plan, slots(tmp_path))
    assert SlotPath(b"/real/sandbox", Slot.HOME) in [item.path for item in places]
