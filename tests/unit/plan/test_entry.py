"""The bytes of cache entries: both languages agree, and damage never passes."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from sandbox._core import ffi, lib
from sandbox.plan import entry as entries
from sandbox.plan.encode import encode_invocation, encode_plan
from sandbox.plan.entry import (
    Entry,
    Fact,
    FactKind,
    GroupStep,
    GroupStepKind,
    GroupWriteFlag,
    Probe,
    checksum,
    decode_entry,
    encode_entry,
    encode_facts,
    entry_key,
    entry_name,
    first_broken,
    is_sound,
    template_of,
)
from sandbox.record import replace
from support import plans

GOLDEN = Path(__file__).parents[2] / "golden" / "entry_key.txt"
RUN = plans.made_invocations()["full"]
PLAN, TEMPLATE = template_of(plans.full_plan(), RUN)
ENTRY = Entry(
    key=b"1\0/work",
    uid=1000,
    gid=100,
    flags=entries.TTY_RELAY,
    version="1.0",
    policy="strict",
    facts=(
        Fact(FactKind.ABSENT, b"/work/.sandbox.toml"),
        Fact(FactKind.FILE, b"/p.toml", (1, 2, 3, 4, 5, (0o100644 << 32) | 1000)),
        Fact(FactKind.PROBE, b"", (Probe.RLIMIT, 7, 2**64 - 1)),
    ),
    plan=PLAN,
    invocation=TEMPLATE,
    notes=("a note", "caf\xe9 \udcff"),
    placeholders=((b"/in", b"/host"),),
    groups=(
        GroupStep(GroupStepKind.FOLDER, b"/run/groups"),
        GroupStep(GroupStepKind.LEAF, b"/sys/fs/cgroup/mine", flags=0x1F),
        GroupStep(GroupStepKind.WRITE, b"memory.oom.group", b"1", GroupWriteFlag.OPTIONAL),
    ),
)
FOLDER, LEAF, WRITE = ENTRY.groups


def errno_of(blob: bytes) -> int:
    """Return the checker's errno for an 8-aligned copy of `blob`."""
    error = ffi.new("struct sbx_error *")
    words = ffi.new("uint64_t[]", len(blob) // 8 + 1)
    ffi.buffer(words)[: len(blob)] = blob
    return -lib.sbx_entry_check(words, len(blob), error)


def test_an_entry_survives_the_round_trip() -> None:
    """What was encoded comes back, whatever the notes are made of."""
    blob = encode_entry(ENTRY)
    assert errno_of(blob) == 0
    whole = decode_entry(blob)
    assert whole is not None
    padded = tuple(
        replace(fact, value=fact.value + (0,) * (6 - len(fact.value))) for fact in ENTRY.facts
    )
    assert whole == replace(ENTRY, facts=padded)


def test_every_flipped_bit_is_noticed() -> None:
    """No bit of an entry can change without the checker saying so."""
    blob = encode_entry(ENTRY)
    for at in range(len(blob)):
        damaged = bytearray(blob)
        damaged[at] ^= 1 << (at % 8)
        assert errno_of(bytes(damaged)) != 0, at


def test_every_truncation_is_noticed() -> None:
    """A file that was cut short at any place is no entry."""
    blob = encode_entry(ENTRY)
    assert not any(is_sound(blob[:size]) for size in range(len(blob)))
    assert not is_sound(blob + bytes(8))


@pytest.mark.parametrize(
    "change",
    [
        {"key": b""},
        {"facts": ()},
        {"facts": (Fact(FactKind.ABSENT, b"relative"),)},
        {"facts": (Fact(FactKind.ABSENT, b""),)},
        {"facts": (Fact(FactKind.PROBE, b"", (99, 0, 0)),)},
        {"facts": (Fact(FactKind.PROBE, b"/x", (Probe.LANDLOCK, 0, 0)),)},
        {"flags": 0x80},
        {"version": ""},
        {"policy": ""},
        {"plan": b""},
        {"plan": PLAN[:-8]},
        {"invocation": b""},
        {"invocation": PLAN},
        {"notes": ("",)},
        {"groups": (LEAF, WRITE)},
        {"groups": (FOLDER, FOLDER)},
        {"groups": (FOLDER, WRITE)},
        {"groups": (FOLDER, *(LEAF,) * 9)},
        {"groups": (replace(FOLDER, text=b"run"),)},
        {"groups": (replace(FOLDER, flags=1),)},
        {"groups": (FOLDER, replace(LEAF, text=b"mine"))},
        {"groups": (FOLDER, replace(LEAF, flags=0x40))},
        {"groups": (FOLDER, replace(LEAF, value=b"1"))},
        {"groups": (FOLDER, LEAF, replace(WRITE, value=b""))},
        {"groups": (FOLDER, LEAF, replace(WRITE, text=b"../cgroup.procs"))},
        {"groups": (FOLDER, LEAF, replace(WRITE, flags=4))},
    ],
    ids=str,
)
def test_a_sealed_but_senseless_entry_is_refused(change: dict[str, object]) -> None:
    """A right checksum does not make up for what is missing or out of range."""
    assert not is_sound(encode_entry(replace(ENTRY, **change)))


def test_a_plan_and_a_template_are_no_entry() -> None:
    """Each blob is taken for what it is only."""
    assert not is_sound(encode_plan(plans.full_plan()))
    assert not is_sound(TEMPLATE)


def test_the_template_has_nothing_of_one_command() -> None:
    """Arguments and environment of the run that made it do not lie on disk."""
    run = replace(RUN, argv=(b"secret-argument",), env=(b"SECRET=token",))
    _plan, template = template_of(plans.full_plan(), run)
    assert b"secret-argument" not in template
    assert b"token" not in template
    assert template != encode_invocation(run)


def test_keys_and_names_are_those_that_the_launcher_makes() -> None:
    """The C test reads the same file."""
    environ: dict[bytes, bytes] = {}
    words: list[bytes] = []
    cwd, cases, key = b"", 0, b""
    for line in GOLDEN.read_bytes().splitlines():
        kind, _, rest = line.partition(b" ")
        if kind == b"cwd":
            cwd, environ, words = rest, {}, []
        elif kind == b"env":
            name, _, value = rest.partition(b"=")
            environ[name] = value
        elif kind == b"word":
            words.append(rest)
        elif kind == b"key":
            key = rest.replace(b"|", b"\0")
            assert entry_key(cwd, environ, words) == key
        elif kind == b"name":
            assert entry_name(key).encode() == rest
            cases += 1
    assert cases == 2


def test_one_changed_word_always_changes_the_checksum() -> None:
    """Each step is a bijection of the word for a given state."""
    source = random.Random(4)
    data = source.randbytes(256)
    seen = {checksum(data)}
    for at in range(0, 256, 8):
        for _ in range(64):
            other = data[:at] + source.randbytes(8) + data[at + 8 :]
            seen.add(checksum(other))
    assert len(seen) == 1 + 32 * 64
    assert checksum(b"") != checksum(b"\0") != checksum(b"\0\0")
    assert checksum(b"x", 1) != checksum(b"x", 2)


def test_the_checksum_is_fast_enough_to_cost_nothing() -> None:
    """An entry has about 30 KiB: at 1 GB/s that is 30 us."""
    data = bytes(1 << 24)
    best = min(_timed(data) for _ in range(5))
    assert best < 0.1  # 16 MiB; a sixth of the speed that is aimed at, as machines vary


def _timed(data: bytes) -> float:
    started = time.perf_counter()
    checksum(data)
    return time.perf_counter() - started


def facts_at(folder: Path) -> dict[str, tuple[Fact, str]]:
    """Return facts that hold, each with a shell command that makes it false."""
    path = folder / "file"
    path.write_bytes(b"content")
    mounts = folder / "mounts"
    mounts.write_bytes(MOUNTS)
    link = folder / "link"
    link.symlink_to("file")
    info = path.stat()
    name = os.fsencode(path)
    file = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    sum_ = checksum(b"content")
    return {
        "absent": (Fact(FactKind.ABSENT, os.fsencode(folder / "no")), "touch no"),
        "absent below a file": (Fact(FactKind.ABSENT, name + b"/x"), "rm file; mkdir -p file/x"),
        "absent by errno": (Fact(FactKind.ABSENT, name + b"/x", (20,)), "rm file"),
        "file written": (
            Fact(FactKind.FILE, name, (*file, info.st_mode << 32 | info.st_uid)),
            "echo > file",
        ),
        "file mode": (
            Fact(FactKind.FILE, name, (*file, info.st_mode << 32 | info.st_uid)),
            "chmod 600 file",
        ),
        "file replaced": (
            Fact(FactKind.FILE, name, (*file, info.st_mode << 32 | info.st_uid)),
            "cp -p file other; mv other file",
        ),
        "kind": (Fact(FactKind.KIND, name, (0o100000,)), "rm file; ln -s /etc/passwd file"),
        "content": (Fact(FactKind.CONTENT, name, (sum_, 7)), "printf Content > file"),
        "content grew": (Fact(FactKind.CONTENT, name, (sum_, 7)), "printf content. > file"),
        "content gone": (Fact(FactKind.CONTENT, name, (sum_, 7)), "rm file"),
        "same": (
            Fact(FactKind.SAME, os.fsencode(link), (info.st_dev, info.st_ino)),
            "touch a; ln -sf a link",
        ),
        "access": (Fact(FactKind.ACCESS, name, (os.X_OK, 0)), "chmod +x file"),
        "access gone": (Fact(FactKind.ACCESS, name, (os.F_OK, 1)), "rm file"),
        "link": (Fact(FactKind.LINK, os.fsencode(link), (checksum(b"file"), 4)), "ln -sf fil link"),
        "cgroup mounts": (
            Fact(FactKind.CGROUP_MOUNTS, os.fsencode(mounts), (sum_of_lines(MOUNTS), 2)),
            "sed -i s/rw/ro/ mounts",
        ),
        "cgroup mount more": (
            Fact(FactKind.CGROUP_MOUNTS, os.fsencode(mounts), (sum_of_lines(MOUNTS), 2)),
            "tail -n 1 mounts >> mounts",
        ),
        "owner": (Fact(FactKind.OWNER, name, (info.st_uid,)), "rm file"),
    }


CHANGES = (
    "absent",
    "absent below a file",
    "absent by errno",
    "file written",
    "file mode",
    "file replaced",
    "kind",
    "content",
    "content grew",
    "content gone",
    "same",
    "access",
    "access gone",
    "link",
    "cgroup mounts",
    "cgroup mount more",
    "owner",
)
MOUNTS = (
    b"1 2 0:3 / /tmp/a rw - tmpfs tmpfs rw\n"
    b"2 2 0:4 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
    + b"3 2 0:5 / /x rw - ext4 /dev/sda rw\n" * 5000
    + b"4 2 0:6 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
)


def sum_of_lines(text: bytes) -> int:
    """Return the chained checksum of the lines about control groups."""
    chained = 0
    for line in text.split(b"\n"):
        if b" - cgroup" in line:
            chained = checksum(line, chained)
    return chained


def test_other_mounts_may_come_and_go(tmp_path: Path) -> None:
    """Only the lines about control groups count, and a long list is read to its end."""
    fact = facts_at(tmp_path)["cgroup mounts"][0]
    buffer, start, count = encode_facts((fact,))
    assert first_broken(buffer, start, count) == 1
    with open(tmp_path / "mounts", "ab") as file:
        file.write(b"9 2 0:9 / /media/usb rw - vfat /dev/sdb rw\n" * 3)
    assert first_broken(buffer, start, count) == 1


@pytest.mark.parametrize("name", CHANGES)
def test_a_fact_holds_until_it_does_not(name: str, tmp_path: Path) -> None:
    """Each kind of fact notices what it is for."""
    fact, change = facts_at(tmp_path)[name]
    others = (Fact(FactKind.KIND, b"/", (0o040000,)),)
    buffer, start, count = encode_facts((*others, fact))
    assert first_broken(buffer, start, count) == 2
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        assert os.system(change) == 0
    finally:
        os.chdir(here)
    assert first_broken(buffer, start, count) == 1


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ((Probe.PRIVILEGED, 0), lib.sbx_is_privileged()),
        ((Probe.LANDLOCK, 0), lib.sbx_landlock_abi()),
        ((Probe.SECCOMP, 0x50000), lib.sbx_seccomp_action_avail(0x50000)),
    ],
)
def test_probes_ask_the_kernel(value: tuple[int, int], answer: int) -> None:
    """A probe holds for the answer that the kernel gives, and for no other."""
    right = answer & (2**64 - 1)
    for given, expected in ((right, 1), (right ^ 1, 0)):
        buffer, start, count = encode_facts((Fact(FactKind.PROBE, b"", (*value, given)),))
        assert first_broken(buffer, start, count) == expected


def test_a_fact_of_no_kind_never_holds() -> None:
    """What this version does not know counts as changed."""
    unknown = ffi.new("struct sbx_fact *", {"kind": 99})
    assert lib.sbx_facts_hold(unknown, 1, unknown) == 0
