"""The door, through the installed program: exit codes, streams, results, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import pytest

from support.need import need_user_namespaces
from support.user import User

Run = Callable[..., subprocess.CompletedProcess[bytes]]
SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "result.schema.json").read_text(encoding="utf-8")
)
STRICT = ("exec", "--policy", "strict")


@pytest.fixture(autouse=True)
def _needs_namespaces() -> None:
    need_user_namespaces()


@pytest.fixture
def program(user_python: Path) -> list[str]:
    """The program's argv, for shells and processes that are the ordinary user already."""
    return [str(user_python), "-I", "-m", "sandbox"]


def result_of(text: bytes) -> dict[str, object]:
    """The JSON result, valid by its schema."""
    data: dict[str, object] = json.loads(text)
    jsonschema.validate(data, SCHEMA)
    return data


@pytest.mark.parametrize("policy", ["strict", "default"])
@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_exit_code_is_the_commands_own(sandbox_run: Run, policy: str, code: int) -> None:
    """The command's code passes, and stderr stays quiet."""
    done = sandbox_run("exec", "--policy", policy, "sh", "-c", f"exit {code}")
    assert (done.returncode, done.stderr) == (code, b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGABRT])
def test_signal_gives_128_and_its_number(sandbox_run: Run, number: int) -> None:
    """A command that a signal ends is seen as the shell sees it."""
    done = sandbox_run(*STRICT, "sh", "-c", f"kill -{int(number)} $$")
    assert done.returncode == 128 + number


def test_timeout_is_124(sandbox_run: Run) -> None:
    """Time that is up is said in words, in the code and in the result."""
    done = sandbox_run(*STRICT, "--timeout", "500ms", "--result", "r.json", "sleep", "30")
    assert done.returncode == 124
    assert b"its time was up" in done.stderr


def test_unknown_program_is_127(sandbox_run: Run, work_dir: Path) -> None:
    """A name that nobody knows; the result says so too."""
    done = sandbox_run(*STRICT, "--result", "r.json", "no-such-program-1")
    assert done.returncode == 127
    assert done.stderr.startswith(b"sandbox: no-such-program-1 is not found")
    result = result_of((work_dir / "r.json").read_bytes())
    assert result["reason"] == "setup"
    assert isinstance(result["setup"], dict)
    assert result["setup"]["stage"] == "exec"


def test_program_without_permission_is_126(sandbox_run: Run, user: User, work_dir: Path) -> None:
    """A file that is no program."""
    (work_dir / "file").write_text("text", encoding="ascii")
    user.own(work_dir)
    done = sandbox_run(*STRICT, "./file")
    assert done.returncode == 126
    assert b"chmod +x" in done.stderr


def test_file_that_is_no_binary_is_126(sandbox_run: Run, user: User, work_dir: Path) -> None:
    """Executable, but neither a binary nor a script."""
    path = work_dir / "file"
    path.write_text("text", encoding="ascii")
    path.chmod(0o755)
    user.own(work_dir)
    done = sandbox_run(*STRICT, "./file")
    assert done.returncode == 126
    assert b"#! line" in done.stderr


def test_script_whose_interpreter_is_hidden_is_126(
    sandbox_run: Run, user: User, work_dir: Path
) -> None:
    """The interpreter that is missing inside is named."""
    path = work_dir / "script"
    path.write_text("#!/opt/none/interpreter\n", encoding="ascii")
    path.chmod(0o755)
    user.own(work_dir)
    done = sandbox_run(*STRICT, "./script")
    assert done.returncode == 126
    assert b"/opt/none/interpreter" in done.stderr


def test_program_on_path_outside_names_the_ro(sandbox_run: Run, user: User) -> None:
    """The flag that the hint names makes the program run."""
    folder = user.make_dir("tools-")
    tool = folder / "tool-1"
    tool.write_text("#!/bin/sh\nexit 42\n", encoding="ascii")
    tool.chmod(0o755)
    user.own(folder)
    env = {"PATH": f"/usr/bin:/bin:{folder}"}
    done = sandbox_run(*STRICT, "tool-1", env=env)
    assert done.returncode == 127
    assert f"--ro {folder} and call it by its path, {tool}".encode() in done.stderr
    assert sandbox_run(*STRICT, "--ro", str(folder), str(tool), env=env).returncode == 42


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("exec", "--bogus", "true"), 125),
        (("exec", "--policy", "stirct", "true"), 125),
        (("exec", "--ro", "/no/such/path", "true"), 125),
        (("exec",), 2),
        (("exce", "true"), 2),
        ((), 2),
    ],
)
def test_bad_command_line_has_its_code(sandbox_run: Run, words: tuple[str, ...], code: int) -> None:
    """A message and a hint, never a traceback."""
    done = sandbox_run(*words)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    if words:
        assert done.stderr.startswith(b"sandbox: ")
        assert b"\n  hint: " in done.stderr


