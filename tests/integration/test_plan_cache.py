"""The plan cache as a person meets it: what was prepared holds until anything that it rests on
has changed, and whatever happens to its files, the run is the same."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from sandbox.plan.entry import FactKind, decode_entry, encode_entry
from sandbox.record import replace
from support.need import need_user_namespaces
from support.user import User, remove_tree


class Caller:
    """A user with a home of their own, who runs the sandbox in a working tree."""

    def __init__(self, user: User, python: Path, base: Path) -> None:
        self.user = user
        self.python = python
        self.home = base / "home"
        self.tree = self.home / "repo" / "tree"
        self.plans = self.home / ".cache" / "sandbox" / "plans"
        self.env = {"HOME": str(self.home)}
        self.shell("mkdir -p home/repo/tree home/.config/sandbox/policies", cwd=base)

    def shell(self, command: str, cwd: Path | None = None) -> None:
        """Run a shell command as the user."""
        done = self.user.run(["sh", "-ec", command], cwd=cwd or self.tree, env=self.env)
        assert done.returncode == 0, done.stderr

    def sandbox(self, *words: str, before: tuple[str, ...] = ()) -> CompletedProcess[bytes]:
        """Run the program in the working tree."""
        argv = [*before, str(self.python), "-I", "-m", "sandbox", *words]
        return self.user.run(argv, cwd=self.tree, env=self.env)

    def rows(self, *before: str) -> list[dict[str, Any]]:
        """Return what `cache show` says of each entry."""
        done = self.sandbox("cache", "show", "--json", before=before)
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(done.stdout)["runs"]
        return rows

    def keep(self, *options: str) -> dict[str, Any]:
        """Run until the request is kept and holds; return its row."""
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s:
            done = self.sandbox("exec", *options, "true")
            assert done.returncode == 0, done.stderr
            held = [row for row in self.rows() if row["state"] == "holds"]
            if held:
                assert len(held) == 1
                return held[0]
            time.sleep(0.3)
        raise AssertionError(f"nothing is kept: {self.rows()}")

    def change(self, command: str, *options: str, first: str = "") -> str:
        """Keep a run, change something; return what `cache show` then names as changed."""
        if first:
            self.shell(first)
        row = self.keep(*options)
        self.shell(command)
        (after,) = (one for one in self.rows() if one["name"] == row["name"])
        assert after["state"] == "changed", after
        return str(after["reason"])


@pytest.fixture
def caller(user: User, user_python: Path) -> Iterator[Caller]:
    """A caller with an empty cache."""
    need_user_namespaces()
    base = user.make_dir("cache-")
    yield Caller(user, user_python, base)
    remove_tree(base)


MINE = "$HOME/.config/sandbox/policies/mine.toml"
_POLICY = "printf 'schema = 1\\nextends = [\"%s\"]\\n'"
_LAYER = "printf 'schema = 1\\n[network]\\nmode = \"none\"\\n'"
# name -> options, what is made before, what changes, the end of the path that is named
CHANGES: dict[str, tuple[tuple[str, ...], str, str, str]] = {
    "policy edited": (
        ("--policy", "mine"),
        f"{_POLICY} strict > {MINE}",
        f"echo '# more' >> {MINE}",
        "policies/mine.toml",
    ),
    "policy that is extended": (
        ("--policy", "./own.toml"),
        f"{_POLICY} strict > base.toml; {_POLICY} ./base.toml > own.toml",
        "echo '# more' >> base.toml",
        "base.toml",
    ),
    "layer that is named": (
        ("--tighten", "./layer.toml"),
        f"{_LAYER} > layer.toml",
        "echo '# more' >> layer.toml",
        "layer.toml",
    ),
    "layer appears": ((), "", f"{_LAYER} > .sandbox.toml", "tree/.sandbox.toml"),
    "layer appears above": (
        (),
        "mkdir ../.git",
        f"{_LAYER} > ../.sandbox.toml",
        "repo/.sandbox.toml",
    ),
    "layer edited": (
        (),
        f"{_LAYER} > .sandbox.toml",
        "echo '# more' >> .sandbox.toml",
        "tree/.sandbox.toml",
    ),
    "repository root appears": ((), "", "mkdir .git", "tree/.git"),
    "protected file appears": ((), "", "touch CLAUDE.md", "tree/CLAUDE.md"),
    "protected file goes": ((), "touch CLAUDE.md", "rm CLAUDE.md", "tree/CLAUDE.md"),
    "protected file becomes a link": (
        (),
        "touch CLAUDE.md",
        "mv CLAUDE.md x; ln -s x CLAUDE.md",
        "tree/CLAUDE.md",
    ),
    "directory becomes a link": (
        ("--ro", "one/two"),
        "mkdir -p one/two",
        "mv one real; ln -s real one",
        "tree/one",
    ),
    "link leads elsewhere": (
        ("--ro", "link"),
        "mkdir one two; ln -s one link",
        "ln -sfn two link",
        "tree/link",
    ),
    "gitconfig edited": (
        (),
        "printf '[user]\\nname = a\\n' > $HOME/.gitconfig",
        "printf '[user]\\nname = b\\n' > $HOME/.gitconfig",
        "home/.gitconfig",
    ),
    "gitconfig appears": (
        (),
        "",
        "printf '[user]\\nname = b\\n' > $HOME/.gitconfig",
        "home/.gitconfig",
    ),
    "virtual environment goes": (
        (),
        "mkdir $HOME/../venv; touch $HOME/../venv/pyvenv.cfg",
        "rm $HOME/../venv/pyvenv.cfg",
        "venv/pyvenv.cfg",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed(name: str, caller: Caller) -> None:
    """The kept run no longer holds, the reason is named, and the command runs all the same."""
    options, before, command, path = CHANGES[name]
    if "venv" in path:
        caller.env["VIRTUAL_ENV"] = str(caller.home.parent / "venv")
    assert caller.change(command, *options, first=before).endswith(path)
    again = caller.sandbox("exec", *options, "true")
    assert again.returncode == 0, again.stderr


def test_a_policy_of_the_same_name_is_noticed(caller: Caller) -> None:
    """It would be an error, and the kept run does not hide that."""
    config = "$HOME/.config/sandbox/policies/strict.toml"
    named = caller.change(f"{_POLICY} tiny > {config}", "--policy", "strict")
    assert named.endswith("policies/strict.toml")
    done = caller.sandbox("exec", "--policy", "strict", "true")
    assert done.returncode == 125
    assert b"stands for two files" in done.stderr


@pytest.mark.parametrize(
    "name", ["HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"]
)
def test_another_directory_is_another_run(name: str, caller: Caller) -> None:
    """What the environment names is part of what was asked for."""
    first = caller.keep("--policy", "strict")
    caller.env.setdefault("XDG_CACHE_HOME", str(caller.home / ".cache"))
    second = caller.sandbox("exec", "--policy", "strict", "true")
    assert second.returncode == 0
    caller.env[name] = str(caller.tree)
    assert caller.sandbox("exec", "--policy", "strict", "true").returncode == 0
    rows = caller.rows()
    assert len(rows) == 3
    assert first["name"] in [row["name"] for row in rows]


def test_a_lower_limit_of_the_caller_is_noticed(caller: Caller) -> None:
    """Limits are capped by those of the caller, which the kernel is asked for."""
    caller.keep("--policy", "strict")
    (row,) = caller.rows("prlimit", "--nofile=100:100")
    assert row["state"] == "changed"
    assert row["reason"] == "the kernel answers otherwise: rlimit"


def test_another_boot_or_kernel_is_noticed(caller: Caller) -> None:
    """The boot id stands for the kernel that answered."""
    row = caller.keep("--policy", "strict")
    path = caller.plans / row["name"]
    entry = decode_entry(path.read_bytes())
    assert entry is not None
    facts = tuple(
        replace(fact, value=(fact.value[0] ^ 1, *fact.value[1:]))
        if fact.path.endswith(b"/boot_id")
        else fact
        for fact in entry.facts
    )
    assert facts != entry.facts
    assert any(fact.kind is FactKind.CONTENT for fact in facts)
    path.write_bytes(encode_entry(replace(entry, facts=facts)))
    (row,) = caller.rows()
    assert (row["state"], row["reason"]) == ("changed", "/proc/sys/kernel/random/boot_id")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": "0.0.1"}, "made by version 0.0.1"),
        ({"uid": 12345}, "made under other user or group ids"),
        ({"gid": 12345}, "made under other user or group ids"),
    ],
    ids=["version", "uid", "gid"],
)
def test_an_entry_of_another_version_or_user_does_not_hold(
    change: dict[str, Any], reason: str, caller: Caller
) -> None:
    """Both stand in the entry itself."""
    row = caller.keep("--policy", "strict")
    path = caller.plans / row["name"]
    entry = decode_entry(path.read_bytes())
    assert entry is not None
    path.write_bytes(encode_entry(replace(entry, **change)))
    (row,) = caller.rows()
    assert (row["state"], row["reason"]) == ("changed", reason)


def test_an_upgrade_of_the_package_is_noticed(caller: Caller, user_python: Path) -> None:
    """An installation replaces the compiled module, whatever else it replaces."""
    caller.keep("--policy", "strict")
    done = caller.user.run(
        [user_python, "-I", "-c", "import sandbox._core as c; print(c.__file__)"]
    )
    module = Path(done.stdout.decode().strip())
    os.utime(module)
    (row,) = caller.rows()
    assert (row["state"], row["reason"]) == ("changed", str(module))


@pytest.mark.parametrize(
    "damage",
    [
        "truncate -s -1 {}",
        "truncate -s 100 {}",
        "truncate -s 0 {}",
        "printf x | dd of={} bs=1 seek=300 conv=notrunc status=none",
        "mv {0} x; ln -s x {0}",
        "ln {} second",
        "chmod g+r {}",
        "chmod 000 {}",
        "rm {0}; mkdir {0}",
        "rm {0}; mkfifo -m 600 {0}",
    ],
)
def test_a_damaged_entry_changes_nothing_about_the_run(damage: str, caller: Caller) -> None:
    """It is unusable, the command runs, and a sound entry takes its place where that can be."""
    row = caller.keep("--policy", "strict")
    caller.shell(damage.format(row["name"]), cwd=caller.plans)
    states = {one["name"]: one["state"] for one in caller.rows()}
    assert states[row["name"]] == "unusable"
    done = caller.sandbox("exec", "--policy", "strict", "sh", "-c", "echo out; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"")
    states = {one["name"]: one["state"] for one in caller.rows()}
    assert states[row["name"]] == ("unusable" if "mkdir" in damage else "holds")


def test_concurrent_runs_leave_one_sound_entry(caller: Caller) -> None:
    """Eight at once, with an empty cache."""
    caller.keep("--policy", "strict")
    assert caller.sandbox("cache", "clear").returncode == 0
    argv = [str(caller.python), "-I", "-m", "sandbox", "exec", "--policy", "strict", "echo", "x"]
    runs = [
        caller.user.start(argv, cwd=caller.tree, env={"HOME": str(caller.home)}) for _ in range(8)
    ]
    for run in runs:
        assert run.communicate(timeout=30) == (b"x\n", b"")
        assert run.returncode == 0
    assert [row["state"] for row in caller.rows()] == ["holds"]
    assert len(os.listdir(caller.plans)) == 1


@pytest.mark.parametrize("mode", ["555", "000"])
def test_a_cache_that_cannot_be_written_is_no_error(mode: str, caller: Caller) -> None:
    """The run is the same, without a word about it."""
    caller.keep("--policy", "strict")
    caller.shell(f"rm -f *; chmod {mode} .", cwd=caller.plans)
    done = caller.sandbox("exec", "--policy", "strict", "echo", "x")
    caller.shell(f"chmod 700 {caller.plans}")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"x\n", b"")
    assert os.listdir(caller.plans) == []


@pytest.mark.parametrize(
    "options",
    [
        ("--policy", "confined"),
        ("--env", "TOKEN=secret"),
        ("--json",),
        ("--result", "out.json"),
        ("--log-level", "error"),
    ],
    ids=str,
)
def test_what_the_launcher_cannot_run_is_not_kept(options: tuple[str, ...], caller: Caller) -> None:
    """Nor what would lay a value of the environment on disk."""
    caller.keep("--policy", "strict")
    assert caller.sandbox("cache", "clear").returncode == 0
    assert caller.sandbox("exec", *options, "true").returncode == 0
    assert caller.rows() == []


def test_neither_arguments_nor_environment_are_kept(caller: Caller) -> None:
    """They belong to one run."""
    caller.env["LC_ALL"] = "xx_secretlocale"
    row = caller.keep("--env", "SECRET_NAME", "--policy", "strict")
    caller.env["SECRET_NAME"] = "secretvalue"
    assert caller.sandbox("exec", "--policy", "strict", "echo", "secretargument").returncode == 0
    for one in (row, *caller.rows()):
        blob = (caller.plans / one["name"]).read_bytes()
        for secret in (b"secretvalue", b"secretargument", b"secretlocale"):
            assert secret not in blob


@pytest.mark.parametrize("options", [("--rw", ".."), ("--rw", "../..", "--policy", "strict")])
def test_a_command_cannot_plant_an_entry(options: tuple[str, ...], caller: Caller) -> None:
    """Whatever is writable: our own directories stay as they are, and where they are."""
    caller.tree = caller.home / "repo" / "tree"
    above = "$HOME" if options[1] == "../.." else "$HOME/repo"
    caller.env["XDG_CACHE_HOME"] = above.replace("$HOME", str(caller.home)) + "/.cache"
    caller.keep(*options)
    script = (
        "touch $C/sandbox/plans/x; rm -f $C/sandbox/plans/*; mv $C $C.old; mv $C/sandbox $C/s;"
        " ls $C/sandbox/plans | wc -l"
    ).replace("$C", caller.env["XDG_CACHE_HOME"])
    done = caller.sandbox("exec", *options, "sh", "-c", script)
    assert done.stdout.strip() == b"1"
    assert len(done.stderr.splitlines()) >= 4
    assert [row["state"] for row in caller.rows()] == ["holds"]
