from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.plan.difference import difference_data, difference_text
from sandbox.plan.explain import MOUNT_ROWS, explain_data, explain_text
from sandbox.plan.model import (
    EnvKind,
    EnvRule,
    Filter,
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
from sandbox.plan.protections import protections
from sandbox.record import fields_of, replace

GOLDEN = Path(__file__).parents[2] / "golden"
RO = MountAttr.RDONLY | MountAttr.NOSUID
CWD, HOME = SlotPath(b"", Slot.CWD), Slot.HOME
NOTES = {
    "policy": {
        "name": "example",
        "sha256": "ab" * 32,
        "files": [{"path": "/policies/example.toml", "sha256": "cd" * 32}],
    },
    "tier": "reduced",
    "effective": {
        "isolation.landlock.net": {"wanted": "prefer", "got": "off", "by": "", "note": "why"},
        "isolation.seccomp": {"wanted": "require", "got": "on", "by": "seccomp", "note": None},
        "isolation.namespaces.time": {"wanted": "off", "got": "off", "by": "", "note": None},
    },
    "overrides": [
        {"key": "network.mode", "value": "none", "was": "host", "origin": "command line"}
    ],
    "calls": {"allowed": 131, "known": 385, "unknown": "errno:ENOSYS", "foreign_abi": "kill"},
    "notes": ["isolation.landlock.net: why"],
}


def bind(target: bytes, **fields: object) -> MountOp:
    """A read-only bind of a path on itself."""
    path = SlotPath(target)
    op = MountOp(MountKind.BIND, path, path, MountFlag.RECURSIVE, RO, origin="example.toml:7")
    return replace(op, **fields)


EVERY_KIND = (
    bind(b"/usr"),
    bind(b"/etc/alternatives"),
    bind(b"/etc/one"),
    bind(b"/etc/two"),
    bind(b"/etc/three"),
    bind(b"/data", source=SlotPath(b"/srv/data"), attrs=MountAttr.NOSUID, origin="--bind …"),
    MountOp(MountKind.BIND, SlotPath(b"/.cargo", HOME), flags=MountFlag.OPTIONAL, attrs=RO),
    MountOp(MountKind.SELF, SlotPath(b"/proc/sys"), attrs=RO, origin="built in"),
    MountOp(MountKind.TMPFS, SlotPath(b"/tmp"), size_bytes=64 << 20, attrs=MountAttr.NOEXEC),
    MountOp(MountKind.PROC, SlotPath(b"/proc"), data=b"pid"),
    MountOp(MountKind.DEV, SlotPath(b"/dev/null"), SlotPath(b"/dev/null")),
    MountOp(MountKind.DEVPTS, SlotPath(b"/dev/pts")),
    MountOp(MountKind.MKDIR, SlotPath(b"/run"), mode_octal=0o700),
    MountOp(MountKind.FILE, SlotPath(b"/etc/passwd"), data=b"root:x:0:0::/:\n"),
    MountOp(MountKind.SYMLINK, SlotPath(b"/bin"), data=b"usr/bin"),
    MountOp(MountKind.MASK, SlotPath(b"/etc/sh\x1b\xffadow"), flags=MountFlag.OPTIONAL),
    MountOp(MountKind.MQUEUE, SlotPath(b"/dev/mqueue")),
    MountOp(MountKind.OVERLAY, CWD, CWD, size_bytes=256 << 20, origin="example.toml:9"),
)
PLAN = Plan(
    flags=PlanFlag.ROOT_READONLY
    | PlanFlag.LOCK_USERNS
    | PlanFlag.NO_NEW_PRIVS
    | PlanFlag.NEW_SESSION
    | PlanFlag.LANDLOCK,
    namespaces=Namespace.USER | Namespace.MOUNT | Namespace.PID | Namespace.NET | Namespace.UTS,
    id_maps=(IdMap(IdKind.UID, 1000, 1234), IdMap(IdKind.GID, 1000, 1234)),
    uid=1000,
    gid=1000,
    mounts=EVERY_KIND,
    rlimits=(
        Rlimit(6, 64, 64),
        Rlimit(4, 0, 0),
        Rlimit(0, 30, 31),
        Rlimit(1, 2**64 - 1, 2**64 - 1),
    ),
    hostname=b"sandbox",
    landlock_fs=0x1FFF,
    landlock=(LandlockRule(LandlockKind.PATH, 5, SlotPath(b"/usr")),),
    filters=(Filter(bytes(8) * 185),),
    env=(EnvRule(EnvKind.ALLOW, b"LANG"), EnvRule(EnvKind.SET, b"PATH", SlotPath(b"/usr/bin"))),
    protect=(
        Protect(ProtectKind.HIDDEN, SlotPath(b"/.ssh", HOME), "example.toml:12"),
        Protect(ProtectKind.READONLY, SlotPath(b"/.git/hooks", Slot.CWD), "example.toml:12"),
        Protect(ProtectKind.READONLY, SlotPath(b"/.git/config", Slot.CWD), "example.toml:12"),
    ),
    supervise=(
        (Supervise.WALL_MS, 60_000),
        (Supervise.OUTPUT_BYTES, 8 << 20),
        (Supervise.MEMORY_BYTES, 512 << 20),
    ),
    notes=json.dumps(NOTES).encode(),
)
OPEN_PLAN = Plan(
    flags=PlanFlag(0), namespaces=Namespace(0), id_maps=(), uid=0, gid=0, mounts=(), caps=0x20
)
DIGEST = "9c01" * 16


def golden(name: str, text: str) -> None:
    """Compare with the golden file, or write it anew where that is asked for."""
    path = GOLDEN / name
    if os.environ.get("SANDBOX_TESTS_REGEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_explanation_of_a_plan() -> None:
    """The text is the golden one, for a plan with every kind of mount."""
    golden("explain_example.txt", explain_text(PLAN, DIGEST, notes=("a note\nof the run",)))


def test_explanation_of_no_walls() -> None:
    """A plan without walls claims none."""
    golden("explain_open.txt", explain_text(OPEN_PLAN))


def test_explanation_as_data() -> None:
    """The data is the golden one, and JSON can hold it."""
    text = json.dumps(explain_data(PLAN, DIGEST), indent=1, ensure_ascii=True) + "\n"
    golden("explain_example.json", text)


def test_explanation_is_deterministic() -> None:
    """Twice the same plan, twice the same text."""
    assert explain_text(PLAN, DIGEST) == explain_text(replace(PLAN, uid=PLAN.uid), DIGEST)


def test_every_kind_has_one_row() -> None:
    """No kind of mount goes without words, and none has words that it does not need."""
    assert set(MOUNT_ROWS) == set(MountKind) == {op.kind for op in EVERY_KIND}


def test_every_kind_is_listed() -> None:
    """Every operation of the plan stands in the text, in its order."""
    kinds = [row["kind"] for row in explain_data(PLAN)["mounts"]]
    assert kinds == [op.kind.name.lower() for op in EVERY_KIND]


def test_explanation_is_safe_to_print() -> None:
    """Paths cannot steer the terminal; their bytes stand in the JSON."""
    text = explain_text(PLAN)
    assert "\x1b" not in text
    assert "/etc/sh\\x1b\\xffadow" in text
    assert "/etc/sh\x1b\udcffadow" in {row["target"] for row in explain_data(PLAN)["mounts"]}


def test_summary_lines_fit_the_width() -> None:
    """No line of the summary is wider than a page."""
    summary = explain_text(PLAN).partition("\n\n")[0]
    assert max(map(len, summary.splitlines())) <= 100


def test_missing_layer_is_named() -> None:
    """What was wanted and is missing is said; what is off by choice is not."""
    assert explain_data(PLAN)["layers"] == [
        "tier reduced",
        "wanted but missing: isolation.landlock.net",
    ]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("network namespace", {"namespaces": PLAN.namespaces & ~Namespace.NET}),
        ("nested namespaces off", {"flags": PLAN.flags & ~PlanFlag.LOCK_USERNS}),
        ("read-only root", {"flags": PLAN.flags & ~PlanFlag.ROOT_READONLY}),
        ("no capabilities", {"caps": 1}),
        ("no new privileges", {"flags": PLAN.flags & ~PlanFlag.NO_NEW_PRIVS}),
        ("Landlock files", {"flags": PLAN.flags & ~PlanFlag.LANDLOCK}),
        ("Landlock files", {"landlock_fs": 0}),
        ("seccomp filter", {"filters": ()}),
        ("protected paths", {"protect": ()}),
        ("overlay", {"mounts": EVERY_KIND[:-1]}),
        ("own session", {"flags": PLAN.flags & ~PlanFlag.NEW_SESSION}),
    ],
)
def test_removed_wall_is_not_claimed(name: str, change: dict[str, object]) -> None:
    """A protection is claimed exactly where the plan has it."""
    assert {row.name: row.is_on for row in protections(PLAN)}[name]
    assert not {row.name: row.is_on for row in protections(replace(PLAN, **change))}[name]


