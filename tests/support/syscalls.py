"""Policies for filters, and calls around every edge that a policy's conditions have."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from sandbox.policy.conditions import Comparison, comparisons_of
from sandbox.policy.syscall_model import SyscallPolicy, SyscallRule, parse_action
from sandbox.policy.verdicts import Verdict

U64 = 2**64 - 1
NATIVE_FOREIGN = {  # an architecture: others whose calls must never be taken for its own
    "x86_64": ("i386", "aarch64", "arm", "riscv64", "s390x"),
    "aarch64": ("arm", "x86_64", "i386", "riscv64", "s390x"),
}


def rule(name: str, names: str, when: str, action: str = "errno:EPERM") -> SyscallRule:
    """Return a rule on the calls in `names`, which are separated by blanks."""
    return SyscallRule(name, tuple(names.split()), when, parse_action(action), "a test", "test:1")


def policy(
    *rules: SyscallRule,
    base: str = "",
    allow: str = "execve exit_group write read",
    deny: str = "",
    unknown: str = "errno:ENOSYS",
    denied: str = "errno:EPERM",
    foreign_abi: str = "kill",
    families: str = "unix",
) -> SyscallPolicy:
    """Return a small policy; lists are separated by blanks."""
    return SyscallPolicy(
        base=base,
        allow=frozenset(allow.split()),
        deny=frozenset(deny.split()),
        unknown=parse_action(unknown),
        denied=parse_action(denied),
        foreign_abi=parse_action(foreign_abi),
        socket_families=frozenset(families.split()),
        rules=rules,
        origins=(),
    )


def edges(test: Comparison) -> set[int]:
    """Return values on, below and above each value of `test`, and with bits the test ignores."""
    values = {0, U64, 1 << 32}
    for value in test.values:
        values |= {value, value - 1, value + 1, value | 1 << 32, value | 1 << 63, value << 32}
    width = (1 << test.width) - 1
    if test.mask != width:
        bits = {1 << bit for bit in range(test.width) if test.mask >> bit & 1}
        values |= bits | {bit << 32 for bit in bits} | {test.mask, ~test.mask}
    return {value & U64 for value in values}


def calls_around(verdict: Verdict) -> Iterator[tuple[int, ...]]:
    """Yield arguments in every combination of the edges of the conditions on one call."""
    values: dict[int, set[int]] = {}
    for clause in verdict.clauses:
        for test in comparisons_of(clause.condition):
            values.setdefault(test.argument, set()).update(edges(test))
    columns = [sorted(values.get(index, {0})) for index in range(6)]
    yield from product(*columns)
