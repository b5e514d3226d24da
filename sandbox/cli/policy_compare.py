"""`sandbox policy lint`, `diff` and `tighter`."""

from __future__ import annotations

from sandbox.cli.policy import EXIT_NO, arch_of, show_json
from sandbox.cli.policy_load import found_in_tree, imported_from, load, note_tree
from sandbox.cli.streams import say, show
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeVar

    from sandbox.cli.options import Parsed
    from sandbox.policy.difference import Change
    from sandbox.policy.model import Policy
    from sandbox.policy.tighter import Widening

    _Row = TypeVar("_Row", Change, Widening)

_WIDTH = 98
_AREAS = ("calls", "paths", "values")


def run_lint(parsed: Parsed) -> int:
    """Print what is wrong in policies; 1 if there is an error (with --strict, a warning)."""
    from sandbox.policy.lint import ERROR, lint
    from sandbox.record import to_data

    note_tree(parsed, parsed.rest)
    found = [(name, lint(load(name, parsed))) for name in parsed.rest]
    every = [one for _, findings in found for one in findings]
    counted = [one for one in every if one.level == ERROR or parsed.has("strict")]
    if parsed.has("json"):
        data = [{"policy": name, "findings": to_data(findings)} for name, findings in found]
        show_json(
            {"clean": not counted, "tree": found_in_tree(parsed, parsed.rest), "policies": data}
        )
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

    a, b, about = _both(parsed)
    changes = _compared(differences(a, b, arch_of(parsed)), about)
    if parsed.has("json"):
        show_json({"same": not changes, **about, "changes": to_data(changes)})
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

    a, b, about = _both(parsed)
    found = _compared(widenings(a, b), about)
    if parsed.has("json"):
        show_json({"tighter": not found, **about, "widenings": to_data(found)})
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
    ways = "1 way" if len(found) == 1 else f"{len(found)} ways"
    head = f"{escape(b.name)} is wider than {escape(a.name)} in {ways}\n"
    show(f"{head}--- {escape(a.name)}\n+++ {escape(b.name)}\n" + _grouped(rows))
    return EXIT_NO


def _both(parsed: Parsed) -> tuple[Policy, Policy, dict[str, Any]]:
    """Return the two policies to compare, and what an answer says about the comparison."""
    note_tree(parsed, parsed.rest, is_compared=True)
    a, b = (load(name, parsed, is_compared=True) for name in parsed.rest)
    forms = {imported_from(name)[0] for name in parsed.rest} - {"", "systemd"}
    if forms and not parsed.has("json"):
        say("sandbox: note: calls alone are compared: a seccomp profile says nothing else")
    about = {
        "a": _names(a),
        "b": _names(b),
        "tree": found_in_tree(parsed, parsed.rest, is_compared=True),
        "areas": ["calls"] if forms else list(_AREAS),
    }
    return a, b, about


def _compared(found: Iterable[_Row], about: dict[str, Any]) -> list[_Row]:
    """Return the rows of the areas that both sides say something about."""
    return [one for one in found if one.area in about["areas"]]


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
    for area, name, a, b in sorted(rows, key=lambda row: _AREAS.index(row[0])):
        groups.setdefault((area, a, b), []).append(name)
    lines: list[str] = []
    last = ""
    for (area, a, b), names in groups.items():
        if area != last:
            lines += ["", f"{area}:"]
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