def test_every_protection_says_what_it_stops() -> None:
    """Words and a kernel for each, no name twice."""
    rows = protections(PLAN)
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.stops and row.since[0].isdigit() for row in rows)


CHANGES: dict[str, object] = {
    "flags": PlanFlag(1),
    "namespaces": Namespace.USER,
    "id_maps": (),
    "uid": 7,
    "gid": 7,
    "mounts": EVERY_KIND[1:],
    "rlimits": (),
    "hostname": b"other",
    "root_kind": RootKind.BIND,
    "root_source": SlotPath(b"/"),
    "root_upper": SlotPath(b"/root"),
    "root_size_bytes": 1,
    "caps": 1,
    "securebits": 1,
    "umask_octal": 0,
    "landlock_fs": 1,
    "landlock_net": 1,
    "landlock_scoped": 1,
    "landlock_min_abi": 3,
    "landlock": (),
    "filters": (Filter(bytes(8)),),
    "proof_nr": 5,
    "proof_errno": 5,
    "env": (),
    "protect": (),
    "supervise": (),
}


def test_every_field_makes_a_difference() -> None:
    """The difference is empty only where the walls are the same."""
    assert set(CHANGES) == set(fields_of(PLAN)) - {"notes", "rules", "fingerprint"}
    for field, value in CHANGES.items():
        assert difference_data(PLAN, replace(PLAN, **{field: value})), field


