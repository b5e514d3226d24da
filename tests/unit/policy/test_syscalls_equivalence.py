"""The shipped filters, instruction by instruction, against the model of their policies."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from sandbox.policy import calltable, simulate
from sandbox.policy.bpf import RET_NOTIFY, RETURN, return_value
from sandbox.policy.conditions import comparisons_of
from sandbox.policy.load import load_policy
from sandbox.policy.syscall_model import SyscallPolicy
from sandbox.policy.syscalls import PLAIN as UNRECORDED
from sandbox.policy.syscalls import CompiledFilter, compile_uncached, resolve_calls
from sandbox.policy.verdicts import Verdict
from support.syscalls import NATIVE_FOREIGN, U64, calls_around

GOLDEN = Path(__file__).parents[2] / "golden"
POLICIES = ("strict", "default", "tiny")
NUMBERS = range(601)
PLAIN = ((0,) * 6, (U64,) * 6)
CASES = [(policy, arch) for policy in POLICIES for arch in calltable.ARCHES]


@cache
def syscalls_of(name: str) -> SyscallPolicy:
    """Return the resolved [syscalls] table of a shipped policy."""
    return load_policy(name).syscalls


@cache
def compiled(name: str, arch: str) -> CompiledFilter:
    """Return a shipped policy's filter, made anew."""
    return compile_uncached(syscalls_of(name), arch)


class Comparison:
    """The filter beside the model: collects where they differ and what was executed."""

    def __init__(self, name: str, arch: str) -> None:
        self.arch = arch
        self.policy = syscalls_of(name)
        self.program = simulate.load(compiled(name, arch).code)
        self.covered: set[int] = set()
        self.wrong: list[str] = []

    def ask(self, abi: str, nr: int, args: tuple[int, ...], expected: int) -> None:
        """Run one call through the filter."""
        data = simulate.words(calltable.AUDIT_ARCH[abi], nr, args)
        value, path = simulate.trace(self.program, data)
        self.covered.update(path)
        if value != expected:
            self.wrong.append(f"{abi} {nr:#x} {args}: {value:#010x}, not {expected:#010x}")

    def ask_native(self) -> None:
        """Ask for every number: known ones around all edges of their conditions."""
        verdicts = resolve_calls(self.policy, self.arch)
        names = {number: name for name, number in calltable.call_numbers(self.arch).items()}
        unknown = return_value(self.policy.unknown)
        for nr in NUMBERS:
            verdict = verdicts[names[nr]] if nr in names else None
            for args in (*PLAIN, *(calls_around(verdict) if verdict else ())):
                expected = return_value(verdict.answer(args)) if verdict else unknown
                self.ask(self.arch, nr, args, expected)
        for nr in (0x3FFFFFFF, 0x80000000, 0x80000001, 0xBFFFFFFF):
            self.ask(self.arch, nr, PLAIN[0], unknown)

    def ask_foreign(self) -> None:
        """Ask for every number of other ABIs, x32 among them."""
        foreign = return_value(self.policy.foreign_abi)
        for abi in NATIVE_FOREIGN[self.arch]:
            for nr in (*NUMBERS, 0x40000000, 0xFFFFFFFF):
                self.ask(abi, nr, PLAIN[0], foreign)
        if self.arch == "x86_64":
            for nr in NUMBERS:
                for args in PLAIN:
                    self.ask("x86_64", nr | calltable.X32_BIT, args, foreign)
            self.ask("x86_64", -1, PLAIN[0], foreign)


@pytest.mark.parametrize(("name", "arch"), CASES)
def test_filter_answers_as_the_model_and_is_covered(name: str, arch: str) -> None:
    """No number, ABI or edge of a condition is answered differently; all instructions ran."""
    comparison = Comparison(name, arch)
    comparison.ask_native()
    comparison.ask_foreign()
    assert comparison.wrong[:10] == []
    text = simulate.disassemble(comparison.program)
    never = [text[at] for at in range(len(text)) if at not in comparison.covered]
    assert never == []


@pytest.mark.parametrize(("name", "limit"), [("strict", 150), ("tiny", 50)])
@pytest.mark.parametrize("arch", calltable.ARCHES)
def test_filter_allows_no_more_calls_than_promised(name: str, limit: int, arch: str) -> None:
    """The README's numbers: strict at most 150 calls, tiny at most 50."""
    assert len(compiled(name, arch).allowed) <= limit


