from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import ProgramError, SetupError
from sandbox.host.userns import Obstacle
from sandbox.launch import errors_text
from sandbox.launch.errors_text import setup_error
from sandbox.plan.model import (
    IdKind,
    IdMap,
    Invocation,
    LandlockKind,
    LandlockRule,
    MountAttr,
    MountFlag,
    MountKind,
    MountOp,
    Namespace,
    Plan,
    PlanFlag,
    Rlimit,
    Slot,
    SlotPath,
    Stage,
)
from sandbox.record import replace

SOURCE, TARGET, CREATE, IDMAP, CONTENT, ROOT, INVOCATION = 1, 2, 3, 6, 7, 8, 0x100
BIND = MountOp(
    MountKind.BIND,
    SlotPath(b"/data"),
    SlotPath(b"/data"),
    MountFlag.RECURSIVE,
    MountAttr.RDONLY,
    origin="--ro /data",
)
PLAN = Plan(
    flags=PlanFlag.NO_NEW_PRIVS,
    namespaces=Namespace.USER | Namespace.MOUNT,
    id_maps=(IdMap(IdKind.UID, 1000, 1000),),
    uid=1000,
    gid=1000,
    hostname=b"{evil}{why}",
    mounts=(
        BIND,
        *(MountOp(kind, SlotPath(b"/x", Slot.CWD), SlotPath(b"/s")) for kind in MountKind),
    ),
    rlimits=(Rlimit(7, 256, 256), Rlimit(99, 1, 1)),
    landlock=(LandlockRule(LandlockKind.PATH, 1, SlotPath(b"/gone")),),
)
INVOCATION_OF_TRUE = Invocation(
    argv=(b"tr\xffue",),
    env=(b"PATH=/usr/bin:/bin",),
    programs=(b"/usr/bin/tr\xffue",),
    cwd=b"/work",
    slots=(b"", b"/work", b"/home/u", b"/tmp", b"", b""),
    extra_mounts=(replace(BIND, target=SlotPath(b"/extra"), origin=""),),
)
ERRNOS = sorted(errno.errorcode)


def words(stage: int, number: int, op: int = -1, detail: int = 0) -> tuple[str, str]:
    """Message and hint of a failure."""
    error = setup_error(stage, op, number, detail, PLAN, INVOCATION_OF_TRUE)
    assert error.hint is not None
    return error.message, error.hint


@pytest.mark.parametrize("stage", list(Stage))
def test_every_failure_has_message_and_hint(stage: Stage) -> None:
    """No stage, errno, operation or detail is left without words."""
    for number in ERRNOS:
        for op, detail in ((-1, 0), (0, SOURCE), (0, INVOCATION | TARGET), (1, CREATE), (99, 7)):
            message, hint = words(stage, number, op, detail)
            assert len(message) > 10
            assert len(hint) > 10
            assert "\n" not in message + hint


@given(
    st.integers(-5, 300),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-5, 5000),
    st.integers(-(2**31), 2**31 - 1),
)
def test_any_numbers_have_words(stage: int, op: int, number: int, detail: int) -> None:
    """Numbers that no core sends are worded too, never a traceback."""
    error = setup_error(stage, op, number, detail, PLAN, INVOCATION_OF_TRUE)
    assert error.message
    assert error.hint
    assert error.exit_code in (125, 126, 127)


@given(st.binary(min_size=1), st.binary(), st.sampled_from(ERRNOS), st.sampled_from([0, 1, 2]))
def test_any_program_name_has_words(name: bytes, cwd: bytes, number: int, detail: int) -> None:
    """Names are bytes; none of them breaks a message."""
    name, cwd = name.replace(b"\0", b""), cwd.replace(b"\0", b"")
    run = replace(INVOCATION_OF_TRUE, argv=(name,), programs=(name,), cwd=cwd)
    error = setup_error(Stage.EXEC, -1, number, detail, PLAN, run)
    assert isinstance(error, ProgramError)
    assert error.exit_code in (126, 127)


def test_fields_name_stage_op_and_errno() -> None:
    """The JSON result gets the numbers from the error's fields."""
    error = setup_error(Stage.USERNS_LOCK, -1, errno.EROFS, 0, PLAN, INVOCATION_OF_TRUE)
    assert isinstance(error, SetupError)
    assert error.code == "setup.userns-lock"
    assert error.fields == {"stage": "userns-lock", "op": -1, "errno": errno.EROFS}


@pytest.mark.parametrize("kind", list(MountKind))
def test_every_mount_kind_names_its_target(kind: MountKind) -> None:
    """The message says which operation it was, in words of its kind."""
    op = next(index for index, mount in enumerate(PLAN.mounts) if index and mount.kind is kind)
    message, _hint = words(Stage.MOUNTS, errno.EIO, op, TARGET)
    assert "/work/x" in message


