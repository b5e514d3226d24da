"""Policies as TOML text, section by section in the order of the format."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WIDTH = 100


def policy_toml(comments: list[str], tables: dict[str, dict[str, Any]]) -> str:
    """Return a policy file.

    Shape: `comments` stand at its head; `tables` maps "" (the top) and table names to keys; a
           dict as a value becomes an inline table, one entry of `rules` to a line.
    """
    lines = [f"# {comment}".rstrip() for comment in comments]
    for name, table in tables.items():
        if not table:
            continue
        if name:
            lines += ["", f"[{name}]"]
        for key, value in table.items():
            if key == "rules":
                lines += [f"rules.{rule} = {_value(body)}" for rule, body in value.items()]
            else:
                lines += _entry(key, value)
    return "\n".join(lines) + "\n"


def _entry(key: str, value: Any) -> list[str]:
    text = f"{_key(key)} = {_value(value)}"
    if len(text) <= _WIDTH or not isinstance(value, list):
        return [text]
    lines = [f"{_key(key)} = ["]
    line = " "
    for item in value:
        word = f" {_value(item)},"
        if len(line) + len(word) > _WIDTH:
            lines.append(line)
            line = " "
        line += word
    return [*lines, line, "]"]


def _key(name: str) -> str:
    bare = name.replace("-", "").replace("_", "").replace(".", "")  # a dotted key of our own
    return name if bare.isascii() and bare.isalnum() else text(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
        )
    return text(str(value))


def text(value: str) -> str:
    """Return `value` as a TOML basic string."""
    out = []
    for char in value:
        if char in '"\\':
            out.append("\\" + char)
        elif char.isprintable() and not 0xD800 <= ord(char) <= 0xDFFF:
            out.append(char)
        else:
            code = ord(char) if not 0xD800 <= ord(char) <= 0xDFFF else 0xFFFD
            out.append(f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'
