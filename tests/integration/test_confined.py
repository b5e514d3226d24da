"""The policy `confined`: no namespaces, for hosts that forbid them; and what it says of itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support import leaks
from support.user import User

Run = Callable[..., CompletedProcess[bytes]]

GONE_WITHIN_S = 1.0
# In an own user namespace: what the sysctl does to a whole host.
FORBIDDEN = 'echo 0 > /proc/sys/user/max_user_namespaces || exit 99; exec "$@"'
OUTER = ("unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", FORBIDDEN, "sh")
TREE = "trap '' TERM HUP; sleep 300 & (sleep 300; true) & echo ready; while :; do sleep 300; done"
DAEMONS = """
(setsid sleep 300 > /dev/null 2>&1 &)
(setsid sh -c 'sleep 300 & exec sleep 300' > /dev/null 2>&1 &)
(trap '' TERM HUP INT; nohup sleep 300 > /dev/null 2>&1 &)
exit 7
"""


@pytest.fixture
def confined(sandbox_run: Run) -> Run:
    """`confined(*flags, script)`: run a shell script under the policy."""

    def run(*words: str | bytes, **options: object) -> CompletedProcess[bytes]:
        *flags, script = words
        return sandbox_run(
            "exec", "--policy", "confined", *flags, "--", "sh", "-c", script, **options
        )

    return run


@pytest.fixture
def known() -> Iterator[frozenset[int]]:
    """The processes before the test; whatever is new is ended after it."""
    before = frozenset(leaks.descendants())
    yield before
    for pid in _alive(before):
        os.kill(pid, signal.SIGKILL)


def _alive(known: frozenset[int]) -> dict[int, str]:
    leaks.reap_orphans(set(known))
    return {
        pid: text
        for pid, text in leaks.descendants().items()
        if pid not in known and not text.endswith("(Z)")
    }


def _survivors(known: frozenset[int]) -> dict[int, str]:
    deadline = time.monotonic() + GONE_WITHIN_S
    while (found := _alive(known)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def test_works_where_user_namespaces_are_forbidden(
    user: User, user_python: Path, work_dir: Path
) -> None:
    """max_user_namespaces = 0: default is refused, confined runs and says so."""
    (work_dir / "file").write_text("content\n", encoding="utf-8")
    program = [str(user_python), "-I", "-m", "sandbox", "exec"]
    refused = user.run([*OUTER, *program, "true"], cwd=work_dir)
    assert refused.returncode == 125
    assert b"max_user_namespaces" in refused.stderr
    words = [*program, "--policy", "confined", "--result", "r.json", "cat", "file"]
    done = user.run([*OUTER, *words], cwd=work_dir)
    assert (done.returncode, done.stdout) == (0, b"content\n"), done.stderr
    result = json.loads((work_dir / "r.json").read_text())
    assert result["tier"] == "confined"
    assert result["effective"]["isolation.namespaces.user"]["got"] == "off"
    assert result["effective"]["isolation.landlock.fs"]["got"] == "on"
    assert result["effective"]["isolation.seccomp"]["got"] == "on"


def test_nothing_falls_back_to_it(user: User, user_python: Path, work_dir: Path) -> None:
    """No other policy becomes confined, whatever the host refuses."""
    for policy in ("strict", "default", "tiny"):
        argv = [*OUTER, user_python, "-I", "-m", "sandbox", "exec", "--policy", policy, "true"]
        assert user.run(argv, cwd=work_dir).returncode == 125, policy


def test_reads_the_working_directory_and_writes_its_own(confined: Run, work_dir: Path) -> None:
    """The tree is read-only; TMPDIR and HOME are one directory of the run, gone afterwards."""
    (work_dir / "file").write_text("content\n", encoding="utf-8")
    script = (
        'cat file; echo x > new; echo y > "$TMPDIR/t" && cat "$TMPDIR/t"; test "$HOME" = "$TMPDIR";'
        'mkdir -p "$TMPDIR/a/b"; chmod 000 "$TMPDIR/a"; echo "$TMPDIR"'
    )
    done = confined(script)
    lines = done.stdout.splitlines()
    assert lines[:2] == [b"content", b"y"], done.stderr
    assert not (work_dir / "new").exists()
    assert not os.path.exists(lines[2])
    assert not os.path.exists(os.path.dirname(lines[2]))


def test_a_deep_private_tree_is_removed(confined: Run) -> None:
    """A tree deeper than any recursion leaves nothing behind and is no error."""
    script = (
        'cd "$TMPDIR"; echo "$TMPDIR"; i=0;'
        "while [ $i -lt 1500 ]; do mkdir d && cd d || exit 1; i=$((i + 1)); done"
    )
    done = confined(script)
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(done.stdout.strip())


def test_writes_reach_what_is_named(confined: Run, work_dir: Path) -> None:
    """--rw . lets writes through."""
    done = confined("--rw", ".", "echo x > new")
    assert done.returncode == 0, done.stderr
    assert (work_dir / "new").read_text() == "x\n"


ESCAPES = {
    "read outside": "cat '{secret}'",
    "write outside": "echo x >> '{secret}'",
    "truncate outside": "python3 -c \"import os; os.truncate('{secret}', 0)\"",
    "list outside": "ls '{folder}'",
    "unlink outside": "rm -f '{secret}'; test ! -e '{secret}'",
    "rename outside": "mv '{secret}' '{folder}/moved'",
    "link outside": "ln '{secret}' \"$TMPDIR/l\"",
    "make outside": "mkdir '{folder}/made'",
    "chmod outside": "chmod 777 '{secret}'",
    "touch outside": "touch -d 2001-01-01 '{secret}'",
    "run outside": "'{program}'",
    "read proc": "cat /proc/{pid}/cmdline",
    "read environ": "cat /proc/{pid}/environ",
    "signal outside": "kill -0 {pid}",
    "kill init": "kill -0 $PPID",
    "renice outside": "renice -n 19 -p {pid}",
    "limits outside": "prlimit --pid {pid} --nofile=10:10",
    "internet socket": "python3 -c 'import socket; socket.socket(socket.AF_INET)'",
    "unix socket": "python3 -c 'import socket; socket.socket(socket.AF_UNIX)'",
    "netlink socket": "python3 -c 'import socket; socket.socket(socket.AF_NETLINK, 2)'",
    "datagram pair": (
        "python3 -c 'import socket; socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)'"
    ),
    "user namespace": "unshare -U true",
    "mount": "mount -t tmpfs none /mnt",
    "shared memory": "ipcmk -M 4096",
    "keyring": "python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).syscall(250, 0) == -1)'",
    "terminal": "cat /dev/pts/0",
    "proc of itself": "cat /proc/self/status",
}


# The control: these succeed for the same user without a sandbox, and change nothing that matters.
HARMLESS = {
    name: ESCAPES[name]
    for name in (
        *("read outside", "list outside", "link outside", "make outside", "run outside"),
        *("read proc", "read environ", "signal outside", "renice outside", "limits outside"),
        *("internet socket", "unix socket", "netlink socket", "datagram pair", "user namespace"),
        *("shared memory", "proc of itself"),
    )
}


@pytest.mark.parametrize("name", ESCAPES)
def test_what_is_not_granted_is_refused(
    name: str, confined: Run, user: User, work_dir: Path
) -> None:
    """Each act works for the user without a sandbox or is the host's business; inside it fails."""
    folder = user.make_dir("outside-")
    secret = folder / "secret"
    secret.write_text("secret\n", encoding="utf-8")
    program = folder / "program"
    program.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    program.chmod(0o755)
    user.own(folder)
    other = user.start(["sleep", "60"])
    try:
        while Path(f"/proc/{other.pid}/comm").read_text(encoding="ascii") != "sleep\n":
            time.sleep(0.01)  # until then it is whoever changes to the user
        place = {"secret": secret, "folder": folder, "program": program, "pid": other.pid}
        if name in HARMLESS:
            script = HARMLESS[name].format(**place)
            control = user.run(["sh", "-c", script], env={"TMPDIR": str(folder)})
            assert control.returncode == 0, control.stderr
        done = confined(ESCAPES[name].format(**place))
        assert done.returncode not in (0, 125), (done.stdout, done.stderr)
        assert secret.read_text() == "secret\n"
        assert secret.stat().st_mode & 0o777 == 0o644
        assert other.poll() is None
    finally:
        other.kill()
        other.communicate()
        user.run(["ipcrm", "--all=shm"])