def test_missing_source_is_named_with_its_origin() -> None:
    """The user sees the path, the flag, the reason and the next step."""
    message, hint = words(Stage.MOUNTS, errno.ENOENT, 0, SOURCE)
    assert message == (
        "/data cannot be shown read-only inside (--ro /data): no such file or directory (ENOENT)"
    )
    assert "optional = true" in hint
    assert words(Stage.SOURCES, errno.ENOENT, 0, SOURCE)[0] == message


def test_invocation_mounts_are_looked_up_there() -> None:
    """The flag in `detail` chooses the list that `op` counts."""
    message, _hint = words(Stage.MOUNTS, errno.ENOENT, 0, INVOCATION | TARGET)
    assert "/extra" in message


@pytest.mark.parametrize(
    ("kind", "number", "detail", "expected"),
    [
        (MountKind.PROC, errno.EPERM, CREATE, "outer container masks"),
        (MountKind.OVERLAY, errno.EINVAL, CREATE, "5.11"),
        (MountKind.OVERLAY, errno.EXDEV, CREATE, "different mounts"),
        (MountKind.TMPFS, errno.ENOSPC, CREATE, "full"),
        (MountKind.FILE, errno.ENOSPC, CONTENT, "larger size"),
        (MountKind.BIND, errno.ELOOP, SOURCE, "symbolic link"),
        (MountKind.BIND, errno.EROFS, TARGET, "--bind SRC:DST"),
        (MountKind.BIND, errno.EPERM, IDMAP, "ordinary user"),
        (MountKind.TMPFS, errno.EINVAL, CREATE, "size"),
    ],
)
def test_likely_mount_failures_have_their_own_hint(
    kind: MountKind, number: int, detail: int, expected: str
) -> None:
    """The hint fits the cause, not the stage."""
    op = max(index for index, mount in enumerate(PLAN.mounts) if mount.kind is kind)
    assert expected in words(Stage.MOUNTS, number, op, detail)[1]


def test_root_of_the_view_is_named() -> None:
    """A failure of the root itself has no operation."""
    assert "root of the sandbox" in words(Stage.MOUNTS, errno.ENOSPC, -1, ROOT)[0]


@pytest.mark.parametrize(
    ("stage", "number", "in_message", "in_hint"),
    [
        (Stage.CHECK, errno.E2BIG, "too large", "1 MiB"),
        (Stage.CLONE, errno.EAGAIN, "no more processes", "ulimit -u"),
        (Stage.CLONE, errno.EUSERS, "nested", "32"),
        (Stage.USERNS_LOCK, errno.EROFS, "container", "nested_userns = true"),
        (Stage.CHDIR, errno.ENOENT, "/work does not exist", "--chdir"),
        (Stage.RLIMITS, errno.EPERM, "hard limit", "--limit"),
        (Stage.LANDLOCK, errno.ENOSYS, "no Landlock", "5.13"),
        (Stage.SECCOMP, errno.EBUSY, "already listens", "outside"),
        (Stage.HOSTNAME, errno.EINVAL, "too long", "64"),
    ],
)
def test_likely_stage_failures(stage: Stage, number: int, in_message: str, in_hint: str) -> None:
    """The likely errnos of a stage have words of their own."""
    message, hint = words(stage, number)
    assert in_message in message
    assert in_hint in hint


def test_rlimit_is_named() -> None:
    """The limit that cannot be set is named as setrlimit(2) names it."""
    assert "RLIMIT_NOFILE" in words(Stage.RLIMITS, errno.EPERM, 0)[0]
    assert "RLIMIT_99" in words(Stage.RLIMITS, errno.EPERM, 1)[0]


def test_braces_in_names_are_left_alone() -> None:
    """A host name is put in once and never read as a template."""
    assert "{evil}{why}" in words(Stage.HOSTNAME, errno.EPERM)[0]


def test_absent_landlock_path_is_named() -> None:
    """A rule without its path is named by the path."""
    assert "/gone" in words(Stage.LANDLOCK, errno.ENOENT, 0)[0]


def obstacle(monkeypatch: pytest.MonkeyPatch, value: Obstacle | None) -> None:
    """Let the host have this obstacle."""
    found = () if value is None else (value,)
    monkeypatch.setattr(errors_text, "find_obstacles", lambda: iter(found))


