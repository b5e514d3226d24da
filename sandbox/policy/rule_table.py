"""The plan's table of what refuses: each line with its place, its calls and what would lift it."""

from __future__ import annotations

from sandbox.policy.model import BUILT_IN, COMMAND_LINE
from sandbox.policy.notes import dump_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.policy.model import Policy
    from sandbox.policy.syscalls import CompiledFilter

_WHY = {
    "syscalls.unknown": "no call that this version knows has the number",
    "syscalls.foreign_abi": "a filter judges one architecture, so no call of another may pass",
}


def rule_table(policy: Policy, compiled: CompiledFilter | None) -> bytes:
    """Return the table as JSON: rule id → key, origin, fix, why, and the calls where it has some.

    Shape: every call that the filter refuses, whatever its arguments or some, is in an entry; CALL
           in a fix stands for its name. The id is the key, with `+` where it has several entries:
           calls that the same line refuses may differ in whether anything lifts it.
    """
    table: dict[str, dict[str, Any]] = {}
    own = {rule.name: rule for rule in policy.syscalls.rules}
    for one in compiled.refusals if compiled is not None else ():
        rule = own.get(one.key.removeprefix("syscalls.rules."))
        origin = one.origin or (rule.origin if rule else _origin(policy, one.key))
        fix, why = one.fix, "; ".join(filter(None, (rule.why if rule else "", one.why)))
        if rule is not None and fix is not None and ("/" in origin or "#" in rule.name):
            fix = f"remove the rule {rule.name.partition('#')[0]} at {origin}"
        calls = " ".join(one.calls)  # one string: a list of hundreds costs a millisecond
        entry = {"key": one.key, "origin": origin, "fix": fix, "why": why, "calls": calls}
        name = one.key
        while name in table:
            name += "+"
        table[name] = entry
    if compiled is not None:
        for key in ("syscalls.unknown", "syscalls.foreign_abi"):
            origin = policy.origin(key)
            table[key] = {"key": key, "origin": origin, "fix": None, "why": _WHY[key]}
    for hidden in policy.filesystem.hide:
        key = f"filesystem.hide[{hidden.path.text()}]"
        fix = None if hidden.origin == COMMAND_LINE else f"remove it at {hidden.origin}"
        table[key] = {"key": key, "origin": hidden.origin, "fix": fix, "why": ""}
    return dump_json(table)


def _origin(policy: Policy, key: str) -> str:
    """Return the place of `key`, or of its first member."""
    found = policy.origin(key)
    if found != BUILT_IN:
        return found
    return next((place for name, place in policy.origins if name.startswith(f"{key}[")), BUILT_IN)
