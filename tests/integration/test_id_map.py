"""Several ids inside: the caller's subordinate ids, mapped by newuidmap and newgidmap.

Root is needed to give the ordinary user a name and ranges, in a private mount namespace.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support.need import need_program
from support.user import User

pytestmark = [pytest.mark.as_root, pytest.mark.leaks_nothing]

Run = Callable[..., CompletedProcess[bytes]]
# $1: a directory with the files that stand for those of /etc
COVER = (
    "for name in passwd subuid subgid; do mount --bind $1/$name /etc/$name || exit 98; done;"
    ' shift; eval "$1"; shift; exec "$@"'
)
# as on a system whose set-user-id programs were all taken away
POWERLESS = (
    "f=$(command -v newgidmap) && mount --bind $f $f && mount -o remount,bind,nosuid $f || exit 98"
)
POLICY = 'schema = 1\nextends = ["default"]\nprocess.id_map = "multi"\n'
MAPS = ["cat", "/proc/self/uid_map", "/proc/self/gid_map"]


@pytest.fixture
def run(user: User, user_python: Path, work_dir: Path, tmp_path: Path) -> Run:
    """`run(ranges, *command)`: run under a policy with several ids; `ranges` are subuid lines."""
    need_program("newuidmap")
    need_program("newgidmap")

    def start(
        ranges: str, *command: str, policy: str = POLICY, before: str = ":"
    ) -> CompletedProcess[bytes]:
        name = "sandbox-tester"
        row = f"{name}:x:{user.uid}:{user.gid}::{user.home}:/bin/sh\n"
        passwd = row + Path("/etc/passwd").read_text(encoding="utf-8")
        lines = ranges.replace("{}", name)
        for file, text in (("passwd", passwd), ("subuid", lines), ("subgid", lines)):
            (tmp_path / file).write_text(text, encoding="utf-8")
        (work_dir / "p.toml").write_text(policy, encoding="ascii")
        program = [str(user_python), "-I", "-m", "sandbox", "exec", "--policy", "./p.toml"]
        cover = ["unshare", "--mount", "sh", "-c", COVER, "sh", str(tmp_path), before]
        return subprocess.run(
            [*cover, *user.prefix, *program, "--", *command],
            cwd=work_dir,
            env=user.environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=40,
            check=False,
        )

    return start


def rows(text: bytes) -> list[list[int]]:
    """The extents of /proc/self/uid_map and gid_map."""
    return [[int(field) for field in line.split()] for line in text.splitlines()]


def test_the_ranges_stand_around_the_own_id(run: Run, user: User) -> None:
    """1000 inside is the caller; the other ids are those of the range, for users and groups."""
    done = run("{}:200000:65536\n", *MAPS)
    assert done.returncode == 0, done.stderr
    found = rows(done.stdout)
    for own, half in ((user.uid, found[:3]), (user.gid, found[3:])):
        assert sorted(half) == [[0, 200000, 1000], [1000, own, 1], [1001, 201000, 64536]]


def test_files_belong_to_the_caller_outside(run: Run, user: User, work_dir: Path) -> None:
    """What the command makes is the caller's, and it holds no right to become anybody else."""
    script = "touch made; chown 0 made 2>/dev/null && echo changed; id -u"
    done = run("{}:200000:65536\n", "sh", "-c", script)
    assert done.stdout == b"1000\n", done.stderr
    assert (work_dir / "made").stat().st_uid == user.uid


def test_no_range_refuses_and_names_the_file(run: Run) -> None:
    """The policy requires several ids, the host has none to give: 125, and how to get them."""
    done = run("somebody-else:200000:65536\n", "true")
    assert done.returncode == 125
    assert b"/etc/subuid" in done.stderr
    assert b"usermod --add-subuids" in done.stderr


def test_a_helper_that_refuses_is_quoted(run: Run) -> None:
    """Where the helper cannot do what the files promise, its own words are shown."""
    done = run("{}:200000:65536\n", "true", before=POWERLESS)
    assert done.returncode == 125
    assert b"newgidmap: " in done.stderr
    assert b"set-user-id root" in done.stderr


def test_single_stays_single_where_ranges_exist(run: Run) -> None:
    """Without `multi` in the policy, nothing is mapped but the one id."""
    policy = 'schema = 1\nextends = ["default"]\n'
    done = run("{}:200000:65536\n", *MAPS, policy=policy)
    assert [row[2] for row in rows(done.stdout)] == [1, 1], done.stderr


def test_root_maps_a_block_of_ids_that_nobody_owns(root_sandbox_cmd: list[str], root: User) -> None:
    """Root's command is no id of the host either; the maps are written without helpers."""
    (root.home / "p.toml").write_text(POLICY, encoding="ascii")
    done = subprocess.run(
        [*root_sandbox_cmd, "exec", "--policy", "./p.toml", *MAPS],
        cwd=root.home,
        env=root.environ(),
        capture_output=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = rows(done.stdout)
    assert len(found) == 6
    assert all(outside >= 1879048192 for _inside, outside, _count in found)
