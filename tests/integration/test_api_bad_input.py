"""What should not be asked of the Python API, and when: each has an answer in words."""

from __future__ import annotations

import pytest

from support.need import need_user_namespaces
from support.program import Program

ANSWERS = [
    "UsageError usage no command was given",
    "UsageError usage the command's name is empty",
    "TypeError  argv is a list of words, not str",
    r"UsageError usage.nul a NUL byte stands in the argument b'a\x00b'",
    "TypeError  expected str, bytes or os.PathLike object, not int",
    "PolicyError policy.not-found no policy named 'strct'; did you mean strict?",
    "TypeError  unknown keyword 'polcy'; did you mean 'policy'?",
    "UsageError usage timeout=0 is not a number of seconds above 0",
    "UsageError usage.flag limits",
    "UsageError usage.mount mounts",
    "PolicyError policy.path mounts",
    "UsageError usage.env env",
    "UsageError usage.nul env",
    "UsageError usage.no-cwd cwd='/no/such' is not a directory",
    "UsageError usage.stream stdout=99 is no open file",
    "UsageError usage.stream pass_fds",
    "UsageError usage.stream pass_fds",
    "ProgramError setup.exec /etc/passwd may not be executed",
    "PolicyError policy.too-large arguments and environment are too large",
    "ProgramError setup.exec the arguments and the environment of true are too long",
]


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_user_namespaces()


@pytest.mark.leaks_nothing
def test_bad_arguments_are_errors_in_words(program: Program) -> None:
    """Each mistake names itself; nothing is left open by any of them."""
    assert program("""
        import os, pathlib
        def attempt(*args, face=sandbox.run, **options):
            try:
                face(*args, **options)
            except Exception as error:
                print(type(error).__name__, getattr(error, "code", ""), str(error).split(":")[0])
        before = os.listdir("/proc/self/fd")
        for face in (sandbox.run, sandbox.Sandbox):
            attempt([], face=face)
            attempt([""], face=face)
            attempt("ls -l", face=face)
            attempt(["a\\0b"], face=face)
            attempt([b"printf", 7], face=face)
            attempt(["true"], policy="strct", face=face)
            attempt(["true"], polcy="strict", face=face)
            attempt(["true"], timeout=0, face=face)
            attempt(["true"], limits={"memroy": 1}, face=face)
            attempt(["true"], mounts={"/x": "read"}, face=face)
            attempt(["true"], mounts={"/x": ("/no/such", "ro")}, face=face)
            attempt(["true"], env={"A=B": "1"}, face=face)
            attempt(["true"], env={"A": "\\0"}, face=face)
            attempt(["true"], cwd="/no/such", face=face)
            attempt(["true"], stdout=99, face=face)
            attempt(["true"], pass_fds=[1], face=face)
            attempt(["true"], pass_fds=[99], face=face)
            attempt(["/etc/passwd"], face=face)
            attempt(["true", "x" * (9 << 20)], face=face)
            attempt(["true", "x" * (1 << 20)], face=face)
        attempt(["true"], input="x", stdin=None)
        print(os.listdir("/proc/self/fd") == before)
        words = [b"echo", "s", pathlib.Path("p"), b"\\xff"]
        print(sandbox.run(words, policy=pathlib.PurePath("strict.toml")) if 0 else
              sandbox.run(words, policy="strict").stdout)
    """).splitlines() == [
        *(ANSWERS * 2),
        "UsageError usage.stream input and stdin exclude each other",
        "True",
        r"b's p \xff\n'",
    ]


@pytest.mark.leaks_nothing
def test_a_forked_child_has_its_own_sandboxes_and_not_its_parents(program: Program) -> None:
    """A fork can run commands, is refused its parent's sandbox, and does not end it."""
    assert (
        program("""
        import os, sys
        box = sandbox.Sandbox(["cat"], stdin=sandbox.PIPE, policy="strict")
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                box.wait()
            except sandbox.StateError as error:
                print(error.code)
            print(sandbox.run(["echo", "child"], policy="strict").text.strip())
            box.close()
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        print(box.communicate("alive")[0])
        box.close()
    """)
        == "state.forked\nchild\nb'alive'\n"
    )


