"""Plan and Invocation to bytes: the only file that packs them (`decode.py` reads them).

The format is csrc/abi.h's (docs/plan-format.md): a header, a table of sections, fixed-size
records, one pool of NUL-terminated strings. A unit test compares each struct format below with
the C compiler's sizes and offsets.
"""

from __future__ import annotations

import struct

from sandbox.errors import PolicyError
from sandbox.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sandbox.plan.model import Invocation, LandlockRule, MountOp, Plan, SlotPath

PLAN_MAGIC = 0x50584253
INVOCATION_MAGIC = 0x49584253
VERSION = 1
PLAN_MAX_BYTES = 1 << 20
INVOCATION_MAX_BYTES = 8 << 20
INVOCATION_HOLD = 0x2
NONE = 0xFFFFFFFF

STRINGS, CORE, IDMAPS, MOUNTS, RLIMITS, LANDLOCK, FILTERS, CODE = range(1, 9)
ENV, PROTECT, NOTES, RULES, FINGERPRINT, SUPERVISE = range(9, 15)
INVOCATION, ARGV, ENVP, PROGRAMS, FDS, SLOTS = range(20, 26)

# struct name in abi.h -> format of one record
FORMATS = {
    "sbx_header": "=IIII",
    "sbx_section": "=IIII",
    "sbx_plan_core": "=8Q7IiiIII",
    "sbx_id_map": "=IIII",
    "sbx_mount": "=IIQQ10I",
    "sbx_rlimit": "=IIQQ",
    "sbx_landlock_rule": "=QIIIIII",
    "sbx_filter": "=IIII",
    "sbx_env_rule": "=IIII",
    "sbx_protect": "=IIII",
    "sbx_supervise": "=IIQ",
    "sbx_invocation_core": "=IIiI",
    "sbx_fd_map": "=ii",
    "sbx_entry_core": "=QIIIIII",
    "sbx_placeholder": "=II",
    "sbx_group_step": "=IIII",
    "sbx_fact": "=II6Q",
}


class _Pool:
    """The string pool: each string once; offsets are from the start of the pool."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self.offsets: dict[bytes, int] = {b"": 0}

    def add(self, value: bytes) -> int:
        """Return the offset of a NUL-terminated string; 0 for the empty one."""
        if b"\0" in value:
            raise PolicyError(
                f"a NUL byte stands in {value!r}",
                hint="paths, arguments and variables cannot hold NUL on Linux",
                code="policy.value",
            )
        return self.add_bytes(value)

    def add_bytes(self, value: bytes) -> int:
        """Return the offset of any bytes; a NUL follows them."""
        offset = self.offsets.get(value)
        if offset is None:
            offset = self.offsets[value] = len(self.data)
            self.data += value + b"\0"
        return offset


class Writer:
    """Collects sections; string offsets become absolute when the pool's place is known."""

    def __init__(self, magic: int) -> None:
        self.magic = magic
        self.pool = _Pool()
        self.sections: list[tuple[int, int, Callable[[int], bytes]]] = []

    def records(self, kind: int, name: str, rows: Iterable[tuple[int | Text, ...]]) -> None:
        """Add a section of fixed-size records; Text values are string offsets."""
        packed = list(rows)
        form = struct.Struct(FORMATS[name])
        if not packed:
            return

        def build(base: int) -> bytes:
            return b"".join(form.pack(*(_place(value, base) for value in row)) for row in packed)

        self.sections.append((kind, len(packed), build))

    def built(self, kind: int, count: int, build: Callable[[int], bytes]) -> None:
        """Add a section whose bytes `build` makes once the pool's place is known."""
        if count:
            self.sections.append((kind, count, build))

    def offsets(self, kind: int, texts: Iterable[bytes]) -> None:
        """Add a section of u32 string offsets. An empty string needs an entry of its own."""
        entries = [self.pool.add(text) for text in texts]
        if entries:
            form = struct.Struct(f"={len(entries)}I")
            self.sections.append(
                (kind, len(entries), lambda base: form.pack(*(e and e + base for e in entries)))
            )

    def raw(self, kind: int, data: bytes, record_size: int = 1) -> None:
        """Add a section of bytes."""
        if data:
            self.sections.append((kind, len(data) // record_size, lambda _base: data))

    def text(self, value: bytes) -> Text:
        """Intern a string for a record field."""
        return Text(self.pool.add(value))

    def finish(self) -> bytes:
        """Lay the blob out: the pool first, so that its place is known to the rest."""
        count = len(self.sections) + 1
        at = _aligned(16 + 16 * count)
        base = at
        self.pool.data += b"\0"
        bodies = [(STRINGS, len(self.pool.data), bytes(self.pool.data))]
        bodies += [(kind, records, build(base)) for kind, records, build in self.sections]
        table = []
        body = bytearray()
        for kind, records, data in bodies:
            table.append(struct.pack("=IIII", kind, records, at, len(data)))
            padded = data + bytes(_aligned(len(data)) - len(data))
            body += padded
            at += len(padded)
        head = struct.pack("=IIII", self.magic, VERSION, at, count) + b"".join(table)
        return head + bytes(base - len(head)) + bytes(body)


class Text(int):
    """An offset into the pool that has yet to become one into the blob."""


def _place(value: int, base: int) -> int:
    return int(value) + base if isinstance(value, Text) and value else int(value)


def _aligned(size: int) -> int:
    return (size + 7) & ~7


def _slot_path(writer: Writer, path: SlotPath | None) -> tuple[int, Text | int]:
    if path is None:
        return 0, 0
    return int(path.slot), writer.text(path.path)


def _mount_row(writer: Writer, op: MountOp) -> tuple[int | Text, ...]:
    source_slot, source = _slot_path(writer, op.source)
    target_slot, target = _slot_path(writer, op.target)
    upper_slot, upper = _slot_path(writer, op.upper)
    data = Text(writer.pool.add_bytes(op.data)) if op.data else 0
    return (
        op.kind,
        op.flags,
        op.attrs,
        op.size_bytes,
        source_slot,
        source,
        target_slot,
        target,
        upper_slot,
        upper,
        data,
        len(op.data),
        op.mode_octal,
        op.inodes,
    )


def _core_row(writer: Writer, plan: Plan) -> tuple[int | Text, ...]:
    root_slot, root_source = _slot_path(writer, plan.root_source)
    upper_slot, upper = _slot_path(writer, plan.root_upper)
    return (
        plan.flags,
        plan.namespaces,
        plan.caps,
        plan.securebits,
        plan.root_size_bytes,
        plan.landlock_fs,
        plan.landlock_net,
        plan.landlock_scoped,
        plan.uid,
        plan.gid,
        writer.text(plan.hostname),
        plan.root_kind,
        root_slot,
        root_source,
        plan.landlock_min_abi,
        plan.proof_nr,
        plan.proof_errno,
        plan.umask_octal,
        upper_slot,
        upper,
    )


def _landlock_row(writer: Writer, rule: LandlockRule) -> tuple[int | Text, ...]:
    slot, path = _slot_path(writer, rule.path)
    return (rule.access, rule.kind, int(rule.is_optional), slot, path, rule.port, 0)


def encode_plan(plan: Plan) -> bytes:
    """Return the plan as bytes for `sbx_spawn`.

    Errors: PolicyError(policy.too-large) above 1 MiB, (policy.value) for a NUL in a string.
    """
    w = Writer(PLAN_MAGIC)
    w.records(CORE, "sbx_plan_core", [_core_row(w, plan)])
    w.records(IDMAPS, "sbx_id_map", [(m.kind, m.inside, m.outside, m.count) for m in plan.id_maps])
    w.records(MOUNTS, "sbx_mount", [_mount_row(w, op) for op in plan.mounts])
    w.records(RLIMITS, "sbx_rlimit", [(r.resource, 0, r.soft, r.hard) for r in plan.rlimits])
    w.records(LANDLOCK, "sbx_landlock_rule", [_landlock_row(w, rule) for rule in plan.landlock])
    first = 0
    rows = []
    for item in plan.filters:
        rows.append((first, item.instructions, item.flags, 0))
        first += item.instructions
    w.records(FILTERS, "sbx_filter", rows)
    w.raw(CODE, b"".join(item.code for item in plan.filters), 8)
    w.records(
        ENV,
        "sbx_env_rule",
        [
            (rule.kind, w.text(rule.name), rule.value.slot, w.text(rule.value.path))
            for rule in plan.env
        ],
    )
    w.records(
        PROTECT,
        "sbx_protect",
        [(item.kind, 0, item.path.slot, w.text(item.path.path)) for item in plan.protect],
    )
    w.records(SUPERVISE, "sbx_supervise", [(key, 0, value) for key, value in plan.supervise])
    w.raw(NOTES, plan.notes)
    w.raw(RULES, plan.rules)
    w.raw(FINGERPRINT, plan.fingerprint)
    blob = w.finish()
    if len(blob) > PLAN_MAX_BYTES:
        raise PolicyError(
            f"the plan is too large: {len(blob)} bytes of at most {PLAN_MAX_BYTES}",
            hint="name fewer paths, or their common parent directory",
            code="policy.too-large",
        )
    return blob


def plan_digest(plan: Plan) -> str:
    """Return the SHA-256 of the walls: the bytes without notes, rules and fingerprint."""
    from hashlib import sha256  # only results and explain need it

    walls = replace(plan, notes=b"", rules=b"", fingerprint=b"")
    return sha256(encode_plan(walls)).hexdigest()


def run_digest(plan: Plan, invocation: Invocation) -> str:
    """Return the SHA-256 of the walls with this run's extra mounts."""
    walls = replace(plan, mounts=plan.mounts + invocation.extra_mounts)
    return plan_digest(walls)


def encode_invocation(invocation: Invocation) -> bytes:
    """Return the invocation as bytes for `sbx_spawn`.

    Errors: PolicyError(policy.value) for a NUL in a string, (policy.too-large) above 8 MiB.
    """
    w = Writer(INVOCATION_MAGIC)
    flags = int(invocation.has_barrier) | int(invocation.is_held) << 1
    flags |= int(invocation.has_outer_maps) << 2
    terminal = invocation.terminal
    if terminal is not None:
        flags |= 0x18 if terminal.is_foreground else 0x8
    if invocation.requests:
        flags |= 0x20 | int(invocation.is_once) << 6 | int(invocation.is_filter_first) << 7
    source = -1 if terminal is None else terminal.source
    core = (w.text(invocation.cwd), flags, source, invocation.requests)
    w.records(INVOCATION, "sbx_invocation_core", [core])
    w.offsets(ARGV, invocation.argv)
    w.offsets(ENVP, invocation.env)
    w.offsets(PROGRAMS, invocation.programs)
    w.offsets(SLOTS, invocation.slots)
    w.records(FDS, "sbx_fd_map", [(fd.source, fd.target) for fd in invocation.fds])
    w.records(MOUNTS, "sbx_mount", [_mount_row(w, op) for op in invocation.extra_mounts])
    blob = w.finish()
    if len(blob) > INVOCATION_MAX_BYTES:
        raise PolicyError(
            f"arguments and environment are too large: {len(blob)} bytes",
            hint="pass large input through a file or standard input",
            code="policy.too-large",
        )
    return blob
