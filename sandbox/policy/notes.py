"""What a plan could and could not enforce, as the JSON that stands in the plan and every result.

The writer is ours because `json` imports `re` (10 ms); it writes what `json` reads.
"""

from __future__ import annotations

from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FULL = "full"  # the tiers of isolation: every layer that the policy asks for …
REDUCED = "reduced"  # … or a preferred one is missing
CONFINED = "confined"  # no namespaces at all, because the policy says so


@record
class Effective:
    """One protection: what was wanted (require, prefer, off), what was got, by which means.

    Shape: `is_gap` where the host lacks it; a protection that the policy itself has no use for
           (ports, where internet sockets are admitted) is off without being a gap.
    """

    name: str
    wanted: str
    got: str
    by: str
    note: str | None = None
    is_gap: bool = False


@record
class LimitNote:
    """One limit: the value asked for, what enforces it, and for the tree or each process."""

    name: str
    requested: int | None
    enforced_by: str
    scope: str


def dump_json(data: Any) -> bytes:
    """Return `data` as JSON in UTF-8, keys sorted, no spaces.

    Shape: dict with text keys, list, tuple, text (lone surrogates become escapes), int, bool, None.
    """
    return _text(data).encode("utf-8")


def _text(data: Any) -> str:
    if isinstance(data, str):
        return _quoted(data)
    if data is None or isinstance(data, bool):
        return {None: "null", True: "true", False: "false"}[data]
    if isinstance(data, int):
        return str(int(data))
    if isinstance(data, dict):
        pairs = [f"{_quoted(key)}:{_text(data[key])}" for key in sorted(data)]
        return "{" + ",".join(pairs) + "}"
    return "[" + ",".join(_text(item) for item in data) + "]"


def _quoted(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    code = ord(char)
    if char in '"\\':
        return "\\" + char
    if code < 0x20 or 0xD800 <= code <= 0xDFFF:
        return f"\\u{code:04x}"
    return char
