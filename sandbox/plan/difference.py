"""The difference of two plans: one row for each wall that only one of them has, or has otherwise.

Law: the difference is empty exactly where the plans agree in everything that enters their digest.
"""

from __future__ import annotations

from sandbox.plan.explain import MOUNT_ROWS
from sandbox.plan.model import SlotPath
from sandbox.record import fields_of, to_data
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.plan.model import MountOp, Plan

_OUTSIDE_DIGEST = frozenset({"notes", "rules", "fingerprint"})
_OUTSIDE_RECORD = frozenset({"origin"})


def _plain(value: Any) -> str:
    """A value as compact text; records as their fields that enter the digest."""
    if isinstance(value, SlotPath):
        return value.text()
    data = to_data(value)
    if isinstance(data, dict):
        kept = [f"{key}={item}" for key, item in data.items() if key not in _OUTSIDE_RECORD]
        return " ".join(kept)
    return str(data)


def _mount_text(op: MountOp) -> str:
    exact = [
        f"{name}={_plain(getattr(op, name))}"
        for name in ("source", "flags", "attrs", "size_bytes", "inodes", "upper")
        if getattr(op, name)
    ]
    exact.append(f"mode={op.mode_octal:04o}")
    if op.data:
        exact.append(f"data={op.data!r}")
    return f"{op.kind.name.lower()}: {MOUNT_ROWS[op.kind](op)} ({', '.join(exact)})"


def _rows(plan: Plan) -> dict[str, str]:
    rows: dict[str, str] = {}

    def add(key: str, text: str) -> None:
        number = 1
        name = key
        while name in rows:
            number += 1
            name = f"{key} ({number})"
        rows[name] = text

    for field in fields_of(plan):
        value = getattr(plan, field)
        if field in _OUTSIDE_DIGEST:
            continue
        if field == "mounts":
            for op in value:
                add(f"mount {op.target.text() or '/'}", _mount_text(op))
        elif field == "filters":
            for code in value:
                import hashlib  # only a difference pays for it

                digest = hashlib.sha256(code.code).hexdigest()
                add("filter", f"{code.instructions} instructions {digest} flags={code.flags}")
        elif isinstance(value, tuple):
            for item in value:
                add(field, _plain(item))
        else:
            rows[field] = _plain(value)
    return rows


def _order(plan: Plan, shared: set[SlotPath]) -> str:
    targets = dict.fromkeys(op.target.text() for op in plan.mounts if op.target in shared)
    return " ".join(targets)


def difference_data(a: Plan, b: Plan) -> list[dict[str, str | None]]:
    """Return the rows that differ, in the order of the plan's fields: key, `a`, `b`.

    Shape: None where one plan has no such row; lists are compared as sets of rows, but for the
           order of mounts, which is a row of its own.
    """
    left, right = _rows(a), _rows(b)
    keys = [*left, *(key for key in right if key not in left)]
    rows: list[dict[str, str | None]] = [
        {"key": key, "a": left.get(key), "b": right.get(key)}
        for key in keys
        if left.get(key) != right.get(key)
    ]
    orders = [_order(plan, {op.target for op in other.mounts}) for plan, other in ((a, b), (b, a))]
    if orders[0] != orders[1]:
        rows.append({"key": "order of mounts", "a": orders[0], "b": orders[1]})
    return rows


def difference_text(a: Plan, b: Plan) -> str:
    """Return the difference in lines `- key: value` (`a` alone) and `+ key: value`; "" if none."""
    lines = []
    for row in difference_data(a, b):
        for sign, value in (("-", row["a"]), ("+", row["b"])):
            if value is not None:
                lines.append(f"{sign} {escape(str(row['key']))}: {escape(value)}\n")
    return "".join(lines)