@pytest.mark.leaks_nothing
def test_a_thread_that_forks_meanwhile_holds_nothing_up(program: Program) -> None:
    """Children that were forked during runs hold copies for long: results come all the same."""
    assert (
        program("""
        import os, signal, sys, threading, time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        children, stop = [], False
        def fork():
            while not stop:
                pid = os.fork()
                if pid == 0:
                    time.sleep(60)
                    os._exit(0)
                children.append(pid)
                time.sleep(0.01)
        thread = threading.Thread(target=fork)
        thread.start()
        print({sandbox.run(["echo", "x"], policy="strict", timeout=20).text for _ in range(20)})
        with sandbox.Sandbox(["sleep", "60"], policy="strict") as box:
            pass
        print(box.result.reason)
        stop = True
        thread.join()
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    """)
        == "{'x\\n'}\ncancelled\n"
    )


@pytest.mark.leaks_nothing
def test_a_shutdown_is_told_from_an_exit_function(program: Program) -> None:
    """atexit functions still run sandboxes; what is collected after them is refused in words."""
    assert (
        program("""
        import atexit
        atexit.register(lambda: print(sandbox.run(["echo", "late"], policy="strict").text.strip()))
        class Last:
            def __init__(self):
                self.run, self.error, self.print = sandbox.run, sandbox.StateError, print
            def __del__(self):
                try:
                    self.run(["true"])
                except self.error as error:
                    self.print(error.code)
        sandbox.run(["true"], policy="strict")
        last = Last()
    """)
        == "late\nstate.shutdown\n"
    )


@pytest.mark.leaks_nothing
def test_a_cache_that_cannot_be_written_is_no_obstacle(program: Program) -> None:
    """The cache directory may be a file."""
    assert (
        program("""
        import os
        os.environ["XDG_CACHE_HOME"] = "/dev/null"
        print(sandbox.run(["echo", "x"], policy="strict").text)
    """)
        == "x\n\n"
    )


@pytest.mark.leaks_nothing
def test_a_missing_supervisor_is_named(program: Program) -> None:
    """Without the native program the error says what is missing and what brings it."""
    assert (
        program("""
        import os
        from sandbox.run import supervisor_client
        supervisor_client.PROGRAM = "/no/such/program"
        before = os.listdir("/proc/self/fd")
        for _ in range(2):
            try:
                sandbox.run(["true"])
            except sandbox.StateError as error:
                print(error.code, "C compiler" in error.hint, error)
        print(os.listdir("/proc/self/fd") == before)
    """)
        == (
            "state.native True the sandbox's native supervisor cannot be started: /no/such/program:"
            " No such file or directory\n"
        )
        * 2
        + "True\n"
    )


@pytest.mark.leaks_nothing
def test_without_descriptors_nothing_is_left_half_open(program: Program) -> None:
    """At the limit on open files a run is refused in words, and the next one works."""
    assert (
        program("""
        import os, resource
        sandbox.run(["true"], policy="strict")
        before = len(os.listdir("/proc/self/fd"))
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        seen = set()
        for room in (*range(1, 14), 30):
            resource.setrlimit(resource.RLIMIT_NOFILE, (before - 1 + room, limit[1]))
            try:
                seen.add(sandbox.run(["echo", "x"], policy="strict").text)
            except sandbox.SandboxError as error:
                seen.add(type(error).__name__)
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            assert len(os.listdir("/proc/self/fd")) == before
        print(sandbox.run(["echo", "x"], policy="strict").text.strip(), sorted(seen))
    """)
        == "x ['HostError', 'SetupError', 'x\\n']\n"
    )


@pytest.mark.leaks_nothing
def test_a_changed_policy_is_noticed_at_the_next_call(program: Program) -> None:
    """What was prepared is used again only while its policy file is as it was."""
    assert (
        program("""
        import os, time
        def write(seconds):
            with open("p.toml", "w") as file:
                file.write(f'schema = 1\\nextends = ["strict"]\\n[limits]\\nwall = "{seconds}s"\\n')
            old = time.time() - 60
            os.utime("p.toml", (old, old))
        def wall():
            result = sandbox.run(["true"], policy="./p.toml")
            return dict(result.limits)["wall"].requested
        write(5)
        print(wall(), wall())
        write(6)
        print(wall(), wall())
        os.unlink("p.toml")
        try:
            wall()
        except sandbox.PolicyError as error:
            print(error.code)
    """)
        == "5000 5000\n6000 6000\npolicy.not-found\n"
    )


@pytest.mark.leaks_nothing
def test_a_killed_supervisor_ends_everything(program: Program) -> None:
    """Somebody kills the supervisor: the tree ends, and the result says that it was ended."""
    assert (
        program("""
        import os, signal
        with sandbox.Sandbox(["sleep", "60"], policy="strict") as box:
            os.kill(box.pid, signal.SIGKILL)
            print(box.wait(20), box.result.reason, box.result.ended_by)
    """)
        == "-9 signaled user\n"
    )
