"""Policies as JSON: the same data as in TOML, and where each key of it stands.

`json` accepts what it should not (a key twice, NaN) and gives no places. The text has passed it
before the places are looked for, so the scanner accepts what it does not need to understand.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Path = tuple[str | int, ...]
    Place = tuple[int, int]

_SPACE = " \t\r\n"


def load_json(text: str) -> tuple[dict[str, Any], dict[Path, Place]]:
    """Return the object that `text` states, and the (line, column) of each key and array member.

    Errors: json.JSONDecodeError; ValueError for a key that stands twice or a value of another
            type; RecursionError for text that is nested too deeply.
    """
    data = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    if not isinstance(data, dict):
        raise ValueError("a policy is an object, with braces")
    scanner = _Scanner(text)
    scanner.value(())
    return data, scanner.places


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return data


def _constant(name: str) -> None:
    raise ValueError(f"the value {name} does not exist in JSON")


class _Scanner:
    """Walks the text once; `_at` is the next character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._line_start = 0
        self._counted = 0
        self.places: dict[Path, Place] = {}

    def _note(self, path: Path) -> None:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        self._line_start = self._text.rfind("\n", 0, self._at) + 1
        self.places[path] = (self._line, self._at - self._line_start + 1)

    def _skip(self, characters: str) -> str:
        while self._text[self._at] in characters:
            self._at += 1
        return self._text[self._at]

    def value(self, path: Path) -> None:
        """Go past one value and note the places of what is in it."""
        char = self._skip(_SPACE)
        if char == '"':
            self._string()
        elif char == "{":
            self._members(path, "}")
        elif char == "[":
            self._members(path, "]")
        else:
            while self._at < len(self._text) and self._text[self._at] not in ",]}" + _SPACE:
                self._at += 1

    def _members(self, path: Path, end: str) -> None:
        self._at += 1
        index = 0
        while self._skip(_SPACE + ",") != end:
            here: Path = (*path, index)
            if end == "}":
                start = self._at
                here = (*path, self._string())
                after, self._at = self._at, start
                self._note(here)
                self._at = after
                self._skip(_SPACE + ":")
            else:
                self._note(here)
            self.value(here)
            index += 1
        self._at += 1

    def _string(self) -> str:
        start = self._at
        at = start + 1
        while self._text[at] != '"':
            at += 2 if self._text[at] == "\\" else 1
        self._at = at + 1
        text: str = json.loads(self._text[start : self._at], strict=False)
        return text
