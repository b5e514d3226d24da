"""The command's environment and the paths its program is looked for."""

from __future__ import annotations

from sandbox.plan.model import EnvKind, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.plan.model import EnvRule

DEFAULT_PATH = b"/usr/bin:/bin"


def _matches(name: bytes, pattern: bytes) -> bool:
    if pattern.endswith(b"*"):
        return name.startswith(pattern[:-1])
    return name == pattern


def make_environment(
    rules: tuple[EnvRule, ...], caller: Mapping[bytes, bytes], slots: tuple[bytes, ...]
) -> dict[bytes, bytes]:
    """Return the variables that the rules let pass or set; nothing else.

    A name that is allowed keeps the caller's value; a set value stands where none passed, and
    always where its name is not allowed. A value below a slot that the caller lacks is left out.
    """
    allowed = [rule.name for rule in rules if rule.kind is EnvKind.ALLOW]
    made = {
        name: value
        for name, value in caller.items()
        if any(_matches(name, pattern) for pattern in allowed)
    }
    for rule in rules:
        if rule.kind is not EnvKind.SET or (rule.name in made and _passes(rule.name, allowed)):
            continue
        if rule.value.slot is not Slot.NONE and not slots[rule.value.slot]:
            continue
        made[rule.name] = rule.value.resolve(slots)
    return made


def _passes(name: bytes, allowed: list[bytes]) -> bool:
    return any(_matches(name, pattern) for pattern in allowed)


def program_paths(name: bytes, path: bytes) -> tuple[bytes, ...]:
    """Return where to look for the program, as execvp(3) would with this PATH."""
    if b"/" in name or not name:
        return (name,)
    return tuple((folder or b".") + b"/" + name for folder in path.split(b":"))
