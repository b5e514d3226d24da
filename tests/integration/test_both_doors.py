"""Same arguments, same result: the launcher and the door in Python, compared line by line."""

from __future__ import annotations

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.door_lines import CHOSEN, Generator
from support.doors import NO_PYTHON, Doors, Line, fresh_tree, make_doors, run_line
from support.need import need_user_namespaces
from support.pty import Person
from support.user import User

WORKERS = 4
VOLATILE = ("run_id", "started", "usage")


@pytest.fixture(scope="session")
def doors(user: User, user_python: Path) -> Doors:
    """Both doors, in a place where the ordinary user can run them."""
    need_user_namespaces()
    return make_doors(user.base / "doors", user_python)


@pytest.fixture(params=["user", pytest.param("root", marks=pytest.mark.as_root)])
def caller(request: pytest.FixtureRequest) -> User:
    """Who runs the lines."""
    found: User = request.getfixturevalue(request.param)
    return found


def without_volatile(text: bytes) -> Any:
    """Return the JSON of a result without what differs from run to run, or the text itself."""
    try:
        data = json.loads(text)
    except ValueError:
        return text
    if isinstance(data, dict):
        for name in VOLATILE:
            data.pop(name, None)
        for denial in data.get("denials", ()):
            del denial["t_ms"], denial["pid"]
    return data


def seen(user: User, door: Path, line: Line, work: Path) -> tuple[int, Any, Any, Any]:
    """Run `line` in a fresh tree; return exit code, stdout, stderr and the written result."""
    ended = run_line(user, door, line, fresh_tree(user, work))
    result = work / "result.json"
    written = without_volatile(result.read_bytes()) if result.exists() else None
    return ended.code, without_volatile(ended.stdout), ended.stderr, written


def differences(user: User, doors: Doors, line: Line, work: Path) -> tuple[str, bool]:
    """Run `line` through all doors; return what differs in words, and whether it ran natively.

    The door in Python comes first: it leaves the entry that the launcher runs from.
    """
    wanted = seen(user, doors.python, line, work)
    got = seen(user, doors.bare, line, work)
    # without standard error nobody can see which of the two it was
    is_native = NO_PYTHON not in got[2] and "2>&-" not in line.script
    if not is_native or got != wanted:  # the words for refused calls are Python's
        got = seen(user, doors.native, line, work)
    names = ("exit code", "stdout", "stderr", "result")
    texts = [
        f"{name}: python {left!r}, launcher {right!r}"
        for name, left, right in zip(names, wanted, got, strict=True)
        if left != right
    ]
    return (f"{line}\n  " + "\n  ".join(texts) if texts else ""), is_native


def compare(
    user: User, doors: Doors, lines: list[Line], base: Path
) -> tuple[list[str], list[Line]]:
    """Run `lines` in parallel, each worker in a directory of its own."""

    def work_at(pair: tuple[int, Line]) -> tuple[str, bool]:
        index, line = pair
        return differences(user, doors, line, base / f"{index % 16}-{index}")

    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(work_at, enumerate(lines)))
    native = [line for line, (_text, is_native) in zip(lines, found, strict=True) if is_native]
    return [text for text, _is_native in found if text], native


def assert_is_native(caller: User, native: int, every: int) -> None:
    """Python was not compared with itself: the launcher ran many lines on its own.

    Not those of a caller for whom control groups are made, which is Python's business.
    """
    if caller.uid != 0:
        assert native >= every // 4


@pytest.mark.slow
@pytest.mark.time_limit(180)
def test_chosen_lines_end_alike(caller: User, doors: Doors) -> None:
    """Every option, every kind of ending and every error is the same through both doors."""
    assert len(CHOSEN) >= 60
    base = caller.make_dir("doors-")
    found, native = compare(caller, doors, list(CHOSEN), base)
    assert not found, "\n".join(found)
    assert_is_native(caller, len(native), len(CHOSEN))


@pytest.mark.slow
@pytest.mark.time_limit(600)
def test_generated_lines_end_alike(caller: User, doors: Doors) -> None:
    """Lines that nobody thought of are the same through both doors.

    SANDBOX_TESTS_SEED repeats a run; the seed stands in the failure.
    """
    seed = int(os.environ.get("SANDBOX_TESTS_SEED", "0")) or random.SystemRandom().getrandbits(32)
    generator = Generator(random.Random(seed))
    lines = [generator.line() for _ in range(350 if caller.uid else 150)]
    base = caller.make_dir("doors-")
    found, native = compare(caller, doors, lines, base)
    assert not found, f"seed {seed}\n" + "\n".join(found)
    assert_is_native(caller, len(native), len(lines))


