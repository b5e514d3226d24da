"""A developer's day under `default`: builds, git, node, a virtual environment, Java and Go.

The command works on the real working directory, so each test looks at what was left there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support import c_project
from support.need import need_program, need_user_namespaces
from support.user import User

Run = Callable[..., CompletedProcess[bytes]]
TIMEOUT_S = 150.0


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_user_namespaces()


@pytest.fixture
def run(sandbox_run: Run) -> Run:
    """`run(argv, *flags)`: run argv under `default` in the working directory; must succeed."""

    def call(argv: list[str], *flags: str) -> CompletedProcess[bytes]:
        done = sandbox_run("exec", *flags, "--", *argv, timeout=TIMEOUT_S)
        assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
        return done

    return call


def lines(done: CompletedProcess[bytes]) -> list[str]:
    """Return the lines of the command's output."""
    return done.stdout.decode().splitlines()


@pytest.mark.time_limit(160)
def test_make_and_gcc_build_a_project(run: Run, user: User, work_dir: Path) -> None:
    """make, with two jobs, compiles and links a project of at least 20 files and runs its tests."""
    files = c_project.write(work_dir)
    user.own(work_dir)
    done = run(["make", "-j2", "check"])
    assert lines(done)[-1] == "checks passed"
    assert len([path for path in files if path.suffix in {".c", ".h"}]) >= 20
    assert user.run([work_dir / "calc", "27"]).stdout.startswith(b"sum(27) = 378\n")


def test_a_second_build_does_nothing(run: Run, user: User, work_dir: Path) -> None:
    """Time stamps survive the sandbox: make finds everything up to date."""
    c_project.write(work_dir)
    user.own(work_dir)
    run(["make", "-j2", "calc"])
    assert lines(run(["make", "calc"])) == ["make: 'calc' is up to date."]


def test_git_commits_and_shows_history(run: Run, user: User, work_dir: Path) -> None:
    """git init, add, commit and log work, with the name from the caller's ~/.gitconfig."""
    need_program("git")
    config = user.home / ".gitconfig"
    config.write_text("[user]\n\tname = A Tester\n\temail = tester@example.org\n", encoding="utf-8")
    user.own(user.home)
    (work_dir / "file").write_text("content\n", encoding="utf-8")
    try:
        run(["git", "init", "-q", "-b", "main", "."])
        run(["git", "add", "file"])
        run(["git", "commit", "-q", "-m", "first"])
        done = run(["git", "log", "--format=%an <%ae> %s"])
    finally:
        config.unlink()
    assert lines(done) == ["A Tester <tester@example.org> first"]
    outside = user.run(["git", "status", "--porcelain"], cwd=work_dir)
    assert (outside.returncode, outside.stdout) == (0, b"")


def test_git_hooks_cannot_be_written(sandbox_run: Run, user: User, work_dir: Path) -> None:
    """A hook that the user's own git would run later cannot be planted in a repository."""
    need_program("git")
    assert user.run(["git", "init", "-q", "."], cwd=work_dir).returncode == 0
    script = "echo 'touch owned' > .git/hooks/pre-commit"
    done = sandbox_run("exec", "--", "sh", "-c", script)
    assert done.returncode != 0
    assert not (work_dir / ".git/hooks/pre-commit").exists()


NODE = """
const fs = require('fs'), crypto = require('crypto'), http = require('http');
const { Worker, isMainThread, parentPort } = require('worker_threads');
if (!isMainThread) { parentPort.postMessage(6 * 7); } else {
  fs.writeFileSync('out', crypto.createHash('sha256').update('sandbox').digest('hex'));
  new Worker(__filename).on('message', value => {
    const server = http.createServer((_, answer) => answer.end('answer ' + value));
    server.listen(0, '127.0.0.1', () => http.get(server.address(), got => got.on('data', data => {
      console.log(String(data)); server.close(); got.destroy(); })));
  });
}
"""


