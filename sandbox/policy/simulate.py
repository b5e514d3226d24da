"""A classic BPF interpreter for seccomp programs: the verdict, its cost, and what was executed.

It accepts what the kernel accepts (seccomp_check_filter, bpf_check_classic) of the instructions
that a filter can need, and refuses the rest: a program that simulates also loads.
Unlike the kernel it checks a program only once: `load` it, then `run` it as often as needed.
"""

from __future__ import annotations

import struct

from sandbox.errors import PolicyError
from sandbox.policy import calltable
from sandbox.policy.syscall_model import Action
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

_INSTRUCTION = struct.Struct("<HBBI")
_DATA = struct.Struct("<IIQ6Q")  # struct seccomp_data
_WORDS = struct.Struct("<16I")
_INSTRUCTIONS_MAX = 4096
_U32 = 0xFFFFFFFF
_U64 = 0xFFFFFFFFFFFFFFFF

_LOAD = 0x20
_AND = 0x54
_JUMP = 0x05
_RETURN = 0x06
_TESTS = {0x15: "jeq", 0x25: "jgt", 0x35: "jge", 0x45: "jset"}
_NAMES = {_LOAD: "ld", _AND: "and", _JUMP: "ja", _RETURN: "ret", **_TESTS}


@record
class Outcome:
    """What a program answered: the action, instructions executed, and their indices."""

    action: Action
    cost: int
    covered: frozenset[int]


@record
class Program:
    """A checked program; `lines` are (code, jt, jf, k)."""

    lines: tuple[tuple[int, int, int, int], ...]


def load(code: bytes) -> Program:
    """Return the program that `code` is.

    Errors: PolicyError(policy.filter) with the index of the first instruction that is wrong.
    """
    count, rest = divmod(len(code), _INSTRUCTION.size)
    if rest or not 0 < count <= _INSTRUCTIONS_MAX:
        _refuse(f"{len(code)} bytes are not 1 to {_INSTRUCTIONS_MAX} instructions", 0)
    lines = tuple(_INSTRUCTION.iter_unpack(code))
    for index, (operation, true, false, value) in enumerate(lines):
        room = count - index - 1
        if operation not in _NAMES:
            _refuse(f"code {operation:#06x} is not one that a filter needs", index)
        if operation == _LOAD and (value % 4 or value >= _DATA.size):
            _refuse(f"offset {value} is not a word of struct seccomp_data", index)
        if operation == _JUMP and value >= room:
            _refuse("the jump leaves the program", index)
        if operation in _TESTS and max(true, false) >= room:
            _refuse("a branch leaves the program", index)
    if lines[-1][0] != _RETURN:
        _refuse("the program does not end with a return", count - 1)
    return Program(lines)


def run(
    code: bytes | Program, *, arch: str | int, nr: int, args: Sequence[int] = (0,) * 6, ip: int = 0
) -> Outcome:
    """Return what the filter answers to one call.

    Shape:  `code` is bytes, or a Program where many calls follow; `arch` is a name of
            calltable.AUDIT_ARCH or the number itself; `nr` may be negative, as in the kernel's int.
    Errors: PolicyError(policy.filter) for a program that the kernel would refuse.
    """
    program = code if isinstance(code, Program) else load(code)
    audit_arch = calltable.AUDIT_ARCH[arch] if isinstance(arch, str) else arch
    value, path = trace(program, words(audit_arch, nr, args, ip))
    return Outcome(_action(value), len(path), frozenset(path))


def words(audit_arch: int, nr: int, args: Sequence[int], ip: int = 0) -> tuple[int, ...]:
    """Return struct seccomp_data as its sixteen 32-bit words."""
    packed = _DATA.pack(nr & _U32, audit_arch, ip, *(value & _U64 for value in args))
    return _WORDS.unpack(packed)


def trace(program: Program, data: tuple[int, ...]) -> tuple[int, list[int]]:
    """Return the SECCOMP_RET_* value and the indices executed, in order; a run never loops."""
    lines = program.lines
    path: list[int] = []
    accumulator = at = 0
    while True:
        path.append(at)
        operation, true, false, value = lines[at]
        at += 1
        if operation == 0x15:
            at += true if accumulator == value else false
        elif operation == 0x35:
            at += true if accumulator >= value else false
        elif operation == 0x25:
            at += true if accumulator > value else false
        elif operation == _RETURN:
            return value, path
        elif operation == _LOAD:
            accumulator = data[value >> 2]
        elif operation == _JUMP:
            at += value
        elif operation == 0x45:
            at += true if accumulator & value else false
        else:
            accumulator &= value


def answers(program: Program, audit_arch: int, nr: int) -> frozenset[int]:
    """Return every SECCOMP_RET_* value that some arguments of one call can lead to."""
    known = {0: nr & _U32, 4: audit_arch}
    found = set()
    seen = set()
    states: list[tuple[int, int | None]] = [(0, 0)]  # None: the word depends on the arguments
    while states:
        state = states.pop()
        if state in seen:
            continue
        seen.add(state)
        at, word = state
        operation, true, false, value = program.lines[at]
        if operation == _RETURN:
            found.add(value)
        elif operation == _LOAD:
            states.append((at + 1, known.get(value)))
        elif operation == _AND:
            states.append((at + 1, None if word is None else word & value))
        elif operation == _JUMP:
            states.append((at + 1 + value, word))
        else:
            outcomes = (True, False) if word is None else (_holds(operation, word, value),)
            states += [(at + 1 + (true if one else false), word) for one in outcomes]
    return frozenset(found)


def _holds(operation: int, word: int, value: int) -> bool:
    name = _TESTS[operation]
    if name == "jset":
        return bool(word & value)
    return {"jeq": word == value, "jgt": word > value, "jge": word >= value}[name]


def disassemble(code: bytes | Program) -> tuple[str, ...]:
    """Return one line of text for each instruction, with absolute jump targets."""
    program = code if isinstance(code, Program) else load(code)
    texts = []
    for index, (operation, true, false, value) in enumerate(program.lines):
        text = f"{index:4} {_NAMES[operation]:4} "
        if operation == _LOAD:
            text += f"[{value}]"
        elif operation == _JUMP:
            text += f"{index + 1 + value}"
        elif operation == _RETURN:
            text += f"{value:#010x} {_action(value)}"
        else:
            text += f"{value:#x}"
            text += f" ? {index + 1 + true} : {index + 1 + false}" if operation in _TESTS else ""
        texts.append(text)
    return tuple(texts)


def _action(value: int) -> Action:
    """Return the action of a SECCOMP_RET_* value; the high half names it, the low is its data."""
    kind = value & 0xFFFF0000
    if kind in (0x00050000, 0x7FC00000):  # by itself, or by the supervisor, which records it
        return Action("errno", value & 0xFFFF)
    known = {0x7FFF0000: "allow", 0x80000000: "kill", 0x00030000: "trap"}
    if kind in known:
        return Action(known[kind])
    raise PolicyError(
        f"the filter returns {value:#010x}, which is no action of a policy", code="policy.filter"
    )


def _refuse(problem: str, index: int) -> NoReturn:
    raise PolicyError(
        f"not a seccomp program: instruction {index}: {problem}",
        code="policy.filter",
        instruction=index,
    )
