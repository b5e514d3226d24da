"""--rootfs: a directory as the root, for an ordinary user and for root; its writes are private."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support.rootfs import make_rootfs
from support.user import User, remove_tree

Run = Callable[..., CompletedProcess[bytes]]


@pytest.fixture
def rootfs(user: User) -> Iterator[Path]:
    """A busybox root of the ordinary user's."""
    base = user.make_dir("image-")
    path = make_rootfs(base / "root")
    user.own(base)
    yield path
    remove_tree(base)


@pytest.fixture
def image(sandbox_run: Run, rootfs: Path) -> Run:
    """`image(*flags, script)`: run a shell script in the image."""

    def run(
        *words: str | bytes, policy: str = "image", **options: object
    ) -> CompletedProcess[bytes]:
        *flags, script = words
        head = ("exec", "--policy", policy, "--rootfs", str(rootfs), *flags)
        return sandbox_run(*head, "--", "sh", "-c", script, **options)

    return run


def _snapshot(path: Path) -> list[tuple[str, int, int]]:
    found = []
    for parent, names, files in os.walk(path):
        for name in (*names, *files):
            info = os.lstat(os.path.join(parent, name))
            found.append((os.path.join(parent, name), info.st_mode, info.st_size))
    return sorted(found)


@pytest.mark.leaks_nothing
def test_the_image_is_the_root(image: Run) -> None:
    """Its programs, its names, its root directory; uid 0 inside; HOME and PATH."""
    done = image(
        "cat /etc/os-release; id -u; pwd; echo $HOME; whoami; ls -d /usr /home 2>&1; exit 7"
    )
    assert done.returncode == 7, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:5] == [b"NAME=tiny", b"0", b"/", b"/root", b"root"]
    assert all(b"No such file" in line for line in lines[5:7])


def test_writes_are_private(image: Run, rootfs: Path) -> None:
    """Making, changing, removing and remaking work, and nothing of it reaches the directory."""
    before = _snapshot(rootfs)
    script = (
        "set -e; echo x > /new; rm /etc/os-release; echo y >> /etc/passwd; rmdir /root;"
        "mkdir /root /root/d; cp -r /etc /etc2; chown 0:0 /new; chmod 600 /new; ls /etc2/passwd"
    )
    done = image("--timeout", "20s", script)
    assert done.returncode == 0, done.stderr
    assert _snapshot(rootfs) == before


def test_kernel_filesystems_are_the_sandboxs(image: Run, rootfs: Path, user: User) -> None:
    """/proc, /dev, /tmp and /dev/shm are mounted over whatever the image has there."""
    (rootfs / "dev" / "planted").write_text("x", encoding="utf-8")
    (rootfs / "tmp" / "planted").write_text("x", encoding="utf-8")
    user.own(rootfs)
    script = (
        "ls /dev /tmp; test -c /dev/null && echo x > /dev/null && test -d /dev/shm; echo $?;"
        "cat /proc/1/comm; echo 1 > /proc/sys/kernel/core_pattern; cat /proc/kcore | wc -c"
    )
    done = image(script)
    assert b"planted" not in done.stdout
    assert b"\n0\nsandbox-init\n0\n" in done.stdout, done.stdout
    assert b"core_pattern" in done.stderr


def test_capabilities_are_kept_inside_only(image: Run) -> None:
    """Eight of them, none inheritable or ambient; what they cannot do is refused."""
    done = image(
        "grep Cap /proc/self/status | tr -d '\\t'; chown 0:0 /bin; echo $?;"
        "mount -t tmpfs none /root; echo $?; mknod /n c 1 3; echo $?; hostname x; echo $?;"
        "chroot / true; echo $?; unshare -U true; echo $?"
    )
    lines = done.stdout.splitlines()
    kept = b"00000000000004fb"
    empty = b"0" * 16
    assert lines[:5] == [
        *(b"CapInh:" + empty, b"CapPrm:" + kept, b"CapEff:" + kept),
        *(b"CapBnd:" + kept, b"CapAmb:" + empty),
    ]
    assert lines[5] == b"0"
    assert b"0" not in lines[6:], (lines, done.stderr)


def test_set_user_id_bits_are_for_builds(image: Run) -> None:
    """image refuses them, image-build lets package managers have them in the private layer."""
    script = "touch /s && chmod 4755 /s && test -u /s"
    assert image(script).returncode != 0
    done = image(script, policy="image-build")
    assert done.returncode == 0, done.stderr


def test_a_writable_mount_and_set_user_id_bits_do_not_go_together(image: Run) -> None:
    """A file with such bits would stay on the host."""
    done = image("--rw", ".", "true", policy="image-build")
    assert done.returncode == 125
    assert b"set-user-id" in done.stderr
    assert image("--rw", ".", "true").returncode == 0


def test_flags_mount_into_the_image(image: Run, work_dir: Path) -> None:
    """--rw . shows the working directory at its path; files made there are the caller's."""
    done = image("--rw", ".", "pwd; echo x > made")
    assert (done.returncode, done.stdout) == (0, f"{work_dir}\n".encode()), done.stderr
    assert (work_dir / "made").read_text() == "x\n"
    assert (work_dir / "made").stat().st_uid == work_dir.stat().st_uid


