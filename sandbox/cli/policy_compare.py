"""`sandbox policy lint`, `diff` and `tighter`."""

from __future__ import annotations

from sandbox.cli.policy import EXIT_NO, arch_of, load, show_json
from sandbox.cli.streams import show
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.cli.options import Parsed

_WIDTH = 98
_HEADS = {"calls": "calls", "paths": "paths", "values": "values"}


def run_lint(parsed: Parsed) -> int:
    """Print what is wrong in policies; 1 if there is an error (with --strict, a warning)."""
    from sandbox.policy.lint import ERROR, lint
    from sandbox.record import to_data

    found = [(name, lint(load(name))) for name in parsed.rest]
    every = [one for _, findings in found for one in findings]
    counted = [one for one in every if one.level == ERROR or parsed.has("strict")]
    if parsed.has("json"):
        data = [{"policy": name, "findings": to_data(findings)} for name, findings in found]
        show_json({"clean": not counted, "policies": data})
    else:
        for name, findings in found:
            for one in findings:
                show(
                    f"{escape(one.origin)}: {one.level}: {escape(one.key)} {escape(one.problem)}"
                    f" [{one.code}]\n  hint: {escape(one.hint)}\n"
                )
            if not findings:
                show(f"{escape(name)}: nothing found\n")
    return EXIT_NO if counted else 0


def run_diff(parsed: Parsed) -> int:
    """Print what takes effect in one policy and not in the other; 1 if there is anything."""
    from sandbox.policy.difference import differences
    from sandbox.record import to_data

    a, b = load(parsed.rest[0]), load(parsed.rest[1])
    changes = differences(a, b, arch_of(parsed))
    if parsed.has("json"):
        names = {"a": _names(a), "b": _names(b)}
        show_json({"same": not changes, **names, "changes": to_data(changes)})
        return EXIT_NO if changes else 0
    if not changes:
        show(f"{escape(a.name)} and {escape(b.name)} have the same effect\n")
        return 0
    rows = [
        (one.area, one.name, _side(one.a, one.a_origin), _side(one.b, one.b_origin))
        for one in changes
    ]
    show(f"--- {escape(a.name)}\n+++ {escape(b.name)}\n" + _grouped(rows))
    return EXIT_NO


def run_tighter(parsed: Parsed) -> int:
    """Print each way in which B allows more than A; 0 if there is none."""
    from sandbox.policy.tighter import widenings
    from sandbox.record import to_data

    a, b = load(parsed.rest[0]), load(parsed.rest[1])
    found = widenings(a, b)
    if parsed.has("json"):
        names = {"a": _names(a), "b": _names(b)}
        show_json({"tighter": not found, **names, "widenings": to_data(found)})
        return EXIT_NO if found else 0
    if not found:
        show(f"{escape(b.name)} allows nothing that {escape(a.name)} does not\n")
        return 0
    rows = [
        (
            one.area,
            _witness(one),
            _side(one.base, one.base_origin),
            _side(one.other, one.other_origin),
        )
        for one in found
    ]
    head = f"{escape(b.name)} is wider than {escape(a.name)} in {len(found)} ways\n"
    show(f"{head}--- {escape(a.name)}\n+++ {escape(b.name)}\n" + _grouped(rows))
    return EXIT_NO


def _witness(one: Any) -> str:
    """Return what shows the widening; a value is nothing without its key."""
    return str(one.witness) if one.area != "values" else f"{one.key} {one.witness}"


def _names(policy: Any) -> dict[str, str]:
    return {"name": policy.name, "path": policy.path, "sha256": policy.sha256}


def _side(text: str, origin: str) -> str:
    return f"{text or 'absent'}   [{origin}]" if origin else text or "absent"


def _grouped(rows: list[tuple[str, str, str, str]]) -> str:
    """Return the rows with those that differ in the same way together, area by area."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    order = tuple(_HEADS)
    for area, name, a, b in sorted(rows, key=lambda row: order.index(row[0])):
        groups.setdefault((area, a, b), []).append(name)
    lines: list[str] = []
    last = ""
    for (area, a, b), names in groups.items():
        if area != last:
            lines += ["", f"{_HEADS[area]}:"]
            last = area
        lines += _wrapped([escape(name) for name in names])
        lines += [f"    - {escape(a)}", f"    + {escape(b)}"]
    return "\n".join(lines).lstrip("\n") + "\n"


def _wrapped(names: list[str]) -> list[str]:
    lines = ["  " + names[0]]
    for name in names[1:]:
        if len(lines[-1]) + len(name) + 2 > _WIDTH:
            lines[-1] += ","
            lines.append("  " + name)
        else:
            lines[-1] += f", {name}"
    return lines
