"""Parsed TOML → layer: every value checked against the schema, every value with its place.

A layer maps a schema key to (value, origin), and for collections to {member: (value, origin)}, so
that layers merge without knowing what they hold.
"""

from __future__ import annotations

from sandbox.errors import PolicyError
from sandbox.policy import values
from sandbox.policy.model import HideRule, Symlink
from sandbox.policy.read_entries import read_mounts, read_removals, read_rules
from sandbox.policy.reader import NOT_YET, Reader
from sandbox.policy.schema import DEMANDS, LATER_KEYS, SCHEMA, TABLES
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sandbox.policy.parsed_cache import Parsed
    from sandbox.policy.reader import Layer, Path
    from sandbox.policy.schema import Key


def read_layer(label: str, parsed: Parsed) -> Layer:
    """Return the layer that a policy file states; `label` stands for the file in places.

    Errors: PolicyError(policy.unknown-key) with the nearest name, (policy.value), both with place.
    """
    reader = Reader(label, parsed)
    _read_table(reader, (), parsed.data)
    if "schema" not in reader.layer:
        raise PolicyError(
            f"{label}:1: the key schema is missing",
            hint="a policy file starts with: schema = 1",
            code="policy.value",
            key="schema",
        )
    _check_contradictions(reader)
    return reader.layer


def _check_contradictions(reader: Reader) -> None:
    """Refuse a file that allows and denies one name: deny would win, and the line mean nothing."""
    allowed, denied = (reader.layer.get(f"syscalls.{key}", {}) for key in ("allow", "deny"))
    for name in sorted(allowed.keys() & denied.keys()):
        places = f"{allowed[name][1]} and {denied[name][1]}"
        raise PolicyError(
            f"{places}: {escape(name)} is allowed and denied",
            hint="deny beats allow; remove one of the two lines",
            code="policy.conflict",
        )


def _read_table(reader: Reader, path: Path, table: dict[str, Any]) -> None:
    """Read the keys of one table of the schema into the layer."""
    for name, value in table.items():
        here = (*path, name)
        dotted = "" if "." in name else ".".join(map(str, here))
        key = SCHEMA.get(dotted)
        if key is not None:
            reader.layer[dotted] = _READERS[key.kind](reader, here, key, value)
        elif dotted in LATER_KEYS:
            # An empty list of what cannot be given yet says what holds anyway.
            if value != []:
                raise reader.error(here, f"this key {NOT_YET}", "remove the line")
        elif dotted not in TABLES:
            raise reader.unknown(here, _siblings(path))
        elif not isinstance(value, dict):
            raise reader.expected(here, "a table", value)
        else:
            _read_table(reader, here, value)


def _siblings(path: Path) -> list[str]:
    """Return the names that may stand in the table at `path`."""
    prefix = "".join(f"{part}." for part in path)
    names = [key[len(prefix) :].split(".")[0] for key in SCHEMA if key.startswith(prefix)]
    return list(dict.fromkeys(names))


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _read_choice(reader: Reader, path: Path, key: Key, value: Any) -> Any:
    return reader.choice(path, value, key.choices, key.later), reader.place(path)


def _read_bool(reader: Reader, path: Path, _key: Key, value: Any) -> Any:
    if not isinstance(value, bool):
        raise reader.expected(path, "true or false", value)
    return value, reader.place(path)


def _read_int(reader: Reader, path: Path, key: Key, value: Any) -> Any:
    if not _is_int(value) or not key.low <= value <= key.high:
        form = f"{key.low}" if key.low == key.high else f"a number from {key.low} to {key.high}"
        raise reader.expected(path, form, value)
    return value, reader.place(path)


def _read_text(reader: Reader, path: Path, _key: Key, value: Any) -> Any:
    text = reader.text(path, value)
    if path == ("process", "hostname") and not is_hostname(text):
        raise reader.expected(path, HOSTNAME_FORM, value)
    return text, reader.place(path)


HOSTNAME_FORM = "a host name: 1 to 64 letters, digits, dots and hyphens"


def is_hostname(text: str) -> bool:
    """Say whether `text` can be a host name (sethostname(2): at most 64 bytes)."""
    rest = text.replace("-", "a").replace(".", "a")
    return 0 < len(text) <= 64 and text.isascii() and rest.isalnum()


def _read_layers(reader: Reader, path: Path, _key: Key, value: Any) -> Any:
    names = reader.texts(path, value)
    places = tuple((name, reader.place((*path, index))) for index, name in enumerate(names))
    return places, reader.place(path)


def _read_action(reader: Reader, path: Path, _key: Key, value: Any) -> Any:
    return reader.action(path, value), reader.place(path)