def test_strict_limits_hold(image: Run, work_dir: Path) -> None:
    """Limits of the command line count in an image too."""
    done = image("--limit", "file_size=4K", "dd if=/dev/zero of=/big bs=1k count=100; echo $?")
    assert done.returncode == 0
    assert done.stdout.strip() != b"0"
    assert image("--timeout", "300ms", "sleep 30").returncode == 124


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_n09_a_link_at_a_mount_point_is_refused(
    name: str, kind: str, image: Run, rootfs: Path, user: User
) -> None:
    """Nothing is mounted through a link of the image (N09)."""
    (rootfs / name).rmdir()
    if kind == "link":
        (rootfs / name).symlink_to("etc")
    else:
        (rootfs / name).write_text("", encoding="utf-8")
    user.own(rootfs)
    done = image("echo ran")
    assert (done.returncode, done.stdout) == (125, b"")
    assert f"/{name}".encode() in done.stderr


def test_n09_the_core_refuses_by_itself(
    user: User, user_python: Path, rootfs: Path, work_dir: Path
) -> None:
    """A link that appears after the plan was made is refused by the core."""
    script = f"""
import os
from sandbox.policy.compose import Flag
from sandbox.run.execute import Request, execute, prepare

flag = Flag("rootfs", {str(rootfs)!r}, "--rootfs")
ready = prepare(Request((b"true",), policy="image", flags=(flag,)))
os.rmdir({str(rootfs / "proc")!r})
os.symlink("etc", {str(rootfs / "proc")!r})
result = execute(ready)
print(result.setup.stage, result.setup.cause, result.setup.remedy)
"""
    done = user.run([user_python, "-I", "-c", script], cwd=work_dir)
    assert done.stdout.startswith(b"mounts "), (done.stdout, done.stderr)
    assert b"symbolic link" in done.stdout


def test_missing_mount_points_are_made(image: Run, rootfs: Path) -> None:
    """Without /proc, /dev, /tmp, /sys in a read-only tree the run still has them."""
    for name in ("proc", "dev", "tmp", "sys", "root"):
        (rootfs / name).rmdir()
    rootfs.chmod(0o555)
    done = image("test -e /proc/self && test -c /dev/null && cd && pwd && touch /tmp/x /x")
    rootfs.chmod(0o755)
    assert (done.returncode, done.stdout) == (0, b"/root\n"), done.stderr
    assert not (rootfs / "proc").exists()


def test_links_of_the_image_stay_inside(
    image: Run, rootfs: Path, user: User, work_dir: Path
) -> None:
    """A link of the image to an absolute path is the image's path, for mounts as well (N08)."""
    (rootfs / "data").symlink_to("/etc")
    (rootfs / "gone").symlink_to("/nowhere")
    user.own(rootfs)
    done = image("--bind", f"{work_dir}:/data/sub", "touch /data/sub/x && ls /etc/sub")
    assert done.returncode == 0, done.stderr
    assert b"x" in done.stdout.splitlines()
    assert (work_dir / "x").exists()
    assert not Path("/etc/sub").exists()
    assert image("--bind", f"{work_dir}:/gone/sub", "true").returncode == 125


def test_home_comes_from_the_images_names(image: Run, rootfs: Path, user: User) -> None:
    """Its passwd decides; one that is a link out of the image is not read."""
    (rootfs / "etc" / "passwd").write_text("root:x:0:0::/srv/root:/bin/sh\n", encoding="utf-8")
    assert image("echo $HOME; cd && pwd").stdout == b"/srv/root\n/srv/root\n"
    (rootfs / "etc" / "passwd").unlink()
    (rootfs / "etc" / "passwd").symlink_to("/etc/passwd")
    assert image("echo $HOME").stdout == b"/root\n"


def test_a_root_that_is_none_is_refused(sandbox_run: Run, work_dir: Path) -> None:
    """No directory, the host's root, a policy with its own root, an image without a root."""
    (work_dir / "file").write_text("", encoding="utf-8")
    cases = [
        (("--policy", "image", "--rootfs", "file"), b"not a directory"),
        (("--policy", "image", "--rootfs", "missing"), b"not a directory"),
        (("--policy", "image", "--rootfs", "/"), b"no image"),
        (("--policy", "default", "--rootfs", "."), b"--policy image"),
        (("--policy", "image"), b"--rootfs DIR"),
    ]
    for flags, text in cases:
        done = sandbox_run("exec", *flags, "--", "true")
        assert done.returncode == 125, flags
        assert text in done.stderr, (flags, done.stderr)


def test_what_the_image_lacks_is_named(sandbox_run: Run, rootfs: Path) -> None:
    """127 for what is not there, 126 for what cannot be executed, as everywhere."""
    head = ("exec", "--policy", "image", "--rootfs", str(rootfs), "--")
    assert sandbox_run(*head, "no-such-program").returncode == 127
    assert sandbox_run(*head, "/etc/passwd").returncode == 126


@pytest.mark.as_root
def test_root_as_the_caller(
    root: User, root_sandbox_cmd: list[str], session_dir: Path, tmp_path: Path
) -> None:
    """Root's image is idmapped: the command is root inside, a dedicated id outside."""
    path = make_rootfs(tmp_path / "root")
    before = _snapshot(path)
    script = (
        "id -u; rm /etc/os-release && rmdir /root && mkdir /root && echo x > /new && ls -ln /new;"
        "cat /proc/self/uid_map"
    )
    argv = [*root_sandbox_cmd, "exec", "--policy", "image", "--rootfs", str(path), "--result"]
    done = root.run([*argv, str(tmp_path / "r.json"), "sh", "-c", script])
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[0]) == (0, b"0"), done.stderr
    assert lines[1].split()[2:4] == [b"0", b"0"]
    assert int(lines[2].split()[1]) > 1 << 30
    assert _snapshot(path) == before
    assert json.loads((tmp_path / "r.json").read_text())["reason"] == "exited"
