"""What a command sees and changes: private writes, lasting writes, flags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support.user import User

Run = Callable[..., CompletedProcess[bytes]]


@pytest.fixture
def tree(user: User, work_dir: Path) -> Path:
    """The working directory of `sandbox_run`; files that a test makes there are given away."""
    return work_dir


@pytest.fixture
def run(user: User, tree: Path, sandbox_run: Run) -> Run:
    """`sandbox_run`, after everything in the tree was given to the ordinary user."""

    def owned(*args: str, **options: object) -> CompletedProcess[bytes]:
        user.own(tree)
        return sandbox_run(*args, **options)

    return owned


def test_strict_discards_writes(run: Run, tree: Path) -> None:
    """Files are made, changed and removed inside, and nothing of it is left outside."""
    (tree / "old").write_text("old")
    (tree / "dir").mkdir()
    (tree / "dir/x").write_text("x")
    script = (
        "echo new > new && echo changed > old && rm -r dir && mkdir dir && cat old new && ls dir"
    )
    done = run("exec", "--policy", "strict", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, b"changed\nnew\n"), done.stderr
    assert (tree / "old").read_text() == "old"
    assert (tree / "dir/x").exists()
    assert not (tree / "new").exists()


def test_default_keeps_writes_in_the_working_directory(run: Run, tree: Path) -> None:
    """What a build makes is there afterwards and belongs to the caller."""
    done = run("exec", "sh", "-c", "mkdir out && echo made > out/file")
    assert done.returncode == 0, done.stderr
    made = tree / "out/file"
    assert made.read_text() == "made\n"
    assert made.stat().st_uid == tree.stat().st_uid


STATE_OVERLAY = """
import sys
from sandbox.policy.compile import compile_plan, needed_features
from sandbox.record import replace
from sandbox.run.execute import Request, execute, prepare

argv = tuple(word.encode() for word in sys.argv[1:])
ready = prepare(Request(argv, policy="strict"))
host = replace(ready.host, features=ready.host.features - {"overlay-tmpfs-upper"})
plan = compile_plan(ready.policy, host)
assert any(op.upper is not None for op in plan.mounts)
result = execute(replace(ready, host=host, plan=plan))
assert result.setup is None, result.setup
sys.exit(result.shell_exit_code())
"""


def test_an_overlay_in_the_state_directory_discards_too(
    user: User, user_python: Path, tree: Path
) -> None:
    """Where a tmpfs cannot hold an upper side, the state directory does, and is cleared again."""
    (tree / "d").mkdir()
    (tree / "d/x").write_text("x")
    user.own(tree)
    script = "rm -r d && mkdir d && ls d && echo y > d/y && cat d/y"
    state = {"XDG_STATE_HOME": str(user.home / "state")}
    argv = [str(user_python), "-I", "-c", STATE_OVERLAY, "sh", "-c", script]
    done = user.run(argv, cwd=tree, env=state)
    assert (done.returncode, done.stdout) == (0, b"y\n"), done.stderr
    assert (tree / "d/x").exists()
    assert list((user.home / "state/sandbox/runs").iterdir()) == []


def test_flags_show_hide_and_make_places(run: Run, tree: Path) -> None:
    """--ro, --rw, --tmpfs, --bind, --overlay and --hide each do what they say."""
    for name in ("ro", "rw", "src", "over", "tree"):
        (tree / name).mkdir()
        (tree / name / "f").write_text(name)
    (tree / "tree/secret").write_text("secret")
    base = str(tree)
    script = """
        cat ro/f rw/f /dst/f over/f tree/f
        ! echo x > ro/new && echo x > rw/new && echo x > /dst/new && echo x > over/new
        ls -A empty; test ! -s tree/secret && ! cp tree/secret /tmp/s || test ! -s /tmp/s
    """
    done = run(
        "exec", "--policy", "strict", "--ro", f"{base}/ro", "--rw", f"{base}/rw", "--bind",
        f"{base}/src:/dst", "--overlay", f"{base}/over", "--hide", f"{base}/tree/secret",
        "--tmpfs", f"{base}/empty", "sh", "-c", script,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"rorwsrcovertree"), done.stderr
    assert (tree / "rw/new").exists()
    assert (tree / "src/new").exists()
    assert not (tree / "over/new").exists()
    assert not (tree / "ro/new").exists()


@pytest.mark.parametrize("flag", ["--ro", "--rw", "--overlay", "--hide"])
def test_a_path_that_does_not_exist_is_an_error(flag: str, run: Run) -> None:
    """The flag is named; hiding what is absent is no error."""
    done = run("exec", flag, "/nowhere/at/all", "true")
    if flag == "--hide":
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 125
    assert b"/nowhere/at/all" in done.stderr
    assert flag.encode() in done.stderr


def test_optional_mounts_may_be_absent(run: Run, tree: Path) -> None:
    """`optional = true` in a policy lets a path be missing."""
    policy = tree / "p.toml"
    text = (
        'schema = 1\nextends = ["strict"]\n[filesystem]\n'
        'mounts = [{{ path = "/nowhere", mode = "ro"{} }}]\n'
    )
    policy.write_text(text.format(", optional = true"))
    assert run("exec", "--policy", "./p.toml", "true").returncode == 0
    policy.write_text(text.format(""))
    done = run("exec", "--policy", "./p.toml", "true")
    assert (done.returncode, b"p.toml:4" in done.stderr) == (125, True), done.stderr


def test_a_working_directory_outside_the_view_is_an_error(run: Run) -> None:
    """--chdir names a path inside."""
    done = run("exec", "--chdir", "/nowhere", "true")
    assert (done.returncode, b"/nowhere" in done.stderr, b"hint" in done.stderr) == (
        125,
        True,
        True,
    )


def test_standard_tools_find_the_identity(run: Run) -> None:
    """id, whoami and git read names for the mapped id."""
    done = run("exec", "--policy", "strict", "sh", "-c", "id -un; id -gn; whoami; hostname")
    assert done.stdout == b"sandbox\nsandbox\nsandbox\nsandbox\n"


def test_protected_paths_cannot_be_changed_or_created(run: Run, tree: Path) -> None:
    """Hooks and agent configuration stay as they are, present or absent, also by renaming."""
    (tree / ".git/hooks").mkdir(parents=True)
    (tree / ".git/config").write_text("[core]\n")
    (tree / ".git/x").write_text("x")
    script = """
        echo evil > .git/hooks/pre-commit; echo evil >> .git/config; mv .git moved
        mkdir .vscode; echo evil > CLAUDE.md; rm -f .mcp.json; ln -s /etc .cursor
        echo fine > .git/y
    """
    done = run("exec", "sh", "-c", script)
    left = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    assert left == [".git", ".git/config", ".git/hooks", ".git/x", ".git/y"], done.stderr
    assert (tree / ".git/config").read_text() == "[core]\n"


def test_placeholders_are_invisible_to_git_and_gone_afterwards(run: Run, tree: Path) -> None:
    """`git add -A` inside does not pick up what only covers absent paths."""
    script = "git init -q . && git add -A && git status --porcelain"
    done = run("exec", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert sorted(path.name for path in tree.iterdir()) == [".git"]
