"""Python and C read the same bytes: sizes, offsets and numbers of csrc/abi.h."""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag

import pytest

from sandbox._core import ffi, lib
from sandbox.plan import encode, entry, model

# fmt: off
SECTIONS = [
    "STRINGS", "CORE", "IDMAPS", "MOUNTS", "RLIMITS", "LANDLOCK", "FILTERS", "CODE", "ENV",
    "PROTECT", "NOTES", "RULES", "FINGERPRINT", "SUPERVISE", "INVOCATION", "ARGV", "ENVP",
    "PROGRAMS", "FDS", "SLOTS",
]
# fmt: on

ENUMS: tuple[tuple[type[IntEnum | IntFlag], str], ...] = (
    (model.Slot, "SBX_SLOT_"),
    (model.MountKind, "SBX_MOUNT_"),
    (model.MountFlag, "SBX_MOUNT_"),
    (model.PlanFlag, "SBX_PLAN_"),
    (model.RootKind, "SBX_ROOT_"),
    (model.IdKind, "SBX_ID_"),
    (model.LandlockKind, "SBX_LANDLOCK_"),
    (model.EnvKind, "SBX_ENV_"),
    (model.ProtectKind, "SBX_PROTECT_"),
    (model.Supervise, "SBX_SUPERVISE_"),
    (model.Stage, "SBX_STAGE_"),
    (entry.GroupStepKind, "SBX_GROUP_"),
    (entry.GroupLeafFlag, "SBX_GROUP_"),
    (entry.GroupWriteFlag, "SBX_GROUP_"),
    (model.FilterFlag, "SBX_FILTER_"),
)


@pytest.mark.parametrize("name", encode.FORMATS)
def test_record_has_the_size_of_its_format(name: str) -> None:
    """`struct` packs each record into exactly the bytes that the C compiler gives it."""
    assert ffi.sizeof(f"struct {name}") == struct.calcsize(encode.FORMATS[name])


@pytest.mark.parametrize("name", encode.FORMATS)
def test_fields_stand_where_the_format_puts_them(name: str) -> None:
    """Every field has the offset and the size that the format gives it, without padding."""
    letters = []
    for count, letter in _runs(encode.FORMATS[name]):
        letters += [letter] * count
    at = 0
    expected = []
    for letter in letters:
        size = struct.calcsize(f"={letter}")
        expected.append((at, size))
        at += size
    fields = ffi.typeof(f"struct {name}").fields
    found = []
    for _, field in fields:
        item = field.type.item if field.type.kind == "array" else field.type
        size = ffi.sizeof(item)
        count = ffi.sizeof(field.type) // size
        found += [(field.offset + size * index, size) for index in range(count)]
    assert found == expected


def _runs(form: str) -> list[tuple[int, str]]:
    """Split "=8Q7I" into [(8, "Q"), (7, "I")]."""
    runs = []
    digits = ""
    for letter in form.removeprefix("="):
        if letter.isdigit():
            digits += letter
        else:
            runs.append((int(digits or 1), letter))
            digits = ""
    return runs


@pytest.mark.parametrize(
    ("enum", "prefix"), ENUMS, ids=lambda value: getattr(value, "__name__", "")
)
def test_enums_have_the_numbers_of_the_header(enum: type[IntEnum | IntFlag], prefix: str) -> None:
    """Each name of the Python enum has the value of the C name."""
    expected = {name: getattr(lib, prefix + name) for name in enum.__members__}
    assert {name: int(value) for name, value in enum.__members__.items()} == expected


def test_sections_and_magics_have_the_numbers_of_the_header() -> None:
    """Section kinds, magics, version and limits agree."""
    found = {name: getattr(encode, name) for name in SECTIONS}
    assert found == {name: getattr(lib, f"SBX_SECTION_{name}") for name in SECTIONS}
    constants = (encode.PLAN_MAGIC, encode.INVOCATION_MAGIC, encode.VERSION, encode.NONE)
    names = ("SBX_PLAN_MAGIC", "SBX_INVOCATION_MAGIC", "SBX_FORMAT_VERSION", "SBX_NONE")
    assert constants == tuple(getattr(lib, name) for name in names)
    limits = (encode.PLAN_MAX_BYTES, encode.INVOCATION_MAX_BYTES)
    assert limits == (lib.SBX_PLAN_MAX, lib.SBX_INVOCATION_MAX)
