"""meet: layers that tighten, named or found in the working tree."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.errors import PolicyError
from sandbox.policy.find import found_layers
from sandbox.policy.load import load_policy
from sandbox.policy.model import Policy
from sandbox.policy.syscalls import compile_uncached, resolve_calls

Tighten = Callable[..., Policy]


@pytest.fixture
def tighten(tmp_path: Path) -> Tighten:
    """`tighten(text, base)`: the shipped policy `base` within a named layer."""

    def make(text: str, base: str = "default") -> Policy:
        path = tmp_path / "layer.toml"
        path.write_text("schema = 1\n" + text, encoding="utf-8")
        path.chmod(0o600)
        return load_policy(base, tighten=[str(path)])

    return make


def modes(policy: Policy) -> dict[str, str]:
    """Return the mode of every path of the view."""
    found = {rule.path.text(): rule.mode for rule in policy.filesystem.mounts}
    return found | {rule.path.text(): "hidden" for rule in policy.filesystem.hide}


def test_the_tighter_value_holds(tighten: Tighten) -> None:
    """Numbers by minimum, demands by strength, sets by intersection, denials by union."""
    policy = tighten(
        """
        [isolation]
        landlock = { fs = "require" }
        [process]
        on_main_exit = "kill-tree"
        [env]
        allow = ["LC_ALL", "TERM"]
        [filesystem]
        groups = ["@gitconfig"]
        proc = { subset = "pid" }
        [network]
        loopback = false
        [syscalls]
        deny = ["@timer"]
        socket_families = ["unix"]
        foreign_abi = "kill"
        [limits]
        wall = "2m"
        memory = "1G"
        enforce = { memory = "require" }
        """
    )
    assert policy.isolation.landlock_fs == "require"
    assert policy.env.allow == ("LC_ALL", "TERM")
    assert policy.filesystem.groups == ("@gitconfig",)
    assert policy.filesystem.proc_subset == "pid"
    assert not policy.network.has_loopback
    assert {"@timer", "@mount"} <= policy.syscalls.deny
    assert policy.syscalls.socket_families == {"unix"}
    assert str(policy.syscalls.foreign_abi) == "kill"
    assert (policy.limits.wall_ms, policy.limits.memory_bytes) == (120_000, 1 << 30)
    assert (policy.limits.demand("memory"), policy.limits.demand("pids")) == ("require", "prefer")
    assert policy.limits.pids == 1024  # the layer is silent
    assert policy.origin("limits.wall").endswith("layer.toml:19")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[limits]\npids = 5000', "limits.pids: 5000 is more than the policy: 1024 (default.toml:"),
        ('[limits]\nmemory = "none"', "limits.memory: none is more than the policy: 2147483648"),
        ('[limits]\nenforce = { tree = "off" }', "limits.enforce.tree: off is more"),
        ('[network]\nmode = "host"', "network.mode: host is more than the policy: none"),
        ('[isolation]\nseccomp = "prefer"', "isolation.seccomp: prefer is more"),
        ('[isolation]\nnested_userns = true', "isolation.nested_userns: true is more"),
        ('[process]\ntty = "raw"', "process.tty: raw is more than the policy: relay"),
        ('[process]\nuid = 5', "process.uid: 5 is more than the policy: 1000"),
        ('[env]\nallow = ["L*"]', "env.allow[L*]: L* is more"),
        ('[env]\nset = { PATH = "/x" }', "env.set[PATH]: /x is more"),
        ('[filesystem]\nmounts = [{ path = "/usr", mode = "rw" }]', "mounts[/usr]: rw is more"),
        ('[filesystem]\nmounts = [{ path = "/nix/x", mode = "rw" }]', "rw is more than the pol"),
        ('[filesystem]\nmounts = [{ path = "/y", mode = "ro" }]', "ro is more than the policy"),
        ('[filesystem]\nmounts = [{ path = "/etc", mode = "ro" }]', "all children is more"),
        ('[filesystem]\nmounts = [{ path = "/tmp", mode = "tmpfs", size = "9G" }]', ".size: 96636"),
        ('[filesystem]\ndev = ["null"]\ngroups = ["@toolchains"]\n[syscalls]\nallow = ["ptrace"]',
         "syscalls.allow: ptrace is more than the policy: refused"),
        ('[syscalls]\nsocket_families = ["netlink"]', "socket_families[netlink]: netlink is more"),
        ('[syscalls.rules]\nr = { names = ["ioctl"], action = "allow" }', "rules.r: allow is more"),
        ('[syscalls]\nunknown = "allow"', "syscalls.unknown: allow is more"),
    ],
)  # fmt: skip
def test_a_widening_of_a_named_layer_is_an_error(tighten: Tighten, text: str, message: str) -> None:
    """It names file and line, what was asked for, and what the policy gives, from where."""
    with pytest.raises(PolicyError) as info:
        tighten(text)
    assert message in info.value.message
    assert "/layer.toml:" in info.value.message
    assert info.value.code == "policy.widening"


@pytest.mark.parametrize("text", ['extends = ["strict"]', 'tighten = ["offline"]', "[remove]\n"])
def test_a_layer_only_tightens(tighten: Tighten, text: str) -> None:
    """It neither extends nor removes."""
    with pytest.raises(PolicyError, match=r"layer\.toml:2: .* in a layer that may only tighten"):
        tighten(text)


def test_paths_meet_by_rights(tighten: Tighten) -> None:
    """At each path the rights of both; what lies below a tightened path is tightened too."""
    policy = tighten(
        """
        [filesystem]
        hide = ["${CWD}/secrets"]
        mounts = [
          { path = "${CWD}", mode = "ro" },
          { path = "/usr", mode = "ro", noexec = true },
          { path = "/etc", mode = "ro", only = ["ssl", "java*", "python3"] },
        ]
        """
    )
    found = modes(policy)
    assert (found["${CWD}"], found["${CWD}/secrets"]) == ("ro", "hidden")
    rules = {rule.path.text(): rule for rule in policy.filesystem.mounts}
    assert rules["/usr"].is_noexec
    assert rules["/etc"].only == ("java*", "python3", "ssl")


def test_a_hidden_path_hides_what_lies_below_it(tighten: Tighten) -> None:
    """A mount below a path that the layer hides is hidden with it."""
    found = modes(tighten('[filesystem]\nhide = ["/home"]'))
    assert found["/home"] == "hidden"
    assert "/home/sandbox" not in {
        rule.path.text() for rule in tighten('[filesystem]\nhide = ["/home"]').filesystem.mounts
    }


def test_a_split_off_mount_stays_under_the_protected_groups(tighten: Tighten) -> None:
    """A layer cannot lift a protection by naming the path."""
    policy = tighten('[filesystem]\nmounts = [{ path = "${CWD}/.git/hooks", mode = "rw" }]')
    assert modes(policy)["${CWD}/.git/hooks"] == "ro"


def test_an_allow_list_is_met_call_by_call(tighten: Tighten) -> None:
    """A base set holds the calls within it, with its rules; the filter says so too."""
    policy = tighten(
        """
        [syscalls]
        base = "@strict-2026.11"
        rules.terminal-injection = { names = ["ioctl"], when = "u32(arg1) == 9", action = "kill" }
        """
    )
    had, strict = load_policy("default"), load_policy("strict")
    for arch in ("x86_64", "aarch64"):
        calls = resolve_calls(policy.syscalls, arch)
        for name, verdict in resolve_calls(had.syscalls, arch).items():
            allowed = resolve_calls(strict.syscalls, arch)[name].default.kind == "allow"
            assert (calls[name].default.kind == "allow") == (
                allowed and verdict.default.kind == "allow"
            )
        ioctl = calls["ioctl"]
        assert ioctl.answer((0, 9, 0, 0, 0, 0)).kind == "kill"
        assert ioctl.answer((0, 0x5412, 0, 0, 0, 0)).kind == "errno"  # TIOCSTI: still refused
        assert calls["prctl"].answer((12345, 0, 0, 0, 0, 0)).kind == "errno"
    assert compile_uncached(policy.syscalls, "x86_64").allowed < compile_uncached(
        had.syscalls, "x86_64"
    ).allowed  # fmt: skip


# ------------------------------------------------------------------ found in the working tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a directory below it."""
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "src").mkdir()
    return tmp_path / "repo"


