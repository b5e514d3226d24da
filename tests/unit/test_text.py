from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.text import duration_text, errno_text, escape, quote, size_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("größe → 日本", "größe → 日本"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31mred\x07\x00\x7f", "\\x1b[31mred\\x07\\x00\\x7f"),
        ("\x85", "\\u0085"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("a\u2066b\u2069\u200b\ufeff", "a\\u2066b\\u2069\\u200b\\ufeff"),
        ("line\u2028sep\u00a0nbsp", "line\\u2028sep\\u00a0nbsp"),
        (b"\xff\xfebytes", "\\xff\\xfebytes"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_escape_shows_only_what_is_visible(text: str | bytes, expected: str) -> None:
    """Control characters, bidirectional overrides and bytes that are not UTF-8 are escaped."""
    assert escape(text) == expected


@given(st.text() | st.binary())
def test_escape_is_printable_and_idempotent(text: str | bytes) -> None:
    """Whatever comes in, the result can be printed, encoded, and escaped again unchanged."""
    shown = escape(text)
    assert shown.isprintable()
    assert escape(shown) == shown
    shown.encode("utf-8")


def test_quote_stands_between_quotes() -> None:
    """A quoted value cannot be taken for the words around it."""
    assert quote("a\nb") == '"a\\nb"'


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (64 << 20, "64 MiB"), (1536, "1.5 KiB"), (5 << 40, "5 TiB")],
)
def test_size_has_a_unit(number: int, expected: str) -> None:
    """Sizes are shown in the largest unit that fits."""
    assert size_text(number) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [(250, "250 ms"), (1000, "1 s"), (1500, "1.5 s"), (60_000, "60 s"), (600_000, "10 min")],
)
def test_duration_has_a_unit(number: int, expected: str) -> None:
    """Durations are shown in the unit that people use."""
    assert duration_text(number) == expected


def test_errno_is_named_in_words() -> None:
    """The words and the name of an errno stand side by side; unknown numbers do not fail."""
    assert errno_text(errno.EACCES) == "permission denied (EACCES)"
    assert "4095" in errno_text(4095)
    assert errno_text(0) == "no errno"
