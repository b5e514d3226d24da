"""A caller who is root: the sandbox's id on the host is not 0, and files keep their owners."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from security.lifetime import end_all, new_processes, survivors
from security.places import Places

from support import leaks
from support.user import User, remove_tree

pytestmark = pytest.mark.as_root


@pytest.fixture(params=["tree-of-root", "tree-of-a-user"])
def tree(request: pytest.FixtureRequest, user: User, root: User) -> Iterator[Path]:
    """A working tree whose owner is root, and one whose owner is somebody else."""
    owner = root if request.param == "tree-of-root" else user
    path = owner.make_dir("tree-")
    (path / "old").write_text("old\n", encoding="utf-8")
    os.chown(path, owner.uid, owner.gid)
    os.chown(path / "old", owner.uid, owner.gid)
    yield path
    remove_tree(path)


def _run(
    command: list[str], policy: str, script: str, cwd: Path, places: Places
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*command, "exec", "--policy", policy, "-q", "--", "/bin/sh", "-c", script],
        cwd=cwd,
        env=dict(places.root_env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=40,
        check=False,
    )


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return (done.stdout + done.stderr).decode(errors="replace")


def _host_uids(pid: int) -> set[int]:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    line = next(line for line in text.splitlines() if line.startswith("Uid:"))
    return {int(word) for word in line.split()[1:]}


@pytest.mark.parametrize("policy", ["strict", "default"])
def test_n01_host_id_of_root_callers_is_not_root(
    policy: str, places: Places, root_sandbox_cmd: list[str]
) -> None:
    """Seen from the host, the command runs as an id that is neither root's nor anybody's."""
    known = frozenset(leaks.descendants())
    process = subprocess.Popen(
        [*root_sandbox_cmd, "exec", "--policy", policy, "-q", "--", "sh", "-c", "echo up; read x"],
        cwd=places.root_work,
        env=dict(places.root_env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        inside = {pid for pid in new_processes(known) if pid != process.pid}
        assert len(inside) >= 2
        for pid in inside:
            assert 0 not in _host_uids(pid), pid
    finally:
        process.communicate(b"x\n", timeout=20)
        assert survivors(known, 2.0) == {}
        end_all(known)


def test_root_callers_writable_tree_keeps_its_owner(
    tree: Path, places: Places, root_sandbox_cmd: list[str]
) -> None:
    """What is made inside a writable tree belongs, on the host, to the owner of the tree."""
    done = _run(
        root_sandbox_cmd, "default", "mkdir d && echo new > d/new && echo more >> old", tree, places
    )
    assert done.returncode == 0, _said(done)
    owner = tree.stat()
    for path in (tree / "d", tree / "d" / "new", tree / "old"):
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid), path
    assert (tree / "old").read_text(encoding="utf-8") == "old\nmore\n"


def test_root_callers_overlay_reaches_nothing(
    tree: Path, places: Places, root_sandbox_cmd: list[str]
) -> None:
    """Under strict the same writes work inside and leave the tree as it was."""
    done = _run(
        root_sandbox_cmd, "strict", "mkdir d && echo new > d/new && echo more >> old", tree, places
    )
    assert done.returncode == 0, _said(done)
    assert sorted(os.listdir(tree)) == ["old"]
    assert (tree / "old").read_text(encoding="utf-8") == "old\n"


@pytest.mark.parametrize("policy", ["strict", "default"])
def test_p01_root_callers_cannot_write_core_pattern(
    policy: str, places: Places, root_sandbox_cmd: list[str]
) -> None:
    """core_pattern keeps its value; the file does not even open for root's command."""
    setting = Path("/proc/sys/kernel/core_pattern")
    before = setting.read_bytes()
    # the value that is there already: a hole would show and change nothing
    script = f"printf %s '{before.decode().strip()}' > {setting}"
    done = _run(root_sandbox_cmd, policy, script, places.root_work, places)
    assert done.returncode != 0
    assert setting.read_bytes() == before
    os.close(os.open(setting, os.O_WRONLY))  # the control: root outside may open it


SETUID_SCRIPT = """
chmod 4755 old && echo chmod-suid
chmod 2755 old && echo chmod-sgid
chmod 1755 old || echo no-sticky
mkdir -m 2755 made && echo mkdir-sgid
install -m 4755 /bin/true planted && echo install-suid
cp --preserve=mode suid copied
true
"""


def test_setuid_bits_cannot_be_planted(
    tree: Path, places: Places, root_sandbox_cmd: list[str]
) -> None:
    """No way leads to a set-id file in a writable tree; outside, all of them do."""
    with_bits = tree / "suid"
    with_bits.write_bytes(b"")
    with_bits.chmod(0o4755)  # the control: outside the bit can be set
    assert with_bits.stat().st_mode & stat.S_ISUID
    done = _run(root_sandbox_cmd, "default", SETUID_SCRIPT, tree, places)
    assert done.stdout == b"", _said(done)
    found = {
        path for path in tree.rglob("*") if path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID)
    }
    assert found == {with_bits}
