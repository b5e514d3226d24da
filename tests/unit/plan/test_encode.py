"""The bytes of plans and invocations."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from sandbox._core import ffi, lib
from sandbox.errors import PolicyError, StateError
from sandbox.plan import encode, model
from sandbox.plan.decode import decode_plan
from sandbox.plan.encode import FORMATS, encode_invocation, encode_plan, plan_digest, run_digest
from sandbox.plan.model import FdMap, MountKind, MountOp, SlotPath
from sandbox.record import replace
from support import plans

RUN = plans.made_invocations()["full"]


def check(kind: str, blob: bytes) -> tuple[int, int, int]:
    """Return what the C checker says: result, section of the defect, record."""
    error = ffi.new("struct sbx_error *")
    function = lib.sbx_plan_check if kind == "plan" else lib.sbx_invocation_check
    result = function(ffi.from_buffer("char[]", blob), len(blob), error)
    return result, error.detail, error.op


@pytest.mark.parametrize("name", FORMATS)
def test_record_formats_are_those_of_the_c_compiler(name: str) -> None:
    """Each struct format has the size and the field offsets of its C record."""
    form = FORMATS[name]
    ctype = ffi.typeof(f"struct {name}")
    assert struct.calcsize(form) == ffi.sizeof(f"struct {name}")
    expanded = _letters(form)
    offsets = [struct.calcsize("=" + "".join(expanded[:i])) for i in range(len(expanded))]
    assert [at for _name, field in ctype.fields for at in _places(field)] == offsets


def _places(field: Any) -> list[int]:
    """Return the offset of a field, or of each item of an array."""
    if field.type.kind != "array":
        return [field.offset]
    step = ffi.sizeof(field.type.item)
    return [field.offset + step * index for index in range(field.type.length)]


def _letters(form: str) -> list[str]:
    letters: list[str] = []
    count = ""
    for sign in form[1:]:
        if sign.isdigit():
            count += sign
        else:
            letters += [sign] * int(count or 1)
            count = ""
    return letters


@pytest.mark.parametrize(
    ("enum", "prefix"),
    [
        (model.Slot, "SBX_SLOT_"),
        (model.MountKind, "SBX_MOUNT_"),
        (model.MountFlag, "SBX_MOUNT_"),
        (model.PlanFlag, "SBX_PLAN_"),
        (model.RootKind, "SBX_ROOT_"),
        (model.LandlockKind, "SBX_LANDLOCK_"),
        (model.EnvKind, "SBX_ENV_"),
        (model.ProtectKind, "SBX_PROTECT_"),
        (model.Supervise, "SBX_SUPERVISE_"),
        (model.Stage, "SBX_STAGE_"),
        (model.IdKind, "SBX_ID_"),
    ],
)
def test_enums_are_those_of_abi_h(enum: type[model.Slot], prefix: str) -> None:
    """Every member has the value that the C header gives the same name."""
    assert {m.name: getattr(lib, prefix + m.name) for m in enum} == {m.name: m.value for m in enum}


@pytest.mark.parametrize("name", plans.made_plans())
def test_a_plan_survives_the_round_trip(name: str) -> None:
    """Encoding and decoding give the same plan, and C accepts the bytes."""
    plan = plans.made_plans()[name]
    blob = encode_plan(plan)
    assert decode_plan(blob) == plan
    assert check("plan", blob)[0] == 0


def test_digest_leaves_out_notes_rules_and_fingerprint() -> None:
    """Two plans with the same walls have one digest, and other walls another."""
    plan = plans.full_plan()
    other = replace(plan, notes=b"{}", rules=b"[]", fingerprint=b"x")
    assert plan_digest(plan) == plan_digest(other)
    assert plan_digest(plan) != plan_digest(replace(plan, uid=1001))


def test_extra_mounts_enter_the_run_digest() -> None:
    """A run that shows one path more is another run."""
    plan = plans.full_plan()
    run = RUN
    more = replace(run, extra_mounts=(MountOp(MountKind.MASK, SlotPath(b"/x")),))
    assert run_digest(plan, replace(run, extra_mounts=())) != run_digest(plan, more)


def test_a_plan_over_one_mebibyte_is_refused() -> None:
    """The error names the size and says what to do."""
    op = MountOp(MountKind.FILE, SlotPath(b"/big"), data=bytes(1 << 20))
    with pytest.raises(PolicyError, match="too large") as caught:
        encode_plan(replace(plans.full_plan(), mounts=(op,)))
    assert caught.value.code == "policy.too-large"
    assert caught.value.hint


@pytest.mark.parametrize("field", ["argv", "env", "programs"])
def test_a_nul_in_a_string_is_refused(field: str) -> None:
    """No string can smuggle in a second one."""
    run = replace(RUN, **{field: (b"a\0b",)})
    with pytest.raises(PolicyError, match="NUL"):
        encode_invocation(run)


def test_any_other_byte_passes_through() -> None:
    """Arguments are bytes: invalid UTF-8, newlines and empty ones are accepted by C as they are."""
    every = bytes(range(1, 256))
    run = replace(RUN, argv=(b"", every), env=(every, b""))
    blob = encode_invocation(run)
    assert check("invocation", blob)[0] == 0
    assert every + b"\0" in blob


@pytest.mark.parametrize(
    ("changes", "section"),
    [
        ({"mounts": (MountOp(MountKind.MASK, SlotPath(b"relative")),)}, encode.MOUNTS),
        ({"mounts": (MountOp(MountKind.MASK, SlotPath(b"/a/../b")),)}, encode.MOUNTS),
        ({"mounts": (MountOp(MountKind.MASK, SlotPath(b"/")),)}, encode.MOUNTS),
        ({"rlimits": (model.Rlimit(7, 2, 1),)}, encode.RLIMITS),
        ({"rlimits": (model.Rlimit(99, 1, 1),)}, encode.RLIMITS),
        ({"id_maps": ()}, encode.IDMAPS),
        ({"namespaces": model.Namespace.NET}, encode.CORE),
        ({"filters": (model.Filter(b""),)}, encode.FILTERS),
        ({"hostname": b"h" * 65}, encode.CORE),
    ],
)
def test_c_refuses_a_plan_that_means_nothing(changes: dict[str, object], section: int) -> None:
    """Ranges and meanings are checked on the far side, and the section is named."""
    blob = encode_plan(replace(plans.full_plan(), **changes))
    result, found, _op = check("plan", blob)
    assert (result < 0, found) == (True, section)


@pytest.mark.parametrize(
    ("changes", "section"),
    [
        ({"argv": ()}, encode.ARGV),
        ({"programs": ()}, encode.PROGRAMS),
        ({"cwd": b"relative"}, encode.INVOCATION),
        ({"slots": (b"",)}, encode.SLOTS),
        ({"fds": (FdMap(0, 1), FdMap(1, 1))}, encode.FDS),
        ({"fds": (FdMap(0, -1),)}, encode.FDS),
    ],
)
def test_c_refuses_an_invocation_that_means_nothing(
    changes: dict[str, object], section: int
) -> None:
    """The same for what runs now."""
    result, found, _op = check("invocation", encode_invocation(replace(RUN, **changes)))
    assert (result < 0, found) == (True, section)


@pytest.mark.parametrize("cut", [0, 1, 15, 16, 40, 200])
def test_a_truncated_plan_is_refused_on_both_sides(cut: int) -> None:
    """Neither side reads past the end."""
    blob = encode_plan(plans.full_plan())[:cut]
    assert check("plan", blob)[0] < 0
    with pytest.raises(StateError):
        decode_plan(blob)


def test_another_version_is_refused_as_such() -> None:
    """A plan of another format version is EPROTO, not garbage."""
    blob = bytearray(encode_plan(plans.full_plan()))
    blob[4:8] = struct.pack("=I", encode.VERSION + 1)
    assert check("plan", bytes(blob))[0] == -71
