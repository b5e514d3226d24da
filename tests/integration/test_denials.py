"""Refused calls: recorded with their rule, worded, and answered whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import jsonschema
import pytest

from support import leaks
from support.need import need_program, need_user_namespaces
from support.user import User

Run = Callable[..., CompletedProcess[bytes]]
SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "result.schema.json").read_text(encoding="utf-8")
)
PYTHON = ["/usr/bin/python3", "-I", "-c"]
UNSHARE = "import ctypes; libc = ctypes.CDLL(None, use_errno=True);"


@pytest.fixture(autouse=True)
def _needs_namespaces() -> None:
    need_user_namespaces()


@pytest.fixture
def program(user_python: Path) -> list[str]:
    """The program's argv, for processes that are the ordinary user already."""
    return [str(user_python), "-I", "-m", "sandbox"]


@pytest.fixture
def result_of(sandbox_run: Run, work_dir: Path) -> Callable[..., dict[str, object]]:
    """`result_of(*words)`: run, and return the valid result."""

    def run(*words: str, **options: object) -> dict[str, object]:
        path = work_dir / "result.json"
        path.unlink(missing_ok=True)
        sandbox_run("exec", "--result", str(path), *words, **options)
        data: dict[str, object] = json.loads(path.read_bytes())
        jsonschema.validate(data, SCHEMA)
        return data

    return run


def denials(result: dict[str, object], call: str) -> list[dict[str, object]]:
    """The entries about one call."""
    found = result["denials"]
    assert isinstance(found, list)
    return [entry for entry in found if entry["call"] == call]


def got(result: dict[str, object]) -> object:
    """What was got of the record."""
    effective = result["effective"]
    assert isinstance(effective, dict)
    return effective["audit.denials"]["got"]


# ------------------------------------------------------------------------- what is recorded
@pytest.mark.parametrize("policy", ["strict", "default", "build", "confined"])
def test_python_call_is_recorded(result_of: Callable[..., dict[str, object]], policy: str) -> None:
    """Call, path, errno, count, name of the process, rule and fix."""
    script = (
        f"{UNSHARE} results = [libc.mount(b'none', b'/mnt/there', b'tmpfs', 0, None)"
        " for _ in range(7)]; print(results, ctypes.get_errno())"
    )
    result = result_of("--policy", policy, *PYTHON, script)
    (entry,) = denials(result, "mount")
    assert (entry["target"], entry["errno"], entry["count"]) == ("/mnt/there", "EPERM", 7)
    assert entry["layer"] == "seccomp"
    assert str(entry["comm"]).startswith("python3")
    rule = entry["rule"]
    assert isinstance(rule, dict)
    assert rule["key"] == "syscalls.deny[@mount]"
    assert ".toml:" in str(rule["origin"])
    assert entry["fix"] == "--allow-syscall mount"
    assert (got(result), result["denials_lost"]) == ("on", 0)


def test_tiny_is_recorded_without_sendmsg(result_of: Callable[..., dict[str, object]]) -> None:
    """A policy that refuses the call by which the listener leaves has a porter for it."""
    result = result_of("--policy", "tiny", "sh", "-c", "kill -0 1")
    assert got(result) == "on"
    (entry,) = denials(result, "getppid")
    assert (entry["errno"], entry["fix"]) == ("EPERM", "--allow-syscall getppid")


def test_perl_call_is_recorded(result_of: Callable[..., dict[str, object]]) -> None:
    """A socket family by its name, with the errno of its own."""
    script = "use Socket; socket(S, AF_INET, SOCK_STREAM, 0) or print $!{EAFNOSUPPORT} ? 1 : 0"
    result = result_of("--policy", "strict", need_program("perl"), "-e", script)
    (entry,) = denials(result, "socket")
    assert (entry["target"], entry["errno"], entry["fix"]) == (
        "inet",
        "EAFNOSUPPORT",
        "--net host",
    )


def test_c_threads_are_recorded(
    result_of: Callable[..., dict[str, object]], work_dir: Path, user: User
) -> None:
    """Threads that call at once: each call is answered and counted."""
    source = """
    #define _GNU_SOURCE
    #include <errno.h>
    #include <pthread.h>
    #include <sched.h>
    static void *run(void *unused)
    {
        for (int i = 0; i < 250; i++)
            if (unshare(CLONE_NEWUTS) != -1 || errno != EPERM)
                return (void *)1;
        return unused;
    }
    int main(void)
    {
        pthread_t threads[8];
        void *result;
        int bad = 0;
        for (int i = 0; i < 8; i++)
            pthread_create(&threads[i], 0, run, 0);
        for (int i = 0; i < 8; i++) {
            pthread_join(threads[i], &result);
            bad |= result != 0;
        }
        return bad;
    }
    """
    (work_dir / "threads.c").write_text(source)
    program = work_dir / "threads"
    argv = [need_program("gcc"), "-pthread", "-o", str(program), str(work_dir / "threads.c")]
    subprocess.run(argv, check=True, timeout=30)
    user.own(work_dir)
    result = result_of("./threads")
    (entry,) = denials(result, "unshare")
    assert (result["exit_code"], entry["count"], entry["target"]) == (0, 2000, "0x4000000")


def test_address_is_recorded(result_of: Callable[..., dict[str, object]]) -> None:
    """What connect was refused to."""
    script = (
        "import socket; s = socket.socket(socket.AF_UNIX)\n"
        "try: s.connect('/run/there')\nexcept PermissionError: pass"
    )
    result = result_of("--policy", "strict", "--deny-syscall", "connect", *PYTHON, script)
    (entry,) = denials(result, "connect")
    assert entry["target"] == "/run/there"


def test_bytes_of_a_path_are_lossless_and_safe(
    sandbox_run: Run, result_of: Callable[..., dict[str, object]]
) -> None:
    """JSON has the bytes; stderr has escapes, no control character."""
    script = f"{UNSHARE} libc.mount(b'x', b'/\\x1b[31m\\xff\\n', b'tmpfs', 0, None); exit(1)"
    result = result_of(*PYTHON, script)
    (entry,) = denials(result, "mount")
    assert os.fsencode(str(entry["target"])) == b"/\x1b[31m\xff\n"
    done = sandbox_run("exec", *PYTHON, script)
    assert b"mount /\\x1b[31m\\xff\\n by python3" in done.stderr


def test_unreadable_path_is_no_path(result_of: Callable[..., dict[str, object]]) -> None:
    """A pointer to nowhere, one to the end of a page, a NULL."""
    script = (
        f"{UNSHARE} import mmap; libc.mount(None, ctypes.c_void_p(1), b'x', 0, None);"
        "libc.umount2(None, 0)"
    )
    result = result_of(*PYTHON, script)
    assert [entry["target"] for entry in denials(result, "mount")] == [None]
    assert [entry["target"] for entry in denials(result, "umount2")] == [None]


def test_fallback_probes_leave_no_record(result_of: Callable[..., dict[str, object]]) -> None:
    """ENOSYS is a question, and an unknown call is one too."""
    script = f"{UNSHARE} libc.syscall(435, None, 0); libc.syscall(9999); print(ctypes.get_errno())"
    assert result_of(*PYTHON, script)["denials"] == []


@pytest.mark.parametrize(
    "script",
    [
        f"{UNSHARE} libc.unshare(0x4000000)",
        f"{UNSHARE} libc.mount(b'none', b'/mnt', b'tmpfs', 0, None)",
        "import socket; socket.socket(socket.AF_INET)",
        f"{UNSHARE} libc.ptrace(0, 0, 0, 0)",
        f"{UNSHARE} libc.syscall(250, 0, 0)",
    ],
    ids=["unshare", "mount", "socket", "ptrace", "keyctl"],
)
def test_fix_lets_the_call_pass(result_of: Callable[..., dict[str, object]], script: str) -> None:
    """What the record offers is applied: the filter refuses that call no more."""
    before = result_of("--policy", "strict", *PYTHON, script)
    found = before["denials"]
    assert isinstance(found, list)
    (entry,) = found
    after = result_of("--policy", "strict", *entry["fix"].split(), *PYTHON, script)
    assert denials(after, entry["call"]) == []


