"""The BPF interpreter: verdict, cost, cover, and what it refuses to run."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import PolicyError
from sandbox.policy import simulate
from sandbox.policy.syscall_model import ALLOW, KILL, Action

ALLOWED, KILLED, EPERM = 0x7FFF0000, 0x80000000, 0x00050001


def program(*lines: tuple[int, int, int, int]) -> bytes:
    """Return lines of (code, jt, jf, k) as bytes."""
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


ONE_CALL = program((0x20, 0, 0, 0), (0x15, 0, 1, 39), (6, 0, 0, EPERM), (6, 0, 0, ALLOWED))


def test_run_gives_verdict_cost_and_cover() -> None:
    """A program is followed along one path, each instruction of which counts one."""
    assert simulate.run(ONE_CALL, arch="x86_64", nr=39) == simulate.Outcome(
        Action("errno", 1), 3, frozenset({0, 1, 2})
    )
    assert simulate.run(ONE_CALL, arch="x86_64", nr=40) == simulate.Outcome(
        ALLOW, 3, frozenset({0, 1, 3})
    )


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, 0xFFFFFFFE),
        (4, 0xC000003E),
        (8, 0x55667788),
        (12, 0x11223344),
        (16, 0x99AABBCC),
        (20, 0xDDEEFF00),
        (56, 6),
        (60, 0),
    ],
)
def test_load_reads_each_word_of_seccomp_data(offset: int, value: int) -> None:
    """Number, architecture, instruction pointer and both halves of arguments, low half first."""
    code = program((0x20, 0, 0, offset), (0x15, 0, 1, value), (6, 0, 0, ALLOWED), (6, 0, 0, KILLED))
    args = (0xDDEEFF0099AABBCC, 0, 0, 0, 0, 6)
    outcome = simulate.run(code, arch="x86_64", nr=-2, args=args, ip=0x1122334455667788)
    assert outcome.action == ALLOW


@pytest.mark.parametrize(
    ("operation", "true", "false"),
    [(0x15, (7,), (6, 8)), (0x25, (8,), (7,)), (0x35, (7, 8), (6,)), (0x45, (1, 6), (8, 0))],
)
def test_each_comparison_branches(
    operation: int, true: tuple[int, ...], false: tuple[int, ...]
) -> None:
    """jeq, jgt, jge and jset compare with 7."""
    code = program((0x20, 0, 0, 0), (operation, 0, 1, 7), (6, 0, 0, ALLOWED), (6, 0, 0, KILLED))
    assert {simulate.run(code, arch=0, nr=nr).action for nr in true} == {ALLOW}
    assert {simulate.run(code, arch=0, nr=nr).action for nr in false} == {KILL}


def test_and_masks_and_jump_skips() -> None:
    """`and` keeps the bits of its mask; `ja` is relative to the next instruction."""
    code = program(
        (0x20, 0, 0, 16),
        (0x54, 0, 0, 0xF0),
        (0x05, 0, 0, 1),
        (6, 0, 0, KILLED),
        (0x15, 0, 1, 0x30),
        (6, 0, 0, ALLOWED),
        (6, 0, 0, 0x00030000),
    )
    assert simulate.run(code, arch=0, nr=0, args=(0x13F, 0, 0, 0, 0, 0)).action == ALLOW
    assert simulate.run(code, arch=0, nr=0, args=(0x14F, 0, 0, 0, 0, 0)).action == Action("trap")


@pytest.mark.parametrize(
    ("code", "index", "problem"),
    [
        (b"", 0, "0 bytes"),
        (ONE_CALL[:-1], 0, "31 bytes"),
        (program(*[(6, 0, 0, ALLOWED)] * 4097), 0, "4096 instructions"),
        (program((0x20, 0, 0, 0)), 0, "end with a return"),
        (program((0x20, 0, 0, 2), (6, 0, 0, ALLOWED)), 0, "offset 2"),
        (program((0x20, 0, 0, 64), (6, 0, 0, ALLOWED)), 0, "offset 64"),
        (program((0x05, 0, 0, 1), (6, 0, 0, ALLOWED)), 0, "jump leaves"),
        (program((0x05, 0, 0, 0xFFFFFFFF), (6, 0, 0, ALLOWED)), 0, "jump leaves"),
        (program((6, 0, 0, 0), (0x15, 0, 1, 0), (6, 0, 0, ALLOWED)), 1, "branch leaves"),
        (program((6, 0, 0, 0), (0x15, 255, 0, 0), (6, 0, 0, ALLOWED)), 1, "branch leaves"),
        (program((0x00, 0, 0, 0), (6, 0, 0, ALLOWED)), 0, "0x0000 is not one"),
        (program((0x28, 0, 0, 0), (6, 0, 0, ALLOWED)), 0, "0x0028 is not one"),
    ],
)
def test_malformed_program_is_refused(code: bytes, index: int, problem: str) -> None:
    """What the kernel would not load is not simulated; the error names the instruction."""
    with pytest.raises(PolicyError) as caught:
        simulate.run(code, arch="x86_64", nr=0)
    assert problem in caught.value.message
    assert (caught.value.code, caught.value.fields["instruction"]) == ("policy.filter", index)


def test_unknown_return_value_is_no_action() -> None:
    """A value that no policy can ask for (here TRACE) is an error, not a silent denial."""
    with pytest.raises(PolicyError) as caught:
        simulate.run(program((6, 0, 0, 0x7FF00000)), arch="x86_64", nr=0)
    assert "0x7ff00000" in caught.value.message


@given(st.binary(max_size=64))
def test_any_bytes_are_a_program_or_a_policy_error(code: bytes) -> None:
    """No bytes make the interpreter fail in another way, or run for ever."""
    code_of_error = ""
    lines: tuple[object, ...] = ()
    cost = 0
    try:
        lines = simulate.load(code).lines
        cost = simulate.run(code, arch="x86_64", nr=1).cost
    except PolicyError as error:
        code_of_error = error.code
    assert code_of_error == "policy.filter" or 1 <= cost <= len(lines)


def test_disassembly_has_one_line_for_each_instruction() -> None:
    """Jumps are shown with their absolute targets, returns with their action."""
    assert simulate.disassemble(ONE_CALL) == (
        "   0 ld   [0]",
        "   1 jeq  0x27 ? 2 : 3",
        "   2 ret  0x00050001 errno:EPERM",
        "   3 ret  0x7fff0000 allow",
    )