def test_python_side_is_found_beside_the_program_only(
    user: User, doors: Doors, work_dir: Path
) -> None:
    """Neither PATH nor the environment chooses what is started for the rest of the commands."""
    fake = work_dir / "sandbox-python"
    fake.write_text("#!/bin/sh\necho taken\n")
    fake.chmod(0o755)
    user.own(work_dir)
    env = {
        "PATH": f"{work_dir}:/usr/bin:/bin",
        "PYTHONPATH": str(work_dir),
        "PYTHONHOME": str(work_dir),
        "PYTHONSTARTUP": str(fake),
    }
    (work_dir / "sandbox").mkdir()
    (work_dir / "sandbox" / "__init__.py").write_text("print('taken')\n")
    line = Line(("--version",), env=env)
    assert run_line(user, doors.native, line, work_dir) == run_line(
        user, doors.python, Line(("--version",)), work_dir
    )
    assert NO_PYTHON in run_line(user, doors.bare, line, work_dir).stderr


def test_launcher_is_found_through_a_link(user: User, doors: Doors, work_dir: Path) -> None:
    """A symbolic link to the program, as `make install` makes one, has its Python side."""
    (work_dir / "linked").symlink_to(doors.native)
    assert run_line(user, work_dir / "linked", Line(("--version",)), work_dir).code == 0


@pytest.mark.parametrize(
    "script",
    [
        None,
        b"",
        b"import sandbox\n",
        b"#!/usr/bin/env python3\n",
        b"#!python3\n",
        b"#!/nonexistent/python3\n",
        b"#!/bin/sh\nexec true\n",
        b"#!/bin/sh\n'''exec' python3 \"$0\" \"$@\"\n",
        b"\0" * 8192,
    ],
)
def test_odd_python_side_is_refused(
    user: User, doors: Doors, work_dir: Path, script: bytes | None
) -> None:
    """A missing or odd `sandbox-python` is a clear message and 125."""
    program = work_dir / "sandbox"
    program.write_bytes(doors.native.read_bytes())
    program.chmod(0o755)
    if script is not None:
        (work_dir / "sandbox-python").write_bytes(script)
    ended = run_line(user, program, Line(("exec", "true")), work_dir)
    assert ended.code == 125
    assert ended.stderr.startswith(NO_PYTHON)
    assert b"\n  hint: install the package again" in ended.stderr


def test_interpreter_with_a_space_in_its_path_is_found(
    user: User, user_python: Path, doors: Doors, work_dir: Path
) -> None:
    """pip writes such a path on the second line, for sh(1)."""
    program = work_dir / "sandbox"
    program.write_bytes(doors.native.read_bytes())
    program.chmod(0o755)
    (work_dir / "a dir").mkdir()
    wrapper = work_dir / "a dir" / "python3"
    wrapper.write_text(f'#!/bin/sh\nexec {user_python} "$@"\n')
    wrapper.chmod(0o755)
    (work_dir / "sandbox-python").write_text(
        f"#!/bin/sh\n'''exec' \"{wrapper}\" \"$0\" \"$@\"\n' '''\n"
    )
    ended = run_line(user, program, Line(("--version",)), work_dir)
    assert (ended.code, ended.stderr) == (0, b"")


def test_descriptors_and_status_pass_the_handover(user: User, doors: Doors, work_dir: Path) -> None:
    """What the launcher hands over has its descriptors: a result on fd 9, input on 0, and codes."""
    words = (
        "exec",
        "--policy",
        "strict",
        "--result",
        "fd:9",
        "--",
        "sh",
        "-c",
        "read x; echo $x; exit 7",
    )
    line = Line(words, stdin=b"in\n", script='exec "$@" 9>result.json')
    ended = run_line(user, doors.native, line, fresh_tree(user, work_dir / "tree"))
    assert (ended.code, ended.stdout, ended.stderr) == (7, b"in\n", b"")
    assert json.loads((work_dir / "tree" / "result.json").read_bytes())["exit_code"] == 7


def test_handover_keeps_the_terminal(user: User, doors: Doors, work_dir: Path) -> None:
    """A command on a terminal gets one of its own, also when it came through the launcher."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(user.home), "TERM": "dumb"}
    argv = [*user.prefix, doors.native, "exec", "--policy", "strict", "tty"]
    with Person(argv, cwd=work_dir, env=env, owner=user.uid) as person:
        person.expect("/dev/pts/[0-9]+")
        assert person.wait() == 0
