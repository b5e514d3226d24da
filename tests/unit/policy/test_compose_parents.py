"""compose: policies in files that extend, remove and are extended together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.errors import PolicyError
from sandbox.policy.load import load_policy
from sandbox.policy.model import Policy

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(name, text)`: a policy file of the caller; its path."""

    def make(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text("schema = 1\n" + text, encoding="utf-8")
        path.chmod(0o600)
        return str(path)

    return make


def test_parents_unite(write: Write) -> None:
    """Sets of all parents unite, what only one of them says holds, origins stay."""
    write("a.toml", '[env]\nallow = ["A"]\n[limits]\nwall = "5s"\n')
    write(
        "b.toml", '[env]\nallow = ["B"]\n[filesystem]\nmounts = [{ path = "/b", mode = "tmpfs" }]\n'
    )
    policy = load_policy(
        write("c.toml", 'extends = ["strict", "./a.toml", "./b.toml"]\nlimits.wall = "9s"')
    )
    assert {"A", "B", "LANG"} <= set(policy.env.allow)
    assert policy.limits.wall_ms == 9000
    assert "/b" in {rule.path.text() for rule in policy.filesystem.mounts}
    assert policy.origin("env.allow[B]").endswith("b.toml:3")
    assert {Path(path).name for path, _ in policy.files} == {
        "c.toml",
        "strict.toml",
        "a.toml",
        "b.toml",
    }


@pytest.mark.parametrize(
    ("one", "two", "key"),
    [
        ('[limits]\nwall = "5s"', '[limits]\nwall = "6s"', "limits.wall"),
        ("[process]\nuid = 5", "[process]\nuid = 6", "process.uid"),
        ('env.set = { A = "x" }', 'env.set = { A = "y" }', "env.set[A]"),
        (
            'filesystem.mounts = [{ path = "/b", mode = "tmpfs" }]',
            'filesystem.mounts = [{ path = "/b", mode = "tmpfs", noexec = true }]',
            "filesystem.mounts[/b]",
        ),
        (
            'syscalls.rules.r = { names = ["ioctl"], action = "kill" }',
            'syscalls.rules.r = { names = ["ioctl"], action = "trap" }',
            "syscalls.rules[r]",
        ),
    ],
)
def test_parents_that_differ_are_an_error_with_both_places(
    write: Write, one: str, two: str, key: str
) -> None:
    """A single value, a name of a map and a path can have one meaning only."""
    write("a.toml", one)
    write("b.toml", two)
    for order in ('"./a.toml", "./b.toml"', '"./b.toml", "./a.toml"'):
        with pytest.raises(PolicyError, match="differ, and both are extended") as info:
            load_policy(write("c.toml", f"extends = [{order}]"))
        assert info.value.code == "policy.conflict"
        assert info.value.message.startswith(f"{key}: ")
        assert "a.toml:" in info.value.message
        assert "b.toml:" in info.value.message
        assert info.value.message.index("a.toml") < info.value.message.index("b.toml")
    both = 'extends = ["strict", "./a.toml", "./b.toml"]\nprocess.uid = 1\nlimits.wall = "1s"\n'
    load_policy(
        write(
            "c.toml",
            both
            + one.replace("[limits]\nwall = ", "#").replace("[process]", "#").replace("uid", "#"),
        )
    )


def test_several_names_act_like_a_child_of_all(write: Write) -> None:
    """`--policy a --policy b` is what a policy that extends both is."""
    extra = write("extra.toml", '[env]\nallow = ["EXTRA"]\n')
    together = load_policy("default", extra)
    child = load_policy(write("child.toml", 'extends = ["default", "./extra.toml"]'))
    assert together.canonical == child.canonical
    assert together == load_policy("default", extra)
    assert together.name == "default + extra"
    assert load_policy(extra, "default").canonical == child.canonical
    with pytest.raises(PolicyError, match="differ, and both are extended"):
        load_policy("default", "strict")


def test_a_circle_over_two_parents_names_the_chain(write: Write) -> None:
    """A circle is found whichever parent leads into it."""
    write("a.toml", 'extends = ["strict", "./b.toml"]')
    write("b.toml", 'extends = ["strict", "./a.toml"]')
    with pytest.raises(PolicyError, match="circle: c → a → b → a"):
        load_policy(write("c.toml", 'extends = ["./a.toml"]'))


def test_a_diamond_is_no_circle(write: Write) -> None:
    """Two parents may have one parent; it is read once."""
    write("a.toml", 'extends = ["strict"]\nenv.allow = ["A"]')
    write("b.toml", 'extends = ["strict"]\nenv.allow = ["B"]')
    policy = load_policy(write("c.toml", 'extends = ["./a.toml", "./b.toml"]'))
    assert [Path(path).name for path, _ in policy.files] == [
        "c.toml",
        "a.toml",
        "strict.toml",
        "b.toml",
    ]


# ----------------------------------------------------------------------------- removal


def test_removal_takes_out_what_is_inherited(write: Write) -> None:
    """Members of sets, names of maps and paths; the child's own may stand in their place."""
    policy = load_policy(
        write(
            "a.toml",
            """
            extends = ["strict"]
            env.allow = ["TERM"]
            [remove]
            env.allow = ["LC_*", "TERM"]
            env.set = ["HOME"]
            filesystem.mounts = ["/etc", "${CWD}"]
            filesystem.symlinks = ["/lib64/"]
            """,
        )
    )
    assert policy.env.allow == ("LANG", "TERM")
    assert [name for name, _ in policy.env.set] == ["PATH"]
    paths = {rule.path.text() for rule in policy.filesystem.mounts}
    assert paths == {"/usr", "/tmp", "/dev/shm", "/home/sandbox"}
    assert [link.path for link in policy.filesystem.symlinks] == ["/bin", "/lib", "/sbin"]
    assert policy.removed == ()


@pytest.mark.parametrize(
    ("key", "member"),
    [("syscalls.deny", "@debug"), ("filesystem.protect", "@git-hooks"), ("filesystem.hide", "/x")],
)
def test_a_denial_is_removed_with_a_reason_only(write: Write, key: str, member: str) -> None:
    """Without a reason it is an error; with one the reason stays with the policy."""
    write("base.toml", 'extends = ["strict"]\nfilesystem.hide = ["/x"]')
    text = f'extends = ["./base.toml"]\n[remove]\n{key} = ["{member}"]\n'
    with pytest.raises(PolicyError, match=r"a\.toml:4: remove\..* is a denial") as info:
        load_policy(write("a.toml", text))
    assert "reason" in str(info.value.hint)
    with pytest.raises(PolicyError, match="gives no reason"):
        load_policy(write("a.toml", text + 'reason = "  "\n'))
    write("a.toml", text + 'reason = "we debug"\n')
    policy = load_policy(write("b.toml", 'extends = ["./a.toml"]'))
    (removal,) = policy.removed
    assert (removal.key, removal.member, removal.reason) == (key, member, "we debug")
    assert removal.origin.endswith("a.toml:4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('env.allow = ["TREM"]', "TREM is not inherited, so there is nothing to remove; did you m"),
        ('filesystem.mounts = ["/nowhere"]', "/nowhere is not inherited"),
        ('process.uid = ["5"]', "only members of sets and tables can be removed"),
        ('process = ["5"]', "only members of sets and tables can be removed"),
        ('env.alow = ["x"]', "remove.env.alow: there is no such key"),
        ('env.allow = "TERM"', "expected an array of strings"),
        ("reason = 5", "remove.reason: expected a string"),
    ],
)
def test_a_removal_of_nothing_is_an_error(write: Write, text: str, message: str) -> None:
    """What is misspelt would silently stay."""
    with pytest.raises(PolicyError) as info:
        load_policy(write("a.toml", f'extends = ["strict"]\n[remove]\n{text}\n'))
    assert message in info.value.message
    assert "a.toml:4" in info.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[syscalls]\nallow = ["ptrace"]\ndeny = ["ptrace"]',
            "test.toml:4 and test.toml:5: ptrace is allowed and denied",
        ),
        (
            "[syscalls.rules]\n"
            'a = { names = ["ioctl"], when = "arg0 == 1", action = "kill" }\n'
            'b = { names = ["ioctl", "read"], when = "arg0 == 1", action = "errno:EPERM" }',
            "test.toml:4 and test.toml:5: the rules a and b contradict each other",
        ),
    ],
)
def test_contradictions_are_an_error_with_both_places(
    policy_of: Callable[..., Policy], text: str, message: str
) -> None:
    """Two lines of which one means nothing are a mistake."""
    with pytest.raises(PolicyError) as info:
        policy_of(text, extends="strict")
    assert message in info.value.message
    assert info.value.code == "policy.conflict"