def test_unknown_policy_and_option_name_the_nearest(sandbox_run: Run) -> None:
    """A slip of the finger gets the right name."""
    assert b"strict" in sandbox_run("exec", "--policy", "stirct", "true").stderr
    assert b"--policy" in sandbox_run("exec", "--polcy", "strict", "true").stderr


def test_bytes_pass_untouched(sandbox_run: Run) -> None:
    """Arguments and values of the environment that are not UTF-8 arrive as they were."""
    done = sandbox_run(
        *STRICT, b"--env", b"V=\xff\xfe", "sh", "-c", 'printf "%s|%s" "$1" "$V"', "sh", b"\xc3\xff"
    )
    assert (done.returncode, done.stdout) == (0, b"\xc3\xff|\xff\xfe")


def test_json_holds_output_and_result(sandbox_run: Run) -> None:
    """The output is captured losslessly, the exit code stays the command's."""
    done = sandbox_run(*STRICT, "--json", "sh", "-c", "echo out; printf 'e\\377' >&2; exit 3")
    result = result_of(done.stdout)
    assert done.returncode == result["exit_code"] == 3
    assert (result["stdout"], result["stderr_base64"]) == ("out\n", "Zf8=")
    assert done.stderr == b""


def test_json_of_a_failure_is_a_result_too(sandbox_run: Run) -> None:
    """A run that never started is one object on stdout, and a message on stderr."""
    done = sandbox_run("exec", "--policy", "stirct", "--json", "true")
    result = result_of(done.stdout)
    assert done.returncode == 125
    assert result["reason"] == "setup"
    assert done.stderr.startswith(b"sandbox: ")


def test_result_goes_to_a_descriptor(user: User, program: list[str], work_dir: Path) -> None:
    """fd:N is written, the command's streams are its own."""
    argv = " ".join([*program, *STRICT, "--result", "fd:3", "echo", "out", "3>r.json"])
    done = user.run(["sh", "-c", argv], cwd=work_dir)
    assert (done.returncode, done.stdout) == (0, b"out\n")
    assert result_of((work_dir / "r.json").read_bytes())["exit_code"] == 0


def test_descriptor_of_the_result_is_closed_for_the_command(
    user: User, program: list[str], work_dir: Path
) -> None:
    """The command cannot write the result itself."""
    command = [*program, *STRICT, "--result", "fd:3", "sh", "-c", "'echo forged >&3'"]
    done = user.run(["sh", "-c", f"{' '.join(command)} 3>r.json"], cwd=work_dir)
    assert done.returncode != 0
    assert result_of((work_dir / "r.json").read_bytes())["reason"] == "exited"


def test_command_cannot_redirect_the_result(sandbox_run: Run, user: User, work_dir: Path) -> None:
    """A link that the command plants under the result's name is replaced."""
    (work_dir / "victim").write_text("precious", encoding="ascii")
    user.own(work_dir)
    done = sandbox_run("exec", "--result", "r.json", "ln", "-s", "victim", "r.json")
    assert done.returncode == 0
    assert (work_dir / "victim").read_text(encoding="ascii") == "precious"
    assert result_of((work_dir / "r.json").read_bytes())["exit_code"] == 0


def test_unwritable_result_stops_before_the_command(sandbox_run: Run, work_dir: Path) -> None:
    """Nothing runs whose result could not be told."""
    done = sandbox_run("exec", "--result", "/proc/none/r.json", "touch", "ran")
    assert done.returncode == 125
    assert b"result cannot be written" in done.stderr
    assert not (work_dir / "ran").exists()


def test_full_disk_for_the_result_is_told(sandbox_run: Run) -> None:
    """The code says that the result is missing."""
    done = sandbox_run(*STRICT, "--result", "/dev/full", "true")
    assert done.returncode == 125
    assert b"ENOSPC" in done.stderr


