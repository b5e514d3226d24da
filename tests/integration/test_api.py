"""The Python API as an ordinary user's program meets it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support.need import need_user_namespaces
from support.program import Program
from support.user import User

EXAMPLES = Path(__file__).parents[1] / "support" / "examples.py"
SOAK = os.environ.get("SANDBOX_TESTS_SOAK", "")  # how many runs, instead of 300
API_PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_user_namespaces()


def in_order(entries: list[dict[str, str]]) -> list[list[tuple[str, str]]]:
    """Return records as sorted pairs, sorted."""
    return sorted(sorted(entry.items()) for entry in entries)


@pytest.mark.time_limit(120)
@pytest.mark.leaks_nothing
def test_every_example_of_the_page_does_what_it_says(
    user: User, user_python: Path, work_dir: Path
) -> None:
    """docs/api.md runs, block by block."""
    for path in (EXAMPLES, API_PAGE):
        (work_dir / path.name).write_bytes(path.read_bytes())
    argv = (user_python, "-I", EXAMPLES.name, API_PAGE.name)
    done = user.run(argv, cwd=work_dir, timeout=110.0)
    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == (0, "", "")


@pytest.mark.leaks_nothing
def test_an_api_call_and_the_command_line_make_the_same_walls(
    program: Program, sandbox_run: Callable[..., CompletedProcess[bytes]]
) -> None:
    """Keywords and options with one meaning give one plan digest, limits and overrides."""
    import json

    done = sandbox_run(
        *("exec", "--json", "--policy", "strict", "--timeout", "7s", "--limit", "pids=9"),
        *("--tmpfs", "/srv", "--bind", "/usr/share:/data:ro", "true"),
    )
    there = json.loads(done.stdout)
    here = json.loads(
        program("""
        import json
        result = sandbox.run(
            ["true"], policy="strict", timeout=7, limits={"pids": 9},
            mounts={"/srv": "tmpfs", "/data": ("/usr/share", "ro")},
        )
        print(json.dumps(result.to_data()))
        """)
    )
    for key in ("plan_digest", "limits", "policy", "effective", "tier", "reason"):
        assert here[key] == there[key], key
    assert in_order(here["overrides"]) == in_order(there["overrides"])


@pytest.mark.leaks_nothing
def test_input_larger_than_any_pipe_passes_through(program: Program) -> None:
    """20 MB go in and come back, with no dead-lock on either side; the Popen face does it too."""
    assert (
        program("""
        data = bytes(range(256)) * 80_000
        result = sandbox.run(["cat"], input=data)
        print(result.stdout == data, result.usage.output_truncated)
        with sandbox.Sandbox(["cat"], stdin=sandbox.PIPE) as box:
            print(box.communicate(data)[0] == data)
        # a command that closes its input early is no error
        print(sandbox.run(["head", "-c", "3"], input=data).stdout == data[:3])
        print(sandbox.run(["true"], input=data).returncode)
    """)
        == "True False\nTrue\nTrue\n0\n"
    )


@pytest.mark.leaks_nothing
def test_a_flood_fills_neither_memory_nor_a_pipe(program: Program) -> None:
    """`yes` is cut at the policy's limit; without one 64 MiB are kept until the time is up."""
    assert (
        program("""
        import resource
        result = sandbox.run(["yes"], policy="strict")
        print(result.reason, len(result.stdout) == 8 << 20, result.usage.output_truncated)
        result = sandbox.run(["yes"], timeout=2)
        print(result.reason, len(result.stdout) <= 64 << 20)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 400_000)
        # nobody reads: the command waits, and is ended in time all the same
        with sandbox.Sandbox(["yes"], timeout=1) as box:
            print(box.wait(), box.result.reason)
    """)
        == "limit True True\ntimeout True\nTrue\n-15 timeout\n"
    )


