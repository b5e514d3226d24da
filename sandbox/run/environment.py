"""The command's environment and the paths its program is looked for."""

from __future__ import annotations

import os

from sandbox.plan.model import EnvKind, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.plan.model import EnvRule

DEFAULT_PATH = b"/usr/bin:/bin"


def make_environment(
    rules: tuple[EnvRule, ...], caller: Mapping[bytes, bytes], slots: tuple[bytes, ...]
) -> dict[bytes, bytes]:
    """Return the variables that the rules let pass or set; nothing else.

    The first rule that yields a value for a name decides it: `--env N=V` stands before what the
    policy allows, and that before what it sets. A value below a slot that the caller lacks is none.
    """
    made: dict[bytes, bytes] = {}
    for rule in rules:
        if rule.kind is EnvKind.ALLOW and not rule.name.endswith(b"*"):
            own = caller.get(rule.name)
            if own is not None:
                made.setdefault(rule.name, own)
        elif rule.kind is EnvKind.ALLOW:
            for name, value in caller.items():
                if name.startswith(rule.name[:-1]):
                    made.setdefault(name, value)
        elif rule.value.slot is Slot.NONE or slots[rule.value.slot]:
            made.setdefault(rule.name, rule.value.resolve(slots))
    return made


def command_parts(
    rules: tuple[EnvRule, ...], slots: tuple[bytes, ...], argv: tuple[bytes, ...]
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the environment of the command `argv` as it is encoded, and where its program lies."""
    made = make_environment(rules, os.environb, slots)
    env = tuple(name + b"=" + value for name, value in made.items())
    return env, program_paths(argv[0], made.get(b"PATH", DEFAULT_PATH)) if argv else ()


def program_paths(name: bytes, path: bytes) -> tuple[bytes, ...]:
    """Return where to look for the program, as execvp(3) would with this PATH."""
    if b"/" in name or not name:
        return (name,)
    return tuple((folder or b".") + b"/" + name for folder in path.split(b":"))