def test_forbidden_user_namespaces_name_the_knob(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused clone is explained by what the host says."""
    obstacle(monkeypatch, Obstacle("switched off", "sysctl -w x=1", errno=errno.ENOSPC))
    assert words(Stage.CLONE, errno.ENOSPC) == (
        "switched off: no space left on device (ENOSPC)",
        "sysctl -w x=1; without namespaces --policy confined runs, which holds less",
    )
    assert "switched off" not in words(Stage.MOUNTS, errno.ENOSPC, 0, CREATE)[0]


def test_apparmor_explains_later_refusals_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppArmor may let the namespace be made and refuse what it is for."""
    obstacle(monkeypatch, Obstacle("AppArmor restricts", "a profile", is_apparmor=True))
    for stage in (Stage.CLONE, Stage.MAPS, Stage.MOUNTS):
        assert words(stage, errno.EACCES, 0)[1].startswith("a profile")
    assert words(Stage.CLONE, errno.EAGAIN)[1] != "a profile"


def program(tmp_path: Path, name: str, content: bytes, mode: int = 0o755) -> Path:
    """A file outside."""
    path = tmp_path / name
    path.write_bytes(content)
    path.chmod(mode)
    return path


def exec_error(name: bytes, paths: tuple[bytes, ...], number: int, detail: int = 0) -> ProgramError:
    """The error of a failed execve."""
    run = replace(INVOCATION_OF_TRUE, argv=(name,), programs=paths)
    error = setup_error(Stage.EXEC, -1, number, detail, PLAN, run)
    assert isinstance(error, ProgramError)
    return error


def test_program_outside_names_the_ro_that_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program on the caller's PATH that is not inside is named, with flag and path."""
    path = program(tmp_path, "tool", b"#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"/usr/bin:{tmp_path}")
    error = exec_error(b"tool", (b"/usr/bin/tool", b"/bin/tool"), errno.ENOENT)
    assert error.exit_code == 127
    assert error.message == (f"tool is not visible inside the sandbox; outside it is {path}")
    assert error.hint == f"show it with: --ro {tmp_path} and call it by its path, {path}"


def test_linked_program_names_both_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link needs its own directory and the one it leads to."""
    (tmp_path / "bin").mkdir()
    program(tmp_path, "real", b"#!/bin/sh\n")
    (tmp_path / "bin" / "tool").symlink_to("../real")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    hint = exec_error(b"tool", (b"/usr/bin/tool",), errno.ENOENT).hint
    assert hint is not None
    assert f"--ro {tmp_path}/bin --ro {tmp_path} and" in hint


def test_unknown_program_is_not_found_anywhere() -> None:
    """A name that exists nowhere says where was searched."""
    error = exec_error(b"no-such-tool-1", (b"/usr/bin/no-such-tool-1",), errno.ENOENT)
    assert error.exit_code == 127
    assert "PATH inside: /usr/bin:/bin" in error.message


def test_script_without_interpreter_names_it(tmp_path: Path) -> None:
    """A #! line that leads nowhere is quoted."""
    path = program(tmp_path, "script", b"#! /opt/none/python -x\n")
    error = exec_error(os.fsencode(path), (os.fsencode(path),), errno.ENOENT, 1)
    assert error.exit_code == 126
    assert "/opt/none/python" in error.message
    assert error.hint is not None
    assert "does not exist outside either" in error.hint


def test_binary_without_loader_names_it(tmp_path: Path) -> None:
    """The loader of an ELF file is read from its header."""
    loader = os.fsencode(program(tmp_path, "ld.so", b"")) + b"\0"
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("=HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    entry = struct.pack("=IIQQQQQQ", 3, 4, 120, 0, 0, len(loader), len(loader), 1)
    path = os.fsencode(program(tmp_path, "elf", head + entry + loader))
    error = exec_error(path, (path,), errno.ENOENT, 1)
    assert str(tmp_path / "ld.so") in error.message
    assert error.hint == f"show it with: --ro {tmp_path}"


def test_damaged_binary_has_no_loader(tmp_path: Path) -> None:
    """A header that lies about its tables is not believed."""
    path = os.fsencode(program(tmp_path, "elf", b"\x7fELF\x02\x01\x01" + b"\xff" * 200))
    assert "interpreter or loader" in exec_error(path, (path,), errno.ENOENT, 1).message


@pytest.mark.parametrize(
    ("number", "detail", "mode", "expected"),
    [
        (errno.EACCES, 0, 0o644, "chmod +x"),
        (errno.EACCES, 0, 0o755, "noexec"),
        (errno.ENOEXEC, 0, 0o755, "sh "),
        (errno.E2BIG, 0, 0o755, "xargs"),
        (errno.EACCES, 2, 0o755, "name a program"),
        (errno.ETXTBSY, 0, 0o755, "writing"),
    ],
)
def test_unexecutable_program_says_why(
    tmp_path: Path, number: int, detail: int, mode: int, expected: str
) -> None:
    """Exit code 126, with the step that helps."""
    path = os.fsencode(program(tmp_path, "file", b"text", mode))
    error = exec_error(path, (path,), number, detail)
    assert error.exit_code == 126
    assert error.hint is not None
    assert expected in error.hint
