"""Job control and full-screen programs: driven by a person, on a real pseudo-terminal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.need import need_program
from support.pty import PROMPT, Person

pytestmark = pytest.mark.time_limit(90)
CTRL_C, CTRL_D, CTRL_Z, ESCAPE = "\x03", "\x04", "\x1a", "\x1b"


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_job_control_inside_a_shell(shell: str, at_terminal: Callable[..., Person]) -> None:
    """sleep, Ctrl-Z, bg, fg, Ctrl-C: as everywhere."""
    with at_terminal("--env", "PS1=in> ", "--env", "INPUTRC", shell, "-i") as person:
        with person.modes_kept():
            person.expect("in> |\\$ ")
            person.type("PS1='in''> '\r")
            person.expect("in> ")
            person.type("sleep 100\r")
            person.expect("sleep 100\r\n")
            time.sleep(0.5)
            person.type(CTRL_Z)
            person.expect("Stopped.*in> ")
            person.type("bg\r")
            person.expect("sleep 100.*in> ")
            person.type("jobs\r")
            person.expect("Running.*in> ")
            person.type("fg\r")
            person.expect("sleep 100\r\n")
            time.sleep(0.5)
            person.type(CTRL_C)
            person.expect("in> ")
            person.type("echo code $?\r")
            person.expect("code 130")
            person.type("exit 4\r")
            assert person.wait() == 4


def test_ctrl_z_stops_the_run_and_fg_resumes_it(at_terminal: Callable[..., Person]) -> None:
    """The shell outside sees a stopped job; while it is stopped the terminal is the shell's."""
    with at_terminal() as person:
        person.expect(PROMPT)
        modes = person.modes()
        person.type("$SBX sh -c 'echo here; read -r line; echo got $line'\r")
        person.expect("\r\nhere\r\n")
        person.wait_taken()
        person.type(CTRL_Z)
        person.expect("Stopped")
        person.expect(PROMPT)
        assert person.modes() == modes
        person.type("echo outside\r")
        person.expect("\r\noutside")
        person.type("fg\r")
        person.wait_taken()
        person.type("words\r")
        person.expect("got words")
        person.expect(PROMPT)
        assert person.modes() == modes


def test_sigtstp_from_outside_stops_and_sigcont_resumes(at_terminal: Callable[..., Person]) -> None:
    """kill -TSTP of the supervisor gives the terminal back meanwhile."""
    with at_terminal() as person:
        person.expect(PROMPT)
        person.type("$SBX sh -c 'echo here; read -r line; echo got $line'\r")
        person.expect("\r\nhere\r\n")
        person.wait_taken()
        os.kill(os.tcgetpgrp(person.master), signal.SIGTSTP)
        person.expect("Stopped")
        person.expect(PROMPT)
        assert not person.is_taken()
        person.type("fg\r")
        person.wait_taken()
        person.type("again\r")
        person.expect("got again")
        person.expect(PROMPT)  # the run has ended, and given back what it put into the tree


def test_background_job_waits_for_the_terminal(at_terminal: Callable[..., Person]) -> None:
    """`&`: output passes, the first read stops the job until fg; keys stay the shell's."""
    with at_terminal() as person:
        person.expect(PROMPT)
        person.type("$SBX sh -c 'echo working; read -r line; echo got $line' &\r")
        person.expect("working\r\n")
        for _ in range(40):  # the shell tells before its next prompt
            person.type("\r")
            time.sleep(0.2)
            if b"Stopped" in person.unread():
                break
        person.expect("Stopped")
        person.type("echo free\r")
        person.expect("\r\nfree\r\n")
        person.type("fg\r")
        person.wait_taken()
        person.type("now\r")
        person.expect("got now")
        person.expect(PROMPT)


def test_reader_of_our_pipe_keeps_the_keys(at_terminal: Callable[..., Person]) -> None:
    """`sandbox exec seq | less`: less has the terminal, and leaves it as it was."""
    need_program("less")
    with at_terminal() as person:
        person.expect(PROMPT)
        modes = person.modes()
        person.type("$SBX seq 1 500 | less\r")
        person.expect("23\r\n:")
        person.type("G")
        person.expect("500\r\n")
        person.type("q")
        person.expect(PROMPT)
        assert person.modes() == modes


