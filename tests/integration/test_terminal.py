"""The command on a terminal: it gets one of its own, and the caller's comes back as it was.

Everything runs on a real pseudo-terminal, as the ordinary user.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.need import need_program, need_user_namespaces
from support.pty import PROMPT, Person
from support.user import User

pytestmark = pytest.mark.time_limit(90)
CTRL_C = "\x03"


# ---------------------------------------------------------------------------- a terminal of its own


@pytest.mark.leaks_nothing
@pytest.mark.parametrize("policy", ["strict", "default"])
def test_command_has_a_terminal_of_its_own(
    policy: str, at_terminal: Callable[..., Person], user: User
) -> None:
    """tty(1) names it, it has the caller's size and modes, and it is the controlling terminal."""
    script = "tty; stty size; stty -a | tr ' ' '\\n' | grep -c '^-echo$'; echo open >/dev/tty"
    with at_terminal("--policy", policy, "sh", "-c", script, size=(33, 101)) as person:
        with person.modes_kept():
            assert person.wait() == 0
        assert person.seen == b"/dev/pts/0\r\n33 101\r\n0\r\nopen\r\n"


def test_everything_that_was_written_arrives(at_terminal: Callable[..., Person]) -> None:
    """Megabytes, and the last line before the end, in order."""
    with at_terminal("sh", "-c", "seq 1 300000; printf last") as person:
        assert person.wait(60) == 0
        expected = b"".join(b"%d\r\n" % number for number in range(1, 300001)) + b"last"
        assert person.seen == expected


def test_output_of_what_is_left_running_arrives(at_terminal: Callable[..., Person]) -> None:
    """What a background process wrote before the command's end is not lost."""
    with at_terminal("sh", "-c", "(seq 1 9000; sleep 60) & sleep 0.5; exit 3") as person:
        assert person.wait() == 3
        assert person.seen.endswith(b"9000\r\n")


def test_only_terminals_are_replaced(at_terminal: Callable[..., Person], work_dir: Path) -> None:
    """A file stays standard input, a pipe stays standard output; stderr is the own terminal."""
    (work_dir / "in.txt").write_text("from the file\n")
    reader, writer = os.pipe()
    with (work_dir / "in.txt").open("rb") as source:
        script = "cat; tty <&2 >&2; test -t 0; echo $? >&2"
        with at_terminal("sh", "-c", script, stdin=source.fileno(), stdout=writer) as person:
            os.close(writer)
            assert person.wait() == 0
            assert os.read(reader, 100) == b"from the file\n"
            assert person.seen == b"/dev/pts/0\r\n1\r\n"
    os.close(reader)


def test_window_size_follows(at_terminal: Callable[..., Person]) -> None:
    """A resize of the window is a new size and a SIGWINCH inside."""
    script = "trap 'echo got $(stty size)' WINCH; echo ready; while :; do sleep 0.1; done"
    with at_terminal("bash", "-c", script) as person:
        with person.modes_kept():
            person.expect("ready")
            person.resize(41, 123)
            person.expect("got 41 123")
            person.type(CTRL_C)
            assert person.wait() == 130


def test_output_limit_counts_the_terminal(at_terminal: Callable[..., Person]) -> None:
    """An output limit ends a command that floods its terminal."""
    with at_terminal("--limit", "output=64K", "sh", "-c", "yes") as person:
        with person.modes_kept():
            person.wait()
        assert b"(limit output)" in person.seen
        assert len(person.seen) < 80_000


def test_terminal_of_somebody_else_serves_as_well(at_terminal: Callable[..., Person]) -> None:
    """After su(1) the terminal's node cannot be opened anew; a copy of the descriptor has to do."""
    with at_terminal("sh", "-c", "read -r line; seq 1 9000; echo got $line", owner=-1) as person:
        with person.modes_kept():
            person.wait_taken()
            person.type("it\r")
            assert person.wait() == 0
        assert person.seen.endswith(b"9000\r\ngot it\r\n")


def test_tiny_filters_on_a_terminal(at_terminal: Callable[..., Person]) -> None:
    """A policy without devices: the terminal is there all the same."""
    with at_terminal("--policy", "tiny", "cat") as person:
        with person.modes_kept():
            person.wait_taken()
            person.type("words\r")
            person.expect("words\r\nwords\r\n")
            person.type("\x04")
            assert person.wait() == 0


def test_json_leaves_standard_input_a_terminal(at_terminal: Callable[..., Person]) -> None:
    """The output is captured, and the command may still ask."""
    with at_terminal("--json", "sh", "-c", "read -r line; echo got $line") as person:
        with person.modes_kept():
            person.wait_taken()
            person.type("this\r")
            assert person.wait() == 0
        assert b'"stdout": "got this\\n"' in person.seen


def test_waiting_costs_no_time(at_terminal: Callable[..., Person]) -> None:
    """Nothing is polled in a loop while nobody types and nothing is written."""
    with at_terminal("sleep", "30") as person:
        person.wait_taken()
        before = _cpu_ticks(person)
        time.sleep(1.5)
        assert _cpu_ticks(person) - before <= 0.15 * os.sysconf("SC_CLK_TCK") * 1.5


