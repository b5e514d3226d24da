"""Mount destinations that a link would lead out of the root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from security.places import Places

from support.user import remove_tree

SECRET = b"a canary that must not be read\n"


@pytest.fixture
def trap(places: Places) -> Iterator[Path]:
    """A working directory in which `absolute` and `relative` lead to a directory outside."""
    work, outside = places.user.make_dir("trap-"), places.user.make_dir("canary-")
    (work / "absolute").symlink_to(outside)
    (work / "relative").symlink_to(Path("..") / outside.name)
    (work / "climbing").symlink_to(Path("../" * 40 + str(outside)[1:]))
    (outside / "keep").write_text("keep\n", encoding="utf-8")
    yield work
    remove_tree(work)
    remove_tree(outside)


@pytest.fixture
def secret_home(places: Places) -> Iterator[Path]:
    """A home of the user's with keys in three places."""
    home = places.user.make_dir("secret-home-")
    for name in (".ssh/id", ".aws/credentials", ".netrc"):
        path = home / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(SECRET)
    places.user.own(home)
    yield home
    remove_tree(home)


def _outside_of(trap: Path) -> Path:
    return (trap / "absolute").resolve()


def _picture(directory: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for parent, names, files in os.walk(directory):
        for name in [*names, *files]:
            stat = os.lstat(os.path.join(parent, name))
            found[os.path.join(parent, name)] = (stat.st_ino, stat.st_mode, stat.st_mtime_ns)
    return found


@pytest.mark.parametrize("link", ["absolute", "relative", "climbing"])
def test_n08_control_link_leads_outside(link: str, trap: Path) -> None:
    """Without a sandbox, making a directory through the link makes it outside."""
    (trap / link / "new").mkdir()
    assert (_outside_of(trap) / "new").is_dir()


@pytest.mark.parametrize("flag", ["tmpfs", "bind-directory", "bind-file"])
@pytest.mark.parametrize("policy", ["strict", "default"])
@pytest.mark.parametrize("link", ["absolute", "relative", "climbing"])
def test_n08_mount_destination_stays_in_the_root(
    link: str, policy: str, flag: str, trap: Path, places: Places, sandbox_cmd: list[str]
) -> None:
    """A destination below the link lands inside the root or is refused; outside nothing changes."""
    outside = _outside_of(trap)
    before = _picture(outside)
    options = {
        "tmpfs": ["--tmpfs", f"{trap}/{link}/new/deep"],
        "bind-directory": ["--bind", f"{places.probe_dir}:{trap}/{link}/new"],
        "bind-file": ["--bind", f"{places.probe}:{trap}/{link}/file"],
    }[flag]
    script = f"echo x > {trap}/{link}/planted; mkdir {trap}/{link}/made; exit 0"
    words = ["exec", "--policy", policy, *options, "--", "/bin/sh", "-c", script]
    done = _run([*sandbox_cmd, *words], trap, places)
    assert done.returncode in (0, 125), done.stderr.decode(errors="replace")
    assert b"Traceback" not in done.stderr
    assert _picture(outside) == before


@pytest.mark.parametrize("policy", ["strict", "default"])
@pytest.mark.parametrize("link", ["absolute", "relative", "climbing"])
def test_n08_hostile_tree_reaches_nothing_outside(
    link: str, policy: str, trap: Path, places: Places, sandbox_cmd: list[str]
) -> None:
    """A tree whose protected names lead outside changes nothing there, without any flag."""
    leads_to = os.readlink(trap / link)
    for name in (".git", ".vscode", ".claude", ".mcp.json", "AGENTS.md", ".gitmodules"):
        (trap / name).symlink_to(leads_to)
    nested = trap / ".cursor"
    nested.mkdir()
    (nested / "rules").symlink_to(Path("..") / leads_to if link == "relative" else leads_to)
    places.user.own(trap)
    outside = _outside_of(trap)
    before = _picture(outside)
    script = "for n in .git .vscode .claude .cursor/rules; do echo x > $n/planted; done; exit 0"
    done = _run([*sandbox_cmd, "exec", "--policy", policy, "--", "sh", "-c", script], trap, places)
    assert done.returncode in (0, 125), done.stderr.decode(errors="replace")
    assert b"Traceback" not in done.stderr
    assert _picture(outside) == before


@pytest.mark.parametrize("policy", ["strict", "default"])
def test_f12_keys_stay_hidden_in_a_home_that_is_shown(
    policy: str, places: Places, sandbox_cmd: list[str], secret_home: Path
) -> None:
    """Deny beats allow: in a home shown writable, keys cannot be read, moved or replaced."""
    home = secret_home
    script = f"""
        cat {home}/.ssh/id; cat {home}/.aws/credentials; cat {home}/.netrc
        mv {home}/.ssh {home}/moved; cat {home}/moved/id
        rm -rf {home}/.ssh; ln {home}/.netrc {home}/linked; cat {home}/linked
        echo planted > {home}/.ssh/authorized_keys
        echo ordinary > {home}/ordinary; exit 0"""
    env = {**places.env, "HOME": str(home)}
    control = _run([*places.user.prefix, "sh", "-c", f"cat {home}/.ssh/id"], home, places)
    assert control.stdout == SECRET
    options = ["exec", "--policy", policy, "-q", "--rw", str(home), "--chdir", str(home)]
    done = _run([*sandbox_cmd, *options, "--", "sh", "-c", script], home, places, env)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert SECRET not in done.stdout
    assert (home / ".ssh" / "id").read_bytes() == SECRET
    assert (home / ".netrc").read_bytes() == SECRET
    assert not (home / ".ssh" / "authorized_keys").exists()
    assert (home / "ordinary").read_text(encoding="utf-8") == "ordinary\n"


@pytest.mark.parametrize("policy", ["strict", "default"])
def test_n05_mounts_of_a_shared_host_do_not_propagate(
    policy: str, places: Places, sandbox_cmd: list[str]
) -> None:
    """Where the host's mounts are shared, as systemd makes them, those inside are no peers."""
    prefix = places.user.prefix
    shared = [*prefix, "unshare", "--user", "--map-current-user", "--mount"]
    shared += ["--propagation", "shared", "--"]
    control = _mount_options([*shared, "cat", "/proc/self/mountinfo"], places)
    assert "shared:" in control
    options = ["exec", "--policy", policy, "-q", "--", "cat", "/proc/self/mountinfo"]
    inside = _mount_options([*shared, *sandbox_cmd[len(prefix) :], *options], places)
    assert " - tmpfs " in inside
    assert "shared:" not in inside
    assert "master:" not in inside


def _run(
    argv: list[str], cwd: Path, places: Places, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        argv,
        cwd=cwd,
        env=dict(env or places.env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=40,
        check=False,
    )


def _mount_options(argv: list[str], places: Places) -> str:
    done = _run(argv, places.work, places)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode(errors="replace")
