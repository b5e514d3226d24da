"""A plan's bytes back to a Plan. The bytes may be damaged: every defect is a StateError."""

from __future__ import annotations

import struct

from sandbox.errors import StateError
from sandbox.plan.encode import (
    CODE,
    CORE,
    ENV,
    FILTERS,
    FINGERPRINT,
    FORMATS,
    IDMAPS,
    LANDLOCK,
    MOUNTS,
    NOTES,
    PLAN_MAGIC,
    PROTECT,
    RLIMITS,
    RULES,
    SUPERVISE,
    VERSION,
)
from sandbox.plan.model import (
    EnvKind,
    EnvRule,
    Filter,
    FilterFlag,
    IdKind,
    IdMap,
    LandlockKind,
    LandlockRule,
    MountAttr,
    MountFlag,
    MountKind,
    MountOp,
    Namespace,
    Plan,
    PlanFlag,
    Protect,
    ProtectKind,
    Rlimit,
    RootKind,
    Slot,
    SlotPath,
    Supervise,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Reader:
    """Reads a blob that may be damaged: every error is a StateError, never a crash."""

    def __init__(self, blob: bytes, magic: int) -> None:
        self.blob = blob
        self.sections: dict[int, tuple[int, int, int]] = {}
        try:
            found, version, size, count = struct.unpack_from("=IIII", blob)
            if (found, version, size) != (magic, VERSION, len(blob)):
                raise _damaged("another magic, version or size")
            for index in range(count):
                kind, records, offset, length = struct.unpack_from("=IIII", blob, 16 + 16 * index)
                if offset + length > len(blob):
                    raise _damaged("a section ends outside")
                self.sections[kind] = (records, offset, length)
        except struct.error as error:
            raise _damaged(str(error)) from error

    def rows(self, kind: int, name: str) -> list[tuple[int, ...]]:
        """The records of a section."""
        _count, offset, length = self.sections.get(kind, (0, 0, 0))
        form = struct.Struct(FORMATS[name])
        if length % form.size:
            raise _damaged(f"section {kind} holds half a record")
        return list(form.iter_unpack(self.blob[offset : offset + length]))

    def raw(self, kind: int) -> bytes:
        """The bytes of a section."""
        _count, offset, length = self.sections.get(kind, (0, 0, 0))
        return self.blob[offset : offset + length]

    def text(self, offset: int) -> bytes:
        """The string at an offset."""
        if not offset:
            return b""
        end = self.blob.find(b"\0", offset)
        if end < 0:
            raise _damaged("a string has no end")
        return self.blob[offset:end]

    def path(self, slot: int, offset: int) -> SlotPath:
        """A path record."""
        return SlotPath(self.text(offset), Slot(slot))


def _damaged(why: str) -> StateError:
    return StateError(f"the plan's bytes are damaged: {why}", hint="compile the plan again")


def _mount_of(reader: _Reader, row: tuple[int, ...]) -> MountOp:
    kind, flags, attrs, size, s_slot, source, t_slot, target = row[:8]
    upper_slot, upper, data, data_size, mode, inodes = row[8:]
    has_source = MountKind(kind) in (MountKind.BIND, MountKind.DEV, MountKind.OVERLAY)
    return MountOp(
        kind=MountKind(kind),
        target=reader.path(t_slot, target),
        source=reader.path(s_slot, source) if has_source else None,
        flags=MountFlag(flags),
        attrs=MountAttr(attrs),
        size_bytes=size,
        inodes=inodes,
        mode_octal=mode,
        data=reader.blob[data : data + data_size] if data_size else b"",
        upper=reader.path(upper_slot, upper) if upper_slot else None,
    )


def _landlock_of(reader: _Reader, row: tuple[int, ...]) -> LandlockRule:
    access, kind, flags, slot, path, port, _reserved = row
    is_path = LandlockKind(kind) is LandlockKind.PATH
    return LandlockRule(
        LandlockKind(kind),
        access,
        reader.path(slot, path) if is_path else None,
        port,
        is_optional=bool(flags),
    )


def decode_plan(blob: bytes) -> Plan:
    """Return the Plan that `encode_plan` packed (origins of mounts are not in the bytes).

    Errors: StateError for damaged bytes.
    """
    reader = _Reader(blob, PLAN_MAGIC)
    try:
        return _decode(reader)
    except (ValueError, IndexError, struct.error) as error:
        raise _damaged(str(error)) from error


_CORE_FIELDS = (
    "caps",
    "securebits",
    "root_size_bytes",
    "landlock_fs",
    "landlock_net",
    "landlock_scoped",
    "uid",
    "gid",
)


def _decode(r: _Reader) -> Plan:
    (core,) = r.rows(CORE, "sbx_plan_core")
    code = r.raw(CODE)
    fields: dict[str, Any] = dict(zip(_CORE_FIELDS, core[2:10], strict=True))
    return Plan(
        flags=PlanFlag(core[0]),
        namespaces=Namespace(core[1]),
        id_maps=tuple(IdMap(IdKind(k), *rest) for k, *rest in r.rows(IDMAPS, "sbx_id_map")),
        mounts=tuple(_mount_of(r, row) for row in r.rows(MOUNTS, "sbx_mount")),
        rlimits=tuple(Rlimit(res, s, h) for res, _pad, s, h in r.rows(RLIMITS, "sbx_rlimit")),
        hostname=r.text(core[10]),
        root_kind=RootKind(core[11]),
        root_source=None if core[11] == RootKind.TMPFS else r.path(core[12], core[13]),
        root_upper=r.path(core[18], core[19]) if core[18] else None,
        landlock_min_abi=core[14],
        proof_nr=core[15],
        proof_errno=core[16],
        umask_octal=core[17],
        landlock=tuple(_landlock_of(r, row) for row in r.rows(LANDLOCK, "sbx_landlock_rule")),
        filters=tuple(
            Filter(code[first * 8 : (first + count) * 8], FilterFlag(flags))
            for first, count, flags, _pad in r.rows(FILTERS, "sbx_filter")
        ),
        env=tuple(
            EnvRule(EnvKind(kind), r.text(name), r.path(slot, value))
            for kind, name, slot, value in r.rows(ENV, "sbx_env_rule")
        ),
        protect=tuple(
            Protect(ProtectKind(kind), r.path(slot, path))
            for kind, _flags, slot, path in r.rows(PROTECT, "sbx_protect")
        ),
        supervise=tuple((Supervise(k), v) for k, _pad, v in r.rows(SUPERVISE, "sbx_supervise")),
        notes=r.raw(NOTES),
        rules=r.raw(RULES),
        fingerprint=r.raw(FINGERPRINT),
        **fields,
    )