def test_same_walls_have_no_difference() -> None:
    """Notes and origins are no walls."""
    other = replace(
        PLAN, notes=b"{}", rules=b"{}", mounts=(bind(b"/usr", origin="x"), *EVERY_KIND[1:])
    )
    assert difference_text(PLAN, other) == ""


@pytest.mark.parametrize("field", ["flags", "attrs", "size_bytes", "inodes", "mode_octal", "data"])
def test_every_field_of_a_mount_makes_a_difference(field: str) -> None:
    """No property of a mount can change unseen."""
    changes = {
        "flags": MountFlag.FOLLOW,
        "attrs": MountAttr.NOATIME,
        "size_bytes": 9,
        "inodes": 9,
        "mode_octal": 0o7,
        "data": b"zz",
    }
    other = replace(
        PLAN, mounts=(replace(EVERY_KIND[0], **{field: changes[field]}), *EVERY_KIND[1:])
    )
    assert [row["key"] for row in difference_data(PLAN, other)] == ["mount /usr"]


def test_order_of_mounts_makes_a_difference() -> None:
    """What is mounted later lies on top."""
    turned = replace(PLAN, mounts=(EVERY_KIND[1], EVERY_KIND[0], *EVERY_KIND[2:]))
    assert [row["key"] for row in difference_data(PLAN, turned)] == ["order of mounts"]


@given(st.sampled_from(sorted(CHANGES)), st.sampled_from(sorted(CHANGES)))
def test_difference_is_symmetric(first: str, second: str) -> None:
    """Turned around, the same rows, the sides exchanged."""
    a = replace(PLAN, **{first: CHANGES[first]})
    b = replace(PLAN, **{second: CHANGES[second]})
    there = {(row["key"], row["a"], row["b"]) for row in difference_data(a, b)}
    back = {(row["key"], row["b"], row["a"]) for row in difference_data(b, a)}
    assert there == back


def test_difference_as_text() -> None:
    """The text is the golden one."""
    other = replace(
        PLAN,
        namespaces=PLAN.namespaces & ~Namespace.NET,
        mounts=(bind(b"/usr", attrs=MountAttr(0)), *EVERY_KIND[2:], bind(b"/new")),
        filters=(),
    )
    golden("difference_example.txt", difference_text(PLAN, other))