def put(directory: Path, text: str) -> Path:
    """Write a layer to be found."""
    path = directory / ".sandbox.toml"
    path.write_text("schema = 1\n" + text, encoding="utf-8")
    return path


def test_layers_are_found_up_to_the_root_of_the_repository(tree: Path) -> None:
    """The nearest first; nothing above the repository, nothing without one but the own."""
    put(tree.parent, "")
    top, near = put(tree, ""), put(tree / "src", "")
    assert [one.path for one in found_layers(str(tree / "src"))] == [str(near), str(top)]
    (tree / ".git").rmdir()
    assert [one.path for one in found_layers(str(tree / "src"))] == [str(near)]
    near.unlink()
    assert found_layers(str(tree / "src")) == ()


def test_a_found_layer_tightens_and_its_widenings_are_notes(tree: Path) -> None:
    """One file serves under every policy: what is more than the policy gives has no effect."""
    path = put(tree, '[limits]\nwall = "2m"\npids = 5000\n')
    for name, wall_ms, pids in (("default", 120_000, 1024), ("strict", 60_000, 64)):
        policy = load_policy(name, tree=str(tree))
        assert (policy.limits.wall_ms, policy.limits.pids) == (wall_ms, pids)
        assert any(f"{path}:4: limits.pids: 5000" in note for note in policy.notes)
        assert all("no effect" in note for note in policy.notes)
        assert str(path) in dict(policy.files)
    assert load_policy("strict").sha256 == load_policy("strict", tree=str(tree)).sha256
    assert load_policy("default").sha256 != load_policy("default", tree=str(tree)).sha256


