"""The `when` language: what it means, and what it says when it is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import PolicyError
from sandbox.policy.condition_names import CONSTANTS, SOCKET_FAMILIES
from sandbox.policy.conditions import Comparison, Not, comparisons_of, holds, parse_condition

U64 = 2**64 - 1
U32 = 2**32 - 1
WORDS = ("arg0", "u32(arg1)", "in", "not", "and", "or", "AF_UNIX", "==", *"{}()&,1")


@pytest.mark.parametrize(
    ("text", "true", "false"),
    [
        ("arg0 == 5", (5,), (4, 6, 5 | 1 << 32)),
        ("u32(arg0) == 5", (5, 5 | 1 << 32), (4, 6)),
        ("arg0 != 5", (4, 5 | 1 << 32), (5,)),
        ("arg0 < 5", (0, 4), (5, 1 << 32)),
        ("arg0 <= 5", (5,), (6,)),
        ("arg0 > 5", (6, 1 << 32), (5, 0)),
        ("arg0 >= 5", (5, U64), (4,)),
        ("u32(arg0) < 5", (4, 1 << 32), (5,)),
        ("arg0 & 0x6 != 0", (2, 4, 6), (0, 1, 8)),
        ("arg0 & 0x6 == 0x6", (6, 7), (2, 4)),
        ("arg0 & S_ISUID|S_ISGID == 0o6000", (0o6000, 0o6755), (0o4000,)),
        ("arg0 in {1, 2, 0x1000}", (1, 2, 0x1000), (0, 3)),
        ("arg0 not in {1, 2}", (0, 3), (1, 2)),
        ("not arg0 == 1", (0,), (1,)),
        ("arg0 == 1 or arg0 == 3 and arg1 == 7", (1,), (3,)),
        ("(arg0 == 1 or arg0 == 3) and arg1 == 0", (1, 3), (2,)),
        ("u32(arg0) in {TIOCSTI, TIOCLINUX}", (0x5412, 0x541C, 0x5412 | 1 << 40), (0x5413,)),
        ("u32(arg0) == AF_INET6", (10,), (2,)),
    ],
)
def test_condition_holds_where_it_says(text: str, true: tuple[int], false: tuple[int]) -> None:
    """Each comparison is true and false of the values that a reader expects."""
    condition = parse_condition(text)
    for value in true:
        assert holds(condition, (value, 0, 0, 0, 0, 0)), value
    for value in false:
        assert not holds(condition, (value, 0, 0, 0, 0, 0)), value


def test_condition_reads_each_argument() -> None:
    """arg0 to arg5 are the six registers."""
    for index in range(6):
        arguments = [0] * 6
        arguments[index] = 9
        assert holds(parse_condition(f"arg{index} == 9"), arguments)


def test_u32_is_the_low_half_in_the_tree() -> None:
    """`u32(argN)` and `argN` differ in width and mask alone."""
    low = Comparison(3, 32, U32, "==", (1,))
    whole = Comparison(3, 64, U64, "==", (1,))
    assert parse_condition("u32(arg3) == 1") == low
    assert parse_condition("arg3 == 1") == whole
    assert parse_condition("arg3 != 1") == Not(whole)
    assert comparisons_of(parse_condition("arg3 != 1 and not u32(arg3) == 1")) == (whole, low)


@pytest.mark.parametrize(
    ("text", "column", "problem", "hint"),
    [
        ("", 1, "the condition is empty", "leave `when` out"),
        ("arg0", 5, "a comparison is missing", "comparisons are"),
        ("arg0 ==", 8, "a constant is missing", "write a number"),
        ("arg0 = 1", 6, "'=' means nothing here", ""),
        ("arg9 == 1", 1, "an argument should stand here", "did you mean arg"),
        ("u32(arg1 == 1", 10, "')' is missing", ""),
        ("u32(arg1) == TIOCST", 14, "'TIOCST' is not a constant", "did you mean TIOCSTI?"),
        ("arg1 == tiocsti", 9, "'tiocsti' is not a constant", "did you mean TIOCSTI?"),
        ("arg2 & 06000 != 0", 8, "'06000' is not a constant", "0o37"),
        ("u32(arg0) == 0x100000000", 14, "does not fit in 32 bits", ""),
        ("arg0 == 0x10000000000000000", 9, "does not fit in 64 bits", ""),
        ("arg0 in {}", 10, "is not a constant", ""),
        ("arg0 in {1, 2", 14, "'}' is missing", ""),
        ("arg0 == 1 arg1 == 2", 11, "nothing may follow here", ""),
        ("(arg0 == 1", 11, "')' is missing", ""),
        ("arg0 == 1 and", 14, "an argument is missing", ""),
        ("(" * 40 + "arg0 == 1" + ")" * 40, 33, "nested deeper than 32", ""),
        ("arg0 == -1", 9, "'-' means nothing here", ""),
    ],
)
def test_wrong_condition_names_its_place(text: str, column: int, problem: str, hint: str) -> None:
    """An error carries the column and, for a name, the nearest one."""
    with pytest.raises(PolicyError) as caught:
        parse_condition(text)
    error = caught.value
    assert error.fields["column"] == column
    assert f"column {column}: " in error.message
    assert problem in error.message
    assert hint in (error.hint or "")
    assert error.code == "policy.value"


def parsed_or_refused(text: str) -> bool:
    """Say whether `text` parses to something that can be judged, or is refused with a column."""
    try:
        condition = parse_condition(text)
    except PolicyError as error:
        return error.code == "policy.value" and int(error.fields["column"]) >= 1
    return bool(comparisons_of(condition)) and holds(condition, (0,) * 6) in (True, False)


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_a_policy_error(text: str) -> None:
    """No text, however odd, ends in another exception."""
    assert parsed_or_refused(text)


@given(
    st.lists(
        st.sampled_from(
            [
                "arg0",
                "u32(arg1)",
                "==",
                "&",
                "in",
                "{",
                "}",
                "(",
                ")",
                "not",
                "and",
                "or",
                "1",
                "AF_UNIX",
                ",",
            ]
        )
    )
)
def test_any_words_are_a_condition_or_a_policy_error(words: list[str]) -> None:
    """The words of the language in any order do no worse."""
    assert parsed_or_refused(" ".join(words))


def test_socket_families_are_constants_by_their_kernel_name() -> None:
    """A family's policy name is its kernel name in lower case."""
    assert SOCKET_FAMILIES["inet6"] == CONSTANTS["AF_INET6"] == 10
    assert SOCKET_FAMILIES["netlink"] == CONSTANTS["AF_NETLINK"] == 16
    assert SOCKET_FAMILIES["mctp"] == CONSTANTS["AF_MCTP"] == 45
