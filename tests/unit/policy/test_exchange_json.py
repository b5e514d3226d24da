"""Hostile JSON: refused in time, with the place."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sandbox.errors import PolicyError
from sandbox.policy.exchange.plain_json import SIZE_MAX_BYTES, parse_json, read_json

DEEP = 100_000


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[" * DEEP, "nested deeper than 32"),
        (b'{"a":' * DEEP, "nested deeper than 32"),
        (b'{"a": 1, "a": 2}', 'the key "a" stands twice'),
        (b'{"a": {"b": 1, "b": 2}}', 'the key "b" stands twice'),
        (b'{"a": ' + b"9" * 5000 + b"}", "does not fit in 64 bits"),
        (b'{"a": 1e9999}', "not a whole number"),
        (b'{"a": 1.5}', "not a whole number"),
        (b'{"a": NaN}', "not a whole number"),
        (b'{"a": -Infinity}', "not a whole number"),
        (b'{"a": "\xff"}', "line 1, column 8: a byte that is not UTF-8"),
        (b'{"a": 1', "line 1"),
        (b"\n\n{,}", "line 3, column 2"),
        (b"", "line 1, column 1"),
        (b'"' + b"[" * DEEP + b'"]', "line 1"),
        (b'{"a": "x' + b"\\" * 3, "line 1"),
    ],
)
def test_hostile_json_is_refused_with_its_place(body: bytes, problem: str) -> None:
    """Depth, duplicates, numbers, encoding and syntax, none of them slowly."""
    start = time.monotonic()
    with pytest.raises(PolicyError) as error:
        parse_json(body, "file.json")
    assert problem in error.value.message
    assert time.monotonic() - start < 2


def test_brackets_within_strings_are_no_nesting() -> None:
    """A string may hold any number of brackets, and quotes that are escaped."""
    text = b'{"a": "' + b"[{" * 100 + b'\\" [[[ \\\\"}'
    assert parse_json(text, "x")["a"].startswith("[{[{")


def test_fifty_megabytes_are_refused(tmp_path: Path) -> None:
    """A huge file is not read to its end."""
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(50 << 20)
    with pytest.raises(PolicyError, match=f"more than {SIZE_MAX_BYTES} bytes"):
        read_json(str(path))


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    """A directory and an absent file have their reasons."""
    with pytest.raises(PolicyError) as error:
        read_json(str(tmp_path / name))
    assert str(tmp_path) in error.value.message
