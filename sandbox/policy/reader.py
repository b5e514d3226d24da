"""A policy file while it is read: places, errors, and the checks that many keys share."""

from __future__ import annotations

from sandbox.errors import PolicyError
from sandbox.policy import values
from sandbox.policy.syscall_model import parse_action
from sandbox.text import escape, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.plan.model import SlotPath
    from sandbox.policy.parsed_cache import Parsed

    Layer = dict[str, Any]
    Path = tuple[str | int, ...]

NOT_YET = "is not available in this version"


class Reader:
    """One file on its way to a layer."""

    def __init__(self, label: str, parsed: Parsed) -> None:
        self.layer: Layer = {}
        self._label = label
        self._places = parsed.places
        self.is_json = parsed.is_json

    def place(self, path: Path) -> str:
        """Return `file:line` of the value at `path`."""
        return f"{self._label}:{self._places.get(path, (1, 1))[0]}"

    def error(
        self, path: Path, problem: str, hint: str | None = None, code: str = "policy.value"
    ) -> PolicyError:
        """Return an error about the value at `path`."""
        line, column = self._places.get(path, (1, 1))
        return PolicyError(
            f"{self._label}:{line}: {_dotted(path)}: {problem}",
            hint=hint,
            code=code,
            file=self._label,
            line=line,
            column=column,
            key=_dotted(path),
        )

    def expected(self, path: Path, form: str, got: Any, known: tuple[str, ...] = ()) -> PolicyError:
        """Return the error for a value of the wrong type or form."""
        near = values.nearest(got, list(known)) if isinstance(got, str) and known else None
        hint = f"did you mean {near}?" if near else None
        return self.error(path, f"expected {form}, got {_shown(got)}", hint)

    def unknown(self, path: Path, known: list[str]) -> PolicyError:
        """Return the error for a key that the format does not have."""
        near = values.nearest(str(path[-1]), known)
        problem = f"there is no such key{f'; did you mean {near}?' if near else ''}"
        return self.error(path, problem, f"keys here: {', '.join(known)}", "policy.unknown-key")

    def text(self, path: Path, value: Any, form: str = "a string") -> str:
        """Return `value` if it is a string without NUL."""
        if not isinstance(value, str):
            raise self.expected(path, form, value)
        if "\0" in value:
            hint = "paths and variables cannot hold NUL on Linux"
            raise self.error(path, "a NUL byte stands in the value", hint)
        return value

    def texts(self, path: Path, value: Any, form: str = "an array of strings") -> list[str]:
        """Return `value` if it is an array of strings, none of them twice."""
        if not isinstance(value, list):
            raise self.expected(path, form, value)
        for index, member in enumerate(value):
            self.text((*path, index), member)
            if member in value[:index]:
                raise self.error((*path, index), f"{quote(member)} stands twice")
        return value

    def choice(
        self, path: Path, value: Any, choices: tuple[str, ...], later: tuple[str, ...] = ()
    ) -> str:
        """Return `value` if it is one of `choices`."""
        if isinstance(value, str) and value in choices:
            return value
        allowed = " or ".join(f'"{choice}"' for choice in choices)
        if isinstance(value, str) and value in later:
            raise self.error(path, f"{quote(value)} {NOT_YET}", f"possible now: {allowed}")
        raise self.expected(path, allowed, value, choices)

    def slot_path(self, path: Path, value: Any) -> SlotPath:
        """Return the path that `value` means."""
        found = values.parse_path(value) if isinstance(value, str) else None
        if found is None:
            raise self.expected(path, values.PATH_FORM, value)
        return found

    def action(self, path: Path, value: Any) -> Any:
        """Return the filter's answer that `value` names."""
        try:
            return parse_action(self.text(path, value, 'an action such as "errno:EPERM"'))
        except PolicyError as error:
            if "line" in error.fields:
                raise
            raise self.error(path, error.message, error.hint) from error


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f"{'.' if text else ''}{escape(part)}"
    return text


def _shown(value: Any) -> str:
    """Return `value` as TOML writes it, or its type where that would be long."""
    if isinstance(value, str):
        return quote(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    return str(value)[:60]
