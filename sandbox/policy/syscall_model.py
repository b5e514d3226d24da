"""The resolved `[syscalls]` table of a policy: what a filter is compiled from."""

from __future__ import annotations

import errno as errno_names

from sandbox.errors import PolicyError
from sandbox.record import record

_ERRNO_MAX = 4095  # MAX_ERRNO of the kernel: a larger SECCOMP_RET_ERRNO value is clamped to it


@record
class Action:
    """What the filter answers: let the call through, fail it, or end the process.

    Shape: `kind` is "allow", "errno", "kill" (the whole process) or "trap" (SIGSYS);
           `errno` counts for "errno" only.
    """

    kind: str
    errno: int = 0

    def __str__(self) -> str:
        if self.kind != "errno":
            return self.kind
        return f"errno:{errno_names.errorcode.get(self.errno, str(self.errno))}"


ALLOW = Action("allow")
KILL = Action("kill")


@record
class SyscallRule:
    """A conditional verdict on some calls; an empty `when` means every use of them.

    Shape: `when` is the language of sandbox.policy.conditions; `origin` is "file:line".
    """

    name: str
    names: tuple[str, ...]
    when: str
    action: Action
    why: str
    origin: str


@record
class SyscallPolicy:
    """The `[syscalls]` table after composition; deny beats allow, rules come before both.

    Shape: `base` is a set of policies/syscalls.toml ("@strict-2026.11"), empty for none;
           `allow` and `deny` hold call names and @groups; `socket_families` holds names such as
           "unix" or "inet6"; `origins` holds pairs (key, "file:line"); `within` are sets of
           names (calls, @groups, sets) that every allowed call must be in as well.
    """

    base: str
    allow: frozenset[str]
    deny: frozenset[str]
    unknown: Action
    denied: Action
    foreign_abi: Action
    socket_families: frozenset[str]
    rules: tuple[SyscallRule, ...]
    origins: tuple[tuple[str, str], ...]
    within: tuple[frozenset[str], ...] = ()


def parse_action(text: str) -> Action:
    """Return the action that `text` names: allow, kill, trap, errno:NAME or errno:NUMBER.

    Errors: PolicyError(policy.value) that names the nearest valid spelling.
    """
    kind, colon, value = text.partition(":")
    if kind in ("allow", "kill", "trap") and not colon:
        return Action(kind)
    if kind == "errno" and colon:
        number = _errno_number(value)
        if 0 < number <= _ERRNO_MAX:
            return Action("errno", number)
        raise PolicyError(
            f"no errno is called {value!r}",
            hint=_nearest_errno(value),
            code="policy.value",
            value=text,
        )
    raise PolicyError(
        f"{text!r} is not an action",
        hint="actions are allow, kill, trap and errno:NAME, such as errno:EPERM",
        code="policy.value",
        value=text,
    )


def _errno_number(text: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    number = getattr(errno_names, text, 0) if text.startswith("E") else 0
    return number if isinstance(number, int) else 0


def _nearest_errno(text: str) -> str:
    import difflib  # only on the way to an error

    names = [name for name in dir(errno_names) if name.startswith("E")]
    near = difflib.get_close_matches(text.upper(), names, n=1)
    return f"did you mean errno:{near[0]}?" if near else "errno:EPERM and errno:ENOSYS are usual"
