"""One system call under a policy: what the compiled filter answers, and which line made it so.

The verdict is the program's, run instruction by instruction; the model names the rule behind it. A
program whose answer differs from its model is never loaded (filter_check.py), so the two agree.
"""

from __future__ import annotations

from sandbox.errors import PolicyError, UsageError
from sandbox.policy import calltable, simulate
from sandbox.policy.call_sets import effective_rules, expand, find_set, load_sets
from sandbox.policy.condition_names import CONSTANTS
from sandbox.policy.resolved import origin_below
from sandbox.policy.syscall_model import ALLOW, Action
from sandbox.policy.syscalls import compile_filter, resolve_calls
from sandbox.policy.verdicts import FAMILIES_RULE
from sandbox.record import record
from sandbox.text import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.model import Policy
    from sandbox.policy.simulate import Program
    from sandbox.policy.verdicts import Verdict

_U64 = (1 << 64) - 1
_ARGUMENTS = 6
_NR_LIMIT = 1 << 31
# Names that people write in calls and that no condition needs.
_EXTRA = {"SIGCHLD": 17, "NULL": 0, "AT_FDCWD": -100, "SIGKILL": 9, "SIGTERM": 15}


@record
class Call:
    """A call to ask about: its name (or `#number`), its number, six arguments, as typed."""

    name: str
    number: int
    arguments: tuple[int, ...]
    text: str


@record
class Judgement:
    """What happens to a call.

    Shape: `key` and `origin` say which value of which file decided, `why` its reason; `cost` is
           the number of instructions, 0 where there is no filter.
    """

    action: Action
    key: str
    origin: str
    why: str
    cost: int


@record
class Court:
    """A policy with its filter, ready to be asked; `program` is None without a filter."""

    policy: Policy
    arch: str
    program: Program | None
    verdicts: dict[str, Verdict]


def open_court(policy: Policy, arch: str) -> Court:
    """Return `policy` with its filter compiled for `arch`.

    Errors: PolicyError as compile_filter.
    """
    if policy.isolation.seccomp == "off":
        return Court(policy, arch, None, {})
    compiled = compile_filter(policy.syscalls, arch)
    verdicts = resolve_calls(policy.syscalls, arch)
    return Court(policy, arch, simulate.load(compiled.code), verdicts)


def parse_call(text: str, arch: str) -> Call:
    """Return the call that `text` names: `NAME[:ARGUMENT]...`, an argument as NAME|NAME or number.

    Errors: UsageError(usage.call) that names the part and the nearest name.
    """
    word, *rest = text.split(":")
    numbers = calltable.call_numbers(arch)
    if len(rest) > _ARGUMENTS:
        raise _usage(text, f"a call has at most {_ARGUMENTS} arguments", None)
    arguments = [_argument(text, part) for part in rest]
    arguments += [0] * (_ARGUMENTS - len(arguments))
    if word in numbers:
        return Call(word, numbers[word], tuple(arguments), text)
    number = _number(word.removeprefix("#"))
    if number is not None and 0 <= number < _NR_LIMIT:
        name = next((known for known, value in numbers.items() if value == number), f"#{number}")
        return Call(name, number, tuple(arguments), text)
    from sandbox.policy.values import nearest  # only on the way to an error

    near = nearest(word, list(numbers))
    elsewhere = " (another architecture has it)" if calltable.is_call_name(word) else ""
    raise _usage(text, f"{arch} has no system call {quote(word)}{elsewhere}", near)


def _argument(text: str, part: str) -> int:
    value = 0
    for word in part.split("|"):
        number = _number(word)
        if number is None:
            number = CONSTANTS.get(word, _EXTRA.get(word))
        if number is None or not -(1 << 63) <= number <= _U64:
            from sandbox.policy.values import nearest  # only on the way to an error

            near = nearest(word, [*CONSTANTS, *_EXTRA])
            raise _usage(text, f"{quote(word)} is not a number or a constant of the kernel", near)
        value |= number & _U64
    return value


