"""Unit files of systemd: their keys and values, with the line of each."""

from __future__ import annotations

from sandbox.errors import PolicyError
from sandbox.text import escape, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE_MAX = 1 << 20


class Unit:
    """The keys of a unit file: each with its line and value, in order."""

    def __init__(self, body: bytes, label: str) -> None:
        self.label = escape(label)
        self.lines: list[tuple[int, str, str]] = list(self._read(body))

    def _read(self, body: bytes) -> Iterator[tuple[int, str, str]]:
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as error:
            line = body.count(b"\n", 0, error.start) + 1
            raise self.error(line, "a byte that is not UTF-8") from error
        joined, start = "", 0
        for number, raw in enumerate(text.split("\n"), 1):
            stripped = raw.strip()
            if not joined:
                start = number
            if (not stripped and not joined) or stripped.startswith(("#", ";")):
                continue
            joined += stripped
            if len(joined) > _LINE_MAX:
                raise self.error(start, "the line is too long")
            if joined.endswith("\\"):
                joined = joined[:-1] + " "
                continue
            if not (joined.startswith("[") and joined.endswith("]")):
                key, equals, value = joined.partition("=")
                if not equals or not key.strip().isalnum():
                    raise self.error(start, f"expected KEY=VALUE, got {quote(joined[:40])}")
                yield start, key.strip(), value.strip()
            joined = ""

    def error(self, line: int, problem: str) -> PolicyError:
        """Return an error about one line."""
        return PolicyError(
            f"{self.label}:{line}: {problem}",
            hint="lines as in systemd.exec(5)",
            code="policy.import",
            line=line,
        )
