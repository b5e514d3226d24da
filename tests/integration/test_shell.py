"""`sandbox shell`: a person talks to a shell inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support.need import need_program
from support.pty import Person

pytestmark = pytest.mark.time_limit(60)


@pytest.mark.parametrize(("policy", "mark"), [("default", "default"), ("strict", "strict")])
def test_shell_talks_and_says_where_it_is(
    policy: str, mark: str, at_terminal: Callable[..., Person]
) -> None:
    """The prompt names the policy; the working directory is there; the exit code is the shell's."""
    with at_terminal("--policy", policy, command="shell") as person:
        with person.modes_kept():
            person.expect(rf"\(sandbox {mark}\)[^\r\n]*[$#] ")
            person.type("echo $0 $HISTFILE; cd /; echo $((6 * 7))\r")
            person.expect("bash /home/sandbox/.history\r\n42\r\n")
            person.expect(r"\(sandbox")
            person.type("exit 9\r")
            assert person.wait() == 9


def test_history_lives_inside(at_terminal: Callable[..., Person], user_home: Path) -> None:
    """A shell started by the shell knows the earlier lines; the caller's home gets no file."""
    before = sorted(user_home.iterdir())
    with at_terminal("--env", "INPUTRC", command="shell") as person:
        person.expect("[$#] ")
        person.type("echo remember-$((1 + 1))\r")
        person.expect("remember-2\r\n")
        person.type("history -a; wc -l $HISTFILE; exit\r")
        person.expect(r"\r\n[12] /home/sandbox/.history")
        assert person.wait() == 0
    assert sorted(user_home.iterdir()) == before


@pytest.fixture
def user_home(user: object) -> Path:
    """The ordinary user's home."""
    return user.home  # type: ignore[attr-defined,no-any-return]  # support.user.User


@pytest.mark.parametrize(
    ("shell", "name"), [("/bin/sh", "sh"), ("/opt/nowhere/zsh", "bash"), ("", "bash")]
)
def test_shell_is_the_callers_where_it_is_visible(
    shell: str, name: str, sandbox_run: Callable[..., CompletedProcess[bytes]]
) -> None:
    """$SHELL, else bash; without a terminal it reads its commands from standard input."""
    done = sandbox_run("shell", env={"SHELL": shell}, stdin=b"echo $0; exit 5\n")
    assert (done.stdout, done.returncode) == (name.encode() + b"\n", 5)


def test_shell_that_is_not_shown_is_not_used(
    work_dir: Path, sandbox_run: Callable[..., CompletedProcess[bytes]]
) -> None:
    """A $SHELL outside of the view is no reason to fail."""
    hidden = work_dir.parent / "hidden-shell"
    hidden.write_text("#!/bin/sh\necho wrong\n")
    hidden.chmod(0o755)
    done = sandbox_run("shell", env={"SHELL": str(hidden)}, stdin=b"echo $0\n")
    assert (done.stdout, done.returncode) == (b"bash\n", 0)


def test_options_are_those_of_exec(sandbox_run: Callable[..., CompletedProcess[bytes]]) -> None:
    """Flags apply; --explain runs nothing; a command is refused, with the way to run it."""
    done = sandbox_run(
        "shell", "--hostname", "elsewhere", "--env", "X=1", stdin=b"hostname; echo $X"
    )
    assert done.stdout == b"elsewhere\n1\n"
    explained = sandbox_run("shell", "--explain", "--policy", "strict")
    assert explained.returncode == 0
    assert b"strict" in explained.stdout
    refused = sandbox_run("shell", "ls")
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert b"sandbox exec [OPTION]... COMMAND" in refused.stderr


def test_vi_runs_in_the_shell(at_terminal: Callable[..., Person], work_dir: Path) -> None:
    """Shell, editor, shell, as everybody works."""
    need_program("vi")
    with at_terminal("--env", "INPUTRC", command="shell") as person:
        with person.modes_kept():
            person.expect("[$#] ")
            person.type("vi -u NONE made.txt\r")
            person.expect("made.txt.*made.txt")
            person.type("iwritten inside\x1b:wq\r")
            person.expect(r"\(sandbox")
            person.type("exit\r")
            assert person.wait() == 0
    assert (work_dir / "made.txt").read_text() == "written inside\n"