def test_stream_pairs_and_pipes_work(confined: Run) -> None:
    """What event loops need is there."""
    script = (
        "python3 -c 'import asyncio, subprocess;"
        'asyncio.run(asyncio.sleep(0)); print(subprocess.run(["echo", "ok"]).returncode)\''
    )
    done = confined(script)
    assert (done.returncode, done.stdout) == (0, b"ok\n0\n"), done.stderr


def test_a_link_in_the_tree_is_no_grant(confined: Run, user: User, work_dir: Path) -> None:
    """A link of the tree that leads outside is followed by nobody."""
    folder = user.make_dir("outside-")
    (folder / "secret").write_text("secret\n", encoding="utf-8")
    user.own(folder)
    (work_dir / "link").symlink_to(folder)
    policy = work_dir / "p.toml"
    policy.write_text(
        'schema = 1\nextends = ["confined"]\n'
        '[filesystem]\nmounts = [{ path = "${CWD}/link", mode = "rw" }]\n',
        encoding="utf-8",
    )
    user.own(work_dir)
    done = confined("--policy", "./p.toml", "cat link/secret; echo x > link/new")
    assert done.returncode != 0
    assert not (folder / "new").exists()


def test_daemons_end_with_the_run(
    user: User, sandbox_cmd: list[str], work_dir: Path, known: frozenset[int]
) -> None:
    """What left its session and its parent ends with the command, whose exit code is kept."""
    argv = [*sandbox_cmd, "exec", "--policy", "confined", "sh", "-c", DAEMONS]
    done = subprocess.run(argv, cwd=work_dir, env=user.environ(), timeout=30, check=False)
    assert done.returncode == 7
    assert _survivors(known) == {}