@pytest.mark.parametrize(("name", "arch"), CASES)
def test_filter_stays_small_and_shallow(name: str, arch: str) -> None:
    """At most 200 instructions, and a call without conditions costs at most 13 of them."""
    filter_ = compiled(name, arch)
    program = simulate.load(filter_.code)
    numbers = calltable.call_numbers(arch)
    verdicts = resolve_calls(syscalls_of(name), arch)
    plain = {call for call, verdict in verdicts.items() if not verdict.clauses}
    costs = {n: simulate.run(program, arch=arch, nr=numbers[n]).cost for n in plain}
    assert len(program.lines) <= 200
    assert max(costs.values()) <= 13


@pytest.mark.parametrize(("name", "arch"), CASES)
def test_proof_is_answered_by_the_filter(name: str, arch: str) -> None:
    """The call that proves the filter to be loaded gets its errno with (-1, 0, 0, 0, 0, 0)."""
    filter_ = compiled(name, arch)
    outcome = simulate.run(filter_.code, arch=arch, nr=filter_.proof_nr, args=(U64, 0, 0, 0, 0, 0))
    assert filter_.proof_nr == calltable.call_numbers(arch)["clone3"]
    recorded = simulate.load(filter_.recorded)
    audit_arch = calltable.AUDIT_ARCH[arch]
    for call in {*UNRECORDED, "clone3"} & calltable.call_numbers(arch).keys():
        number = calltable.call_numbers(arch)[call]
        assert not [
            value
            for value in simulate.answers(recorded, audit_arch, number)
            if value & 0xFFFF0000 == RET_NOTIFY
        ]
    assert (outcome.action.kind, outcome.action.errno) == ("errno", filter_.proof_errno)


def described(verdict: Verdict) -> str:
    """Return a call's answers as a line: each rule with its answer, then what is left."""
    parts = [
        f"{clause.rule}={clause.action}[{len(comparisons_of(clause.condition))}]"
        for clause in verdict.clauses
    ]
    return f"{verdict.name:24} {verdict.default!s:14} {' '.join(parts)}".rstrip()


@pytest.mark.parametrize(("name", "arch"), CASES)
def test_verdicts_of_shipped_policies_change_only_on_purpose(name: str, arch: str) -> None:
    """The table of every call's answers is the golden one (`make regen` writes it)."""
    verdicts = resolve_calls(syscalls_of(name), arch)
    text = "".join(f"{described(verdicts[call])}\n" for call in sorted(verdicts))
    path = GOLDEN / f"verdicts_{name}_{arch}.txt"
    if os.environ.get("SANDBOX_TESTS_REGEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def swapped(code: bytes, index: int) -> bytes:
    """Return `code` with the two branches of one test exchanged, or one answer made another."""
    at = index * 8
    line = bytearray(code[at : at + 8])
    if line[0] == RETURN:
        line[6] ^= 0x01  # another SECCOMP_RET_* value
    else:
        line[2], line[3] = line[3], line[2]
    return code[:at] + bytes(line) + code[at + 8 :]


@pytest.mark.parametrize("name", POLICIES)
def test_comparison_notices_any_instruction_that_is_wrong(name: str) -> None:
    """Not vacuous: with any one test or answer of a filter changed, some call differs."""
    code = compiled(
        name, "x86_64"
    ).recorded  # tells apart what the model does: with a record or not
    program = simulate.load(code)
    lines = program.lines
    comparison = Comparison(name, "x86_64")
    calls: list[tuple[tuple[int, ...], int]] = []
    comparison.ask = lambda abi, nr, args, expected: calls.append(  # type: ignore[method-assign]
        (simulate.words(calltable.AUDIT_ARCH[abi], nr, args), expected)
    )
    comparison.ask_native()
    comparison.ask_foreign()
    by_line: dict[int, list[tuple[tuple[int, ...], int]]] = {}
    for call in calls:
        value, path = simulate.trace(program, call[0])
        for at in path:
            by_line.setdefault(at, []).append((call[0], value))
    unnoticed = []
    for index, line in enumerate(lines):
        if line[0] not in (0x20, 0x54, 0x05):
            changed = simulate.load(swapped(code, index))
            if all(simulate.trace(changed, data)[0] == value for data, value in by_line[index]):
                unnoticed.append(simulate.disassemble(code)[index])
    assert unnoticed == []
