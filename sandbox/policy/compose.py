"""Composition: a policy over the one it extends, and the command line over both.

The law for `extends`: the child's single values win, sets unite, maps merge by name, mounts by path
(an entry for a path replaces the whole entry). Flags come last and may override, because the user
at the keyboard is the authority; what they replaced is listed in `Policy.overrides`.
"""

from __future__ import annotations

from sandbox.errors import UsageError
from sandbox.policy.model import Flag
from sandbox.policy.schema import COLLECTIONS, SCHEMA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.model import Policy
    from sandbox.policy.reader import Layer

__all__ = ["Flag", "apply_flags", "merge"]


def merge(parent: Layer, child: Layer) -> Layer:
    """Return `child` over `parent`. Associative; a layer over itself is itself."""
    merged = dict(parent)
    for key, value in child.items():
        if key in merged and SCHEMA[key].kind in COLLECTIONS:
            merged[key] = {**merged[key], **value}
        else:
            merged[key] = value
    return merged


def apply_flags(policy: Policy, flags: tuple[Flag, ...]) -> Policy:
    """Return `policy` with the command line's last word; every replaced value is in `overrides`.

    Shape:  keys are ro rw tmpfs bind overlay hide env net hostname chdir uid rootfs timeout limit;
            relative paths start at the working directory.
    Errors: UsageError for a malformed flag or one path named twice; PolicyError(policy.path) for a
            path that does not exist.
    """
    if not flags:
        return policy
    from sandbox.policy.flags import APPLY, Flags  # only for command lines that have flags

    state = Flags(policy)
    for flag in flags:
        apply = APPLY.get(flag.key)
        if apply is None:
            raise UsageError(f"there is no flag {flag.text!r}", code="usage.flag")
        apply(state, flag)
    return state.finish()
