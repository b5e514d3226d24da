"""The run's own directory is removed, whatever a command has put into it."""

from __future__ import annotations

import os
from pathlib import Path

from sandbox.run.scratch import remove_tree


def test_a_tree_deeper_than_any_recursion(tmp_path: Path) -> None:
    """Depth costs neither stack nor descriptors."""
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _level in range(3000):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    remove_tree(os.fsencode(top))
    assert not top.exists()


def test_links_are_removed_not_followed(tmp_path: Path) -> None:
    """What they lead to keeps its content and its mode."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o750)
    (outside / "file").write_text("x", encoding="utf-8")
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    for place in (top, top / "a", top / "a" / "b"):
        (place / "link").symlink_to(outside)
        (place / ".moved-1").symlink_to(outside)
    remove_tree(os.fsencode(top))
    assert not top.exists()
    assert (outside / "file").read_text() == "x"
    assert outside.stat().st_mode & 0o777 == 0o750


def test_modes_and_names_are_no_obstacle(tmp_path: Path) -> None:
    """Directories without rights, names that are not UTF-8, names like our own."""
    top = tmp_path / "top"
    (top / "shut" / "inner").mkdir(parents=True)
    (top / "shut" / "inner" / ".moved-1").mkdir()
    (top / ".moved-2").mkdir()
    os.mkdir(os.fsencode(top) + b"/\xff")
    os.mkfifo(top / "fifo")
    os.chmod(top / "shut" / "inner", 0)
    os.chmod(top / "shut", 0)
    remove_tree(os.fsencode(top))
    assert not top.exists()