@pytest.mark.leaks_nothing
def test_sandbox_is_used_as_popen_is(program: Program) -> None:
    """poll, wait with a limit, signals, terminate, kill, a second close."""
    assert program("""
        import signal, time
        box = sandbox.Sandbox(["sleep", "60"], policy="strict")
        print(box.poll(), box.returncode, box.result, box.stdin)
        try:
            box.wait(0.1)
        except TimeoutError as error:
            print(error)
        box.terminate()
        print(box.wait(), box.result.reason, box.result.ended_by, box.poll())
        box.kill()
        box.close()
        box.close()
        with sandbox.Sandbox(
            ["sh", "-c", "trap 'echo got; exit 5' USR1; echo ready; read line"], stdin=sandbox.PIPE
        ) as box:
            print(box.stdout.readline())
            box.send_signal(signal.SIGUSR1)
            print(box.stdout.readline(), box.wait())
        box = sandbox.Sandbox(["sh", "-c", "sleep 60 & sleep 60"])
        box.kill()
        print(box.communicate(timeout=20), box.returncode, box.result.reason)
        box.close()
    """).splitlines() == [
        "None None None None",
        "the sandbox still runs after 0.1 seconds",
        "-15 signaled user -15",
        r"b'ready\n'",
        r"b'got\n' 5",
        "(b'', b'') -9 cancelled",
    ]


@pytest.mark.leaks_nothing
def test_communicate_can_be_resumed(program: Program) -> None:
    """What came before the time was up is not lost."""
    assert (
        program("""
        with sandbox.Sandbox(["sh", "-c", "echo a; sleep 1; echo b"]) as box:
            try:
                box.communicate(timeout=0.5)
            except TimeoutError:
                print("late")
            print(box.communicate())
    """)
        == "late\n(b'a\\nb\\n', b'')\n"
    )


@pytest.mark.leaks_nothing
def test_streams_go_where_the_caller_says(program: Program, work_dir: Path) -> None:
    """A file, the caller's own, the other stream, nowhere, a descriptor of its own number."""
    assert (
        program(
            """
        import os, sys
        with open("out", "wb") as file:
            result = sandbox.run(["sh", "-c", "cat; echo e >&2"], stdin=None, stdout=file)
        print(read("out"), result.stdout, result.stderr)
        print(sandbox.run(["sh", "-c", "echo o; echo e >&2"], stderr=sandbox.STDOUT).text)
        result = sandbox.run(["sh", "-c", "echo o; echo e >&2"], stdout=sandbox.DEVNULL)
        print(result.stdout, result.stderr)
        sys.stdout.flush()
        sandbox.run(["echo", "mine"], stdout=None)
        reader, writer = os.pipe()
        sandbox.run(["sh", "-c", f"echo passed >&{writer}"], pass_fds=[writer])
        print(os.read(reader, 100))
        """,
            stdin=b"from outside",
        )
        == "from outside b'' b'e\\n'\no\ne\n\nb'' b'e\\n'\nmine\nb'passed\\n'\n"
    )


@pytest.mark.leaks_nothing
def test_closed_standard_streams_are_no_obstacle(program: Program) -> None:
    """With 0 to 2 closed a run gets /dev/null, and no file of ours lands in their place."""
    assert (
        program("""
        import os
        keep = os.dup(1)
        for fd in (0, 1, 2):
            os.close(fd)
        result = sandbox.run(["sh", "-c", "readlink /proc/self/fd/0; echo e >&2"], stdin=None)
        other = sandbox.run(["sh", "-c", "cat; echo lost; echo lost >&2"],
                            stdin=None, stdout=None, stderr=None)
        os.write(keep, repr((result.stdout, result.stderr, other.returncode)).encode())
        for _ in range(3):
            os.open("/dev/null", os.O_RDWR)
    """)
        == "(b'/dev/null\\n', b'e\\n', 0)"
    )


@pytest.mark.leaks_nothing
def test_no_process_is_forked(program: Program) -> None:
    """No fork handler of the program runs, whichever face is used."""
    assert (
        program("""
        import asyncio, os
        os.register_at_fork(before=lambda: print("forked"))
        sandbox.run(["true"])
        with sandbox.Sandbox(["true"]) as box:
            box.wait()
        asyncio.run(sandbox.run_async(["true"]))
        print("done")
    """)
        == "done\n"
    )


