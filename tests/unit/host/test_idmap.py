"""Subordinate ids: the files of subuid(5), and the extents that are made of them."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import SetupError
from sandbox.host import idmap
from sandbox.host.idmap import EXTENTS_MAX, Range, find_subids, lay_out, map_by_helpers, read_ranges
from sandbox.plan.model import IdKind, IdMap

WHO = frozenset({"alice", "1000"})


def ranges_of(tmp_path: Path, text: bytes) -> tuple[Range, ...]:
    """Return what a file with this content gives to WHO."""
    path = tmp_path / "subuid"
    path.write_bytes(text)
    return read_ranges(str(path), WHO)


def test_name_and_number_both_count(tmp_path: Path) -> None:
    """A range may be given to the name or to the id; those of others do not matter."""
    text = b"bob:1:2\nalice:100000:65536\n1000:300000:10\n10000:5:5\n"
    assert ranges_of(tmp_path, text) == (Range(100000, 65536), Range(300000, 10))


@pytest.mark.parametrize(
    "line",
    [
        b"alice", b"alice:", b"alice:1", b"alice:x:1", b"alice:1:x", b"alice:-1:5", b"alice:1:0",
        b"alice:4294967295:1", b"alice:4294967290:10", b"alice:99999999999999:1", b"alice: 1:5:6",
        "alice:١:5".encode(), b"\xff\xfe:1:5", b"alice:1:5:7", b"#alice:1:5", b"\0",
    ],
)  # fmt: skip
def test_a_line_that_is_no_range_is_left_out(line: bytes, tmp_path: Path) -> None:
    """Nothing that the file holds can make the reader fail or invent a range."""
    assert ranges_of(tmp_path, line + b"\nalice:7:3\n") == (Range(7, 3),)


def test_overlapping_ranges_count_once(tmp_path: Path) -> None:
    """The kernel refuses a map that names an id outside twice."""
    assert ranges_of(tmp_path, b"alice:100:10\nalice:105:10\nalice:110:1\n") == (
        Range(100, 10),
        Range(110, 1),
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The gap names the file, the remedy a command."""
    files = {IdKind.UID: str(tmp_path / "none"), IdKind.GID: str(tmp_path / "none")}
    found = find_subids(files)
    assert str(tmp_path / "none") in found.gap
    assert found.remedy


def test_the_own_id_stands_between() -> None:
    """Ids below and above the command's own come from the range."""
    assert lay_out(IdKind.UID, 1000, 41, (Range(100000, 65536),)) == [
        IdMap(IdKind.UID, 1000, 41),
        IdMap(IdKind.UID, 0, 100000, 1000),
        IdMap(IdKind.UID, 1001, 101000, 64536),
    ]
    assert lay_out(IdKind.GID, 0, 41, (Range(100000, 5), Range(7, 2))) == [
        IdMap(IdKind.GID, 0, 41),
        IdMap(IdKind.GID, 1, 100000, 5),
        IdMap(IdKind.GID, 6, 7, 2),
    ]


@given(
    inside=st.integers(0, 70000),
    outside=st.integers(0, 1 << 20),
    sizes=st.lists(st.tuples(st.integers(0, 100), st.integers(1, 5000)), max_size=80),
)
def test_maps_are_disjoint_and_hold_the_own_id(
    inside: int, outside: int, sizes: list[tuple[int, int]]
) -> None:
    """What the kernel demands of a map holds for any ranges, and no id is invented."""
    ranges, at = [], 0
    for gap, count in sizes:
        ranges.append(Range(at + gap, count))
        at += gap + count
    maps = lay_out(IdKind.UID, inside, outside, tuple(ranges))
    assert maps[0] == IdMap(IdKind.UID, inside, outside)
    assert len(maps) <= EXTENTS_MAX
    for field in ("inside", "outside"):
        spans = sorted((getattr(item, field), item.count) for item in maps)
        for (first, count), (after, _) in pairwise(spans):
            assert first + count <= after
    for item in maps[1:]:
        assert any(
            whole.first <= item.outside and item.outside + item.count <= whole.first + whole.count
            for whole in ranges
        )


def helper_of(tmp_path: Path, script: str) -> str:
    """Write a helper that is a shell script; return the directory."""
    for name in ("newuidmap", "newgidmap"):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
        path.chmod(0o755)
    return str(tmp_path)


def test_a_helper_gets_every_extent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pid, then three numbers for each extent, of its own kind only."""
    monkeypatch.setattr(idmap, "_PLACES", (helper_of(tmp_path, f'echo "$@" >> {tmp_path}/said'),))
    map_by_helpers(
        9, (IdMap(IdKind.UID, 0, 1, 2), IdMap(IdKind.GID, 3, 4, 5), IdMap(IdKind.UID, 6, 7, 8))
    )
    assert (tmp_path / "said").read_text() == "9 3 4 5\n9 0 1 2 6 7 8\n"


def test_a_helper_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words and its code stand in the error; control characters are escaped."""
    script = 'printf "range not \\033[31mallowed\\n" >&2; exit 3'
    monkeypatch.setattr(idmap, "_PLACES", (helper_of(tmp_path, script),))
    with pytest.raises(SetupError) as caught:
        map_by_helpers(os.getpid(), (IdMap(IdKind.GID, 0, 1, 2),))
    error = caught.value
    assert "ended with 3" in error.message
    assert "range not" in error.message
    assert "\033" not in error.message
    assert (error.code, error.fields["stage"]) == ("setup.maps", "maps")


def test_no_helper_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found at planning, gone at the start: the run fails in words."""
    monkeypatch.setattr(idmap, "_PLACES", ())
    with pytest.raises(SetupError, match="not installed"):
        map_by_helpers(1, (IdMap(IdKind.UID, 0, 1, 2),))