@pytest.mark.parametrize("redirect", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_trap(
    user: User, program: list[str], work_dir: Path, redirect: str
) -> None:
    """The command gets /dev/null and its own exit code; nothing of ours takes the place."""
    script = "'cat; echo out; echo err >&2; ls -l /proc/self/fd >&2; exit 7'"
    argv = " ".join([*program, "exec", "--result", "r.json", "sh", "-c", script, redirect])
    done = user.run(["sh", "-c", argv], cwd=work_dir)
    assert done.returncode == 7
    assert result_of((work_dir / "r.json").read_bytes())["exit_code"] == 7
    if "2>" not in redirect:
        assert b"note: standard " in done.stderr


def test_json_needs_an_output(user: User, program: list[str], work_dir: Path) -> None:
    """--json with a closed stdout is refused, with a way out."""
    argv = " ".join([*program, "exec", "--json", "true", ">&-"])
    done = user.run(["sh", "-c", argv], cwd=work_dir)
    assert done.returncode == 125
    assert b"--result" in done.stderr


def test_reader_that_goes_away_is_no_error_of_ours(
    user: User, program: list[str], work_dir: Path
) -> None:
    """The command meets a broken pipe as it would outside: SIGPIPE is not ignored inside."""
    argv = " ".join([*program, "exec", "yes", "|", "head", "-n", "1"])
    done = user.run(["sh", "-c", argv], cwd=work_dir)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"y\n", b"")


def test_notes_are_silenced_by_quiet(sandbox_run: Run, user: User) -> None:
    """The home as working directory is not shown; one note says so, -q does not."""
    done = sandbox_run(*STRICT, "pwd", cwd=user.home)
    assert done.stdout == b"/home/sandbox\n"
    assert done.stderr.startswith(b"sandbox: note: ")
    assert done.stderr.count(b"\n") == 1
    assert sandbox_run(*STRICT, "-q", "true", cwd=user.home).stderr == b""


def test_explain_runs_nothing(sandbox_run: Run, work_dir: Path) -> None:
    """The plan in words, and as JSON; the command is not started."""
    done = sandbox_run("exec", "--explain", "touch", "ran")
    assert done.returncode == 0
    assert done.stdout.startswith(b"default (")
    assert not (work_dir / "ran").exists()
    done = sandbox_run(*STRICT, "--explain", "--json")
    assert json.loads(done.stdout)["policy"]["name"] == "strict"


def test_events_are_written_where_asked_for(sandbox_run: Run) -> None:
    """Stable names, one run id; nothing without the option."""
    done = sandbox_run(*STRICT, "--log-json", "--env", "TOKEN=s3cret", "true")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in events] == ["run.started", "run.finished"]
    assert len({event["run_id"] for event in events}) == 1
    assert b"s3cret" not in done.stderr
    failed = sandbox_run("exec", "--policy", "stirct", "--log-level", "error", "true")
    assert json.loads(failed.stderr.splitlines()[0])["event"] == "run.failed"


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@contextmanager
def running(user: User, argv: list[str], work_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A started command that has made its file `ready`; ended and reaped whatever happens."""
    with user.start(argv, cwd=work_dir) as child:
        try:
            wait_for((work_dir / "ready").exists)
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 71), (signal.SIGINT, 72)])
def test_signals_reach_the_command(
    user: User, program: list[str], work_dir: Path, number: int, code: int
) -> None:
    """A signal to the program arrives inside, and the command's answer is the exit code."""
    script = "trap 'exit 71' TERM; trap 'exit 72' INT; : > ready; while :; do sleep 0.05; done"
    with running(user, [*program, "exec", "sh", "-c", script], work_dir) as child:
        child.send_signal(number)
        assert child.wait(timeout=20) == code


def processes_in(work_dir: Path) -> list[str]:
    """The processes whose working directory is `work_dir`."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if str(work_dir).encode() in command:
            found.append(pid)
    return found


def test_killed_supervisor_leaves_no_process(
    user: User, program: list[str], work_dir: Path
) -> None:
    """SIGKILL to the program ends everything inside within a second or two."""
    script = f": {work_dir}; setsid sh -c ': {work_dir}; sleep 600' & : > ready; sleep 600"
    with running(user, [*program, "exec", "sh", "-c", script], work_dir) as child:
        wait_for(lambda: len(processes_in(work_dir)) >= 3)
        child.kill()
        child.wait(timeout=20)
        wait_for(lambda: not processes_in(work_dir), 5)
