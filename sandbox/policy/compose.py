"""Composition: a policy over the ones it extends, and the command line over the result.

The law for `extends`: sets unite, maps merge by name, mounts by path (an entry for a path replaces
the whole entry), and the child's own values stand. Two parents that differ in a single value, in
one name of a map or in one path are an error, unless the child sets it: so their order never
matters. `[remove]` takes out what was inherited; taking out a denial needs a reason. Flags come
last and may override, because the user at the keyboard is the authority; what they replaced is
listed in `Policy.overrides`. Tightening, the other direction, is meet.py.
"""

from __future__ import annotations

from sandbox.errors import PolicyError, UsageError
from sandbox.policy.members import bare, is_collection, name_of, shown
from sandbox.policy.model import Flag, Removal
from sandbox.policy.schema import COMPOSITION, DENIALS, REMOVED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sandbox.policy.model import Policy
    from sandbox.policy.reader import Layer

__all__ = ["Flag", "apply_flags", "inherit", "merge", "remove", "unite"]

# What describes one file and is not inherited.
_OWN = ("schema", "summary", *COMPOSITION)


def merge(parent: Layer, child: Layer) -> Layer:
    """Return `child` over `parent`. Associative; a layer over itself is itself."""
    merged = dict(parent)
    for key, value in child.items():
        if key in merged and is_collection(key):
            merged[key] = {**merged[key], **value}
        else:
            merged[key] = value
    return merged


def inherit(parents: Sequence[Layer], child: Layer) -> Layer:
    """Return the policy that `child` is over all its `parents`, whose order has no meaning.

    Errors: PolicyError(policy.conflict) with both places where parents differ and the child is
            silent; (policy.value) for a removal of what is not there, or without its reason.
    """
    own = {key: value for key, value in child.items() if key not in COMPOSITION}
    if not parents:
        inherited: Layer = {}
    elif len(parents) == 1:
        inherited = {key: value for key, value in parents[0].items() if key not in _OWN}
    else:
        inherited = unite(parents, own, child.get("remove", ({}, "", ""))[0])
    if "remove" in child:
        inherited = remove(inherited, *child["remove"])
    return merge(inherited, own)


def unite(
    parents: Sequence[Layer], child: Layer, removed: dict[tuple[str, Any], str] | None = None
) -> Layer:
    """Return what `parents` say together; `child` and `removed` settle what they differ in.

    Errors: PolicyError(policy.conflict) with both places.
    """
    united: Layer = {}
    for parent in parents:
        for key, entry in parent.items():
            if key in _OWN:
                continue
            if not is_collection(key):
                united[key] = _same(key, united.get(key), entry, key in child)
                continue
            members = united.setdefault(key, {})
            stated = child.get(key, {})
            for name, member in entry.items():
                settled = name in stated or (key, name) in (removed or {})
                members[name] = _same(f"{key}[{name_of(name)}]", members.get(name), member, settled)
    return united


def _same(key: str, one: Any, two: Any, is_settled: bool) -> Any:
    """Return the entry that both parents state; of equal ones the first place in order."""
    if one is None or one == two:
        return two
    if bare(one[0]) == bare(two[0]) or is_settled:
        return min(one, two, key=lambda entry: (entry[1], repr(entry[0])))
    first, second = sorted((one, two), key=lambda entry: str(entry[1]))
    raise PolicyError(
        f"{key}: {first[1]} and {second[1]} differ, and both are extended:"
        f" {shown(first[0])} and {shown(second[0])}",
        hint=f"set {key.partition('[')[0]} in the policy that extends both",
        code="policy.conflict",
        key=key,
        places=[first[1], second[1]],
    )


def remove(inherited: Layer, members: dict[tuple[str, Any], str], reason: str, place: str) -> Layer:
    """Return `inherited` without `members`; what was a denial is noted with its reason.

    Errors: PolicyError(policy.value) where a member is not inherited, or a denial goes without
            a reason.
    """
    left = dict(inherited)
    noted = dict(left.get(REMOVED, {}))
    for (key, name), where in members.items():
        had = left.get(key, {})
        if name not in had:
            raise _not_inherited(key, name, where, had)
        if _is_denial(key, had[name][0]):
            if not reason:
                raise PolicyError(
                    f"{where}: remove.{key}: {name_of(name)} is a denial ({had[name][1]}), and"
                    " [remove] gives no reason",
                    hint=f'say why in [remove] ({place}): reason = "…"; every result prints it',
                    code="policy.value",
                    key=f"remove.{key}",
                )
            removal = Removal(key, name_of(name), reason, where)
            noted[f"{key}[{name_of(name)}]"] = (removal, where)
        left[key] = {other: entry for other, entry in had.items() if other != name}
    if noted:
        left[REMOVED] = noted
    return left


def _is_denial(key: str, value: Any) -> bool:
    if key == "syscalls.rules":
        return bool(value.action.kind != "allow")
    return key in DENIALS


def _not_inherited(key: str, name: Any, where: str, had: dict[Any, Any]) -> PolicyError:
    from sandbox.policy.values import nearest  # only on the way to an error

    names = [name_of(known) for known in had]
    near = nearest(name_of(name), names)
    return PolicyError(
        f"{where}: remove.{key}: {name_of(name)} is not inherited, so there is nothing to remove"
        + (f"; did you mean {near}?" if near else ""),
        hint=f"inherited: {', '.join(sorted(names)) or 'nothing'}",
        code="policy.value",
        key=f"remove.{key}",
    )


def apply_flags(policy: Policy, flags: tuple[Flag, ...], cwd: str | None = None) -> Policy:
    """Return `policy` with the command line's last word; every replaced value is in `overrides`.

    Shape:  keys are ro rw tmpfs bind overlay hide env net hostname chdir uid rootfs timeout limit
            allow-syscall deny-syscall; relative paths start at `cwd` (None: the caller's).
    Errors: UsageError for a malformed flag or one path named twice; PolicyError(policy.path) for a
            path that does not exist.
    """
    if not flags:
        return policy
    from sandbox.policy.flags import APPLY, Flags  # only for command lines that have flags

    state = Flags(policy, cwd)
    for flag in flags:
        apply = APPLY.get(flag.key)
        if apply is None:
            raise UsageError(f"there is no flag {flag.text!r}", code="usage.flag")
        apply(state, flag)
    return state.finish()
