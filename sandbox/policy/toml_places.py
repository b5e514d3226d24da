"""Where each key of a TOML document stands: `tomllib` gives values but no lines.

The text has already passed `tomllib`, so the scanner only finds the places of keys and array
members and accepts what it does not need to understand. A property test holds its set of paths to
the one of `tomllib`'s result.
Source: TOML 1.0.0.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Path = tuple[str | int, ...]
    Place = tuple[int, int]

_BARE_END = frozenset(" \t\r\n.=]},#")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def find_places(text: str) -> dict[Path, Place]:
    """Return the (line, column) of every key and array member of the TOML document `text`.

    Shape: a path is the keys and array indexes that lead to a value, as in `tomllib`'s result;
           tables that only a longer key implies have the place of that key. Both count from 1.
    """
    return _Scanner(text.replace("\r\n", "\n")).scan()


class _Scanner:
    """Walks the text once; `_at` is the next character."""

    def __init__(self, text: str) -> None:
        self._text = text + "\n"  # every look-ahead finds a character
        self._end = len(text)
        self._at = 0
        self._line = 1
        self._line_start = 0
        self._counted = 0
        self.places: dict[Path, Place] = {}
        self._array_sizes: dict[Path, int] = {}

    def scan(self) -> dict[Path, Place]:
        table: Path = ()
        while True:
            self._skip(" \t\n")
            if self._at >= self._end:
                return self.places
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _place(self, at: int) -> Place:
        # Places are asked for in ascending order, so that lines are counted once.
        self._line += self._text.count("\n", self._counted, at)
        self._counted = at
        self._line_start = self._text.rfind("\n", 0, at) + 1
        return self._line, at - self._line_start + 1

    def _note(self, path: Path, at: int) -> None:
        place = self._place(at)
        for length in range(1, len(path) + 1):
            self.places.setdefault(path[:length], place)

    def _skip(self, characters: str) -> None:
        """Go past `characters` and comments."""
        text = self._text
        while self._at < self._end:
            char = text[self._at]
            if char == "#":
                self._at = text.index("\n", self._at)
            elif char in characters:
                self._at += 1
            else:
                return

    def _key(self) -> tuple[str, ...]:
        """Read a dotted key and stop behind it."""
        parts = []
        while True:
            self._skip(" \t")
            if self._text[self._at] in "\"'":
                parts.append(self._string())
            else:
                start = self._at
                while self._text[self._at] not in _BARE_END:
                    self._at += 1
                parts.append(self._text[start : self._at])
            self._skip(" \t")
            if self._text[self._at] != ".":
                return tuple(parts)
            self._at += 1

    def _header(self) -> Path:
        """Read `[table]` or `[[array]]` and return the path of the keys that follow."""
        is_array = self._text.startswith("[[", self._at)
        start = self._at
        self._at += 2 if is_array else 1
        keys = self._key()
        self._at += 2 if is_array else 1
        path: Path = ()
        for index, key in enumerate(keys):
            path = (*path, key)
            is_last = index == len(keys) - 1
            if path in self._array_sizes and not (is_last and is_array):
                path = (*path, self._array_sizes[path] - 1)  # the array's newest member
        if is_array:
            size = self._array_sizes.get(path, 0)
            self._array_sizes[path] = size + 1
            path = (*path, size)
        self._note(path, start)
        return path

    def _pair(self, table: Path) -> None:
        start = self._at
        path = (*table, *self._key())
        self._note(path, start)
        self._at += 1  # =
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip(" \t")
        char = self._text[self._at]
        if char in "\"'":
            self._string()
        elif char == "[":
            self._array(path)
        elif char == "{":
            self._inline_table(path)
        else:
            while self._text[self._at] not in ",]}#\n":
                self._at += 1

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while True:
            self._skip(" \t\n,")
            if self._text[self._at] == "]":
                self._at += 1
                return
            member = (*path, index)
            self._note(member, self._at)
            self._value(member)
            index += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while True:
            self._skip(" \t\n,")
            if self._text[self._at] == "}":
                self._at += 1
                return
            self._pair(path)

    def _string(self) -> str:
        """Read a string of any of the four kinds and return its value (exact for one line)."""
        text = self._text
        quote = text[self._at]
        is_long = text.startswith(quote * 3, self._at)
        mark = quote * 3 if is_long else quote
        start = at = self._at + len(mark)
        while True:
            end = text.index(mark, at)
            escape = text.find("\\", at, end) if quote == '"' else -1
            if escape < 0:
                break
            at = escape + 2
        if is_long:
            # Up to two quotes may stand right before the closing three.
            while text.startswith(quote, end + 3):
                end += 1
        self._at = end + len(mark)
        body = text[start:end]
        return _unescape(body) if quote == '"' and "\\" in body else body


def _unescape(body: str) -> str:
    """Return a basic string's value; a line continuation never stands in a key."""
    out = []
    at = 0
    while (escape := body.find("\\", at)) >= 0:
        out.append(body[at:escape])
        kind = body[escape + 1]
        width = {"u": 4, "U": 8}.get(kind, 0)
        at = escape + 2 + width
        out.append(chr(int(body[escape + 2 : at], 16)) if width else _ESCAPES.get(kind, kind))
    out.append(body[at:])
    return "".join(out)
