"""Random small policies: whatever they say, the bytes say the same as the model."""

from __future__ import annotations

from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.policy import calltable, simulate
from sandbox.policy.bpf import return_value
from sandbox.policy.conditions import comparisons_of, parse_condition
from sandbox.policy.syscall_model import SyscallPolicy, SyscallRule
from sandbox.policy.syscalls import compile_uncached, resolve_calls
from sandbox.policy.verdicts import Verdict
from support.syscalls import U64, calls_around, policy, rule

CALLS = ("ioctl", "socket", "clone", "prctl", "io_setup", "read", "file_setattr", "openat")
FAMILIES = ("unix", "inet", "inet6", "netlink", "mctp")
ACTIONS = ("errno:EPERM", "errno:ENOSYS", "errno:EIO", "kill", "trap", "allow")
ANSWERS = st.sampled_from(["errno:ENOSYS", "errno:EPERM", "errno:EACCES", "kill"])

small = st.sampled_from([0, 1, 2, 3, 7, 8, 0x5412, 0x7E020000, 0xFFFFFFFF, 0x80000000])
wide = st.one_of(small, st.sampled_from([1 << 32, 0x5412 | 1 << 32, U64, 1 << 63, 5 << 31]))


def members(draw: st.DrawFn, words: tuple[str, ...], least: int = 0) -> str:
    """Return some of `words`, in order, separated by blanks."""
    return " ".join(sorted(draw(st.sets(st.sampled_from(words), min_size=least))))


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    """Return one comparison of the language."""
    is_low = draw(st.booleans())
    argument = draw(st.integers(0, 5))
    values = small if is_low else wide
    text = f"u32(arg{argument})" if is_low else f"arg{argument}"
    if draw(st.booleans()):
        text += f" & {draw(values)}"
    if draw(st.integers(0, 3)) == 0:
        listed = draw(st.lists(values, min_size=1, max_size=6))
        return f"{text} {draw(st.sampled_from(['in', 'not in']))} {{{', '.join(map(str, listed))}}}"
    operator = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
    return f"{text} {operator} {draw(values)}"


conditions = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda items: f"({' and '.join(items)})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda items: f"({' or '.join(items)})"),
        inner.map(lambda item: f"not ({item})"),
    ),
    max_leaves=4,
)


@st.composite
def rules(draw: st.DrawFn) -> tuple[SyscallRule, ...]:
    """Return up to five rules on few calls, so that they meet."""
    made = []
    for index in range(draw(st.integers(0, 5))):
        names = members(draw, CALLS, 1)
        when = draw(conditions) if draw(st.integers(0, 4)) else ""
        action = draw(st.sampled_from(ACTIONS)) if when else draw(st.sampled_from(ACTIONS[:3]))
        made.append(rule(f"r{index}", names, when, action))
    return tuple(made)


@st.composite
def policies(draw: st.DrawFn) -> SyscallPolicy:
    """Return a policy that a command could start under."""
    needed = "execve write exit_group "
    return policy(
        *draw(rules()),
        allow=needed + members(draw, (*CALLS, "@file-system", "@mount")),
        deny=members(draw, ("@keyring", "clone", "file_setattr")),
        unknown=draw(ANSWERS),
        denied=draw(ANSWERS),
        foreign_abi=draw(ANSWERS),
        families=members(draw, FAMILIES),
    )


def sampled(verdict: Verdict) -> list[tuple[int, ...]]:
    """Return some hundred calls around the edges: all of few, every n-th of many."""
    total = sum(1 for _ in islice(calls_around(verdict), 60_000))
    return list(islice(calls_around(verdict), 0, 60_000, max(1, total // 300)))


@settings(max_examples=60)
@given(table=policies(), arch=st.sampled_from(calltable.ARCHES))
def test_bytes_of_a_random_policy_equal_its_model(table: SyscallPolicy, arch: str) -> None:
    """Every known call with plain arguments, the conditional ones around their edges."""
    program = simulate.load(compile_uncached(table, arch).code)
    native = calltable.AUDIT_ARCH[arch]
    numbers = calltable.call_numbers(arch)
    for name, verdict in resolve_calls(table, arch).items():
        for args in (*sampled(verdict), (U64,) * 6):
            value, _ = simulate.trace(program, simulate.words(native, numbers[name], args))
            assert value == return_value(verdict.answer(args)), (name, args)
    for nr in (338, 423, 470, 500, 0x80000005):
        value, _ = simulate.trace(program, simulate.words(native, nr, (0,) * 6))
        assert value == return_value(table.unknown)


@given(text=conditions)
def test_generated_conditions_are_of_the_language(text: str) -> None:
    """Guards the generator: what it makes parses, with at least one comparison."""
    assert comparisons_of(parse_condition(text))
