"""Why the filter refused a call, and the smallest change that lets the same call pass.

The model that the filter is held to (verdicts.py) names the line that decided. The change is found
by trying: a step lifts the line that refuses, and the model is asked again, until the call passes.
What is returned therefore lifts the refusal; where nothing may, the reason says so.
"""

from __future__ import annotations

import errno as errno_names

from sandbox.errors import PolicyError
from sandbox.policy import calltable
from sandbox.policy.call_sets import effective_rules, expand, load_sets
from sandbox.policy.compose import Flag, apply_flags
from sandbox.policy.condition_names import SOCKET_FAMILIES
from sandbox.policy.judge import Call, Court, reason
from sandbox.policy.refusals import GONE, GONE_WHY, HOST_ONLY, HOST_WHY
from sandbox.policy.syscall_model import ALLOW, Action, SyscallRule
from sandbox.policy.syscalls import resolve_calls
from sandbox.policy.verdicts import FAMILIES_RULE
from sandbox.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.policy.model import Policy

_STEPS_MAX = 16  # more rules than any call has
_U32 = 0xFFFFFFFF
_INTERNET = ("inet", "inet6")
# The kernel asks for a capability over the namespace that the call acts on.
_CAPABLE = ("@mount", "reboot", "setdomainname", "sethostname")


@record
class Lift:
    """What to change so that a call passes; all of it is needed.

    Shape: `flags` stand on the command line; `lines` are TOML of a policy that extends the present
           one; `removals` say what to take out of which file of the user.
    """

    flags: tuple[Flag, ...] = ()
    lines: tuple[str, ...] = ()
    removals: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the change as one line."""
        parts = [flag.text for flag in self.flags]
        if self.lines:
            parts.append("a policy that says " + "; ".join(self.lines))
        return " and ".join((*parts, *self.removals))


@record
class Explanation:
    """Why a call was refused.

    Shape: `call` its name, or `#number`; `key` and `origin` the value that decided and its place;
           `fix` the smallest change that lets it pass, None where nothing may (then `why` says
           so); `lift` the same change as data.
    """

    call: str
    key: str
    origin: str
    fix: str | None
    why: str
    lift: Lift | None = None


def explain_denial(
    policy: Policy, arch: str | int, nr: int, args: Sequence[int], errno: int
) -> Explanation:
    """Return why the filter of `policy` answered this call with `errno`.

    Shape: `arch` is a name or the kernel's number (AUDIT_ARCH_*). Several questions about one
           policy are cheaper by an Explainer.
    """
    native = arch if isinstance(arch, str) else _native()
    return Explainer(policy, native).explain(nr, args, errno, arch=arch)


def _native() -> str:
    from sandbox.policy.judge import machine_arch

    return machine_arch()


class Explainer:
    """Explains refused calls of one policy; `arch` is the one that its filter was made for."""

    def __init__(self, policy: Policy, arch: str) -> None:
        self._policy = policy
        self._arch = arch
        self._names = {number: name for name, number in calltable.call_numbers(arch).items()}
        self._verdicts = resolve_calls(policy.syscalls, arch)
        self._court = Court(policy, arch, None, self._verdicts)
        self._known: dict[tuple[object, ...], Lift | str] = {}

    def explain(
        self, nr: int, args: Sequence[int], errno: int, *, arch: str | int | None = None
    ) -> Explanation:
        """Return why this call was answered with `errno`, as explain_denial."""
        foreign = self._foreign(nr, arch)
        if foreign is not None:
            return foreign
        name = self._names.get(nr)
        if name is None:
            key = "syscalls.unknown"
            why = "no call that this version knows has this number: answered as an older kernel"
            return Explanation(f"#{nr}", key, self._policy.origin(key), None, why)
        call = Call(name, nr, tuple(args), name)
        action = self._verdicts[name].answer(call.arguments)
        key, origin, why = reason(self._court, call, action)
        why = " ".join(why.split())
        if action == ALLOW:
            changed = "the policy lets this call pass: it was refused under another"
            return Explanation(name, key, origin, None, changed)
        if action.kind == "errno" and errno != action.errno:
            was = errno_names.errorcode.get(errno, str(errno))
            why = f"{why}; it was answered by {was}, so the policy has changed since"
        return self._with_lift(Explanation(name, key, origin, None, why), call)

    def _foreign(self, nr: int, arch: str | int | None) -> Explanation | None:
        """Explain a call of another ABI: a filter judges one architecture, so none may pass."""
        given = calltable.AUDIT_ARCH.get(arch) if isinstance(arch, str) else arch
        is_x32 = self._arch == "x86_64" and bool(nr & calltable.X32_BIT)
        if given in (None, calltable.AUDIT_ARCH[self._arch]) and not is_x32:
            return None
        names = {number: name for name, number in calltable.AUDIT_ARCH.items()}
        abi = "x32" if is_x32 else names.get(given or 0, f"ABI {given:#x}")
        key = "syscalls.foreign_abi"
        why = f"a call of {abi}: its arguments mean something else, so no policy lets one pass"
        return Explanation(f"{abi} #{nr}", key, self._policy.origin(key), None, why)

    def _with_lift(self, explanation: Explanation, call: Call) -> Explanation:
        lift = self._lift_of(call)
        if isinstance(lift, str):
            why = f"{explanation.why}; {lift}" if explanation.why else lift
            return replace(explanation, why=why)
        if self._is_one_of(call.name, _CAPABLE) and not self._policy.process.capabilities:
            needs = "the kernel asks for a capability as well"
            explanation = replace(explanation, why=f"{explanation.why}; {needs}")
        return replace(explanation, fix=lift.text(), lift=lift)

    def _lift_of(self, call: Call) -> Lift | str:
        """Return what lets `call` pass, or why nothing may; once for what is judged alike."""
        verdict = self._verdicts[call.name]
        family = call.arguments[0] & _U32 if call.name in ("socket", "socketpair") else 0
        alike = (call.name, family, verdict.holding(call.arguments))
        if alike not in self._known:
            self._known[alike] = self._search(call)
        return self._known[alike]

    def _search(self, call: Call) -> Lift | str:
        if self._is_one_of(call.name, HOST_ONLY):
            return HOST_WHY
        if call.name in GONE:
            return GONE_WHY
        policy, lift = self._policy, Lift()
        for _ in range(_STEPS_MAX):
            verdict = resolve_calls(policy.syscalls, self._arch)[call.name]
            if verdict.answer(call.arguments) == ALLOW:
                return lift
            rule = verdict.deciding(call.arguments)
            if rule == FAMILIES_RULE:
                step = _lift_family(policy, lift, call.arguments[0] & _U32)
            elif rule:
                step = _lift_rule(policy, lift, rule, call.name)
            else:
                step = _lift_call(policy, lift, call.name)
            if isinstance(step, str):
                return step
            policy, lift = step
        return "no single change lets it pass"  # a rule that returns however it is lifted

    def _is_one_of(self, name: str, members: tuple[str, ...]) -> bool:
        return name in expand(load_sets(), members, place="denial")


def _lift_call(policy: Policy, lift: Lift, name: str) -> tuple[Policy, Lift] | str:
    """Allow a call that is in no set, or denied by name."""
    flag = Flag("allow-syscall", name, f"--allow-syscall {name}")
    try:
        return apply_flags(policy, (flag,)), replace(lift, flags=(*lift.flags, flag))
    except PolicyError as error:
        return error.message


def _lift_family(policy: Policy, lift: Lift, number: int) -> tuple[Policy, Lift] | str:
    """Let in a socket family; the internet ones reach somewhere over the host's network only."""
    name = next((name for name, value in SOCKET_FAMILIES.items() if value == number), None)
    if name is None:
        return f"no socket family that this version knows has the number {number}"
    if name in _INTERNET:
        flag = Flag("net", "host", "--net host")
        return apply_flags(policy, (flag,)), replace(lift, flags=(*lift.flags, flag))
    syscalls = policy.syscalls
    families = replace(syscalls, socket_families=syscalls.socket_families | {name})
    line = f'syscalls.socket_families = ["{name}"]'
    return replace(policy, syscalls=families), replace(lift, lines=(*lift.lines, line))


