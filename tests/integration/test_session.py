"""sandbox.Session as an ordinary user's program meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.need import need_user_namespaces
from support.programs import Program, make_program
from support.user import User

EXAMPLES = Path(__file__).parents[1] / "support" / "examples.py"
PAGE = Path(__file__).parents[2] / "docs" / "api-pool-session.md"


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_user_namespaces()


@pytest.fixture
def program(user: User, user_python: Path, work_dir: Path) -> Program:
    """`program(text)`: run a Python program as the user; return what it printed."""
    return make_program(user, user_python, work_dir)


@pytest.mark.leaks_nothing
def test_commands_share_a_state_and_nothing_else(program: Program) -> None:
    """Files and processes stay; streams, variables, directory, descriptors are each one's own."""
    out = program("""
        with sandbox.Session("strict") as session:
            session.run(["sh", "-c", "echo kept > /tmp/file; sleep 100 & echo $! > /tmp/pid"])
            print(session.run(["cat", "/tmp/file"]).text, end="")
            print(session.run(["sh", "-c", "test -d /proc/$(cat /tmp/pid) && echo alive"]).text)
            print(session.run(["sh", "-c", "echo $A $B; pwd"], env={"A": "1"}, chdir="/tmp").text)
            print(session.run(["sh", "-c", "echo $A $B; ls /proc/self/fd"], env={"B": "2"}).text)
            print(session.run(["cat"], input="in").text, session.run(["cat"]).text)
    """)
    assert out.split() == ["kept", "alive", "1", "/tmp", "2", "0", "1", "2", "3", "in"]


@pytest.mark.leaks_nothing
def test_a_result_is_that_of_a_run(program: Program) -> None:
    """Reasons, limits and protections are those of sandbox.run()."""
    out = program("""
        shell = ["sh", "-c", "echo out; echo err >&2; exit 3"]
        alone = sandbox.run(shell, policy="strict")
        with sandbox.Session("strict") as session:
            here = session.run(shell)
            killed = session.run(["sh", "-c", "kill -9 $$"])
            print(*error_of(lambda: session.run(shell, check=True)))
        print((alone.stdout, alone.stderr, alone.returncode, alone.limits, alone.plan_digest)
              == (here.stdout, here.stderr, here.returncode, here.limits, here.plan_digest))
        print(killed.reason, killed.returncode, here.usage.max_rss_bytes > 0, session.result.reason)
        # what a session does not do is not claimed
        print(here.effective.get("audit.denials", {}).get("got", "off"))
    """)
    told = ["CommandFailed command", "True", "signaled -9 True cancelled", "off"]
    assert out.splitlines() == told


@pytest.mark.leaks_nothing
def test_what_keeps_a_command_from_running_is_said(program: Program) -> None:
    """The errors of sandbox.run(); the session goes on."""
    out = program("""
        with sandbox.Session("strict") as session:
            print(*error_of(lambda: session.run(["no-such-program"])))
            print(*error_of(lambda: session.start(["no-such-program"])))
            print(*error_of(lambda: session.run(["true"], chdir="/nowhere")))
            print(*error_of(lambda: session.run(["true", "x" * 5_000_000])))
            print(*error_of(lambda: session.run(["true", "x" * 9_000_000])))
            fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(251)]
            print(*error_of(lambda: session.run(["true"], pass_fds=fds)))
            print(session.run(["sh", "-c", "ls /proc/self/fd | wc -l"], pass_fds=fds[:99]).text)
            for fd in fds: os.close(fd)
            print(*error_of(lambda: session.run(["true"], limits={})))
            print(session.run(["echo", "fine"]).text, end="")
        print(*error_of(lambda: sandbox.Session("confined")))
    """)
    lines = out.split("\n")
    assert lines[0].startswith("ProgramError")
    assert lines[1] == lines[0]
    assert lines[2].startswith("SetupError")
    assert lines[3].split()[0] in ("ProgramError", "SetupError")
    assert lines[4] == "UsageError usage.too-large"
    assert lines[5] == "UsageError usage.fds"
    assert lines[6] == "103"
    assert lines[8] == "TypeError "
    assert lines[9] == "fine"
    assert lines[10] == "HostError host.serve"


