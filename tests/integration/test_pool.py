"""sandbox.Pool as an ordinary user's program meets it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.need import need_user_namespaces
from support.programs import Program, make_program
from support.user import User


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_user_namespaces()


@pytest.fixture
def program(user: User, user_python: Path, work_dir: Path) -> Program:
    """`program(text)`: run a Python program as the user; return what it printed."""
    return make_program(user, user_python, work_dir)


@pytest.mark.leaks_nothing
def test_a_command_runs_as_it_would_alone(program: Program) -> None:
    """Streams, exit code, signal, environment, directory, descriptors: those of sandbox.run()."""
    out = program("""
        shell = ["sh", "-c", "cat; echo e >&2; echo $V $HOME; pwd; exit 3"]
        alone = sandbox.run(shell, policy="strict", input="in", env={"V": "v"}, chdir="/tmp")
        with sandbox.Pool("strict", size=1) as pool:
            here = pool.run(shell, input="in", env={"V": "v"}, chdir="/tmp")
            killed = pool.run(["sh", "-c", "kill -9 $$"])
            r, w = os.pipe()
            pool.run(["sh", "-c", f"echo passed >&{w}"], pass_fds=[w])
            print(os.read(r, 100))
            large = pool.run(["wc", "-c", *["x" * 1000] * 100], env={"BIG": "y" * 100_000})
            print(large.reason, pool.run(["cat"], input=b"z" * 300_000).stdout.count(b"z"))
        print((alone.stdout, alone.stderr, alone.returncode, alone.limits, alone.effective)
              == (here.stdout, here.stderr, here.returncode, here.limits, here.effective))
        print(alone.plan_digest is not None, killed.returncode, here.args == alone.args)
    """)
    assert out == "b'passed\\n'\nexited 300000\nTrue\nTrue -9 True\n"


@pytest.mark.leaks_nothing
def test_nothing_is_left_between_two_commands(program: Program) -> None:
    """Each sandbox is used once: the second command sees no file and no process of the first."""
    out = program("""
        look = ["sh", "-c", "ls /tmp/left; grep -hs ^sleep /proc/[0-9]*/comm; echo end"]
        alone = sandbox.run(look, policy="strict")
        with sandbox.Pool("strict", size=2) as pool:
            pool.run(["sh", "-c", "echo x > /tmp/left; sleep 100 &"])
            here = pool.run(look)
        print((here.stdout, here.stderr) == (alone.stdout, alone.stderr), len(here.stdout))
    """)
    assert out == "True 4\n"


@pytest.mark.leaks_nothing
def test_what_keeps_a_command_from_running_is_said(program: Program) -> None:
    """The errors of sandbox.run(), with its words; the pool goes on."""
    out = program("""
        with sandbox.Pool("strict", size=1) as pool:
            print(*error_of(lambda: pool.run(["no-such-program"])))
            print(*error_of(lambda: pool.run(["true"], chdir="/nowhere")))
            print(*error_of(lambda: pool.run(["true", "x" * 5_000_000])))
            print(*error_of(lambda: pool.run(["true", "a\\0b"])))
            print(*error_of(lambda: pool.run(["true"], polciy="x")))
            print(*error_of(lambda: pool.run("true")))
            fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(251)]
            print(*error_of(lambda: pool.run(["true"], pass_fds=fds)))
            for fd in fds: os.close(fd)
            print(pool.run(["echo", "fine"]).text, end="")
        for size in (0, -1, 1025, True):
            print(*error_of(lambda: sandbox.Pool("strict", size=size)))
        print(*error_of(lambda: sandbox.Pool("confined")))
        print(*error_of(lambda: sandbox.Pool("no-such-policy")))
    """)
    lines = out.splitlines()
    assert lines[0].startswith("ProgramError")
    assert lines[1].startswith("SetupError")
    assert lines[2].split()[0] in ("ProgramError", "SetupError")
    assert lines[3] == "UsageError usage.nul"
    assert lines[4] == "TypeError "
    assert lines[5] == "TypeError "
    assert lines[6] == "UsageError usage.fds"
    assert lines[7] == "fine"
    assert lines[8:12] == ["UsageError usage.size"] * 4
    assert lines[12] == "HostError host.serve"
    assert lines[13].startswith("PolicyError")


@pytest.mark.leaks_nothing
def test_limits_hold_for_each_command(program: Program) -> None:
    """Time counts from the command, not from the sandbox; output and memory end it."""
    out = program("""
        with sandbox.Pool("strict", size=1, timeout=1) as pool:
            time.sleep(1.2)
            print(pool.run(["echo", "waited"]).text, end="")
            late = pool.run(["sleep", "30"], timeout=0.2)
            print(late.reason, late.ended_by, 150 < late.usage.wall_ms < 5000)
            with pool.start(["sleep", "30"]) as box:
                box.wait()
            print(box.result.reason)
        with sandbox.Pool("strict", size=1, limits={"output": "1M"}) as pool:
            flood = pool.run(["sh", "-c", "yes"])
            print(flood.reason, flood.usage.output_bytes < 80_000_000)
    """)
    assert out == "waited\ntimeout sandbox True\ntimeout\nlimit True\n"


@pytest.mark.leaks_nothing
def test_refused_calls_are_recorded(program: Program) -> None:
    """The listener was handed over before the command was known; the record is the command's."""
    out = program("""
        call = "import ctypes; ctypes.CDLL(None).syscall(321, 0, 0, 0)"
        with sandbox.Pool("strict", size=1) as pool:
            for _ in range(2):
                found = pool.run(["python3", "-c", call]).denials
                print([(one["call"], one["count"]) for one in found])
    """)
    assert out.splitlines() in (["[('bpf', 1)]"] * 2, ["[]"] * 2)  # where there is a listener