@pytest.mark.time_limit(160)
def test_node_runs_workers_and_a_local_server(run: Run, user: User, work_dir: Path) -> None:
    """node writes files, runs a worker thread and talks HTTP to itself on 127.0.0.1."""
    need_program("node")
    (work_dir / "app.js").write_text(NODE, encoding="utf-8")
    user.own(work_dir)
    assert lines(run(["node", "app.js"])) == ["answer 42"]
    assert (work_dir / "out").read_text(encoding="utf-8").startswith("b7ad5674")


UNITTEST = """
import socket, subprocess, sys, threading, unittest
class Tests(unittest.TestCase):
    def test_prefix(self): self.assertNotEqual(sys.prefix, sys.base_prefix)
    def test_child(self): self.assertEqual(subprocess.check_output(["echo", "x"]), b"x\\n")
    def test_loopback(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=lambda: server.accept()[0].sendall(b"hi"))
            thread.start()
            with socket.create_connection(server.getsockname()) as client:
                self.assertEqual(client.recv(2), b"hi")
            thread.join()
"""


@pytest.mark.time_limit(160)
def test_a_virtual_environment_runs_its_tests(run: Run, user: User, work_dir: Path) -> None:
    """A venv is made inside, and its Python runs a test suite that uses loopback and processes."""
    (work_dir / "test_app.py").write_text(UNITTEST, encoding="utf-8")
    user.own(work_dir)
    run(["python3", "-m", "venv", "--without-pip", "venv"])
    done = run(["venv/bin/python", "-m", "unittest", "-q", "test_app"])
    assert done.stderr.decode().splitlines()[-1] == "OK"


@pytest.mark.slow
@pytest.mark.time_limit(200)
def test_python_passes_its_network_tests(run: Run, user: User) -> None:
    """The tests of asyncio's event loop pass, with TCP, UDP and TLS over the sandbox's loopback."""
    python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    if user.run([python, "-I", "-c", "import test.test_asyncio"]).returncode != 0:
        pytest.skip(f"needs the test modules of {python}: libpython-testsuite is not installed")
    done = run([python, "-m", "test", "-q", "--tempdir", ".", "test_asyncio.test_events"])
    assert "result: SUCCESS" in done.stdout.decode()


JAVA = """
import java.util.stream.*;
public class Hello {
    public static void main(String[] args) throws Exception {
        Thread thread = new Thread(() -> System.out.println("hello from a thread"));
        thread.start(); thread.join();
        System.out.println(IntStream.rangeClosed(1, 100).parallel().sum());
    }
}
"""


@pytest.mark.slow
@pytest.mark.time_limit(160)
def test_java_compiles_and_runs(run: Run, user: User, work_dir: Path) -> None:
    """javac compiles, and the virtual machine starts within the policy's memory limit."""
    need_program("javac")
    (work_dir / "Hello.java").write_text(JAVA, encoding="utf-8")
    user.own(work_dir)
    run(["javac", "Hello.java"])
    assert lines(run(["java", "-cp", ".", "Hello"])) == ["hello from a thread", "5050"]


GO = """package main

import "fmt"

func main() {
	values := make(chan int)
	go func() { defer close(values); for i := 1; i <= 100; i++ { values <- i } }()
	sum := 0
	for value := range values { sum += value }
	fmt.Println("hello", sum)
}
"""


@pytest.mark.slow
@pytest.mark.time_limit(300)
def test_go_builds_and_runs(sandbox_run: Run, user: User, work_dir: Path) -> None:
    """The Go compiler builds a program, with its cache in the working directory."""
    need_program("go")
    (work_dir / "hello.go").write_text(GO, encoding="utf-8")
    user.own(work_dir)
    flags = ["--env", f"GOCACHE={work_dir}/cache", "--env", "GO111MODULE=off"]
    argv = ["sh", "-c", "go build -o hello hello.go && ./hello"]
    done = sandbox_run("exec", *flags, "--", *argv, timeout=280.0)
    assert (done.returncode, done.stdout) == (0, b"hello 5050\n"), done.stderr.decode()
