"""Refused calls in words: the rule that refused each, its place, and what would let it pass."""

from __future__ import annotations

import errno as errno_names

from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from sandbox.launch.listener import Denial
    from sandbox.policy.model import Policy

LINES_MAX = 5


def denial_data(
    denials: Iterable[Denial], policy: Policy | None, arch: str
) -> tuple[dict[str, Any], ...]:
    """Return the result's `denials`; without a policy, or where it cannot say, `rule` is None."""
    explainer = None
    if policy is not None:
        from sandbox.policy.denial import Explainer  # only runs with refused calls pay for it

        explainer = Explainer(policy, arch)
    return tuple(_entry(denial, explainer, arch) for denial in denials)


def _entry(denial: Denial, explainer: Any, arch: str) -> dict[str, Any]:
    call, rule, fix = _name(denial.nr, arch), None, None
    if explainer is not None:
        found = explainer.explain(denial.nr, denial.args, denial.errno, arch=denial.arch)
        call, fix = found.call, found.fix
        rule = {"key": found.key, "origin": found.origin, "why": found.why}
    return {
        "t_ms": denial.t_ms,
        "layer": "seccomp",
        "call": call,
        "target": denial.text.decode("utf-8", "surrogateescape") or None,
        "errno": errno_names.errorcode.get(denial.errno, str(denial.errno)),
        "count": denial.count,
        "pid": denial.pid,
        "comm": denial.comm.decode("utf-8", "surrogateescape"),
        "rule": rule,
        "fix": fix,
    }


def _name(nr: int, arch: str) -> str:
    from sandbox.policy import calltable

    for name, number in calltable.call_numbers(arch).items():
        if number == nr:
            return name
    return f"#{nr}"


def denial_line(entry: dict[str, Any]) -> str:
    """Return one refused call as a line for people."""
    target = f" {escape(entry['target'])}" if entry["target"] else ""
    times = f" ×{entry['count']}" if entry["count"] > 1 else ""
    line = f"{entry['call']}{target} by {escape(entry['comm'])}: {entry['errno']}{times}"
    rule = entry["rule"]
    if rule is None:
        return line
    line += f", {rule['key']} at {escape(rule['origin'])}"
    if entry["fix"]:
        return f"{line}; to allow it: {escape(entry['fix'])}"
    return f"{line}; {escape(rule['why'])}" if rule["why"] else line


def denial_lines(entries: Sequence[dict[str, Any]], lost: int) -> tuple[str, ...]:
    """Return at most five lines about the refused calls of a run."""
    shown = list(entries)
    more = 0
    if len(shown) > LINES_MAX or (lost and len(shown) == LINES_MAX):
        more = len(shown) - LINES_MAX + 1
        shown = shown[: LINES_MAX - 1]
    lines = [f"refused: {denial_line(entry)}" for entry in shown]
    if more or lost:
        kinds = f"{more} more kinds" if more != 1 else "1 more kind"
        unkept = f", {lost} calls without a record" if lost else ""
        lines.append(f"refused: {kinds}{unkept}; see `sandbox log -n 1` or --result")
    return tuple(lines)