@pytest.mark.leaks_nothing
def test_start_returns_a_running_sandbox(program: Program) -> None:
    """It is used as sandbox.Sandbox is: files, wait, signals, communicate, close."""
    out = program("""
        with sandbox.Pool("strict", size=1) as pool:
            with pool.start(["sh", "-c", "echo up; cat"], stdin=sandbox.PIPE) as box:
                print(box.stdout.readline(), box.poll())
                print(box.communicate("more"), box.returncode)
            box = pool.start(["sleep", "100"])
            box.terminate()
            print(box.wait(5), box.result.reason)
            box.close()
            left = pool.start(["sleep", "100"])
        print(left.poll())
        left.close()
        print(left.returncode)
    """)
    assert out.splitlines() == [
        "b'up\\n' None",
        "(b'more', b'') 0",
        "-15 signaled",
        "None",
        "-9",
    ]


@pytest.mark.leaks_nothing
def test_a_pool_cannot_be_used_where_it_should_not(program: Program) -> None:
    """After close(), in a forked child, and while the interpreter shuts down: a clear error."""
    out = program("""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside a thread
        pool = sandbox.Pool("strict", size=1)
        sys_out = os.dup(1)
        pid = os.fork()
        if pid == 0:
            os.write(sys_out, " ".join(error_of(lambda: pool.run(["true"]))).encode() + b"\\n")
            pool.close()
            os._exit(0)
        os.waitpid(pid, 0)
        print(pool.run(["echo", "ours"]).text, end="", flush=True)
        pool.close()
        pool.close()
        print(*error_of(lambda: pool.run(["true"])), flush=True)
        class Late:
            def __init__(self): self.pool = sandbox.Pool("strict", size=1)
            def __del__(self):
                os.write(sys_out, " ".join(error_of(lambda: self.pool.run(["true"]))).encode())
        late = Late()
    """)
    lines = out.splitlines()
    assert lines[:3] == ["StateError state.forked", "ours", "StateError state.closed"]
    assert lines[3].split()[0] in ("StateError", "ImportError", "TypeError")


@pytest.mark.leaks_nothing
@pytest.mark.time_limit(120)
def test_many_uses_leave_nothing_behind(program: Program) -> None:
    """200 commands, from four threads: descriptors, children and threads are as many as before."""
    out = program(
        """
        with sandbox.Pool("strict", size=2) as pool:
            def use(count, found):
                for number in range(count):
                    found.append(pool.run(["echo", str(number)]).text == f"{number}\\n")
            use(8, [])
            until(lambda: "2 of 2" in repr(pool))
            before = len(os.listdir("/proc/self/fd")), len(children())
            found = []
            threads = [threading.Thread(target=use, args=(50, found)) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            print(len(found), all(found), until(lambda: "2 of 2" in repr(pool)))
            print(until(lambda: (len(os.listdir("/proc/self/fd")), len(children())) == before))
        print(children(), threading.active_count())
        """,
        timeout=110,
    )
    assert out.splitlines() == ["200 True True", "True", "[] 1"]


@pytest.mark.leaks_nothing
def test_killed_sandboxes_are_passed_over(program: Program) -> None:
    """kill -9 of a waiting supervisor, and of a waiting pid 1: the next command runs elsewhere."""
    out = program("""
        with sandbox.Pool("strict", size=2) as pool:
            until(lambda: "2 of 2" in repr(pool))
            first, second = map(int, children())
            os.kill(first, signal.SIGKILL)
            os.kill(init_of(second), signal.SIGKILL)
            time.sleep(0.5)
            print([pool.run(["echo", "alive"]).text for _ in range(3)])
            box = pool.start(["sleep", "100"])
            os.kill(box.pid, signal.SIGKILL)
            print(box.wait(10))
            box.close()
        print(until(lambda: not children()))
    """)
    assert out.splitlines() == ["['alive\\n', 'alive\\n', 'alive\\n']", "-9", "True"]


@pytest.mark.leaks_nothing
def test_a_changed_policy_file_counts_from_the_next_command(
    program: Program, work_dir: Path, user: User
) -> None:
    """Sandboxes that were made from the old text are not used any more; a broken one is said."""
    policy = work_dir / "mine.toml"
    policy.write_text(
        'schema = 1\nextends = ["strict"]\n[process]\nhostname = "before"\n', encoding="utf-8"
    )
    os.chown(policy, user.uid, user.gid)
    out = program("""
        with sandbox.Pool("./mine.toml", size=2) as pool:
            print(pool.run(["uname", "-n"]).text, end="")
            time.sleep(0.05)
            with open("mine.toml", "w") as file:
                file.write('schema = 1\\nextends = ["strict"]\\n[process]\\nhostname = "after"\\n')
            print(pool.run(["uname", "-n"]).text, pool.run(["uname", "-n"]).text, sep="", end="")
            with open("mine.toml", "w") as file:
                file.write("nonsense")
            print(*error_of(lambda: pool.run(["true"])))
    """)
    lines = out.splitlines()
    assert lines[:3] == ["before", "after", "after"]
    assert lines[3].startswith("PolicyError")


@pytest.mark.leaks_nothing
def test_the_end_of_the_program_ends_its_pool(program: Program) -> None:
    """Without close(): nothing outlives the caller, also when it is killed."""
    out = program("""
        pid = os.fork()
        if pid == 0:
            pool = sandbox.Pool("strict", size=2)
            box = pool.start(["sleep", "100"])
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        pool = sandbox.Pool("strict", size=2)
        print("done")
    """)
    assert out == "done\n"