def test_command_before_a_pipe_may_still_ask(at_terminal: Callable[..., Person]) -> None:
    """A command whose output is piped reads the terminal when it wants to."""
    with at_terminal() as person:
        person.expect(PROMPT)
        person.type("$SBX sh -c 'echo question >&2; read -r line; echo got $line' | cat\r")
        person.expect("question\r\n")
        person.wait_taken()
        person.type("answer\r")
        person.expect("got answer")
        person.expect(PROMPT)


# --------------------------------------------------------------------------- full-screen programs


@pytest.mark.parametrize("policy", ["strict", "default"])
def test_vim_edits_a_file(policy: str, at_terminal: Callable[..., Person], work_dir: Path) -> None:
    """Typed text is on the screen, and in the file where writes reach it."""
    need_program("vi")
    with at_terminal("--policy", policy, "vi", "-u", "NONE", "note.txt") as person:
        with person.modes_kept():
            person.expect("note.txt")
            person.type("ihello vim" + ESCAPE)
            person.expect("hello vim")
            person.type(":wq\r")
            assert person.wait() == 0
    written = work_dir / "note.txt"
    assert written.exists() is (policy == "default")
    assert policy == "strict" or written.read_text() == "hello vim\n"


def test_vim_can_be_suspended(at_terminal: Callable[..., Person]) -> None:
    """Ctrl-Z in vim: the shell outside; fg: vim draws its screen again."""
    need_program("vi")
    with at_terminal() as person:
        person.expect(PROMPT)
        person.type("$SBX vi -u NONE note.txt\r")
        person.expect("note.txt.*note.txt")
        person.type("isome text" + ESCAPE)
        person.expect("some text")
        person.type(CTRL_Z)
        person.expect("Stopped")
        person.expect(PROMPT)
        person.type("fg\r")
        person.expect("some text")
        person.type(":q!\r")
        person.expect(PROMPT)


def test_less_pages(at_terminal: Callable[..., Person], work_dir: Path) -> None:
    """A page, the end, a search, and out."""
    need_program("less")
    (work_dir / "long.txt").write_text("".join(f"line {n}\n" for n in range(1, 1000)))
    with at_terminal("less", "long.txt") as person:
        with person.modes_kept():
            person.expect("line 23")
            person.type(" ")
            person.expect("line 46")
            person.type("G")
            person.expect("line 999")
            person.type("?line 500\r")
            person.expect("line 500")
            person.type("q")
            assert person.wait() == 0


def test_less_reads_keys_while_its_input_is_a_pipe(at_terminal: Callable[..., Person]) -> None:
    """`cmd | sandbox exec less`: the text from the pipe, the keys from the terminal."""
    need_program("less")
    reader, writer = os.pipe()
    os.write(writer, b"".join(b"row %d\n" % n for n in range(1, 300)))
    os.close(writer)
    with at_terminal("less", stdin=reader) as person:
        os.close(reader)
        with person.modes_kept():
            person.expect("row 23")
            person.type("G")
            person.expect("row 299")
            person.type("q")
            assert person.wait() == 0


def test_top_shows_the_sandbox(at_terminal: Callable[..., Person]) -> None:
    """Only the sandbox's processes; q leaves."""
    need_program("top")
    with at_terminal("top") as person:
        with person.modes_kept():
            person.expect("sandbox-init|top")
            person.type("q")
            assert person.wait() == 0


def test_python_prompt(at_terminal: Callable[..., Person]) -> None:
    """Line editing and history, an interrupt, the end of input."""
    need_program("python3")
    with at_terminal("python3", "-q") as person:
        with person.modes_kept():
            person.expect(">>> ")
            person.type("6 * 7\r")
            person.expect("42")
            person.expect(">>> ")
            person.type("\x1b[A + 1\r")  # up: the line again
            person.expect("43\r\n>>> ")
            time.sleep(0.5)  # python overlooks a signal that comes before it waits for keys
            person.type(CTRL_C)
            person.expect("KeyboardInterrupt")
            person.expect(">>> ")
            person.type(CTRL_D)
            assert person.wait() == 0


def test_bash_has_history(at_terminal: Callable[..., Person]) -> None:
    """The arrow key brings the last line back."""
    with at_terminal("--env", "INPUTRC", "bash", "--norc", "-i") as person:
        with person.modes_kept():
            person.expect("\\$ ")
            person.type("echo on$((1))ce\r")
            person.expect("\non1ce")
            person.expect("\\$ ")
            person.type("\x1b[A\r")
            person.expect("\non1ce.*\\$ ")
            person.type(CTRL_D)
            assert person.wait() == 0
