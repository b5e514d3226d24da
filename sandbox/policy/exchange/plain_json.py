"""JSON from anybody, read within bounds: size, depth, duplicate keys, numbers, encoding.

The standard parser recurses, takes the last of two equal keys, and turns a long number into one
that takes seconds to print; each of these is refused here with its place.
"""

from __future__ import annotations

import os
import stat

from sandbox.errors import PolicyError
from sandbox.text import errno_text, escape, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

SIZE_MAX_BYTES = 8 << 20  # the largest profile seen has 60 KB
DEPTH_MAX = 32
_DIGITS_MAX = 20  # 2^64 - 1 has 20


def read_json(path: str, *, code: str = "policy.import") -> Any:
    """Return the data of the JSON file `path`; `-` is standard input.

    Errors: PolicyError(`code`) with line and column, or the reason the file cannot be read.
    """
    return parse_json(read_bounded(path, code=code), path, code=code)


def read_bounded(path: str, *, code: str = "policy.import") -> bytes:
    """Return the content of a regular file, a pipe or standard input, at most SIZE_MAX_BYTES.

    Errors: PolicyError(`code`) with the reason.
    """
    try:
        if path == "-":
            return _bounded(0, path, code)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            mode = os.fstat(fd).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
                _fail(path, "it is not a file", code)
            os.set_blocking(fd, True)
            return _bounded(fd, path, code)
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        reason = errno_text(error.errno or 0) if isinstance(error, OSError) else str(error)
        raise PolicyError(f"cannot read {escape(path)}: {reason}", code=code, path=path) from error


def _bounded(fd: int, path: str, code: str) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := os.read(fd, 1 << 20):
        pieces.append(piece)
        size += len(piece)
        if size > SIZE_MAX_BYTES:
            _fail(path, f"it has more than {SIZE_MAX_BYTES} bytes", code)
    return b"".join(pieces)


def parse_json(body: bytes, label: str, *, code: str = "policy.import") -> Any:
    """Return the data that `body` states; `label` stands for the file in messages.

    Errors: PolicyError(`code`) with line and column, or the key that stands twice.
    """
    import json

    _check_depth(body, label, code)
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _fail(label, f"{_place(body, error.start)}: a byte that is not UTF-8", code)

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                _fail(label, f"the key {quote(key)} stands twice in one object", code)
            found[key] = value
        return found

    def number(digits: str) -> int:
        if len(digits.lstrip("-")) > _DIGITS_MAX:
            _fail(label, f"the number {digits[:24]}… does not fit in 64 bits", code)
        return int(digits)

    def no_float(word: str) -> NoReturn:
        _fail(label, f"{word[:24]} is not a whole number", code)

    try:
        return json.loads(
            text,
            object_pairs_hook=no_duplicates,
            parse_int=number,
            parse_float=no_float,
            parse_constant=no_float,
        )
    except json.JSONDecodeError as error:
        problem = error.msg[:1].lower() + error.msg[1:]
        _fail(label, f"line {error.lineno}, column {error.colno}: {problem}", code)


def _check_depth(body: bytes, label: str, code: str) -> None:
    """Refuse nesting that the parser's recursion would not survive."""
    import re

    depth = 0
    # A string with its escapes is passed over as a whole, so that brackets in it do not count.
    for match in re.finditer(rb'"(?:[^"\\]|\\.)*"|[][{}]', body, re.DOTALL):
        token = match[0]
        if token in (b"[", b"{"):
            depth += 1
            if depth > DEPTH_MAX:
                problem = f"{_place(body, match.start())}: nested deeper than {DEPTH_MAX} levels"
                _fail(label, problem, code)
        elif token in (b"]", b"}"):
            depth -= 1


def _place(body: bytes, offset: int) -> str:
    line = body.count(b"\n", 0, offset) + 1
    return f"line {line}, column {offset - body.rfind(bytes([10]), 0, offset)}"


def _fail(label: str, problem: str, code: str) -> NoReturn:
    raise PolicyError(
        f"{escape(label)}: {problem}",
        hint="nothing was made of it",
        code=code,
        path=label,
    )
