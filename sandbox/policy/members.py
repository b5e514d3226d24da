"""What layers hold under a key: one value with its place, or members with theirs."""

from __future__ import annotations

from sandbox.policy.schema import COLLECTIONS, REMOVED, SCHEMA
from sandbox.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_collection(key: str) -> bool:
    """Say whether layers hold members under `key`, not one value."""
    return key == REMOVED or SCHEMA[key].kind in COLLECTIONS


def bare(value: Any) -> Any:
    """Return `value` without its place, which is no part of what it says."""
    return replace(value, origin="") if hasattr(value, "origin") else value


def name_of(member: Any) -> str:
    """Return a member's name as origins and messages write it."""
    if isinstance(member, str):
        return member
    if isinstance(member, frozenset):
        return " ".join(sorted(member))
    text: str = member.text()
    return text


def shown(value: Any) -> str:
    """Return a value as a message names it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if hasattr(value, "mode"):
        return f"mode {value.mode}" + (" noexec" if value.is_noexec else "")
    for field in ("action", "target", "text"):
        if hasattr(value, field):
            found = getattr(value, field)
            return str(found() if callable(found) else found)
    return str(value)