@pytest.mark.leaks_nothing
def test_limits_hold_for_each_command(program: Program) -> None:
    """Time by pid 1, also while nobody waits; output by whoever reads; the session goes on."""
    out = program("""
        with sandbox.Session("strict", limits={"output": "1M"}) as session:
            late = session.run(["sleep", "30"], timeout=0.2)
            print(late.reason, late.ended_by, 150 < late.usage.wall_ms < 5000)
            deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
            deaf = session.start(deaf, timeout=0.1)
            flood = session.run(["yes"])
            print(flood.reason, flood.usage.output_bytes < 80_000_000)
            print(deaf.wait(10), deaf.result.reason)
            deaf.close()
            print(session.run(["echo", "on"]).text, end="")
        with sandbox.Session("strict", timeout=0.2) as session:
            print(session.run(["sleep", "30"]).reason, session.run(["echo", "on"]).text, end="")
    """)
    assert out.splitlines() == [
        "timeout sandbox True",
        "limit True",
        "-9 timeout",
        "on",
        "timeout on",
    ]


@pytest.mark.leaks_nothing
def test_memory_is_counted_for_the_session(program: Program) -> None:
    """One command that takes more than the session may have ends the session, which says so."""
    out = program("""
        hog = ["python3", "-c", "x = bytearray(300_000_000); import time; time.sleep(30)"]
        session = sandbox.Session("strict", limits={"memory": "100M"})
        found = error_of(lambda: session.run(hog))
        if not found[0]:
            print("ended by itself: a limit of each process")
        else:
            print(*found, session.result.reason, *error_of(lambda: session.run(["true"])))
        session.close()
    """)
    assert out in (
        "ended by itself: a limit of each process\n",
        "SetupError setup.gone oom SetupError setup.gone\n",
    )


@pytest.mark.leaks_nothing
def test_fifty_commands_at_once(program: Program) -> None:
    """Each gets its own answer; afterwards there are as many descriptors and children as before."""
    out = program("""
        with sandbox.Session("strict", limits={"pids": 256}) as session:
            session.run(["true"])
            before = len(os.listdir("/proc/self/fd")), len(children())
            answers = {}
            def use(number):
                script = f"sleep 0.2; echo {number}; exit {number}"
                answers[number] = session.run(["sh", "-c", script])
            threads = [threading.Thread(target=use, args=(number,)) for number in range(50)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            told = {(answer.text, answer.exit_code) for answer in answers.values()}
            print(told == {(f"{n}\\n", n) for n in range(50)})
            print((len(os.listdir("/proc/self/fd")), len(children())) == before)
            print(int(session.run(["sh", "-c", "ls -d /proc/[0-9]* | wc -l"]).text) <= 5)
        print(children())
    """)
    assert out.splitlines() == ["True", "True", "True", "[]"]


@pytest.mark.leaks_nothing
def test_start_returns_a_running_command(program: Program) -> None:
    """It is used as sandbox.Sandbox is; closing it ends it and not the session."""
    out = program("""
        with sandbox.Session("strict") as session:
            with session.start(["sh", "-c", "echo up; cat"], stdin=sandbox.PIPE) as command:
                print(command.stdout.readline(), command.poll())
                print(command.communicate("more"), command.returncode)
            with session.start(["sleep", "100"]) as other:
                other.terminate()
                print(other.wait(5))
            with session.start(["sleep", "100"]) as other:
                pass
            print(other.returncode, other.result.reason)
            left = session.start(["sleep", "100"])
            print(session.run(["echo", "on"]).text, end="")
        print(*error_of(lambda: left.wait(5)))
        left.close()
    """)
    assert out.splitlines() == [
        "b'up\\n' None",
        "(b'more', b'') 0",
        "-15",
        "-9 signaled",
        "on",
        "SetupError setup.gone",
    ]


