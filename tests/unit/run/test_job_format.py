"""The bytes between the Python API and a supervisor are those of csrc/abi_job.h."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from sandbox._core import ffi, lib
from sandbox.launch.spawn import Status
from sandbox.run import job_format as form
from sandbox.run.outcome import Counted
from sandbox.run.supervise import Ending


@pytest.mark.parametrize("name", sorted(form.FORMATS))
def test_each_record_has_the_compilers_size(name: str) -> None:
    """A format in Python is as long as the struct in C."""
    assert struct.calcsize(form.FORMATS[name]) == ffi.sizeof(f"struct {name}")


def test_numbers_are_the_headers() -> None:
    """Magic, version, kinds, causes and flags are those of the header."""
    kinds = "SPAWNED STARTED FAILED DENIAL ENDED SIGNAL KILL SETTLED"
    for name in kinds.split():
        assert getattr(form, name) == getattr(lib, f"SBX_MESSAGE_{name}")
    flags = "USER_ENDED OUTPUT_TRUNCATED STATUS_KNOWN COUNTED PEAK_KNOWN"
    for name in flags.split():
        assert getattr(form, name) == getattr(lib, f"SBX_ENDING_{name}")
    for number, name in enumerate(("timeout", "memory", "cpu", "output", "cancelled"), 1):
        assert getattr(lib, f"SBX_CAUSE_{name.upper()}") == number
        assert form.CAUSES[number] == name
    assert len(form.CAUSES) == lib.SBX_CAUSE_COUNT
    assert (form.MAGIC, form.VERSION) == (lib.SBX_JOB_MAGIC, lib.SBX_JOB_VERSION)


def test_an_ending_is_read_field_by_field() -> None:
    """Every field of the C struct arrives under its name."""
    made: Any = ffi.new("struct sbx_ending *")
    made.cause = lib.SBX_CAUSE_OUTPUT
    made.flags = 0x1F
    made.status.wait_status, made.status.user_us, made.status.system_us = 15, 2, 3
    made.status.max_rss_kib, made.status.switches, made.status.degraded = 4, 5, 1
    made.wall_us, made.memory_peak_bytes, made.output_bytes = 7999, 8, 9
    made.hits, made.denials_lost, made.denials_errno = 3, 11, 16
    one: Any = ffi.new("struct sbx_denial *")
    one.nr, one.error, one.count, one.comm, one.text = 41, 13, 7, b"cat", b"/x"
    denial = form.denial_in(struct.pack("=Ii", form.DENIAL, 0) + bytes(ffi.buffer(one)))
    message = struct.pack("=Ii", form.ENDED, 0) + bytes(ffi.buffer(made))
    assert form.kind_of(message) == form.ENDED
    assert (denial.nr, denial.errno, denial.count, denial.comm, denial.text) == (
        *(41, 13, 7),
        *(b"cat", b"/x"),
    )
    ending = Ending(
        *(Status(15, 2, 3, 4, 5, 1), "output", 7, 8, frozenset({"memory", "pids"})),
        denials=(denial,),
        denials_lost=11,
        record_error=16,
    )
    counted = Counted(9, is_truncated=True)
    assert form.ending_of(message, (denial,)) == form.Ended(ending, counted, was_user=True)


def test_what_is_not_known_is_none() -> None:
    """Without its flag a field of the ending says nothing."""
    message = struct.pack("=Ii", form.ENDED, 0) + bytes(ffi.sizeof("struct sbx_ending"))
    assert form.ending_of(message) == form.Ended(Ending(None, "", 0, None))


def test_the_end_of_the_conversation_has_no_kind() -> None:
    """End of file, and what is too short to be a message."""
    assert (form.kind_of(b""), form.kind_of(b"abc")) == (0, 0)


def test_a_job_names_its_parts_at_aligned_places() -> None:
    """Each blob is found where the header says, a part that is absent at 0."""
    for parts in ((b"plan!", b"invocation", b""), (b"p", b"i", b"placeholders")):
        data = form.encode_job(*parts)
        header = ffi.new("struct sbx_job_header *")
        size = ffi.sizeof("struct sbx_job_header")
        ffi.buffer(header)[:] = data[:size]
        for name, part in zip(("plan", "invocation", "placeholders"), parts, strict=True):
            at, length = getattr(header, f"{name}_offset"), getattr(header, f"{name}_size")
            assert data[at : at + length] == part
            assert at % 8 == 0
            assert (at > 0) == bool(part)