def test_a_found_mount_of_another_kind_has_no_effect(tree: Path) -> None:
    """A path that would be read-only stays in memory where the policy has it so, and is noted."""
    put(tree, 'filesystem.mounts = [{ path = "/tmp", mode = "ro" }, { path = "/usr", mode = "rw",'
              " noexec = true }]\n")  # fmt: skip
    policy = load_policy("default", tree=str(tree))
    assert (modes(policy)["/tmp"], modes(policy)["/usr"]) == ("tmpfs", "ro")
    assert [rule.is_noexec for rule in policy.filesystem.mounts if rule.path.text() == "/usr"] == [
        True
    ]
    assert ["/tmp" in note or "/usr" in note for note in policy.notes] == [True, True]


@pytest.mark.parametrize("text", ["limits.wal = 1", "[", 'extends = ["strict"]'])
def test_a_broken_found_layer_is_an_error(tree: Path, text: str) -> None:
    """A restriction that is not understood is not left out."""
    path = put(tree, text)
    with pytest.raises(PolicyError, match=f"^{path}:2"):
        load_policy("default", tree=str(tree))


def test_a_found_link_is_refused(tree: Path, tmp_path: Path) -> None:
    """It would name a file that nobody reviewed with the tree."""
    (tree / ".sandbox.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PolicyError, match="symbolic link"):
        load_policy("default", tree=str(tree))


@pytest.mark.as_root
def test_a_strangers_layer_does_not_count(tree: Path) -> None:
    """In /tmp anybody may put a file beside others' work; the tree's owner may always."""
    path = put(tree, '[limits]\nwall = "1s"\n')
    os.chown(path, 4242, 4242)
    assert found_layers(str(tree)) == ()
    os.chown(tree, 4242, 4242)
    assert [one.path for one in found_layers(str(tree))] == [str(path)]


# ----------------------------------------------------------------------------- shipped


def test_offline_is_a_layer_and_no_policy() -> None:
    """It cannot be run by itself, and holds under whatever it tightens."""
    with pytest.raises(PolicyError, match="allows no system call") as info:
        load_policy("offline")
    assert "--tighten" in str(info.value.hint)
    assert load_policy("strict", tighten=["offline"]).network.mode == "none"


def test_build_is_default_with_more_room_and_never_a_network(tmp_path: Path) -> None:
    """No edit of what it extends brings one in."""
    build, default = load_policy("build"), load_policy("default")
    assert build.limits.memory_bytes == 8 << 30
    assert build.syscalls.base == default.syscalls.base
    text = Path(build.path).read_text(encoding="utf-8")
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace("[limits]", '[network]\nmode = "host"\n[limits]'), "utf-8")
    mine.chmod(0o600)
    assert load_policy(str(mine)).network.mode == "none"
