"""The last look at a compiled filter: does it answer as the model says?

libseccomp has dropped rules silently and compared the wrong width before; a filter that differs
from its policy must never be loaded, whatever the reason. Every call is asked with plain arguments,
the conditional ones with the values around each comparison too.
"""

from __future__ import annotations

from sandbox.errors import PolicyError
from sandbox.policy import calltable, simulate
from sandbox.policy.bpf import RET_NOTIFY, return_value
from sandbox.policy.conditions import Comparison, comparisons_of
from sandbox.policy.syscall_model import Action, SyscallPolicy
from sandbox.policy.verdicts import Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_U64 = 0xFFFFFFFFFFFFFFFF
_ALWAYS = (0, 1, 1 << 32, _U64)


def boundary_values(test: Comparison) -> tuple[int, ...]:
    """Return values of the argument on both sides of every edge that `test` has."""
    values = set(_ALWAYS)
    for value in test.values:
        values.update((value, value + 1, value - 1, value | 1 << 32, value | 1 << 63, value << 32))
    if test.mask not in (_U64, _U64 >> 32):
        bits = [1 << bit for bit in range(test.width) if test.mask >> bit & 1]
        values.update((test.mask, ~test.mask, *bits, *(bit << 32 for bit in bits)))
    return tuple(sorted(value & _U64 for value in values))


def boundary_arguments(verdict: Verdict) -> Iterator[tuple[int, ...]]:
    """Return sets of six arguments around the edges of a call's conditions.

    Shape: each argument takes its edges in turn while the others hold values under which the
           rest of a conjunction is true or false.
    """
    yield (0,) * 6
    yield (_U64,) * 6
    for clause in verdict.clauses:
        tests = comparisons_of(clause.condition)
        for base in _bases(tests):
            for test in tests:
                for value in boundary_values(test):
                    arguments = list(base)
                    arguments[test.argument] = value
                    yield tuple(arguments)


def _bases(tests: tuple[Comparison, ...]) -> tuple[tuple[int, ...], ...]:
    """Return arguments under which all tests hold, as far as one value each can say, or none."""
    true, false = [0] * 6, [0] * 6
    for test in tests:
        value = test.values[0] if test.values else 0
        true[test.argument] = (value or test.mask) & _U64
        false[test.argument] = ~value & _U64
    return tuple(true), tuple(false)


def check(code: bytes, policy: SyscallPolicy, arch: str, verdicts: dict[str, Verdict]) -> None:
    """Compare `code` with the model.

    Errors: PolicyError(policy.filter) that names the first call that differs.
    """
    program = simulate.load(code)
    native = calltable.AUDIT_ARCH[arch]
    numbers = calltable.call_numbers(arch)
    for name, verdict in verdicts.items():
        for arguments in boundary_arguments(verdict) if verdict.clauses else ((0,) * 6,):
            expected = verdict.answer(arguments)
            _compare(program, native, numbers[name], arguments, expected, name)
    nothing = (0,) * 6
    last = max(numbers.values())
    for number in (last + 1, 0x3FFFFFFF, 0x80000000):
        _compare(program, native, number, nothing, policy.unknown, f"call {number:#x}")
    for foreign in calltable.AUDIT_ARCH.values():
        if foreign != native:
            _compare(program, foreign, numbers["write"], nothing, policy.foreign_abi, "write")
    if arch == "x86_64":
        for number in (calltable.X32_BIT, calltable.X32_BIT | last, 0xFFFFFFFF):
            _compare(program, native, number, nothing, policy.foreign_abi, f"call {number:#x}")


def check_recorded(recorded: bytes, arch: str, plain: frozenset[str]) -> None:
    """Make sure that the calls in `plain` never wait for an answer, whatever their arguments.

    Errors: PolicyError(policy.filter) that names the first call that would.
    """
    program = simulate.load(recorded)
    numbers = calltable.call_numbers(arch)
    for name in sorted(plain & numbers.keys()):
        values = simulate.answers(program, calltable.AUDIT_ARCH[arch], numbers[name])
        if any(value & 0xFFFF0000 == RET_NOTIFY for value in values):
            raise PolicyError(
                f"the compiled filter puts {name} to the supervisor before the command has started",
                hint="this is a defect of the filter compiler; nothing was run",
                code="policy.filter",
                call=name,
            )


def _compare(
    program: simulate.Program,
    audit_arch: int,
    number: int,
    arguments: tuple[int, ...],
    expected: Action,
    name: str,
) -> None:
    value, _ = simulate.trace(program, simulate.words(audit_arch, number, arguments))
    if value != return_value(expected):
        raise PolicyError(
            f"the compiled filter answers {name} with {value:#010x}, the policy says {expected}",
            hint="this is a defect of the filter compiler or of libseccomp; nothing was run",
            code="policy.filter",
            call=name,
            arguments=list(arguments),
        )