def _read_measure(reader: Reader, path: Path, key: Key, value: Any) -> Any:
    """Read a size, duration, count or percent; `none` is no bound where the key may have none."""
    form, parse = MEASURES[key.kind]
    number = None
    if value == "none" and key.may_be_none:
        return None, reader.place(path)
    if isinstance(value, str):
        number = parse(value)
    elif _is_int(value) and key.kind in ("size", "count"):
        number = parse(str(value))
    elif _is_int(value) and reader.is_json:  # as the canonical form has them: ms, percent
        number = parse(f"{value}ms" if key.kind == "duration" else f"{value}%")
    if number is None or number < key.low:
        least = f" of at least {key.low}" if key.low else ""
        none = ' or "none"' if key.may_be_none else ""
        raise reader.expected(path, f"{form}{least}{none}", value)
    return number, reader.place(path)


MEASURES: dict[str, tuple[str, Callable[[str], int | None]]] = {
    "size": (values.SIZE_FORM, values.parse_size),
    "duration": (values.DURATION_FORM, values.parse_duration_ms),
    "count": ("a number", values.parse_count),
    "percent": (values.PERCENT_FORM, values.parse_percent),
}


def _read_names(reader: Reader, path: Path, key: Key, value: Any) -> Any:
    members = {}
    for index, name in enumerate(reader.texts(path, value)):
        here = (*path, index)
        if key.choices and name not in key.choices:
            _check_member(reader, here, key, name)
        elif path == ("env", "allow"):
            bare = name.removesuffix("*")
            if "*" in bare or not values.is_env_name(bare):
                raise reader.expected(here, "a variable's name, which may end in *", name)
        elif not name:
            raise reader.expected(here, "a name", name)
        members[name] = (name, reader.place(here))
    return members


def _read_sets(reader: Reader, path: Path, key: Key, value: Any) -> Any:
    if not isinstance(value, list):
        raise reader.expected(path, "an array of arrays of names", value)
    members = {}
    for index, names in enumerate(value):
        here = (*path, index)
        names_here = frozenset(_read_names(reader, here, key, names))
        members[names_here] = (names_here, reader.place(here))
    return members


def _check_member(reader: Reader, path: Path, key: Key, name: str) -> None:
    """Refuse a name that is none of the choices; rare socket families have a table of their own."""
    if path[:2] == ("syscalls", "socket_families"):
        from sandbox.policy.condition_names import SOCKET_FAMILIES  # every name of the kernel

        if name in SOCKET_FAMILIES:
            return
        raise reader.expected(path, "a socket family", name, tuple(SOCKET_FAMILIES))
    reader.choice(path, name, key.choices)


def _read_paths(reader: Reader, path: Path, _key: Key, value: Any) -> Any:
    members = {}
    for index, text in enumerate(reader.texts(path, value)):
        here = (*path, index)
        if set(text) & set("*?["):
            raise reader.error(here, f"a pattern {NOT_YET}", "name each path")
        where = reader.slot_path(here, text)
        members[where] = (HideRule(where, reader.place(here)), reader.place(here))
    return members


def _table(reader: Reader, path: Path, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise reader.expected(path, "a table", value)
    return value


def _read_env(reader: Reader, path: Path, _key: Key, value: Any) -> Any:
    members = {}
    for name, text in _table(reader, path, value).items():
        here = (*path, name)
        if not values.is_env_name(name):
            raise reader.error(here, "not a variable's name")
        parsed = values.parse_env_value(reader.text(here, text))
        if parsed is None:
            form = "a string in which a variable such as ${HOME} stands only at the start"
            raise reader.expected(here, form, text)
        members[name] = (parsed, reader.place(here))
    return members


def _read_symlinks(reader: Reader, path: Path, _key: Key, value: Any) -> Any:
    members = {}
    for name, target in _table(reader, path, value).items():
        here = (*path, name)
        where = values.normalise(name)
        if where in (None, "/"):
            raise reader.error(here, "a link's own path must be absolute, without variables")
        if not reader.text(here, target):
            raise reader.expected(here, "the path that the link points to", target)
        members[where] = (Symlink(str(where), target, reader.place(here)), reader.place(here))
    return members


def _read_demands(reader: Reader, path: Path, key: Key, value: Any) -> Any:
    members = {}
    for name, demand in _table(reader, path, value).items():
        here = (*path, name)
        if name not in key.choices:
            raise reader.unknown(here, list(key.choices))
        members[name] = (reader.choice(here, demand, DEMANDS), reader.place(here))
    return members


def _read_rules(reader: Reader, path: Path, _key: Key, value: Any) -> Any:
    return read_rules(reader, path, _table(reader, path, value))


def _read_mounts(reader: Reader, path: Path, _key: Key, value: Any) -> Any:
    return read_mounts(reader, path, value)


_READERS: dict[str, Callable[[Reader, Path, Key, Any], Any]] = {
    "demand": _read_choice,
    "choice": _read_choice,
    "bool": _read_bool,
    "int": _read_int,
    "text": _read_text,
    "layers": _read_layers,
    "remove": read_removals,
    "sets": _read_sets,
    "action": _read_action,
    "size": _read_measure,
    "duration": _read_measure,
    "count": _read_measure,
    "percent": _read_measure,
    "names": _read_names,
    "paths": _read_paths,
    "env": _read_env,
    "symlinks": _read_symlinks,
    "demands": _read_demands,
    "rules": _read_rules,
    "mounts": _read_mounts,
}
