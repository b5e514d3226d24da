"""`--allow-syscall` and `--deny-syscall`; they read the call sets, to see what would refuse."""

from __future__ import annotations

from sandbox.errors import UsageError
from sandbox.record import replace
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.policy.model import Flag
    from sandbox.policy.syscall_model import SyscallPolicy


def allow_calls(state: Any, flag: Flag) -> None:
    """Allow a call or a @group: out of every denial, into every set of calls.

    Errors: UsageError where a rule answers the call whatever its arguments are.
    """
    from sandbox.policy.call_sets import effective_rules, expand, load_sets

    syscalls = state.policy.syscalls
    sets = load_sets()
    calls = expand(sets, [flag.value], place=escape(flag.text))
    for rule in effective_rules(syscalls, sets):
        refused = expand(sets, rule.names, place=rule.name) & calls
        if refused and not rule.when and rule.action.kind != "allow":
            name = min(refused)
            raise UsageError(
                f"{escape(flag.text)}: the rule {rule.name} ({rule.origin}) answers {name} by"
                f" {rule.action}: {rule.why or 'it says no reason'}",
                hint=f"to have it otherwise, state a rule of the name {rule.name} in a policy",
                code="usage.flag",
            )
    denied: set[str] = set()
    for name in syscalls.deny:
        members = expand(sets, [name], place="syscalls.deny")
        denied |= (members - calls) if members & calls else {name}
    changed = replace(
        syscalls,
        allow=syscalls.allow | {flag.value},
        deny=frozenset(denied),
        within=tuple(names | {flag.value} for names in syscalls.within),
    )
    lifted = sorted(syscalls.deny - changed.deny)
    was = f"denied by {', '.join(lifted)}" if lifted else _listed(syscalls, "allow")
    _set(state, changed, "allow", flag, was)


def deny_calls(state: Any, flag: Flag) -> None:
    """Deny a call or a @group, which beats every allowance."""
    from sandbox.policy.call_sets import expand, load_sets

    expand(load_sets(), [flag.value], place=escape(flag.text))
    syscalls = state.policy.syscalls
    changed = replace(syscalls, deny=syscalls.deny | {flag.value})
    _set(state, changed, "deny", flag, _listed(syscalls, "deny"))


def _listed(syscalls: SyscallPolicy, field: str) -> str:
    return " ".join(sorted(getattr(syscalls, field))) or "none"


def _set(state: Any, syscalls: SyscallPolicy, field: str, flag: Flag, was: str) -> None:
    state.policy = replace(state.policy, syscalls=syscalls)
    state.set_value(f"syscalls.{field}[{flag.value}]", flag.value, was)
