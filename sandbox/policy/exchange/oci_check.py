"""The types of imported JSON, checked with the place of each value."""

from __future__ import annotations

from sandbox.errors import PolicyError
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ITEMS_MAX = 20_000
_TEXT_MAX = 4096


class Checker:
    """Reads values of one file; every error names the file and the place in it."""

    def __init__(self, label: str) -> None:
        self._label = escape(label)

    def error(self, place: str, problem: str) -> PolicyError:
        """Return an error about the value at `place`."""
        return PolicyError(
            f"{self._label}: {place}: {problem}",
            hint="nothing was made of it",
            code="policy.import",
            place=place,
        )

    def table(self, place: str, value: Any) -> dict[str, Any]:
        """Return `value` if it is an object."""
        if not isinstance(value, dict):
            raise self._expected(place, "an object", value)
        return value

    def array(self, place: str, value: Any) -> list[Any]:
        """Return `value` if it is an array of a sane length."""
        if not isinstance(value, list):
            raise self._expected(place, "an array", value)
        if len(value) > _ITEMS_MAX:
            raise self.error(place, f"it has more than {_ITEMS_MAX} entries")
        return value

    def text(self, place: str, value: Any) -> str:
        """Return `value` if it is a string of a sane length."""
        if not isinstance(value, str):
            raise self._expected(place, "a string", value)
        if len(value) > _TEXT_MAX:
            raise self.error(place, f"it has more than {_TEXT_MAX} characters")
        return value

    def texts(self, place: str, value: Any) -> list[str]:
        """Return `value` if it is an array of strings."""
        return [
            self.text(f"{place}[{at}]", item) for at, item in enumerate(self.array(place, value))
        ]

    def number(self, place: str, value: Any, most: int) -> int:
        """Return `value` if it is a whole number from 0 to `most`."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._expected(place, "a number", value)
        if not 0 <= value <= most:
            raise self.error(place, f"{value} is not from 0 to {most}")
        return value

    def version(self, place: str, value: Any) -> tuple[int, int]:
        """Return a kernel version such as "4.8" as two numbers."""
        found = kernel_version(self.text(place, value))
        if found is None:
            raise self._expected(place, 'a version such as "4.8"', value)
        return found

    def _expected(self, place: str, form: str, got: Any) -> PolicyError:
        kinds = {dict: "an object", list: "an array", str: "a string", bool: "true or false"}
        word = "nothing" if got is None else kinds.get(type(got), "a number")
        return self.error(place, f"expected {form}, got {word}")


def kernel_version(text: str) -> tuple[int, int] | None:
    """Return the first two numbers of a kernel release, or None."""
    numbers = []
    for part in text.split(".")[:2]:
        digits = "".join(char for char in part.partition("-")[0] if char in "0123456789")
        if not digits or len(digits) > 6:
            return None
        numbers.append(int(digits))
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None