def _start(user: User, words: list[str], work_dir: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        words,
        cwd=work_dir,
        env=user.environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def _finish(process: subprocess.Popen[bytes]) -> int:
    code = process.wait(20)
    assert process.stdout is not None
    process.stdout.close()
    return code


def _first_child(pid: int) -> int:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return int(text.split()[0])


@pytest.mark.parametrize("victim", ["supervisor", "init"])
def test_the_tree_ends_with_supervisor_or_init(
    victim: str, user: User, sandbox_cmd: list[str], work_dir: Path, known: frozenset[int]
) -> None:
    """SIGKILL from outside of either one ends the whole tree."""
    argv = [*sandbox_cmd, "exec", "--policy", "confined", "sh", "-c", TREE]
    process = _start(user, argv, work_dir)
    os.kill(process.pid if victim == "supervisor" else _first_child(process.pid), signal.SIGKILL)
    code = _finish(process)
    assert _survivors(known) == {}
    assert code == (-9 if victim == "supervisor" else 137)


def test_a_timeout_ends_the_tree(
    user: User, sandbox_cmd: list[str], work_dir: Path, known: frozenset[int]
) -> None:
    """TERM, grace, then everything is killed, also what ignores TERM and left its session."""
    argv = [*sandbox_cmd, "exec", "--policy", "confined", "--timeout", "500ms", "--", "sh", "-c"]
    process = _start(user, [*argv, f'setsid sh -c "{TREE}" & {TREE}'], work_dir)
    assert _finish(process) == 124
    assert _survivors(known) == {}


def test_signals_reach_the_command(user: User, sandbox_cmd: list[str], work_dir: Path) -> None:
    """SIGTERM to the program is the command's; its exit code comes back."""
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    argv = [*sandbox_cmd, "exec", "--policy", "confined", "sh", "-c", script]
    process = _start(user, argv, work_dir)
    process.send_signal(signal.SIGTERM)
    assert _finish(process) == 5


def test_without_scopes_the_tree_still_ends(
    user: User, user_python: Path, work_dir: Path, known: frozenset[int]
) -> None:
    """Where Landlock has no signal scope, init kills round by round; a note says what is open."""
    (work_dir / "p.toml").write_text(
        'schema = 1\nextends = ["confined"]\n[isolation]\nlandlock = { scope = "off" }\n',
        encoding="utf-8",
    )
    user.own(work_dir)
    program = [*user.prefix, str(user_python), "-I", "-m", "sandbox", "exec"]
    argv = [*program, "--policy", "./p.toml", "sh", "-c", DAEMONS]
    done = subprocess.run(argv, cwd=work_dir, env=user.environ(), timeout=30, check=False)
    assert done.returncode == 7
    assert _survivors(known) == {}
    explained = user.run(
        [user_python, "-I", "-m", "sandbox", "exec", "--policy", "./p.toml", "--explain"],
        cwd=work_dir,
    )
    assert b"can be signalled" in explained.stdout


def test_from_the_home_the_run_starts_in_its_own_directory(confined: Run, user: User) -> None:
    """The home is no working tree: it is not granted, and a note says so."""
    done = confined('pwd; test "$PWD" = "$TMPDIR"; ls ~user 2>/dev/null; cat "$0"', cwd=user.home)
    assert b"your home" in done.stderr
    assert str(user.home / ".local").encode() in done.stdout


@pytest.mark.as_root
def test_root_is_refused(root_sandbox_cmd: list[str], root: User) -> None:
    """Without a user namespace the command would be root: refused, with what to do."""
    done = root.run([*root_sandbox_cmd, "exec", "--policy", "confined", "true"])
    assert done.returncode == 125
    assert b"setpriv" in done.stderr


def test_what_is_not_granted_cannot_be_executed(
    sandbox_run: Run, user: User, work_dir: Path
) -> None:
    """126, with the grant that would let it run."""
    folder = user.make_dir("tools-")
    (folder / "tool").write_text("#!/bin/sh\necho ran\n", encoding="utf-8")
    (folder / "tool").chmod(0o755)
    user.own(folder)
    head = ("exec", "--policy", "confined")
    done = sandbox_run(*head, "--", str(folder / "tool"))
    assert done.returncode == 126
    assert f"--ro {folder}".encode() in done.stderr
    done = sandbox_run(*head, "--ro", str(folder), "--", str(folder / "tool"))
    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr


def test_the_hosts_network_is_shared_on_request(confined: Run) -> None:
    """--net host: internet sockets and names, still no Unix sockets of the host."""
    script = (
        "python3 -c 'import socket; socket.socket(); socket.getaddrinfo(\"localhost\", 80)';"
        "echo $?; python3 -c 'import socket; socket.socket(socket.AF_UNIX)' 2>/dev/null; echo $?"
    )
    done = confined("--net", "host", script)
    assert done.stdout == b"0\n1\n", done.stderr