def _cpu_ticks(person: Person) -> int:
    fields = Path(f"/proc/{person.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_reader_that_stalls_does_not_stop_the_supervisor(
    at_terminal: Callable[..., Person],
) -> None:
    """A window that takes nothing any more: the time limit still ends the run."""
    with at_terminal("-q", "--timeout", "500ms", "yes") as person:
        with person.modes_kept():
            assert person.process.wait(20) == 124


@pytest.mark.leaks_nothing
def test_closed_window_ends_the_run(at_terminal: Callable[..., Person]) -> None:
    """A hang-up reaches the command as SIGHUP."""
    person = at_terminal("sleep", "60")
    person.wait_taken()
    os.close(person.slave)
    os.close(person.master)
    assert person.process.wait(10) == 128 + signal.SIGHUP


def test_no_terminal_no_relay(at_terminal: Callable[..., Person], work_dir: Path) -> None:
    """Without a terminal among 0-2 there is none inside."""
    with (work_dir / "out").open("w+b") as out:
        fds = {"stdin": out.fileno(), "stdout": out.fileno(), "stderr": out.fileno()}
        with at_terminal("sh", "-c", "tty; echo x >/dev/tty || echo none", **fds) as person:
            assert person.wait() == 0
        assert b"not a tty" in (work_dir / "out").read_bytes()
        assert (work_dir / "out").read_bytes().endswith(b"none\n")


def test_text_cannot_be_pushed_into_the_callers_terminal(
    at_terminal: Callable[..., Person], work_dir: Path
) -> None:
    """TIOCSTI and TIOCLINUX on 0-2 and /dev/tty: refused, and nothing reaches the outer input."""
    need_program("python3")
    (work_dir / "push.py").write_text(
        "import fcntl, os\n"
        "fds = [0, 1, 2, os.open('/dev/tty', os.O_RDWR)]\n"
        "for fd in fds:\n"
        "    for call, data in (0x5412, b'#'), (0x541C, b'\\x03'), (0x1_0000_5412, b'#'):\n"
        "        try:\n"
        "            fcntl.ioctl(fd, call & 0xFFFFFFFF, data)\n"
        "            print('pushed')\n"
        "        except OSError as error:\n"
        "            print('refused', error.errno)\n"
    )
    with at_terminal() as person:
        person.expect(PROMPT)
        person.type("$SBX python3 push.py\r")
        person.expect("(refused 1\r\n){12}")
        person.expect(PROMPT)
        person.type("echo next\r")
        assert person.expect(r"(.*?)\r\n(.*?)\r\n").groups() == (b"echo next", b"next")
        assert b"pushed" not in person.seen


# ------------------------------------------------------------------------------ however it ends

ENDS = {
    "exit": ("exit 5", 5),
    "segfault": ("kill -SEGV $$", 139),
    "killed": ("kill -KILL $$", 137),
    "modes": ("stty raw -echo; exit 0", 0),
}


@pytest.mark.leaks_nothing
@pytest.mark.parametrize("name", ENDS)
def test_terminal_is_given_back(name: str, at_terminal: Callable[..., Person]) -> None:
    """After an exit, a crash, a kill, and a command that left its own modes behind."""
    script, code = ENDS[name]
    with at_terminal("sh", "-c", f"echo here; read -r line; {script}") as person:
        with person.modes_kept():
            person.expect("here")
            person.wait_taken()
            person.type("\r")
            assert person.wait() == code


def test_terminal_is_given_back_after_a_timeout(at_terminal: Callable[..., Person]) -> None:
    """Also where the command ignores SIGTERM and its last words come within the grace."""
    script = "trap 'echo asked' TERM; while :; do sleep 0.1; done"
    with at_terminal("--timeout", "700ms", "bash", "-c", script) as person:
        with person.modes_kept():
            assert person.wait() == 124
        assert b"asked" in person.seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_terminal_is_given_back_after_a_signal(
    number: signal.Signals, at_terminal: Callable[..., Person]
) -> None:
    """A signal to the supervisor reaches the command, and then the terminal is as it was."""
    with at_terminal("sleep", "60") as person:
        with person.modes_kept():
            person.wait_taken()
            person.signal(number)
            assert person.wait() == 128 + number


def test_terminal_is_given_back_after_a_defect_of_ours(
    user: User, user_python: Path, work_dir: Path
) -> None:
    """An exception in the supervisor's own loop still restores the modes and ends the command."""
    code = (
        "import sys\n"
        "from sandbox.cli.main import main\n"
        "from sandbox.launch.terminal import Terminal\n"
        "def fail(self, fd, events): raise RuntimeError('planned')\n"
        "Terminal.handle = fail\n"
        "sys.exit(main(['exec', 'sh', '-c', 'sleep 1; echo here; sleep 60']))\n"
    )
    need_user_namespaces()
    argv = [*user.prefix, user_python, "-I", "-c", code]
    with Person(argv, cwd=work_dir, env=user.environ()) as person:
        with person.modes_kept():
            person.wait_taken()
            assert person.wait() == 125
        assert b"planned" in person.seen


def test_set_up_failure_leaves_the_terminal_alone(at_terminal: Callable[..., Person]) -> None:
    """A command that does not exist is 127, without a change of modes."""
    with at_terminal("no-such-program") as person:
        with person.modes_kept():
            assert person.wait() == 127