@pytest.mark.leaks_nothing
def test_a_session_whose_processes_were_killed_says_so(program: Program) -> None:
    """kill -9 of pid 1, and of the supervisor, while a command runs and before one."""
    out = program("""
        for victim in ("init", "supervisor"):
            session = sandbox.Session("strict")
            command = session.start(["sleep", "100"])
            os.kill(session.pid if victim == "supervisor" else init_of(session.pid), signal.SIGKILL)
            print(*error_of(lambda: command.wait(10)))
            command.close()
            print(*error_of(lambda: session.run(["true"])), session.result.reason)
            session.close()
        print(children())
    """)
    assert out.splitlines() == [
        "SetupError setup.gone",
        "SetupError setup.gone signaled",
        "SetupError setup.gone",
        "SetupError setup.gone signaled",
        "[]",
    ]


@pytest.mark.leaks_nothing
def test_a_session_cannot_be_used_where_it_should_not(program: Program) -> None:
    """After close(), and in a forked child, whose end does not end the session either."""
    out = program("""
        session = sandbox.Session("strict")
        pid = os.fork()
        if pid == 0:
            print(*error_of(lambda: session.run(["true"])), flush=True)
            session.close()
            os._exit(0)
        os.waitpid(pid, 0)
        print(session.run(["echo", "ours"]).text, end="")
        session.close()
        session.close()
        print(*error_of(lambda: session.run(["true"])), *error_of(lambda: session.start(["true"])))
    """)
    assert out.splitlines() == [
        "StateError state.forked",
        "ours",
        "StateError state.closed StateError state.closed",
    ]


@pytest.mark.leaks_nothing
def test_a_command_cannot_reach_what_makes_the_next_one(program: Program) -> None:
    """It can neither stop, kill nor trace pid 1 and the process that waits for a request."""
    out = program("""
        with sandbox.Session("strict") as session:
            script = "kill -STOP -1; kill -KILL -1; kill -STOP 1; kill -KILL 1; cat /proc/1/environ"
            for _ in range(3):
                session.run(["sh", "-c", f"({script}) 2>/dev/null"], timeout=5)
                print(session.run(["echo", "on"], timeout=5).text, end="")
            print(session.run(["sh", "-c", "grep ^Cap /proc/self/status | cut -f2 | sort -u"]).text)
    """)
    assert out.split() == ["on", "on", "on", "0000000000000000"]


@pytest.mark.leaks_nothing
def test_malformed_requests_harm_nobody_else(program: Program) -> None:
    """Whatever is sent to pid 1's socket, the next command runs."""
    out = program("""
        import array, random, socket
        from sandbox.run import request_format as form
        random.seed(4)
        with sandbox.Session("strict") as session:
            job = session._job
            good = form.encode_command([b"true"], [], [b"/bin/true"], b"/", ((0, 0),))
            head = form.encode_head(len(good), 1)
            def send(head, blob, count):
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                r, w = os.pipe()
                fds = [w, theirs.fileno(), *[w] * count]
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds[:count + 2]))]
                job.requests.sendmsg([head, blob], rights if count > -2 else [])
                theirs.close(); os.close(w)
                os.set_blocking(r, True)
                said = os.read(r, 100)
                os.close(r); ours.close()
                return said
            print(send(head, good, 1) == b"")
            for _ in range(150):
                bad = bytearray(good)
                for _ in range(random.randint(1, 8)):
                    bad[random.randrange(len(bad))] = random.randrange(256)
                send(head, bytes(bad), 1)
            for changed in (b"", head[:7], form.encode_head(5, 1), form.encode_head(len(good), 3),
                            form.encode_head(len(good), 1, is_file=True),
                            form.encode_head(1 << 31, 1, is_file=True)):
                print(len(send(changed, good, 1)), end=" ")
            print(len(send(head, good, 0)), len(send(head, good, -1)), len(send(head, b"", 1)))
            print(session.run(["echo", "on"]).text, end="")
    """)
    assert out.splitlines() == ["True", "16 16 16 16 16 16 16 16 16", "on"]


@pytest.mark.leaks_nothing
def test_every_example_of_the_page_does_what_it_says(
    user: User, user_python: Path, work_dir: Path
) -> None:
    """docs/api-pool-session.md runs, block by block."""
    for path in (EXAMPLES, PAGE):
        (work_dir / path.name).write_bytes(path.read_bytes())
    argv: list[str | bytes | Path] = [user_python, "-I", EXAMPLES.name, PAGE.name]
    done = user.run(argv, cwd=work_dir, timeout=50.0)
    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == (0, "", "")
