"""compose: flags are the last layer, and say what they replaced."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.errors import PolicyError, SandboxError, UsageError
from sandbox.plan.model import Slot, SlotPath
from sandbox.policy.compose import Flag, apply_flags
from sandbox.policy.load import load_policy
from sandbox.policy.model import MountRule, Policy


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a working directory below it, in which the test stands."""
    work = tmp_path / "home/work"
    work.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(work)
    return work


def apply(policy: Policy, *pairs: tuple[str, str]) -> Policy:
    """Apply flags as the command line gives them."""
    flags = tuple(Flag(key, value, f"--{key} {value}") for key, value in pairs)
    return apply_flags(policy, flags)


def rule_at(policy: Policy, path: SlotPath) -> MountRule:
    """Return the mount at `path`."""
    return {rule.path: rule for rule in policy.filesystem.mounts}[path]


def test_no_flags_change_nothing() -> None:
    """Without flags the policy is the very same object."""
    policy = load_policy("strict")
    assert apply_flags(policy, ()) is policy


def test_scalars_are_replaced_and_listed(here: Path) -> None:
    """Each replaced value stands in `overrides` with what it was, and has a new origin."""
    policy = apply(
        load_policy("strict"),
        ("hostname", "box"),
        ("uid", "7"),
        ("timeout", "2m"),
        ("limit", "memory=2G"),
        ("limit", "pids=none"),
    )
    assert (
        policy.process.hostname,
        policy.process.uid,
        policy.limits.wall_ms,
        policy.limits.memory_bytes,
        policy.limits.pids,
    ) == ("box", 7, 120_000, 2 << 30, None)
    listed = {item.key: (item.value, item.was) for item in policy.overrides}
    assert listed == {
        "process.hostname": ("box", "sandbox"),
        "process.uid": ("7", "1000"),
        "limits.wall": ("120000", "60000"),
        "limits.memory": ("2147483648", "536870912"),
        "limits.pids": ("none", "64"),
    }
    assert policy.origin("limits.wall") == "command line"
    assert {"command line"} == {item.origin for item in policy.overrides}


def test_value_that_changes_nothing_is_no_override(here: Path) -> None:
    """Saying what the policy says anyway replaces nothing."""
    policy = apply(load_policy("strict"), ("net", "none"), ("timeout", "60s"))
    assert policy.overrides == ()


def test_mounts_below_the_working_directory_use_its_slot(here: Path) -> None:
    """`--ro vendor` serves every directory that has one."""
    (here / "vendor").mkdir()
    policy = apply(load_policy("default"), ("ro", "vendor"))
    rule = rule_at(policy, SlotPath(b"/vendor", Slot.CWD))
    assert (rule.mode, rule.source, rule.origin) == ("ro", None, "command line")


def test_mounts_below_the_home_use_its_slot(here: Path) -> None:
    """A path of the home is named by the home's slot, another by itself."""
    (here.parent / "data").mkdir()
    policy = apply(load_policy("default"), ("ro", str(here.parent / "data")), ("rw", "/var"))
    assert rule_at(policy, SlotPath(b"/data", Slot.HOME)).mode == "ro"
    assert rule_at(policy, SlotPath(b"/var")).mode == "rw"


def test_rw_dot_replaces_the_overlay(here: Path) -> None:
    """`--rw .` changes the mode of the working directory, and says so."""
    policy = apply(load_policy("strict"), ("rw", "."))
    assert rule_at(policy, SlotPath(b"", Slot.CWD)).mode == "rw"
    assert [(item.key, item.value, item.was) for item in policy.overrides] == [
        ("filesystem.mounts[${CWD}]", "rw", "overlay")
    ]


