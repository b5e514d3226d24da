"""The lines of a policy that refuse calls, each with the calls and what would lift it.

Made with a filter and kept beside it, so that a plan can carry the whole table although a run with
a cached filter opens no call set. `denial.py` answers the same for one call with its arguments.
"""

from __future__ import annotations

from sandbox.policy.call_sets import CallSets, effective_rules, expand
from sandbox.policy.refusal_model import FAMILIES_KEY, Refusal
from sandbox.policy.verdicts import FAMILIES_RULE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.syscall_model import SyscallPolicy
    from sandbox.policy.verdicts import Verdict

# The kernel asks for a capability over the host itself, which no command in a sandbox holds.
HOST_ONLY = (
    *("@module", "@raw-io", "@swap", "acct", "clock_settime", "kexec_file_load", "kexec_load"),
    *("settimeofday", "vhangup"),
)
# No kernel since 2.6 has had a body for them.
GONE = (
    *("_sysctl", "afs_syscall", "create_module", "epoll_ctl_old", "epoll_wait_old"),
    *("get_kernel_syms", "getpmsg", "nfsservctl", "putpmsg", "query_module", "security"),
    *("tuxcall", "vserver"),
)
HOST_WHY = "the kernel asks for a capability over the host, which no command here has"
GONE_WHY = "the kernel itself has no such call any more"
ALLOW_FLAG = "--allow-syscall CALL"


def refusals(
    policy: SyscallPolicy, verdicts: dict[str, Verdict], sets: CallSets
) -> tuple[Refusal, ...]:
    """Return each line that refuses some use of a call; `fix` says CALL for the call's name.

    Shape: a line whose calls differ in whether anything may lift it stands twice.
    """
    host_only = expand(sets, HOST_ONLY, place="refusals")
    lists = _Lists(policy, sets)
    found: dict[tuple[str, str], dict[str, None]] = {}
    for name, verdict in verdicts.items():
        keys = [_rule_key(one.rule) for one in verdict.clauses if one.action.kind != "allow"]
        if verdict.default.kind != "allow":
            keys.append(_rule_key(verdict.rule) if verdict.rule else lists.key_of(name))
        obstacle = HOST_WHY if name in host_only else GONE_WHY if name in GONE else ""
        for key in keys:
            found.setdefault((key, obstacle), {})[name] = None
    shipped = {rule.name: rule for rule in effective_rules(policy, sets)}
    for rule in policy.rules:
        del shipped[rule.name]  # its place and reason are the policy's own
    result = []
    for (key, obstacle), calls in found.items():
        known = shipped.get(key.removeprefix("syscalls.rules."))
        origin, why = (known.origin, " ".join(known.why.split())) if known else ("", _why(key))
        fix = None if obstacle else _fix(key)
        why = f"{why}; {obstacle}" if obstacle and why else why or obstacle
        result.append(Refusal(key, origin, fix, why, tuple(sorted(calls))))
    return tuple(result)


def _rule_key(rule: str) -> str:
    return FAMILIES_KEY if rule == FAMILIES_RULE else f"syscalls.rules.{rule}"


def _why(key: str) -> str:
    """Return why a list refuses; the reasons of a policy's own rules stand there."""
    if key.startswith("syscalls.deny["):
        return f"{key[len('syscalls.deny[') : -1]} holds it"
    if key.startswith("syscalls.within["):
        return "not in the only set that a layer leaves"
    return "in no set that the policy allows" if key == "syscalls.denied" else ""


def _fix(key: str) -> str:
    if key == FAMILIES_KEY:
        return "--net host for the internet; or a policy that says syscalls.socket_families"
    if key.startswith("syscalls.rules."):
        return f"a policy that says {key.partition('#')[0]}"
    return ALLOW_FLAG


class _Lists:
    """The lists of a policy that refuse calls, expanded once."""

    def __init__(self, policy: SyscallPolicy, sets: CallSets) -> None:
        self._lists = [
            (f"syscalls.deny[{name}]", expand(sets, (name,), place="syscalls.deny"), True)
            for name in sorted(policy.deny)
        ]
        self._lists += [
            (f"syscalls.within[{' '.join(sorted(names))}]", expand(sets, names, place=""), False)
            for names in policy.within
        ]

    def key_of(self, call: str) -> str:
        """Return the key that refuses `call` where no rule does."""
        for key, calls, is_denial in self._lists:
            if (call in calls) == is_denial:
                return key
        return "syscalls.denied"
