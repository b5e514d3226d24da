"""The two kinds of values that are tables of their own: mounts and filter rules."""

from __future__ import annotations

from sandbox.plan.model import Slot
from sandbox.policy import values
from sandbox.policy.model import MountRule
from sandbox.policy.schema import (
    COLLECTIONS,
    MOUNT_KEYS,
    MOUNT_MODES,
    RULE_KEYS,
    SCHEMA,
    TABLES,
)
from sandbox.policy.syscall_model import SyscallRule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.plan.model import SlotPath
    from sandbox.policy.reader import Path, Reader
    from sandbox.policy.schema import Key

# Which keys a mode has besides path and mode; another one would silently do nothing.
_KEYS_OF_MODE = {
    "ro": ("source", "noexec", "optional", "only"),
    "rw": ("source", "noexec", "optional"),
    "tmpfs": ("size", "noexec"),
    "overlay": ("source", "size", "noexec", "optional", "commit"),
}
_REMOVE_HINT = 'for example: [remove] filesystem.mounts = ["/usr"]'
# The sandbox makes these itself; a mount over them would bring the host's back.
_OWN = ((b"/proc",), (b"/dev", b"/dev/shm"), (b"/sys",))  # a path inside


def refused_target(path: SlotPath) -> str | None:
    """Return why nothing may be mounted at `path`, or None."""
    if path.slot is not Slot.NONE:
        return None
    if path.path == b"/":
        return "the root is the sandbox's own; name what is to be seen below it"
    for top, *free in _OWN:
        is_below = path.path == top or path.path.startswith(top + b"/")
        if is_below and path.path not in free:
            return f"{top.decode()} is the sandbox's own"
    return None


def read_mounts(reader: Reader, path: Path, value: Any) -> dict[SlotPath, tuple[MountRule, str]]:
    """Return the mounts of the array `value` by their path."""
    if not isinstance(value, list):
        raise reader.expected(path, "an array of tables", value)
    members: dict[SlotPath, tuple[MountRule, str]] = {}
    for index, entry in enumerate(value):
        here = (*path, index)
        if not isinstance(entry, dict):
            raise reader.expected(here, "a table such as { path = …, mode = … }", entry)
        rule = _read_mount(reader, here, entry)
        if rule.path in members:
            first = members[rule.path][1]
            raise reader.error(here, f"{rule.path.text()} stands twice; first at {first}")
        members[rule.path] = (rule, rule.origin)
    return members


def _read_mount(reader: Reader, path: Path, entry: dict[str, Any]) -> MountRule:
    for name in entry:
        if name not in MOUNT_KEYS:
            raise reader.unknown((*path, name), list(MOUNT_KEYS))
    for name in ("path", "mode"):
        if name not in entry:
            raise reader.error(path, f"the key {name} is missing")
    where = reader.slot_path((*path, "path"), entry["path"])
    refusal = refused_target(where)
    if refusal is not None:
        raise reader.error((*path, "path"), refusal)
    mode = reader.choice((*path, "mode"), entry["mode"], MOUNT_MODES)
    for name in entry:
        if name not in ("path", "mode", *_KEYS_OF_MODE[mode]):
            raise reader.error((*path, name), f"a mount with mode {mode} has no {name}")
    if "commit" in entry:
        reader.choice((*path, "commit"), entry["commit"], ("discard",), ("ask", "on-success"))
    source = None
    if "source" in entry:
        source = reader.slot_path((*path, "source"), entry["source"])
    return MountRule(
        path=where,
        mode=mode,
        source=source,
        size_bytes=_read_size(reader, (*path, "size"), entry.get("size")),
        is_noexec=_read_flag(reader, (*path, "noexec"), entry.get("noexec", False)),
        is_optional=_read_flag(reader, (*path, "optional"), entry.get("optional", False)),
        only=_read_only(reader, (*path, "only"), entry.get("only"), source or where),
        origin=reader.place(path),
    )


def _read_flag(reader: Reader, path: Path, value: Any) -> bool:
    if not isinstance(value, bool):
        raise reader.expected(path, "true or false", value)
    return value


def _read_size(reader: Reader, path: Path, value: Any) -> int:
    if value is None:
        return 0
    is_number = isinstance(value, int) and not isinstance(value, bool)
    size = values.parse_size(str(value)) if is_number or isinstance(value, str) else None
    if not size:
        raise reader.expected(path, "a size such as 64M or 2G", value)
    return size


def _read_only(reader: Reader, path: Path, value: Any, source: SlotPath) -> tuple[str, ...]:
    if value is None:
        return ()
    if source.slot is not Slot.NONE:
        raise reader.error(path, "children can be named only below a fixed path")
    names = reader.texts(path, value)
    for index, name in enumerate(names):
        if "/" in name or name in ("", ".", ".."):
            raise reader.expected((*path, index), "the name of a child, without slash", name)
    if not names:
        raise reader.expected(path, "at least one name", value)
    return tuple(names)


def read_rules(
    reader: Reader, path: Path, table: dict[str, Any]
) -> dict[str, tuple[SyscallRule, str]]:
    """Return the filter rules of `[syscalls] rules` by their name."""
    members = {}
    for name, entry in table.items():
        here = (*path, name)
        if not isinstance(entry, dict):
            raise reader.expected(here, "a table such as { names = [...], action = … }", entry)
        for key in entry:
            if key not in RULE_KEYS:
                raise reader.unknown((*here, key), list(RULE_KEYS))
        for key in ("names", "action"):
            if key not in entry:
                raise reader.error(here, f"the key {key} is missing")
        names = reader.texts((*here, "names"), entry["names"])
        if not names:
            raise reader.expected((*here, "names"), "at least one call", entry["names"])
        rule = SyscallRule(
            name=name,
            names=tuple(names),
            when=reader.text((*here, "when"), entry.get("when", "")),
            action=reader.action((*here, "action"), entry["action"]),
            why=reader.text((*here, "why"), entry.get("why", "")),
            origin=reader.place(here),
        )
        members[name] = (rule, rule.origin)
    return members


def read_removals(reader: Reader, path: Path, _key: Key, value: Any) -> Any:
    """Return the table `[remove]`: {(key, member): place}, its reason, and the table's place.

    Shape: members are named as the key's own table or array names them; mounts by their path.
    """
    reason, members = "", {}
    pending = [(path, value)]
    while pending:
        here, entry = pending.pop()
        dotted = ".".join(map(str, here[1:]))
        key = SCHEMA.get(dotted)
        if dotted == "reason":
            reason = reader.text(here, entry).strip()
        elif key is not None and key.kind in COLLECTIONS:
            for index, text in enumerate(reader.texts(here, entry)):
                place = (*here, index)
                members[dotted, _member(reader, place, key, text)] = reader.place(place)
        elif isinstance(entry, dict) and (dotted in TABLES or not dotted):
            pending += [((*here, name), item) for name, item in entry.items()]
        elif key is not None or dotted in TABLES:
            raise reader.error(here, "only members of sets and tables can be removed", _REMOVE_HINT)
        else:
            raise reader.unknown(here, [*SCHEMA, "reason"])
    return members, reason, reader.place(path)


def _member(reader: Reader, path: Path, key: Key, text: str) -> Any:
    if key.kind in ("mounts", "paths"):
        return reader.slot_path(path, text)
    return (values.normalise(text) or text) if key.kind == "symlinks" else text