def _lift_rule(policy: Policy, lift: Lift, name: str, call: str) -> tuple[Policy, Lift] | str:
    """Take `call` out of the rule `name`; a rule of the user's own file is taken out there."""
    syscalls = policy.syscalls
    rule = next(rule for rule in effective_rules(syscalls) if rule.name == name)
    others = tuple(one for one in syscalls.rules if one.name != name)
    if "/" in rule.origin or "#" in name:
        stem = name.partition("#")[0]
        removal = f"remove the rule {stem} at {rule.origin}"
        left = replace(policy, syscalls=replace(syscalls, rules=others))
        return left, replace(lift, removals=(*lift.removals, removal))
    changed = _without(rule, call)
    line = f"syscalls.rules.{name} = {_as_toml(changed)}"
    left = replace(policy, syscalls=replace(syscalls, rules=(*others, changed)))
    return left, replace(lift, lines=(*lift.lines, line))


def _without(rule: SyscallRule, call: str) -> SyscallRule:
    """Return `rule` for its other calls; where it has no others, the same use is allowed."""
    rest = tuple(sorted(expand(load_sets(), rule.names, place=rule.name) - {call}))
    if rest:
        return replace(rule, names=rest)
    return replace(rule, names=(call,), action=Action("allow"))


def _as_toml(rule: SyscallRule) -> str:
    names = ", ".join(f'"{name}"' for name in rule.names)
    when = f'when = "{" ".join(rule.when.split())}", ' if rule.when else ""
    return f'{{ names = [{names}], {when}action = "{rule.action}" }}'
