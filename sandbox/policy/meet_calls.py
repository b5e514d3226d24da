"""The calls of a tightening layer against those of the policy; reads the call sets."""

from __future__ import annotations

from sandbox.policy.call_sets import expand, find_set, load_sets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.reader import Layer
    from sandbox.policy.syscall_model import SyscallRule

_ALLOW = "syscalls.allow"


def beyond(base: Layer, names: frozenset[str]) -> list[str]:
    """Return the calls of `names` that `base` does not allow, sorted.

    Errors: PolicyError(policy.value) for names that do not exist.
    """
    sets = load_sets()
    stated = expand(sets, names, place=_ALLOW)
    own = base.get("syscalls.base", ("", ""))[0]
    allowed = frozenset(base.get(_ALLOW, {})) | ({own} if own else frozenset())
    calls = set(expand(sets, allowed, place=_ALLOW))
    calls -= expand(sets, base.get("syscalls.deny", {}), place="syscalls.deny")
    for within in base.get("syscalls.within", {}):
        calls &= expand(sets, within, place="syscalls.within")
    for rule, _ in base.get("syscalls.rules", {}).values():
        if rule.action.kind == "allow":  # some uses of them pass
            calls |= expand(sets, rule.names, place=f"syscalls.rules.{rule.name}")
    return sorted(stated - calls)


def rules_of(base: Layer, name: str, replaced: frozenset[str]) -> list[SyscallRule]:
    """Return the rules of the set `name` that `base` does not have by its own set.

    Shape: without those that the layer itself `replaced` by a rule of that name.
    """
    sets = load_sets()
    own = base.get("syscalls.base", ("", ""))[0]
    has = set(find_set(sets, own).rules) if own else set()
    has -= {rule for rule in base.get("syscalls.rules", {}) if "#" not in rule}
    shipped = {rule.name: rule for rule in sets.rules}
    wanted = find_set(sets, name).rules
    return [shipped[rule] for rule in wanted if rule not in has and rule not in replaced]
