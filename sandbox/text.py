"""Strings from anywhere, made safe to show on a terminal."""

from __future__ import annotations

import errno as errnos
import os

_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def _escape_char(char: str) -> str:
    if char == " " or char.isprintable():
        return char
    if char in _NAMED:
        return _NAMED[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def escape(text: str | bytes) -> str:
    """Return `text` on one line, with everything that is not plainly visible written as an escape.

    Shape:  control characters, bidirectional overrides, other invisible characters and bytes that
            are not UTF-8. A backslash stays as it is, so that escaping twice changes nothing;
            the exact string stands in the JSON form.
    Source: str.isprintable() is false for the Unicode categories C* and Z* but for the space.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    if text.isprintable():
        return text
    return "".join(_escape_char(char) for char in text)


def quote(text: str | bytes) -> str:
    """Return `text` escaped and between double quotes, as messages name a value."""
    return f'"{escape(text)}"'


def size_text(size_bytes: int) -> str:
    """Return a size as people write it, e.g. `64 MiB`; exact, or with one decimal."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    value = float(size_bytes)
    for unit in units:
        if value < 1024 or unit == units[-1]:
            break
        value /= 1024
    number = f"{value:.0f}" if value == int(value) else f"{value:.1f}"
    return f"{number} {unit}"


def duration_text(duration_ms: int) -> str:
    """Return a duration as people write it, e.g. `60 s`, `1.5 s`, `10 min`, `250 ms`."""
    if duration_ms < 1000:
        return f"{duration_ms} ms"
    if duration_ms % 60_000 == 0 and duration_ms >= 120_000:
        return f"{duration_ms // 60_000} min"
    seconds = duration_ms / 1000
    return f"{seconds:.0f} s" if duration_ms % 1000 == 0 else f"{seconds:.1f} s"


def errno_text(number: int) -> str:
    """Return an errno in words and by name, e.g. `permission denied (EACCES)`."""
    if number <= 0:
        return "no errno"
    words = os.strerror(number)
    name = errnos.errorcode.get(number, f"errno {number}")
    # "Unknown error 4095" and the like keep their capital; sentences go on in small letters.
    return f"{words[:1].lower()}{words[1:]} ({name})"
