"""Entries of the plan cache to bytes and back: a request that was prepared, and what it rests on.

The format is csrc/abi_entry.h's (docs/plan-format.md): a plan's frame, with a plan and a template
of an invocation inside. Pure: where entries lie is `cache.py`'s business.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag

from sandbox.plan.encode import FORMATS, Writer, encode_invocation, encode_plan
from sandbox.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sandbox.plan.model import Invocation, Plan

ENTRY_MAGIC = 0x45584253
ENTRY_MAX_BYTES = 4 << 20
FACTS_MAX = 4096
STRINGS = 1
CORE, KEY, FACTS, PLAN, INVOCATION, NOTES, PLACEHOLDERS, GROUPS = range(40, 48)
TTY_RELAY = 0x1
CONTENT_MAX_BYTES = 65536

_KEY_FORMAT = b"1"
KEY_VARIABLES = (
    b"HOME",
    b"TMPDIR",
    b"XDG_RUNTIME_DIR",
    b"XDG_CACHE_HOME",
    b"XDG_CONFIG_HOME",
    b"XDG_STATE_HOME",
    b"VIRTUAL_ENV",
)
_QUIET = frozenset({b"-q", b"--quiet"})  # what is printed is decided at each run
_NAME_SEEDS = (1, 2)
_FACT = struct.Struct(FORMATS["sbx_fact"])
_ZEROS = (0,) * 6


class FactKind(IntEnum):
    """enum sbx_fact_kind."""

    ABSENT = 1
    FILE = 2
    KIND = 3
    CONTENT = 4
    SAME = 5
    ACCESS = 6
    LINK = 7
    OWNER = 8
    PROBE = 9
    CGROUP_MOUNTS = 10


class Probe(IntEnum):
    """enum sbx_probe: what is asked of the kernel, not of a path."""

    PRIVILEGED = 1
    LANDLOCK = 2
    SECCOMP = 3
    RLIMIT = 4
    TMPFS_XATTR = 5


@record
class Fact:
    """Something seen while a request was prepared; `value` by kind as in csrc/abi_entry.h."""

    kind: FactKind
    path: bytes
    value: tuple[int, ...] = ()


class GroupStepKind(IntEnum):
    """enum sbx_group_step_kind."""

    FOLDER = 1
    LEAF = 2
    WRITE = 3


class GroupLeafFlag(IntFlag):
    """SBX_GROUP_*: the version of a leaf, and what of the run it holds or counts."""

    V2 = 0x1
    MEMORY = 0x2
    PIDS = 0x4
    CPU = 0x8
    QUOTA = 0x10
    SHARE_ONLY = 0x20


class GroupWriteFlag(IntFlag):
    """SBX_GROUP_*: what a write may fail with."""

    OPTIONAL = 0x1
    WITHIN = 0x2


@record
class GroupStep:
    """One step to the control groups of a run, as csrc/abi.h has it."""

    kind: GroupStepKind
    text: bytes
    value: bytes = b""
    flags: int = 0


@record
class Entry:
    """A prepared request without its command, and what must hold to use it again.

    Shape: `uid` and `gid` are the caller's effective ids; `version` is the package's; `plan` and
           `invocation` are encoded; `placeholders` pairs of paths inside and on the host;
           `groups` how the control groups of a run are made.
    """

    key: bytes
    uid: int
    gid: int
    flags: int
    version: str
    policy: str
    facts: tuple[Fact, ...]
    plan: bytes
    invocation: bytes
    notes: tuple[str, ...] = ()
    placeholders: tuple[tuple[bytes, bytes], ...] = ()
    groups: tuple[GroupStep, ...] = ()


def entry_key(cwd: bytes, environ: Mapping[bytes, bytes], words: Iterable[bytes]) -> bytes:
    """Return what an entry is filed under, byte for byte as the launcher makes it.

    Shape: `words` are the options of `exec` as given, up to the command; without `--`.
    """
    parts = [_KEY_FORMAT, cwd]
    for name in KEY_VARIABLES:
        value = environ.get(name)
        parts.append(name if value is None else name + b"=" + value)
    parts += [word for word in words if word not in _QUIET]
    return b"\0".join(parts)


def entry_name(key: bytes) -> str:
    """Return the file name of the entry with this key: 32 hex digits."""
    return "".join(f"{checksum(key, seed):016x}" for seed in _NAME_SEEDS)


def checksum(data: bytes, seed: int = 0) -> int:
    """Return sbx_checksum() of csrc/checksum.c."""
    from sandbox import _core

    return int(_core.lib.sbx_checksum(_core.ffi.from_buffer("char[]", data), len(data), seed))


def template_of(plan: Plan, invocation: Invocation) -> tuple[bytes, bytes]:
    """Return the plan, and the invocation without what belongs to one command, encoded.

    Errors: PolicyError(policy.too-large).
    """
    bare = replace(invocation, argv=(), env=(), programs=())
    return encode_plan(plan), encode_invocation(bare)


def encode_facts(facts: Iterable[Fact]) -> tuple[bytes, int, int]:
    """Return facts as a buffer of their own for sbx_facts_hold(), where they begin, how many."""
    texts = bytearray()
    places: dict[bytes, int] = {}
    rows = []
    for fact in facts:
        place = places.get(fact.path)
        if place is None:
            place = places[fact.path] = len(texts)
            texts += fact.path + b"\0"
        rows.append(_pack(fact, place))
    texts += bytes(-len(texts) % 8)
    return bytes(texts) + b"".join(rows), len(texts), len(rows)


def encode_entry(entry: Entry) -> bytes:
    """Return the entry as bytes, with its checksum."""
    w = Writer(ENTRY_MAGIC)
    core = (0, entry.uid, entry.gid, entry.flags)
    version, policy = w.text(entry.version.encode()), w.text(_encode(entry.policy))
    w.records(CORE, "sbx_entry_core", [(*core, version, policy, 0)])
    w.raw(KEY, entry.key)
    w.built(FACTS, len(entry.facts), _facts_builder(w, entry.facts))
    w.raw(PLAN, entry.plan)
    w.raw(INVOCATION, entry.invocation)
    w.offsets(NOTES, [_encode(note) for note in entry.notes])
    pairs = [(w.text(inside), w.text(host)) for inside, host in entry.placeholders]
    w.records(PLACEHOLDERS, "sbx_placeholder", pairs)
    w.records(GROUPS, "sbx_group_step", [_step_row(w, step) for step in entry.groups])
    blob = bytearray(w.finish())
    at = _sections(blob)[CORE][0]
    struct.pack_into("=Q", blob, at, _checksum_of(bytes(blob), at))
    return bytes(blob)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _facts_builder(w: Writer, facts: tuple[Fact, ...]) -> Callable[[int], bytes]:
    """Return what packs the facts: there are many, and only their paths are strings."""
    places = [w.pool.add(fact.path) for fact in facts]

    def build(base: int) -> bytes:
        return b"".join(
            _pack(fact, place and place + base) for fact, place in zip(facts, places, strict=True)
        )

    return build


def _pack(fact: Fact, place: int) -> bytes:
    return _FACT.pack(fact.kind, place, *fact.value, *_ZEROS[len(fact.value) :])


def _step_row(w: Writer, step: GroupStep) -> tuple[int, ...]:
    value = w.text(step.value) if step.value else 0
    return (step.kind, step.flags, w.text(step.text), value)


def _checksum_of(blob: bytes, core: int) -> int:
    from sandbox import _core

    buffer = _core.ffi.from_buffer("char[]", blob)
    return int(_core.lib.sbx_entry_checksum(buffer, len(blob), core))


def _sections(blob: bytes | bytearray) -> dict[int, tuple[int, int]]:
    """Return offset and size of each section of a sound blob."""
    _magic, _version, _size, count = struct.unpack_from("=IIII", blob)
    table = struct.iter_unpack("=IIII", bytes(blob[16 : 16 + 16 * count]))
    return {kind: (offset, size) for kind, _records, offset, size in table}


def is_sound(blob: bytes) -> bool:
    """Say whether the C checker accepts the bytes as an entry."""
    from sandbox import _core

    error = _core.ffi.new("struct sbx_error *")
    buffer = _core.ffi.from_buffer("char[]", blob)
    return int(_core.lib.sbx_entry_check(buffer, len(blob), error)) == 0


def decode_entry(blob: bytes) -> Entry | None:
    """Return the entry, or None where the bytes are none."""
    if not is_sound(blob):
        return None
    sections = _sections(blob)

    def part(kind: int) -> bytes:
        offset, size = sections.get(kind, (0, 0))
        return blob[offset : offset + size]

    def text(offset: int) -> bytes:
        return blob[offset : blob.index(0, offset)] if offset else b""

    def line(offset: int) -> str:
        return text(offset).decode("utf-8", "surrogateescape")

    _sum, uid, gid, flags, version, policy, _reserved = struct.unpack(
        FORMATS["sbx_entry_core"], part(CORE)
    )
    pairs = struct.iter_unpack(FORMATS["sbx_placeholder"], part(PLACEHOLDERS))
    return Entry(
        key=part(KEY),
        uid=uid,
        gid=gid,
        flags=flags,
        version=line(version),
        policy=line(policy),
        facts=tuple(
            Fact(FactKind(kind), text(path), tuple(value))
            for kind, path, *value in _FACT.iter_unpack(part(FACTS))
        ),
        plan=part(PLAN),
        invocation=part(INVOCATION),
        notes=tuple(line(offset) for (offset,) in struct.iter_unpack("=I", part(NOTES))),
        placeholders=tuple((text(inside), text(host)) for inside, host in pairs),
        groups=tuple(
            GroupStep(GroupStepKind(kind), text(name), text(value), flags)
            for kind, flags, name, value in struct.iter_unpack(
                FORMATS["sbx_group_step"], part(GROUPS)
            )
        ),
    )


def first_broken(facts: bytes, start: int, count: int) -> int:
    """Return the index of the first fact of encode_facts() that does not hold now, else `count`."""
    from sandbox import _core

    base = _core.ffi.from_buffer("char[]", facts)
    records = _core.ffi.cast("struct sbx_fact *", base + start)
    return int(_core.lib.sbx_facts_hold(records, count, base))
