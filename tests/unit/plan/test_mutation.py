"""Damaged plans and invocations never hurt the checker, and what it accepts can be decoded.

The generator is seeded, so a failure comes back; libFuzzer (make fuzz) searches further.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox._core import ffi, lib
from sandbox.errors import StateError
from sandbox.plan.decode import decode_plan
from sandbox.plan.encode import encode_invocation, encode_plan
from support import plans

MUTANTS = 3000
SMALL = (0, 1, 2, 7, 8, 0x10, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFF)

PLANS = {name: encode_plan(plan) for name, plan in plans.made_plans().items()}
INVOCATIONS = {name: encode_invocation(run) for name, run in plans.made_invocations().items()}


@pytest.fixture(scope="module")
def shipped() -> dict[str, bytes]:
    """The plans of the shipped policies, as bytes."""
    return {name: encode_plan(plan) for name, plan in plans.shipped_plans().items()}


def check(function: Callable[..., int], blob: bytes) -> int:
    """Run a checker over an 8-aligned copy and return its errno, 0 for accepted."""
    error = ffi.new("struct sbx_error *")
    words = ffi.new("uint64_t[]", len(blob) // 8 + 1)  # cffi aligns arrays to their items
    ffi.buffer(words)[: len(blob)] = blob
    result = function(words, len(blob), error)
    assert result <= 0
    assert (result == 0) == (error.err == 0)
    if result:
        assert error.stage == lib.SBX_STAGE_CHECK
    return -result


def mutants(blob: bytes, seed: int, count: int) -> list[bytes]:
    """Return damaged copies: bits, bytes, 32-bit words, moved words, cut and grown ends."""
    source = random.Random(seed)
    found = []
    for _ in range(count):
        copy = bytearray(blob)
        for _ in range(source.choice((1, 1, 1, 2, 5))):
            at = source.randrange(len(copy))
            word = at - at % 4
            kind = source.randrange(5)
            if kind == 0:
                copy[at] ^= 1 << source.randrange(8)
            elif kind == 1:
                copy[at] = source.randrange(256)
            elif kind == 2:
                copy[word : word + 4] = source.choice(SMALL).to_bytes(4, "little")
            elif kind == 3:
                other = source.randrange(len(copy) // 4) * 4
                copy[word : word + 4] = copy[other : other + 4]
            else:
                value = int.from_bytes(copy[word : word + 4], "little") + source.choice(
                    (-8, -1, 1, 8)
                )
                copy[word : word + 4] = (value & 0xFFFFFFFF).to_bytes(4, "little")
        if source.random() < 0.1:
            del copy[source.randrange(len(copy)) :]
            copy[8:12] = len(copy).to_bytes(4, "little") if len(copy) >= 12 else copy[8:12]
        found.append(bytes(copy))
    return found


def assert_harmless(blob: bytes) -> bool:
    """Check one damaged plan; return whether it was accepted, in which case it decodes."""
    if check(lib.sbx_plan_check, blob) != 0:
        return False
    again = encode_plan(decode_plan(blob))
    assert check(lib.sbx_plan_check, again) == 0
    return True


@pytest.mark.parametrize("name", PLANS)
def test_a_valid_plan_survives_the_round_trip(name: str) -> None:
    """What Python encodes, C accepts, and decoding gives the same plan."""
    assert check(lib.sbx_plan_check, PLANS[name]) == 0
    assert decode_plan(PLANS[name]) == plans.made_plans()[name]


@pytest.mark.parametrize("name", INVOCATIONS)
def test_a_valid_invocation_is_accepted(name: str) -> None:
    """What Python encodes, C accepts, and only as what it is."""
    assert check(lib.sbx_invocation_check, INVOCATIONS[name]) == 0
    assert check(lib.sbx_plan_check, INVOCATIONS[name]) != 0


@pytest.mark.parametrize("name", PLANS)
def test_damaged_plans_are_refused_or_decode(name: str) -> None:
    """No mutant crashes the checker; each one that is accepted decodes to a plan."""
    for blob in mutants(PLANS[name], seed=1, count=MUTANTS):
        assert_harmless(blob)


@pytest.mark.parametrize("name", plans.SHIPPED)
def test_damaged_shipped_plans_are_refused_or_decode(shipped: dict[str, bytes], name: str) -> None:
    """The same for what really runs."""
    assert check(lib.sbx_plan_check, shipped[name]) == 0
    for blob in mutants(shipped[name], seed=2, count=MUTANTS // 2):
        assert_harmless(blob)


@pytest.mark.parametrize("name", INVOCATIONS)
def test_damaged_invocations_are_judged(name: str) -> None:
    """No mutant crashes the checker of invocations."""
    for blob in mutants(INVOCATIONS[name], seed=3, count=MUTANTS):
        check(lib.sbx_invocation_check, blob)


@pytest.mark.parametrize("name", PLANS)
def test_every_single_byte_matters_to_nobody_else(name: str) -> None:
    """Each byte of a plan, set to 0 and to 255 in turn, is refused or decodes."""
    blob = PLANS[name]
    for at in range(len(blob)):
        for value in (0, 255):
            assert_harmless(blob[:at] + bytes([value]) + blob[at + 1 :])


@pytest.mark.parametrize("name", PLANS)
def test_every_cut_is_refused(name: str) -> None:
    """A plan that ends early is refused at every length."""
    blob = PLANS[name]
    accepted = [size for size in range(len(blob)) if check(lib.sbx_plan_check, blob[:size]) == 0]
    assert accepted == []


@settings(max_examples=300)
@given(st.binary(max_size=600))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    """Random bytes are neither a plan nor an invocation, and decoding them is a StateError."""
    assert check(lib.sbx_plan_check, data) != 0
    assert check(lib.sbx_invocation_check, data) != 0
    with pytest.raises(StateError):
        decode_plan(data)


@pytest.mark.parametrize("name", PLANS)
def test_decoding_damaged_bytes_raises_only_state_errors(name: str) -> None:
    """decode_plan needs no check before it: damage is a StateError, or another plan."""
    for blob in mutants(PLANS[name], seed=4, count=MUTANTS):
        try:
            decode_plan(blob)
        except StateError as error:
            assert error.hint == "compile the plan again"  # noqa: PT017  # either way is right
