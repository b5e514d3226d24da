"""The simulated leg: the compiled filter refuses every call of the catalogue, on any kernel."""

from __future__ import annotations

import errno as errno_names
from functools import cache

import pytest
from security.catalogue import ROWS
from security.catalogue.model import POLICIES, Call

from sandbox.policy import calltable, simulate
from sandbox.policy.load import load_policy
from sandbox.policy.syscalls import compile_filter

FOREIGN = {"x86_64": ("i386", "aarch64", "riscv64"), "aarch64": ("arm", "x86_64", "riscv64")}
CASES = [
    pytest.param(row.calls, policy, arch, id=f"{row.id}-{policy}-{arch}")
    for row in ROWS
    for policy in POLICIES
    for arch in calltable.ARCHES
    if row.calls
]


@cache
def _program(policy: str, arch: str) -> simulate.Program:
    return simulate.load(compile_filter(load_policy(policy).syscalls, arch).code)


def _said(outcome: simulate.Outcome) -> str:
    if outcome.action.kind == "errno":
        return errno_names.errorcode[outcome.action.errno]
    return outcome.action.kind


@pytest.mark.parametrize(("calls", "policy", "arch"), CASES)
def test_simulated_filter_refuses_the_calls_of(
    calls: tuple[Call, ...], policy: str, arch: str
) -> None:
    """The filter answers each call of a check with the errno that the policy states."""
    numbers = calltable.call_numbers(arch)
    program = _program(policy, arch)
    for call in calls:
        if call.name not in numbers or (call.is_default_allowed and policy == "default"):
            continue
        args = (*call.args, *(0,) * (6 - len(call.args)))
        outcome = simulate.run(program, arch=arch, nr=numbers[call.name], args=args)
        assert _said(outcome) in call.errno.split("|"), call


@pytest.mark.parametrize("arch", calltable.ARCHES)
@pytest.mark.parametrize(("policy", "answer"), [("strict", "kill"), ("default", "ENOSYS")])
def test_s01_simulated_filter_refuses_every_foreign_call(
    policy: str, answer: str, arch: str
) -> None:
    """No number of another architecture goes through, whatever it means there."""
    program = _program(policy, arch)
    for foreign in FOREIGN[arch]:
        for nr in range(600):
            assert _said(simulate.run(program, arch=foreign, nr=nr)) == answer, (foreign, nr)


@pytest.mark.parametrize(("policy", "answer"), [("strict", "kill"), ("default", "ENOSYS")])
def test_s02_simulated_filter_refuses_every_x32_call(policy: str, answer: str) -> None:
    """No number with the x32 bit goes through."""
    program = _program(policy, "x86_64")
    for nr in range(600):
        outcome = simulate.run(program, arch="x86_64", nr=calltable.X32_BIT | nr)
        assert _said(outcome) == answer, nr


@pytest.mark.parametrize("arch", calltable.ARCHES)
@pytest.mark.parametrize("policy", POLICIES)
def test_s03_simulated_filter_answers_unknown_numbers_with_enosys(policy: str, arch: str) -> None:
    """A number that no table has reads like an older kernel."""
    program = _program(policy, arch)
    known = set(calltable.call_numbers(arch).values())
    for nr in [*range(480, 1480), 4096, 65536, 0x3FFFFFFF]:
        if nr not in known:
            assert _said(simulate.run(program, arch=arch, nr=nr)) == "ENOSYS", nr
