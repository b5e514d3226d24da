"""Is B at least as tight as A? The answer of order.py, with places and something to try.

A witness of a call is given as `sandbox policy simulate` reads it, so that anybody can see the
answer of both policies for himself.
"""

from __future__ import annotations

from sandbox.policy.condition_names import SOCKET_FAMILIES
from sandbox.policy.model import BUILT_IN
from sandbox.policy.order import widenings as order_widenings
from sandbox.policy.resolved import origin_below
from sandbox.policy.sight import View
from sandbox.policy.values import parse_path
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.model import Policy


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
    found = []
    for item in order_widenings(base, other):
        area = _area(item.key)
        witness = item.witness
        places = _origin(base, item.key, witness), _origin(other, item.key, witness)
        path = parse_path(witness) if area == "paths" else None
        if path is not None:
            places = views[0].at(path).origin, views[1].at(path).origin
        if area == "calls":
            witness = as_call(witness)
        found.append(Widening(area, item.key, witness, item.base, item.other, *places))
    return tuple(found)


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
    if key.startswith("syscalls."):
        rule = next((one for one in policy.syscalls.rules if key.endswith(f".{one.name}")), None)
        return rule.origin if rule is not None else policy.origin("syscalls.base")
    return origin_below(policy, key)