def _number(word: str) -> int | None:
    try:
        return int(word, 0) if word.isascii() and len(word) < 70 else None
    except ValueError:
        return None


def _usage(text: str, problem: str, near: str | None) -> UsageError:
    form = "write NAME[:ARGUMENT]…, such as socket:AF_NETLINK:SOCK_RAW or clone:0x10000000"
    hint = f"did you mean {near}?" if near else form
    return UsageError(f"{quote(text)}: {problem}", hint=hint, code="usage.call")


def judge(court: Court, call: Call) -> Judgement:
    """Return what the compiled filter answers to `call`, and the rule behind it."""
    if court.program is None:
        origin = court.policy.origin("isolation.seccomp")
        return Judgement(ALLOW, "isolation.seccomp", origin, "there is no filter", 0)
    outcome = simulate.run(court.program, arch=court.arch, nr=call.number, args=call.arguments)
    key, origin, why = reason(court, call, outcome.action)
    return Judgement(outcome.action, key, origin, why, outcome.cost)


def answer(court: Court, name: str, arguments: tuple[int, ...]) -> Action:
    """Return what the filter answers to the call `name`; names of other architectures: unknown."""
    if court.program is None:
        return ALLOW
    number = calltable.call_numbers(court.arch).get(name)
    if number is None:
        return court.policy.syscalls.unknown
    return simulate.run(court.program, arch=court.arch, nr=number, args=arguments).action


def reason(court: Court, call: Call, action: Action) -> tuple[str, str, str]:
    """Return key, place and words of the value that makes the filter answer with `action`."""
    verdict = court.verdicts.get(call.name)
    if verdict is None:
        key = "syscalls.unknown"
        return key, court.policy.origin(key), "no call of the table has this number"
    rule = verdict.deciding(call.arguments)
    if rule == FAMILIES_RULE:
        key = "syscalls.socket_families"
        names = ", ".join(sorted(court.policy.syscalls.socket_families)) or "none"
        return key, origin_below(court.policy, key), f"families let in: {names}"
    if rule:
        for known in effective_rules(court.policy.syscalls):
            if known.name == rule:
                return f"syscalls.rules.{rule}", known.origin, known.why
    return _set_reason(court.policy, call.name, action)


def _set_reason(policy: Policy, name: str, action: Action) -> tuple[str, str, str]:
    """Say which list of the policy holds the call, or that none does."""
    sets = load_sets()
    calls = policy.syscalls
    for key, members, is_grant in (
        ("syscalls.deny", calls.deny, False),
        ("syscalls.allow", calls.allow, True),
    ):
        if is_grant != (action.kind == "allow"):
            continue
        for member in sorted(members):
            if name in expand(sets, (member,), place=key):
                listed = "" if member == name else f"{member} holds it"
                return f"{key}[{member}]", policy.origin(f"{key}[{member}]"), listed
    if action.kind != "allow":
        for names in calls.within:
            if name not in expand(sets, names, place="syscalls.within"):
                key = f"syscalls.within[{' '.join(sorted(names))}]"
                return key, policy.origin(key), "not in the only set that a layer leaves"
    reasons = dict(find_set(sets, calls.base).reasons) if calls.base else {}
    if action.kind == "allow" and name in reasons:
        return "syscalls.base", policy.origin("syscalls.base"), reasons[name]
    why = "in no set that the policy allows"
    return "syscalls.denied", policy.origin("syscalls.denied"), why


def machine_arch() -> str:
    """Return the architecture of this machine as filters name it.

    Errors: PolicyError(policy.filter) where filters cannot be made for it.
    """
    import os

    machine = os.uname().machine
    arch = {"arm64": "aarch64", "amd64": "x86_64"}.get(machine, machine)
    if arch not in calltable.ARCHES:
        raise PolicyError(
            f"filters cannot be made for {machine}",
            hint=f"name another: --arch {' or '.join(calltable.ARCHES)}",
            code="policy.filter",
        )
    return arch
