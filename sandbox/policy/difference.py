"""The difference of two policies as sets that take effect: calls, paths, network, values.

Two files that read alike can differ (another parent, a group that grew), and two that read
differently can be the same; so nothing here looks at text. Calls are compared by what the filter
answers to arguments on every side of every condition, paths by the rights at every path that
either policy knows.
"""

from __future__ import annotations

from sandbox.plan.model import SlotPath
from sandbox.policy.arguments import telling_arguments
from sandbox.policy.judge import open_court
from sandbox.policy.resolved import resolved_values
from sandbox.policy.sight import WITNESS, View
from sandbox.policy.syscall_model import ALLOW
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.policy.judge import Court
    from sandbox.policy.model import Policy
    from sandbox.policy.sight import Sight
    from sandbox.policy.verdicts import Verdict

CALLS, PATHS, VALUES = "calls", "paths", "values"
# What these keys state is compared by its effect, under calls and paths.
_BY_EFFECT = (
    "syscalls.base",
    "syscalls.allow",
    "syscalls.deny",
    "syscalls.rules",
    "syscalls.denied",
    "filesystem.mounts",
    "filesystem.hide",
)


@record
class Change:
    """One effect that two policies do not share.

    Shape: `area` is calls, paths or values; `name` the call, the path or the key; `a` and `b` what
           each has there as text, "" for nothing; origins are file:line.
    """

    area: str
    name: str
    a: str
    b: str
    a_origin: str = ""
    b_origin: str = ""


def differences(a: Policy, b: Policy, arch: str) -> tuple[Change, ...]:
    """Return every effect in which `b` is not `a`, by area and name.

    Errors: PolicyError as compile_filter.
    """
    return (*_calls(a, b, arch), *_paths(a, b), *_values(a, b))


def call_text(court: Court, name: str) -> str:
    """Return what happens to the call: `allow, but errno:EPERM by terminal-injection`."""
    verdict = court.verdicts.get(name)
    if verdict is None:
        return str(ALLOW if court.program is None else court.policy.syscalls.unknown)
    default = str(verdict.default)
    if verdict.rule:
        default += f" by {verdict.rule}"
    parts = [f"{clause.action} by {clause.rule}" for clause in verdict.clauses]
    return f"{default}, but {', '.join(parts)}" if parts else default


def same_answers(first: Verdict, second: Verdict) -> bool:
    """Say whether two verdicts answer alike to every set of arguments."""
    if not first.clauses and not second.clauses:
        return first.default == second.default
    return all(
        first.answer(arguments) == second.answer(arguments)
        for arguments in telling_arguments((first, second))
    )


def _calls(a: Policy, b: Policy, arch: str) -> list[Change]:
    left, right = open_court(a, arch), open_court(b, arch)
    found = []
    for name in sorted({*left.verdicts, *right.verdicts}):
        one, two = left.verdicts.get(name), right.verdicts.get(name)
        if one is not None and two is not None and same_answers(one, two):
            continue
        if (one is None or two is None) and _is_open(one or two):
            continue  # no filter on one side, and the other lets every use of this call pass
        texts = call_text(left, name), call_text(right, name)
        if texts[0] == texts[1]:  # a rule of one name that says something else
            texts = texts[0], f"{texts[1]} (with other conditions)"
        origins = call_origin(left, name), call_origin(right, name)
        found.append(Change(CALLS, name, *texts, *origins))
    return found


def _is_open(verdict: Verdict | None) -> bool:
    return verdict is not None and not verdict.clauses and verdict.default.kind == "allow"


def call_origin(court: Court, name: str) -> str:
    """Return the place of the value that decides most uses of the call `name`."""
    from sandbox.policy.judge import judge, parse_call

    return judge(court, parse_call(name, court.arch)).origin


def _paths(a: Policy, b: Policy) -> list[Change]:
    left, right = View(a), View(b)
    found = []
    told: dict[SlotPath, tuple[str, str]] = {}
    for path in sorted(left.places() | right.places(), key=lambda one: (one.slot, one.path)):
        one, two = left.at(path), right.at(path)
        texts = _shown(one, path), _shown(two, path)
        told[path] = texts
        entry = SlotPath(path.path.rpartition(b"/")[0], path.slot)
        is_witness = path.path.endswith(WITNESS.encode())
        above = told.get(entry, ("", ""))
        if texts[0] == texts[1] or (is_witness and above[0] != above[1]):
            continue  # alike, or the entry above has told it
        found.append(Change(PATHS, path.text() or "/", *texts, one.origin, two.origin))
    return found


def _shown(sight: Sight, path: SlotPath) -> str:
    if sight.source is not None and sight.source != path:
        return f"{sight.words}, from {sight.source.text()}"
    return sight.words


def _values(a: Policy, b: Policy) -> list[Change]:
    left = {value.name: value for value in resolved_values(a)}
    right = {value.name: value for value in resolved_values(b)}
    found = []
    for name in dict.fromkeys((*left, *right)):
        one, two = left.get(name), right.get(name)
        key = (one or two).key  # type: ignore[union-attr]  # the name is in one of them
        if key in _BY_EFFECT or (one and two and one.value == two.value):
            continue
        texts = value_text(one.value) if one else "", value_text(two.value) if two else ""
        found.append(
            Change(VALUES, name, *texts, one.origin if one else "", two.origin if two else "")
        )
    return found


def value_text(value: Any) -> str:
    """Return a value as people compare it; no bound reads `none`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {value_text(item)}" for name, item in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value)
