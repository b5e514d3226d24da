"""Nothing that preparing a request looks at is forgotten: its system calls against its facts."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import looks
from support.need import need_program, need_user_namespaces
from support.user import User, remove_tree

# A call on a path: openat(AT_FDCWD</tree>, "name"), lstat("/name"), openat(5</dir>, "name") …
CALL = re.compile(
    r'^(?:\[pid +\d+\] )?(\w+)\((?:(?:AT_FDCWD|\d+)(?:<([^>]*)>)?, )?"((?:[^"\\]|\\.)*)"'
)
NAMESPACES = re.compile(r"/proc/self/ns/\w+")

CASES: dict[str, tuple[str, ...]] = {
    "strict": ("--policy", "strict"),
    "default": (),
    "build": ("--policy", "build"),
    "tiny": ("--policy", "tiny"),
    "confined": ("--policy", "confined"),
    "image": ("--policy", "image", "--rootfs", "root"),
    "own": ("--policy", "./own.toml", "--tighten", "./layer.toml"),
    "flags": ("--ro", "link", "--rw", "root", "--hide", "sub/x", "--overlay", "/usr/share/doc"),
    "net": ("--net", "host", "--bind", "sub:/opt/x", "--env", "LANG", "--chdir", "/usr"),
    "limits": ("--limit", "memory=1G", "--limit", "pids=10", "--timeout", "5s"),
}


@pytest.fixture
def tree(user: User) -> Iterator[Path]:
    """A working tree in a repository, with links, layers, a virtual environment and a root."""
    need_user_namespaces()
    need_program("strace")
    base = user.make_dir("facts-")
    tree = base / "home" / "repo" / "tree"
    (tree / "sub" / "x").mkdir(parents=True)
    (tree / "link").symlink_to("sub")
    (tree / "root" / "etc").mkdir(parents=True)
    (tree / "root" / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tree / "CLAUDE.md").touch()
    (tree / ".mcp.json").symlink_to("elsewhere")
    (tree.parent / ".git").mkdir()
    layer = 'schema = 1\n[network]\nmode = "none"\n'
    (tree.parent / ".sandbox.toml").write_text(layer)
    (tree / "layer.toml").write_text(layer)
    (tree / "own.toml").write_text('schema = 1\nextends = ["strict", "./base.toml"]\n')
    (tree / "base.toml").write_text('schema = 1\nextends = ["strict"]\n')
    (base / "home" / ".gitconfig").write_text("[user]\nname = a\n")
    (base / "home" / ".cargo").mkdir()
    (base / "venv").mkdir()
    (base / "venv" / "pyvenv.cfg").touch()
    user.own(base)
    yield tree
    remove_tree(base)


def own_places(python: Path) -> tuple[str, ...]:
    """Return where the interpreter and the program's own modules lie.

    Reason: they are imported, not asked; run/keep.py adds facts for them to what it stores.
    """
    prefixes = {str(python.parent.parent), sys.prefix, sys.base_prefix + "/lib/python"}
    prefixes |= {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}
    prefixes.add(str(Path(looks.__file__).parents[2] / "sandbox"))
    return tuple(prefixes)


def is_excepted(path: str, home: Path, own: tuple[str, ...]) -> bool:
    """Say whether a path needs no fact, for one of these reasons."""
    return (
        path in (looks.BEGIN, looks.END)
        # the kernel has a namespace or not, and the boot id says which kernel it is
        or NAMESPACES.fullmatch(path) is not None
        # our own cache: what is in it is judged by its content, and its absence changes nothing
        or is_at(path, f"{home}/.cache")
        or path == str(home)
        # libcrypto, which hashlib loads
        or path.endswith("/ssl/openssl.cnf")
        # the dynamic loader, for a library that is imported where a filter is compiled
        or path in ("/etc/ld.so.cache", "/etc/ld.so.preload", "/proc/self/maps")
        or re.match(r"/(usr/)?lib(64)?/.*\.so(\.\d+)*$", path) is not None
        or any(is_at(path, prefix) and not path.endswith(".toml") for prefix in own)
    )


def is_at(path: str, place: str) -> bool:
    """Say whether `path` is `place` or lies below it."""
    return (path + "/").startswith(place.rstrip("/") + "/")


def looked_at(trace: str, cwd: str) -> set[str]:
    """Return every path of the trace between the two marks."""
    found: set[str] = set()
    is_on = False
    for line in trace.splitlines():
        match = CALL.match(line)
        if match is None:
            continue
        call, folder, name = match.groups()
        if call == "getcwd":
            continue  # an answer, and part of the key
        path = os.path.join(folder or cwd, name.encode().decode("unicode_escape"))
        if path == looks.BEGIN:
            is_on = True
        elif path == looks.END:
            return found
        elif is_on and name:
            found.add(path)
    raise AssertionError("the trace has no end")


def covered(facts: list[list[Any]]) -> tuple[set[str], set[str], set[str]]:
    """Return the paths with a fact of their own, listed directories, and absent paths."""
    listed = {
        path for kind, path, value in facts if kind == "FILE" and stat.S_ISDIR(value[-1] >> 32)
    }
    absent = {path for kind, path, _value in facts if kind == "ABSENT"}
    return {path for _kind, path, _value in facts}, listed, absent


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
def test_every_look_leaves_a_fact(
    name: str, is_warm: bool, user: User, user_python: Path, tree: Path
) -> None:
    """Cold: nothing is kept of filters and policies. Warm: all of it is."""
    home = tree.parents[1]
    env = {"HOME": str(home), "VIRTUAL_ENV": str(home.parent / "venv")}
    trace = home.parent / "trace"
    script = home.parent / "looks.py"  # the checkout may lie where the user cannot go
    script.write_bytes(Path(looks.__file__).read_bytes())
    argv: list[str | bytes | Path] = [user_python, "-I", script, *CASES[name]]
    if is_warm:
        user.run(argv, cwd=tree, env=env)
    strace: list[str | bytes | Path] = [
        "strace",
        "-f",
        "-y",
        "-s",
        "4096",
        "-e",
        "trace=%file",
        "-o",
        trace,
    ]
    done = user.run([*strace, *argv], cwd=tree, env=env, timeout=50)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)["facts"]
    own, listed, absent = covered(facts)
    places = own_places(Path(user_python))
    text = re.sub(r"^\d+ +", "", trace.read_text(), flags=re.MULTILINE)
    missing = [
        path
        for path in sorted(looked_at(text, str(tree)))
        if path not in own
        and os.path.dirname(path) not in listed
        and not any(is_at(path, gone) for gone in absent)
        and not is_excepted(path, home, places)
        and path != "/"
    ]
    assert missing == []
    assert len(own) > 10