@pytest.mark.leaks_nothing
def test_a_caller_that_reaps_every_child_is_tolerated(program: Program) -> None:
    """waitpid(-1) and an ignored SIGCHLD take supervisors away; results come all the same."""
    assert (
        program("""
        import os, signal, threading, time
        stop = False
        def reap():
            while not stop:
                try:
                    os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    time.sleep(0.0005)
        thread = threading.Thread(target=reap)
        thread.start()
        print({sandbox.run(["sh", "-c", "exit 4"], policy="strict").returncode for _ in range(20)})
        stop = True
        thread.join()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print({sandbox.run(["sh", "-c", "exit 4"], policy="strict").returncode for _ in range(5)})
    """)
        == "{4}\n{4}\n"
    )


@pytest.mark.leaks_nothing
def test_refused_calls_are_in_the_result(program: Program) -> None:
    """A refused call comes with its rule and the smallest change that would let it pass."""
    assert (
        program("""
        result = sandbox.run(["mount", "-t", "tmpfs", "x", "/tmp"], policy="strict")
        got = result.effective["audit.denials"]["got"]
        refused = {one["call"]: one for one in result.denials}
        if got == "on":
            one = refused["mount"]
            print(one["fix"], one["rule"]["key"], one["target"], one["errno"], one["comm"])
        else:
            print("--allow-syscall mount syscalls.deny[@mount] /tmp EPERM mount")  # no listener
    """)
        == "--allow-syscall mount syscalls.deny[@mount] /tmp EPERM mount\n"
    )


@pytest.mark.leaks_nothing
def test_threads_share_the_api(program: Program) -> None:
    """Eight threads run at once; one waits while another kills."""
    assert (
        program("""
        import threading, time
        from concurrent.futures import ThreadPoolExecutor
        def one(number):
            return sandbox.run(["sh", "-c", f"exit {number}"], policy="strict").returncode
        with ThreadPoolExecutor(8) as pool:
            print(list(pool.map(one, range(40))) == list(range(40)))
        box = sandbox.Sandbox(["sleep", "60"])
        threads = [threading.Thread(target=box.wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        box.kill()
        for thread in threads:
            thread.join(20)
        print(box.returncode, [thread.is_alive() for thread in threads])
        box.close()
    """)
        == "True\n-9 [False, False, False]\n"
    )


@pytest.mark.leaks_nothing
def test_a_killed_caller_ends_its_sandboxes(user: User, user_python: Path, work_dir: Path) -> None:
    """SIGKILL for the program that started it leaves no process of the sandbox."""
    code = (
        "import sandbox\n"
        "box = sandbox.Sandbox(['sh', '-c', 'echo up; sleep 300 & wait'])\n"
        "print(box.stdout.readline(), box.pid, flush=True)\n"
        "box.wait()\n"
    )
    process = subprocess.Popen(
        [*user.prefix, user_python, "-I", "-c", code],
        cwd=work_dir,
        env=user.environ(),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    line = process.stdout.readline().split()
    supervisor = int(line[-1])
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{supervisor}") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(supervisor)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.time_limit(3600 if SOAK else 120)
@pytest.mark.leaks_nothing
def test_three_hundred_in_a_row_leave_nothing(program: Program) -> None:
    """No descriptor, child or memory is left by 300 runs (`make soak` does 10,000)."""
    assert (
        program(
            """
        import os, sys
        def state():
            children = read("/proc/self/task/%d/children" % os.getpid()).split()
            rss = int(read("/proc/self/statm").split()[1])
            return len(os.listdir("/proc/self/fd")), len(children), rss
        def runs(count):
            for number in range(count):
                code = number % 200
                result = sandbox.run(["sh", "-c", f"exit {code}"], policy="strict")
                assert result.returncode == code, result
        runs(20)
        before = state()
        runs(int(sys.argv[1]))
        after = state()
        print(after[0] - before[0], after[1] - before[1], after[2] - before[2] < 1024)
        """,
            SOAK or "300",
            timeout=3600.0 if SOAK else 110.0,
        )
        == "0 0 True\n"
    )
