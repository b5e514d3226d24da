"""The canonical form of a resolved policy: JSON that names it, and that reads as a policy file.

Sorted keys and sets, bytes and milliseconds as integers, no places, no summary, no spaces, UTF-8.
Two policies that say the same have the same bytes, whatever files they came from; their SHA-256 is
the policy's in every result. It is made of the composed layer and the schema, so a key that is new
in the schema is in it.
"""

from __future__ import annotations

from sandbox.policy.lattice import SIZES_BYTES
from sandbox.policy.notes import dump_json
from sandbox.policy.schema import COMPOSITION, SCHEMA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.policy.model import MountRule
    from sandbox.policy.reader import Layer
    from sandbox.policy.syscall_model import SyscallRule

_LEFT_OUT = frozenset({*COMPOSITION, "summary"})


def canonical_json(layer: Layer) -> bytes:
    """Return the canonical form of a composed layer; unstated keys have their defaults."""
    data: dict[str, Any] = {}
    for dotted, key in SCHEMA.items():
        if dotted in _LEFT_OUT:
            continue
        *tables, name = dotted.split(".")
        table = data
        for part in tables:
            table = table.setdefault(part, {})
        entry = layer.get(dotted)
        form = _FORMS.get(key.kind)
        if form is not None:
            members = entry or {}
            if dotted == "syscalls.allow":  # what is denied as well is not allowed
                members = members.keys() - layer.get("syscalls.deny", {}).keys()
            table[name] = form(members)
        else:
            value = entry[0] if entry is not None else key.default
            table[name] = _value(key.kind, value)
    return dump_json(data)


def _value(kind: str, value: Any) -> Any:
    if value is None:
        return "none"
    return str(value) if kind == "action" else value


def _mounts(members: dict[Any, Any]) -> list[dict[str, Any]]:
    return [_mount(entry[0]) for entry in sorted(members.values(), key=lambda one: _key(one[0]))]


def _key(rule: Any) -> str:
    text: str = rule.path.text()
    return text


def _mount(rule: MountRule) -> dict[str, Any]:
    data: dict[str, Any] = {"path": rule.path.text(), "mode": rule.mode}
    if rule.source is not None and rule.source != rule.path:
        data["source"] = rule.source.text()
    if rule.mode in SIZES_BYTES:
        data["size"] = rule.size_bytes or SIZES_BYTES[rule.mode]
    if rule.only:
        data["only"] = sorted(rule.only)
    if rule.is_noexec:
        data["noexec"] = True
    if rule.is_optional:
        data["optional"] = True
    return data


def _rule(rule: SyscallRule) -> dict[str, Any]:
    data: dict[str, Any] = {"names": sorted(rule.names), "action": str(rule.action)}
    if rule.when:
        data["when"] = rule.when
    if rule.why:
        data["why"] = rule.why
    return data


_FORMS: dict[str, Any] = {
    "names": sorted,
    "paths": lambda members: sorted(path.text() for path in members),
    "sets": lambda members: sorted(sorted(names) for names in members),
    "demands": lambda members: {name: entry[0] for name, entry in members.items()},
    "env": lambda members: {name: entry[0].text() for name, entry in members.items()},
    "symlinks": lambda members: {name: entry[0].target for name, entry in members.items()},
    "rules": lambda members: {name: _rule(entry[0]) for name, entry in members.items()},
    "mounts": _mounts,
}
