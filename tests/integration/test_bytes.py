"""Arguments, environment, paths and streams are bytes, and pass through untouched."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from sandbox.run.execute import Request, execute, prepare

Run = Callable[..., CompletedProcess[bytes]]
EVERY = bytes(range(1, 256))


def test_arguments_pass_untouched(sandbox_run: Run) -> None:
    """Every byte but NUL, empty arguments and what looks like an option arrive as given."""
    done = sandbox_run("exec", "--policy", "strict", "printf", "%s\\0", EVERY, "", "--json", "-q")
    assert (done.returncode, done.stdout.split(b"\0")) == (0, [EVERY, b"", b"--json", b"-q", b""])


def test_environment_values_pass_untouched(sandbox_run: Run) -> None:
    """`--env N` takes the caller's bytes as they are."""
    done = sandbox_run("exec", "--env", "X", "printenv", "X", env={"X": os.fsdecode(b"a\xff\nb")})
    assert (done.returncode, done.stdout) == (0, b"a\xff\nb\n")


def test_standard_streams_pass_untouched(sandbox_run: Run) -> None:
    """stdin, stdout and stderr carry any bytes."""
    done = sandbox_run("exec", "sh", "-c", "cat; printf 'e\\377' >&2", stdin=EVERY)
    assert (done.stdout, done.stderr) == (EVERY, b"e\xff")


@pytest.mark.parametrize("name", [b"caf\xe9", b"a b", b"-n", b"${CWD}", b"new\nline", "é".encode()])
def test_a_working_directory_may_have_any_name(
    name: bytes, sandbox_run: Run, work_dir: Path, as_user: Run
) -> None:
    """The tree is shown at its own path whatever that is."""
    tree = os.path.join(os.fsencode(work_dir), name)
    as_user(["mkdir", "--", tree])
    done = sandbox_run("exec", "sh", "-c", "pwd; echo x > file", cwd=tree)
    assert (done.returncode, done.stdout) == (0, tree + b"\n")
    with open(os.path.join(tree, b"file"), "rb") as file:
        assert file.read() == b"x\n"


def test_a_nul_byte_cannot_even_be_asked_for(sandbox_run: Run, work_dir: Path) -> None:
    """A policy that holds one is refused with its place."""
    (work_dir / "nul.toml").write_text(
        'schema = 1\nextends = ["strict"]\n[env.set]\nX = "a\\u0000b"\n'
    )
    done = sandbox_run("exec", "--policy", "./nul.toml", "true")
    assert done.returncode == 125
    assert b"nul.toml:4" in done.stderr
    assert b"NUL" in done.stderr


def test_an_argument_over_the_kernels_limit_is_an_error() -> None:
    """A string of more than 128 KiB is E2BIG at execve inside, and is worded (execve(2))."""
    request = Request((b"true", b"x" * (200 << 10)), policy="strict")
    result = execute(prepare(request))
    assert result.setup is not None
    assert (result.reason, result.setup.stage, result.setup.errno) == ("setup", "exec", errno.E2BIG)
    assert result.setup.remedy
