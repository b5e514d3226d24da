"""Inside ourselves, inside what container engines make: a declared tier, or refused with reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support.engines import program_paths
from support.rootfs import make_rootfs
from support.user import User

Run = Callable[..., CompletedProcess[bytes]]

# An outer policy that lets a second sandbox be made inside. Landlock on files would forbid mounts.
NESTING_POLICY = """
schema = 1
summary = "Lets another sandbox be made inside"
[isolation]
nested_userns = true
landlock = { fs = "off", net = "off", scope = "off" }
[env]
allow = ["LANG"]
set = { PATH = "/usr/bin:/bin:/usr/sbin:/sbin", HOME = "/home/sandbox" }
[filesystem]
mounts = [
  { path = "/usr", mode = "ro" },
  { path = "/etc", mode = "ro", only = ["ld.so.cache", "alternatives"] },
  { path = "/tmp", mode = "tmpfs", size = "64M" },
  { path = "/home/sandbox", mode = "tmpfs", size = "64M" },
  { path = "${CWD}", mode = "rw" },
]
symlinks = { "/bin" = "usr/bin", "/sbin" = "usr/sbin", "/lib" = "usr/lib", "/lib64" = "usr/lib64" }
proc = { mode = "fresh", subset = "all", fallback = "bind-ro" }
dev = ["null", "zero", "full", "random", "urandom", "tty"]
[syscalls]
base = "@default-2026.11"
allow = ["@mount", "@new-mount", "@namespaces", "sethostname"]
socket_families = ["unix", "inet", "inet6", "netlink"]
[syscalls.rules.new-namespaces]
names = ["clone"]
action = "allow"
why = "the sandbox inside makes its own"
[syscalls.rules.clone3]
names = ["clone3"]
action = "allow"
why = "as new-namespaces"
[syscalls.rules.new-mount]
names = ["@new-mount"]
action = "allow"
why = "the sandbox inside builds its view"
[syscalls.rules.openat2]
names = ["openat2"]
action = "allow"
why = "as new-mount"
[syscalls.rules.prctl-dangerous]
names = ["prctl"]
action = "allow"
why = "the sandbox inside locks its own rights (PR_SET_SECUREBITS)"
"""


@pytest.fixture
def nested(sandbox_run: Run, user_python: Path) -> Run:
    """`nested(policy, *words)`: run words under `policy`, where the program itself is shown."""
    paths = program_paths(user_python)
    flags = [word for path in paths for word in ("--ro", path)]

    def run(policy: str, *words: str) -> CompletedProcess[bytes]:
        program = (str(user_python), "-I", "-m", "sandbox", "exec")
        return sandbox_run("exec", "--policy", policy, *flags, "--", *program, *words)

    return run


@pytest.mark.parametrize("outer", ["strict", "default"])
@pytest.mark.parametrize("inner", ["strict", "default"])
def test_inside_ourselves_namespaces_are_refused_with_the_reason(
    outer: str, inner: str, nested: Run
) -> None:
    """The outer filter forbids namespaces; the inner run names it."""
    done = nested(outer, "--policy", inner, "echo", "ran")
    assert (done.returncode, done.stdout) == (125, b""), done.stderr
    assert b"max_user_namespaces" in done.stderr or b"filter" in done.stderr
    assert b"hint" in done.stderr


def test_inside_ourselves_confined_works(nested: Run) -> None:
    """Under default a second run can still be confined, and it is held twice."""
    done = nested("default", "--policy", "confined", "sh", "-c", "echo ran; cat /etc/shadow")
    assert done.stdout == b"ran\n", done.stderr
    assert done.returncode == 1


def test_inside_ourselves_by_permission(nested: Run, user: User, work_dir: Path) -> None:
    """An outer policy with nested_userns = true and the calls for it: default runs, reduced."""
    (work_dir / "outer.toml").write_text(NESTING_POLICY, encoding="utf-8")
    user.own(work_dir)
    done = nested("./outer.toml", "--policy", "default", "--result", "r.json", "echo", "ran")
    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr
    result = json.loads((work_dir / "r.json").read_text())
    assert result["tier"] == "reduced"
    lock = result["effective"]["isolation.nested_userns"]
    assert lock["got"] == "the filter alone"
    strict = nested("./outer.toml", "--policy", "strict", "echo", "ran")
    assert (strict.returncode, strict.stdout) == (125, b""), strict.stderr
    assert b"/proc/sys is read-only" in strict.stderr


MASKED = """
for path in bus fs irq; do mount -t tmpfs -o ro none /proc/$path || exit 99; done
for path in kcore keys timer_list; do
  test ! -e /proc/$path || mount --bind /dev/null /proc/$path || exit 99
done
mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys || exit 99
exec "$@"
"""
CONTAINER = ("unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "sh", "-c")


def _in_container(user: User, python: Path, work_dir: Path, *words: str) -> CompletedProcess[bytes]:
    """Run the program where parts of /proc are covered and /proc/sys is read-only."""
    program = [str(python), "-I", "-m", "sandbox", "exec"]
    return user.run([*CONTAINER, MASKED, "sh", *program, *words], cwd=work_dir)


@pytest.mark.parametrize("policy", ["default", "image"])
def test_a_container_lowers_the_tier_and_is_named(
    policy: str, user: User, user_python: Path, work_dir: Path
) -> None:
    """A Kubernetes-like /proc: the run goes on with what is there, and says what is missing."""
    root = make_rootfs(work_dir / "root")
    user.own(work_dir)
    extra = ("--rootfs", str(root)) if policy == "image" else ()
    words = ("--policy", policy, *extra, "--result", "r.json", "echo", "ran")
    done = _in_container(user, user_python, work_dir, *words)
    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr
    result = json.loads((work_dir / "r.json").read_text())
    assert result["tier"] == "reduced"
    assert "read-only" in result["effective"]["isolation.nested_userns"]["note"]
    assert "read-only" in result["effective"]["filesystem.proc"]["got"]


@pytest.mark.parametrize("policy", ["default", "image"])
def test_in_a_container_the_filter_still_locks(
    policy: str, user: User, user_python: Path, work_dir: Path
) -> None:
    """Without the limit the filter alone refuses a namespace inside, and it does."""
    root = make_rootfs(work_dir / "root")
    user.own(work_dir)
    extra = ("--rootfs", str(root)) if policy == "image" else ()
    done = _in_container(
        user, user_python, work_dir, "--policy", policy, *extra, "unshare", "-U", "true"
    )
    assert done.returncode == 1, done.stderr
    assert b"unshare" in done.stderr


def test_a_container_refuses_strict_with_the_reason(
    user: User, user_python: Path, work_dir: Path
) -> None:
    """strict requires the limit and a fresh /proc."""
    done = _in_container(user, user_python, work_dir, "--policy", "strict", "echo", "ran")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"read-only" in done.stderr
    assert b"container" in done.stderr


def test_a_container_runs_confined(user: User, user_python: Path, work_dir: Path) -> None:
    """What needs neither mounts nor /proc/sys is not disturbed by their absence."""
    done = _in_container(user, user_python, work_dir, "--policy", "confined", "echo", "ran")
    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr
