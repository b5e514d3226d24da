"""Requests are what the C side reads: sizes, numbers, and what encode_invocation() says."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox._core import ffi, lib
from sandbox.errors import UsageError
from sandbox.plan import model
from sandbox.run import job_format, serving, session
from sandbox.run import request_format as form

TEXT = st.binary(max_size=20).map(lambda value: value.replace(b"\0", b""))


def check(blob: bytes, fd_count: int) -> int:
    """Return what the C checker says."""
    error = ffi.new("struct sbx_error *")
    result: int = lib.sbx_request_check(ffi.from_buffer("char[]", blob), len(blob), fd_count, error)
    return result


def test_numbers_are_those_of_the_header() -> None:
    """Magic, flags and limits; the status and the message of a limit."""
    assert ffi.sizeof("struct sbx_request") == struct.calcsize(form.FORMATS["sbx_request"])
    names = [name for name, _ in ffi.typeof("struct sbx_request").fields]
    assert names == ["magic", "flags", "size", "fd_count", "timeout_ms", "grace_ms"]
    assert form.MAGIC == lib.SBX_REQUEST_MAGIC
    assert form.IS_FILE == lib.SBX_REQUEST_FILE
    assert form.INLINE_MAX_BYTES == lib.SBX_REQUEST_INLINE_MAX
    assert form.FDS_MAX == lib.SBX_REQUEST_FDS_MAX
    assert ffi.sizeof("struct sbx_status") == session._STATUS.size
    assert session._CAUSES[lib.SBX_CAUSE_TIMEOUT] == "timeout"
    assert serving._CAUSE_OUTPUT == lib.SBX_CAUSE_OUTPUT
    assert serving._LIMIT == lib.SBX_MESSAGE_LIMIT
    assert job_format.KILL == lib.SBX_MESSAGE_KILL


@given(
    st.lists(TEXT, min_size=1, max_size=5),
    st.lists(TEXT.map(lambda value: b"N=" + value), max_size=5),
    st.lists(st.integers(0, 1023), unique=True, max_size=9),
)
def test_a_command_is_a_valid_request(
    argv: list[bytes], env: list[bytes], targets: list[int]
) -> None:
    """The checker takes it with as many descriptors, and refuses it with one less."""
    blob = form.encode_command(argv, env, [b"/bin/x"], b"/tmp", tuple(enumerate(targets)))
    assert check(blob, len(targets)) == 0
    if targets:
        assert check(blob, len(targets) - 1) < 0


def test_it_says_what_encode_invocation_says() -> None:
    """Decoded, both are the same invocation."""
    from sandbox.plan.encode import encode_invocation

    fds = ((0, 0), (1, 5))
    made = form.encode_command([b"a", b"", b"c"], [b"E=1"], [b"/a", b"/b"], b"/", fds)
    usual = encode_invocation(
        model.Invocation(
            argv=(b"a", b"", b"c"),
            env=(b"E=1",),
            programs=(b"/a", b"/b"),
            cwd=b"/",
            slots=(b"",) * 6,
            fds=(model.FdMap(0, 0), model.FdMap(1, 5)),
        )
    )
    assert _content(made) == _content(usual)


def test_it_says_the_same_of_a_command_of_its_own() -> None:
    """With slots, of which some are empty, and flags."""
    from sandbox.plan import encode

    run = model.Invocation(
        argv=(b"a", b"b"),
        env=(b"E=1", b"F="),
        programs=(b"/a",),
        cwd=b"/c",
        slots=(b"", b"/c", b"", b"/home", b"/c", b""),
        fds=(model.FdMap(5, 0), model.FdMap(0, 1)),
        is_held=True,
    )
    fds = tuple((item.source, item.target) for item in run.fds)
    made = form.encode_command(
        run.argv,
        run.env,
        run.programs,
        run.cwd,
        fds,
        slots=run.slots,
        flags=encode.INVOCATION_HOLD,
    )
    assert _content(made) == _content(encode.encode_invocation(run))
    assert lib.SBX_INVOCATION_HOLD == encode.INVOCATION_HOLD


def _content(blob: bytes) -> dict[int, object]:
    """The sections by kind: strings by value, records as they are."""
    found: dict[int, object] = {}
    for number in range(struct.unpack_from("=IIII", blob)[3]):
        kind, count, offset, size = struct.unpack_from("=IIII", blob, 16 + 16 * number)
        data = blob[offset : offset + size]
        if kind in (21, 22, 23, 25):
            places = struct.unpack(f"={count}I", data)
            found[kind] = [blob[at : blob.index(b"\0", at)] if at else b"" for at in places]
        elif kind == 20:
            at, *rest = struct.unpack("=IIiI", data)
            found[kind] = (blob[at : blob.index(b"\0", at)], rest)
        elif kind != 1:
            found[kind] = data
    return found


def test_what_cannot_be_sent_is_refused() -> None:
    """A NUL, and more than the kernel could take."""
    with pytest.raises(UsageError, match="NUL"):
        form.encode_command([b"a\0b"], [], [b"/a"], b"/", ())
    with pytest.raises(UsageError, match="too large"):
        form.encode_command([b"x" * 9_000_000], [], [b"/a"], b"/", ())


@given(st.data())
def test_the_checker_survives_any_change(data: st.DataObject) -> None:
    """Bytes changed at random are taken or refused, never read beyond their end."""
    blob = bytearray(form.encode_command([b"a", b"b"], [b"E=1"], [b"/a"], b"/", ((0, 0), (1, 1))))
    for _ in range(data.draw(st.integers(1, 6))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    assert check(bytes(blob), 2) <= 0
