"""look: what the plan of this run shows at a path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.host.facts import Host
from sandbox.plan.model import Invocation
from sandbox.policy.compile import compile_plan
from sandbox.policy.load import load_policy
from sandbox.policy.settle import arrange
from sandbox.run.look import Look, look
from sandbox.run.places import find_places
from sandbox.run.request import Prepared, Request

FEATURES = (
    "userns",
    "mountns",
    "pidns",
    "netns",
    "ipcns",
    "utsns",
    "cgroupns",
    "timens",
    "landlock",
)
HOST = Host(
    arch="x86_64",
    page_size_bytes=4096,
    uid=1234,
    gid=1234,
    is_privileged=False,
    outside_uid=1234,
    outside_gid=1234,
    landlock_abi=7,
    features=frozenset((*FEATURES, "seccomp", "overlay-tmpfs-upper", "idmap")),
    reasons=(),
)


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Look]:
    """`at(policy, path)` with a working tree of its own."""
    tree = tmp_path / "home" / "tree"
    (tree / ".git" / "hooks").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tree)

    def ask(name: str, path: str) -> Look:
        policy = load_policy(name)
        plan = compile_plan(policy, HOST)
        places = find_places(policy, plan)
        plan = arrange(plan, places.slots)
        invocation = Invocation(argv=(), env=(), programs=(), cwd=places.cwd, slots=places.slots)
        prepared = Prepared(Request(()), policy, HOST, plan, invocation)
        return look(prepared, path.replace("TREE", str(tree)).encode())

    return ask


@pytest.mark.parametrize(
    ("name", "path", "rights"),
    [
        ("strict", "/usr/bin/env", "see read exec"),
        ("strict", "/bin/sh", "see read exec"),
        ("strict", "TREE/file", "see read write exec"),
        ("default", "TREE/file", "see read write persist exec"),
        ("default", "TREE/.git/hooks/pre-commit", "see read exec"),
        ("strict", "/tmp/x", "see write"),
        ("strict", "/etc/shadow", ""),
        ("strict", "/root/.ssh", ""),
        ("strict", "/", "see"),
        ("strict", "/dev/null", "see read write"),
        ("strict", "/etc/passwd", "see read"),
        ("strict", "/usr/../etc/shadow", ""),
    ],
)
def test_rights_are_those_of_the_plan(
    at: Callable[[str, str], Look], name: str, path: str, rights: str
) -> None:
    """Read off the mounts, links of the view and protected paths."""
    assert at(name, path).rights == tuple(rights.split())


def test_answer_names_the_line_and_the_callers_file(at: Callable[[str, str], Look]) -> None:
    """Through a link of the view to the file of the host."""
    found = at("strict", "/bin/sh")
    assert (found.inside, found.host) == ("/usr/bin/sh", "/usr/bin/sh")
    assert found.origin.startswith("strict.toml:")
    assert at("default", "TREE/.git/hooks").guard