def test_root_caller_is_recorded(root_sandbox_cmd: list[str], root: User, work_dir: Path) -> None:
    """Where the command's ids are switched, and where it is root inside an image."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the caller is not root")
    script = f"{UNSHARE} libc.mount(b'none', b'/mnt', b'tmpfs', 0, None)"
    argv = [*root_sandbox_cmd, "exec", "--result", "fd:2", "--policy", "strict", *PYTHON, script]
    done = root.run(argv, cwd=work_dir)
    (entry,) = denials(json.loads(done.stderr), "mount")
    assert (entry["target"], entry["errno"]) == ("/mnt", "EPERM")


# ------------------------------------------------------------------------- too much of it
def test_million_calls_leave_the_deadline_alone(
    result_of: Callable[..., dict[str, object]],
) -> None:
    """A command that does nothing else is ended in time, and every call was answered."""
    script = f"{UNSHARE}\nwhile True: libc.unshare(0x4000000)"
    started_s = time.monotonic()
    result = result_of("--timeout", "1s", *PYTHON, script)
    assert result["reason"] == "timeout"
    assert time.monotonic() - started_s < 6
    (entry,) = denials(result, "unshare")
    assert int(str(entry["count"])) > 1000


def test_distinct_calls_are_bounded(result_of: Callable[..., dict[str, object]]) -> None:
    """256 kinds are kept, the others counted."""
    script = f"{UNSHARE}\nfor n in range(400): libc.mount(b'x', b'/m/%d' % n, b'tmpfs', 0, None)"
    result = result_of(*PYTHON, script)
    entries = denials(result, "mount")
    assert (len(entries), result["denials_lost"]) == (256, 144)
    assert (entries[0]["target"], entries[-1]["target"]) == ("/m/0", "/m/255")


def test_killed_supervisor_fails_closed(user: User, program: list[str], work_dir: Path) -> None:
    """The tree of a command that is being refused ends with its supervisor."""
    before = frozenset(leaks.descendants())
    script = f"{UNSHARE} print('up', flush=True)\nwhile True: libc.unshare(0x4000000)"
    process = user.start([*program, "exec", *PYTHON, script], cwd=work_dir)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.kill()
    process.communicate(timeout=10)
    end_s = time.monotonic() + 2
    while time.monotonic() < end_s:
        leaks.reap_orphans(set(before))
        if not set(leaks.descendants()) - before:
            return
        time.sleep(0.05)
    assert not set(leaks.descendants()) - before


# ------------------------------------------------------------------------- no listener
def listening(words: list[str]) -> list[str]:
    """A command line that runs `words` below a listener of somebody else's, who never answers."""
    program = (
        "import ctypes, os, struct, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "code = ctypes.create_string_buffer(struct.pack('<HBBI', 6, 0, 0, 0x7fff0000))\n"
        "class Prog(ctypes.Structure):\n"
        "    _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]\n"
        "prog = Prog(1, ctypes.addressof(code))\n"
        "libc.prctl(38, 1, 0, 0, 0)\n"
        "fd = libc.syscall(317, 1, 8, ctypes.byref(prog))\n"
        "assert fd >= 0, ctypes.get_errno()\n"
        "os.set_inheritable(fd, True)\n"
        "os.execvp(sys.argv[1], sys.argv[1:])\n"
    )
    return ["/usr/bin/python3", "-I", "-c", program, *words]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs x86_64: the call by number")
def test_busy_degrades_and_says_so(user: User, program: list[str], work_dir: Path) -> None:
    """Below another listener calls are refused plainly, with the same errno, and noted."""
    script = f"{UNSHARE} libc.unshare(0x4000000); exit(ctypes.get_errno())"
    words = [*program, "exec", "--result", "fd:2", *PYTHON, script]
    done = user.run(listening(words), cwd=work_dir)
    result = json.loads(done.stderr)
    jsonschema.validate(result, SCHEMA)
    assert (result["exit_code"], result["denials"]) == (1, [])
    entry = result["effective"]["audit.denials"]
    assert (entry["wanted"], entry["got"]) == ("prefer", "off")
    assert "already listens" in entry["note"]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs x86_64: the call by number")
def test_busy_fails_where_a_record_is_required(
    user: User, program: list[str], work_dir: Path
) -> None:
    """`require` runs nothing without a record, and says why."""
    (work_dir / "p.toml").write_text(
        'schema = 1\nextends = ["default"]\naudit.denials = "require"\n'
    )
    words = [*program, "exec", "--policy", "./p.toml"]
    done = user.run(listening([*words, "true"]), cwd=work_dir)
    assert done.returncode == 125
    assert b"an outer sandbox already listens" in done.stderr
    assert user.run([*words, "true"], cwd=work_dir).returncode == 0


def test_off_is_off(sandbox_run: Run, result_of: Callable[..., dict[str, object]]) -> None:
    """A layer cannot take the record away, a policy can."""
    base = 'schema = 1\nextends = ["strict"]\naudit.denials = "off"\n'
    done = sandbox_run("exec", "sh", "-c", f"printf '%s' '{base}' > p.toml")
    assert done.returncode == 0
    script = f"{UNSHARE} libc.unshare(0x4000000); exit(ctypes.get_errno())"
    result = result_of("--policy", "./p.toml", *PYTHON, script)
    assert (result["exit_code"], result["denials"], got(result)) == (1, [], "off")


# ------------------------------------------------------------------------- signals
def test_interrupted_calls_are_answered(result_of: Callable[..., dict[str, object]]) -> None:
    """Signals while calls wait: the call is made again and has its errno all the same."""
    script = (
        f"{UNSHARE} import signal; signal.signal(signal.SIGALRM, lambda *_: None)\n"
        "signal.siginterrupt(signal.SIGALRM, False)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)\n"
        "bad = sum(libc.unshare(0x4000000) != -1 or ctypes.get_errno() != 1"
        " for _ in range(2000))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0, 0)\n"
        "exit(bad != 0)"
    )
    result = result_of(*PYTHON, script)
    (entry,) = denials(result, "unshare")
    assert result["exit_code"] == 0
    assert int(str(entry["count"])) >= 2000


def test_signal_ends_a_command_that_is_refused(
    user: User, program: list[str], work_dir: Path
) -> None:
    """TERM goes through while the supervisor answers."""
    script = f"{UNSHARE} print('up', flush=True)\nwhile True: libc.unshare(0x4000000)"
    process = user.start([*program, "exec", *PYTHON, script], cwd=work_dir)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    _out, error = process.communicate(timeout=10)
    assert process.returncode == 143, (error, sys.version)