@pytest.mark.parametrize("at", ["..", "../.."])
def test_rw_dot_in_the_home_is_meant(here: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """In the home or above, `--rw .` is a fixed path, and the policy's `${CWD}` is gone."""
    monkeypatch.chdir(at)
    policy = apply(load_policy("default"), ("rw", "."))
    paths = {rule.path for rule in policy.filesystem.mounts}
    assert SlotPath(b"", Slot.CWD) not in paths
    expected = SlotPath(b"", Slot.HOME) if at == ".." else SlotPath(os.fsencode(os.getcwd()))
    assert expected in paths


def test_bind_has_two_paths_and_a_mode(here: Path) -> None:
    """SOURCE:TARGET is writable like everywhere, :ro makes it read-only."""
    (here / "src").mkdir()
    policy = apply(load_policy("strict"), ("bind", "src:/data"), ("bind", "src:/more:ro"))
    rule = rule_at(policy, SlotPath(b"/data"))
    assert ("rw", SlotPath(b"/src", Slot.CWD)) == (rule.mode, rule.source)
    assert rule_at(policy, SlotPath(b"/more")).mode == "ro"


def test_tmpfs_takes_a_size(here: Path) -> None:
    """PATH:SIZE bounds the tmpfs; a colon that starts no size belongs to the path."""
    policy = apply(load_policy("strict"), ("tmpfs", "/a:2M"), ("tmpfs", "/b:c"))
    assert rule_at(policy, SlotPath(b"/a")).size_bytes == 2 << 20
    assert rule_at(policy, SlotPath(b"/b:c")).size_bytes == 0


def test_hide_replaces_a_mount_at_its_path(here: Path) -> None:
    """A hidden path is listed with what it was."""
    policy = apply(load_policy("strict"), ("hide", "."))
    assert SlotPath(b"", Slot.CWD) == policy.filesystem.hide[-1].path
    assert policy.overrides[0].was == "overlay"
    assert "${CWD}" not in {rule.path.text() for rule in policy.filesystem.mounts}


def test_flag_does_not_lift_a_deeper_denial(here: Path, policy_of: Callable[..., Policy]) -> None:
    """`--rw .` leaves a hidden path below it hidden."""
    policy = policy_of('filesystem.hide = ["${CWD}/secret"]', extends="strict")
    policy = apply(policy, ("rw", "."))
    assert [SlotPath(b"/secret", Slot.CWD)] == [rule.path for rule in policy.filesystem.hide]


def test_link_is_mounted_where_it_leads(here: Path) -> None:
    """A symbolic link in the working directory: its target is mounted at its own place."""
    (here.parent / "elsewhere").mkdir()
    (here / "link").symlink_to("../elsewhere")
    policy = apply(load_policy("default"), ("ro", "link"))
    assert rule_at(policy, SlotPath(b"/elsewhere", Slot.HOME)).mode == "ro"


def test_link_outside_keeps_its_name(here: Path) -> None:
    """A link elsewhere keeps its path inside, with the canonical source."""
    (here.parent.parent / "real").mkdir()
    (here.parent.parent / "named").symlink_to("real")
    policy = apply(load_policy("default"), ("ro", str(here.parent.parent / "named")))
    base = os.fsencode(here.parent.parent)
    assert SlotPath(base + b"/real") == rule_at(policy, SlotPath(base + b"/named")).source


def test_env_value_wins_over_the_caller(here: Path) -> None:
    """NAME=VALUE is forced, and its value is not repeated in the results."""
    policy = apply(load_policy("default"), ("env", "PATH=/x"), ("env", "TOKEN=s3cr=t\udcff"))
    assert "PATH" not in policy.env.allow
    assert (
        ("PATH", SlotPath(b"/x")),
        ("TOKEN", SlotPath(b"s3cr=t\xff")),
    ) == policy.env.forced
    assert "s3cr" not in repr(policy.overrides)


def test_env_name_lets_the_callers_value_pass(here: Path) -> None:
    """NAME alone adds to what passes."""
    policy = apply(load_policy("strict"), ("env", "EDITOR"))
    assert "EDITOR" in policy.env.allow
    assert policy.env.forced == ()


def test_net_host_admits_the_families_it_needs(here: Path) -> None:
    """Sharing the host's network would be vain without internet sockets; both are listed."""
    policy = apply(load_policy("strict"), ("net", "host"))
    assert policy.network.mode == "host"
    assert {"unix", "inet", "inet6", "netlink"} == policy.syscalls.socket_families
    assert [i.key for i in policy.overrides] == ["network.mode", "syscalls.socket_families"]


def test_chdir_starts_at_the_working_directory(here: Path) -> None:
    """A relative `--chdir` is made absolute."""
    assert (
        os.fsencode(here) + b"/sub" == apply(load_policy("strict"), ("chdir", "sub")).process.chdir
    )


BAD = [
    ("limit", "memory"),
    ("limit", "memory=lots"),
    ("limit", "pids=0"),
    ("limit", "mem=1G"),
    ("timeout", "5"),
    ("uid", "-1"),
    ("uid", "4294967295"),
    ("hostname", "a b"),
    ("net", "proxy"),
    ("net", "nonee"),
    ("env", "=x"),
    ("bind", "only-one"),
    ("bind", ".:relative"),
    ("tmpfs", "/proc/x"),
    ("tmpfs", "/a:0"),
    ("ro", ""),
    ("ro", "a\0b"),
    ("ro", "/"),
    ("ro", "/proc"),
    ("hide", "/"),
    ("unheard-of", "x"),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_bad_flag_is_named(here: Path, key: str, value: str) -> None:
    """A malformed flag is a usage error that repeats it on one plain line."""
    with pytest.raises(UsageError) as info:
        apply(load_policy("strict"), (key, value))
    assert f"--{key}" in info.value.message
    assert info.value.message.isprintable()


@pytest.mark.parametrize("key", ["ro", "rw", "overlay"])
def test_missing_path_names_the_flag(here: Path, key: str) -> None:
    """A path that does not exist is a policy error with the flag as its place."""
    with pytest.raises(PolicyError, match=f"--{key} nowhere: .*nowhere does not exist"):
        apply(load_policy("strict"), (key, "nowhere"))


def test_overlay_of_a_file_is_refused(here: Path) -> None:
    """Only directories can be overlaid."""
    (here / "file").touch()
    with pytest.raises(PolicyError, match="is not a directory"):
        apply(load_policy("strict"), ("overlay", "file"))


def test_one_path_twice_is_an_error(here: Path) -> None:
    """The order of flags never decides."""
    with pytest.raises(UsageError, match=r"--ro \. and --rw \. name the same path"):
        apply(load_policy("strict"), ("rw", "."), ("ro", "."))


def test_nearest_limit_is_hinted(here: Path) -> None:
    """A misspelt limit names the one that was meant."""
    with pytest.raises(SandboxError, match="did you mean memory"):
        apply(load_policy("strict"), ("limit", "memry=1G"))


def test_paths_need_not_be_text(here: Path) -> None:
    """A directory whose name is not UTF-8 can be mounted."""
    os.mkdir(os.fsencode(here) + b"/\xff")
    policy = apply(load_policy("strict"), ("ro", "\udcff"))
    assert rule_at(policy, SlotPath(b"/\xff", Slot.CWD)).mode == "ro"
