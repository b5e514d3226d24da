"""The JSON Schema of policy files, made from the table of keys that also reads them.

TOML and JSON hold the same data, so editors complete and check `*.toml` with it (taplo, VS Code).
It says what a file may look like; what depends on two keys at once is said by load.py alone.
"""

from __future__ import annotations

from sandbox.policy import schema as keys
from sandbox.policy.condition_names import SOCKET_FAMILIES
from sandbox.policy.schema import SCHEMA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sandbox.policy.schema import Key

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ACTION = r"^(allow|kill|trap|errno:([A-Z][A-Z0-9]*|[0-9]{1,4}))$"
_SIZE = r"^[0-9]{1,19}[BKMGT]?$"
_DURATION = r"^[0-9]{1,19}(ms|s|m|h)$"
_PATTERNS = {
    "size": _SIZE,
    "duration": _DURATION,
    "count": "^[0-9]{1,10}$",
    "percent": r"^[0-9]{1,7}%$",
}
_PATH = r"^(/|\$\{(HOME|CWD|TMP|RUNTIME_DIR)\}(/|$))"
_MOUNT_TYPES: dict[str, dict[str, Any]] = {
    "path": {"type": "string", "pattern": _PATH},
    "source": {"type": "string", "pattern": _PATH},
    "mode": {"enum": list(keys.MOUNT_MODES)},
    "size": {"anyOf": [{"type": "string", "pattern": _SIZE}, {"type": "integer", "minimum": 0}]},
    "noexec": {"type": "boolean"},
    "optional": {"type": "boolean"},
    "only": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    "commit": {"enum": ["discard", "ask", "on-success"]},
}


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a policy file."""
    root: dict[str, Any] = {
        "$schema": _DRAFT,
        "title": "sandbox policy",
        "description": "What a command may do; sandbox-policy(5) explains each key.",
        **_table({}),
    }
    for key, spec in SCHEMA.items():
        _place(root, key.split("."), _value(key, spec))
    for key in sorted(keys.LATER_KEYS):
        # an empty list says what holds anyway, so that a file can state it
        _place(root, key.split("."), {"const": [], "description": "not in this version"})
    root["required"] = ["schema"]
    return root


def _table(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _place(table: dict[str, Any], path: list[str], value: dict[str, Any]) -> None:
    for name in path[:-1]:
        table = table["properties"].setdefault(name, _table({}))
    table["properties"].setdefault(path[-1], value)


def _value(key: str, spec: Key) -> dict[str, Any]:
    found = _of_kind(key, spec)
    if spec.default not in (None, "", ()):
        found["default"] = spec.default
    elif spec.may_be_none:
        found["default"] = "none"
    return found


def _of_kind(key: str, spec: Key) -> dict[str, Any]:
    kind = spec.kind
    if kind in ("demand", "choice"):
        return {"enum": list(spec.choices)}
    if kind == "int":
        return {"type": "integer", "minimum": spec.low, "maximum": spec.high}
    if kind in ("size", "duration", "count", "percent"):
        return _measure(spec)
    if kind in ("names", "paths", "layers"):
        return _list(key, spec)
    if kind == "sets":
        return {"type": "array", "items": _list(key, spec)}
    if kind == "demands":
        return _table({name: {"enum": list(keys.DEMANDS)} for name in spec.choices})
    return _FIXED[kind]()


def _measure(spec: Key) -> dict[str, Any]:
    # a number of milliseconds, or of percent, is read from JSON alone
    choices: list[dict[str, Any]] = [
        {"type": "string", "pattern": _PATTERNS[spec.kind]},
        {"type": "integer", "minimum": spec.low},
    ]
    if spec.may_be_none:
        choices.append({"const": "none"})
    return {"anyOf": choices}


def _list(key: str, spec: Key) -> dict[str, Any]:
    item: dict[str, Any] = {"type": "string"}
    if key == "syscalls.socket_families":
        item = {"enum": list(SOCKET_FAMILIES)}
    elif spec.choices:
        item = {"enum": list(spec.choices)}
    elif spec.kind == "paths":
        item = {"type": "string", "pattern": _PATH}
    return {"type": "array", "items": item, "uniqueItems": True}


def _removals() -> dict[str, Any]:
    """The table `[remove]`: the same tables as the format, holding the names of members."""
    table = _table({"reason": {"type": "string"}})
    for key, spec in SCHEMA.items():
        if spec.kind in keys.COLLECTIONS:
            names = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
            _place(table, key.split("."), names)
    return table


def _rule() -> dict[str, Any]:
    types: dict[str, dict[str, Any]] = {
        "names": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "when": {"type": "string"},
        "action": {"type": "string", "pattern": _ACTION},
        "why": {"type": "string"},
    }
    known = {name: types.get(name, {}) for name in keys.RULE_KEYS}
    return {**_table(known), "required": ["names", "action"]}


def _texts() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": {"type": "string"}}


def _mounts() -> dict[str, Any]:
    known = {name: _MOUNT_TYPES.get(name, {}) for name in keys.MOUNT_KEYS}
    return {"type": "array", "items": {**_table(known), "required": ["path", "mode"]}}


# Kinds that are the same whatever the key.
_FIXED: dict[str, Callable[[], dict[str, Any]]] = {
    "bool": lambda: {"type": "boolean"},
    "text": lambda: {"type": "string"},
    "action": lambda: {"type": "string", "pattern": _ACTION},
    "env": _texts,
    "symlinks": _texts,
    "rules": lambda: {"type": "object", "additionalProperties": _rule()},
    "mounts": _mounts,
    "remove": _removals,
}
