"""Is B at least as tight as A? The answer of order.py, with places and something to try.

A witness of a call is given as `sandbox policy simulate` reads it, so that anybody can see the
answer of both policies for himself.
"""

from __future__ import annotations

from sandbox.policy import calltable
from sandbox.policy.arguments import telling_arguments
from sandbox.policy.condition_names import SOCKET_FAMILIES
from sandbox.policy.model import BUILT_IN
from sandbox.policy.order import widenings as order_widenings
from sandbox.policy.resolved import origin_below
from sandbox.policy.sight import View
from sandbox.policy.syscalls import resolve_calls
from sandbox.policy.values import parse_path
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.model import Policy
    from sandbox.policy.verdicts import Verdict


@record
class Widening:
    """One thing that B allows and A does not.

    Shape: `area` is calls, paths or values; `key` the policy key; `witness` the call, path,
           variable or value that shows it; `base` and `other` what A and B say about it, with
           their places.
    """

    area: str
    key: str
    witness: str
    base: str
    other: str
    base_origin: str
    other_origin: str


def widenings(base: Policy, other: Policy) -> tuple[Widening, ...]:
    """Return every way in which `other` allows more than `base`; empty: it is as tight or tighter.

    Errors: PolicyError for a policy whose calls cannot be resolved.
    """
    views = View(base), View(other)
    trial = _Trial(base, other)
    found = []
    for item in order_widenings(base, other):
        area = _area(item.key)
        witness = item.witness
        places = _origin(base, item.key, witness), _origin(other, item.key, witness)
        path = parse_path(witness) if area == "paths" else None
        if path is not None:
            places = views[0].at(path).origin, views[1].at(path).origin
        if area == "calls":
            witness = trial.witness(witness.partition("(")[0]) or as_call(witness)
        found.append(Widening(area, item.key, witness, item.base, item.other, *places))
    return tuple(found)


class _Trial:
    """Finds arguments with which a call passes under one policy and not under the other."""

    def __init__(self, base: Policy, other: Policy) -> None:
        self._base, self._other = base.syscalls, other.syscalls
        self._verdicts: dict[str, tuple[dict[str, Verdict], dict[str, Verdict]]] = {}

    def witness(self, name: str) -> str | None:
        """Return the call with such arguments, all of them, as `simulate` reads it."""
        for arch in calltable.ARCHES:
            if arch not in self._verdicts:
                had = resolve_calls(self._base, arch)
                self._verdicts[arch] = had, resolve_calls(self._other, arch)
            one, two = (verdicts.get(name) for verdicts in self._verdicts[arch])
            if one is None or two is None:
                continue
            for given in telling_arguments((one, two)):
                if two.answer(given).kind == "allow" and one.answer(given).kind != "allow":
                    return _call_text(name, given)
        return None


def _call_text(name: str, arguments: tuple[int, ...]) -> str:
    words = [hex(value) if value > 9 else str(value) for value in arguments]
    while words and words[-1] == "0":
        words.pop()
    if words and name in ("socket", "socketpair"):
        families = {number: known for known, number in SOCKET_FAMILIES.items()}
        if arguments[0] in families:
            words[0] = f"AF_{families[arguments[0]].upper()}"
    return ":".join((name, *words))


def as_call(witness: str) -> str:
    """Return the witness `socket(inet, 0x1)` as `simulate` reads it: `socket:AF_INET:0x1`."""
    name, bracket, rest = witness.partition("(")
    if not bracket:
        return name
    words = [word.strip() for word in rest.removesuffix(")").split(",")]
    if words[0] in SOCKET_FAMILIES:
        words[0] = f"AF_{words[0].upper()}"
    return ":".join((name, *words))


def _area(key: str) -> str:
    if key.startswith("syscalls.") and key not in ("syscalls.unknown", "syscalls.foreign_abi"):
        return "calls"
    return "paths" if key == "filesystem.mounts" else "values"


def _origin(policy: Policy, key: str, witness: str) -> str:
    """Return the place of the value that the widening is about, as near as the policy has one."""
    table, _, name = key.rpartition(".")
    for known in (f"{key}[{witness}]", f"{table}[{name}]", key, key.removesuffix(".size")):
        found = policy.origin(known)
        if found != BUILT_IN:
            return found
    if key.startswith("limits.enforce"):
        return policy.origin("limits.enforce[default]")
    below = origin_below(policy, key)
    if key.startswith("syscalls.") and (below == BUILT_IN or key == "syscalls.allow"):
        rule = next((one for one in policy.syscalls.rules if key.endswith(f".{one.name}")), None)
        return rule.origin if rule is not None else policy.origin("syscalls.base")
    return below
