"""load: names lead to files, files to policies, values keep their origin."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.errors import PolicyError
from sandbox.plan.model import Slot, SlotPath
from sandbox.policy import find, parsed_cache
from sandbox.policy.load import load_policy
from sandbox.policy.model import Policy

MINIMAL = b'schema = 1\nsyscalls.base = "@strict-2026.11"\n'


@pytest.fixture(autouse=True)
def own_dirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test its own configuration and cache."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(find, "SYSTEM_DIR", str(tmp_path / "system"))
    (tmp_path / "config/sandbox/policies").mkdir(parents=True)
    (tmp_path / "system").mkdir()
    return tmp_path


def write(path: Path, body: bytes = MINIMAL) -> Path:
    """Write a policy file, as old as a file that has settled."""
    path.write_bytes(body)
    path.chmod(0o644)
    return path


@pytest.mark.parametrize("name", ["strict", "default", "tiny"])
def test_shipped_policies_load(name: str) -> None:
    """Each shipped policy has a summary, a base set and one place per stated value."""
    policy = load_policy(name)
    assert name == policy.name
    assert policy.summary
    assert policy.syscalls.base.startswith("@")
    assert all(place.split(":")[1].isdigit() for _key, place in policy.origins)


def test_strict_requires_every_layer() -> None:
    """What strict claims, it requires: each namespace but time, Landlock, seccomp, each limit."""
    isolation = load_policy("strict").isolation
    demands = dict(isolation.namespaces)
    assert demands.pop("time") == "off"
    assert {"require"} == set(demands.values())
    assert (
        isolation.landlock_fs,
        isolation.seccomp,
        isolation.landlock_min_abi,
    ) == ("require", "require", 1)


def test_default_is_strict_where_it_says_nothing() -> None:
    """A child keeps its parent's values, and replaces those it states."""
    default, strict = load_policy("default"), load_policy("strict")
    assert strict.isolation.namespaces == default.isolation.namespaces
    assert strict.process == default.process
    assert default.limits.wall_ms is None
    assert default.network.has_loopback
    assert default.origin("process.uid").split(":")[0] == "strict.toml"
    assert default.origin("limits.wall").split(":")[0] == "default.toml"
    modes = {rule.path.text(): rule.mode for rule in default.filesystem.mounts}
    assert modes["${CWD}"] == "rw"
    assert modes["/usr"] == "ro"


def test_default_has_two_files() -> None:
    """The policy lists the file that was named and the one it extends, with their hashes."""
    policy = load_policy("default")
    assert [Path(path).name for path, _ in policy.files] == ["default.toml", "strict.toml"]
    assert all(len(digest) == 64 for _, digest in policy.files)
    assert policy.sha256 == hashlib.sha256(policy.canonical).hexdigest()


def test_tiny_shows_no_working_directory() -> None:
    """tiny has no mount below a slot, and writes only to tmpfs."""
    rules = load_policy("tiny").filesystem.mounts
    assert {Slot.NONE} == {rule.path.slot for rule in rules}
    assert {"ro", "tmpfs"} == {rule.mode for rule in rules}


def test_unknown_name_says_the_nearest() -> None:
    """A misspelt policy names the one that was meant."""
    with pytest.raises(PolicyError, match="no policy named 'stirct'; did you mean strict") as info:
        load_policy("stirct")
    assert info.value.code == "policy.not-found"
    names = "build, confined, default, image, image-build, offline, strict, tiny"
    assert names in str(info.value.hint)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a\0b", "syscalls", "\udcff", "x" * 300, "strict\n"]
)
def test_names_that_are_none_are_refused(name: str) -> None:
    """No odd name becomes a file, and none raises anything but a policy error."""
    with pytest.raises(PolicyError):
        load_policy(name)


@pytest.mark.parametrize(
    "path", ["./none.toml", "/\0", "/proc/self/mem", "/", "/dev/zero", "./\udcff"]
)
def test_paths_that_are_no_policy_are_refused(path: str) -> None:
    """Missing files, directories and devices are policy errors."""
    with pytest.raises(PolicyError):
        load_policy(path)


def test_forgotten_slash_is_hinted() -> None:
    """`--policy mine.toml` names no file: the hint says how to."""
    with pytest.raises(PolicyError) as info:
        load_policy("mine.toml")
    assert "./mine.toml" in str(info.value.hint)


def test_user_policy_is_found_by_name(own_dirs: Path) -> None:
    """A file in the user's directory is a policy; its places name the whole path."""
    path = write(own_dirs / "config/sandbox/policies/mine.toml")
    policy = load_policy("mine")
    assert str(path) == policy.path
    assert f"{path}:2" == policy.origin("syscalls.base")


def test_name_in_two_places_is_an_error(own_dirs: Path) -> None:
    """A user's strict.toml shadows nothing: the name is refused."""
    write(own_dirs / "config/sandbox/policies/strict.toml")
    with pytest.raises(PolicyError, match="stands for two files") as info:
        load_policy("strict")
    assert info.value.code == "policy.conflict"


@pytest.mark.parametrize("where", ["config/sandbox/policies", "system"])
def test_symlink_in_a_policy_directory_is_refused(own_dirs: Path, where: str) -> None:
    """Where names lead, only regular files count."""
    target = write(own_dirs / "elsewhere.toml")
    (own_dirs / where / "mine.toml").symlink_to(target)
    with pytest.raises(PolicyError, match="it is a symbolic link"):
        load_policy("mine")


@pytest.mark.parametrize("mode", [0o666, 0o646, pytest.param(0o664, marks=pytest.mark.as_root)])
def test_file_that_others_may_write_is_refused(own_dirs: Path, mode: int) -> None:
    """World- and group-writable files are not trusted (a private group aside)."""
    path = write(own_dirs / "mine.toml")
    if mode == 0o664:
        os.chown(path, 0, 4321)  # as root: only root can give a file to another group
    path.chmod(mode)
    with pytest.raises(PolicyError, match="others may write it") as info:
        load_policy(str(path))
    assert info.value.code == "policy.untrusted"


@pytest.mark.as_root
def test_file_of_another_user_is_refused(own_dirs: Path) -> None:
    """Root does not obey a file that an ordinary user wrote."""
    path = write(own_dirs / "mine.toml")
    os.chown(path, 4321, 4321)
    with pytest.raises(PolicyError, match="it belongs to uid 4321"):
        load_policy(str(path))


def test_large_file_is_refused_before_it_is_read(own_dirs: Path) -> None:
    """Ten megabytes of TOML cost nothing."""
    path = write(own_dirs / "big.toml")
    os.truncate(path, 10 << 20)
    with pytest.raises(PolicyError, match="10485760 bytes"):
        load_policy(str(path))


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"schema = \n", ":1:10: "),
        (b"schema = 1\n[a\n", ":2:3: "),
        (b'schema = 1\nx = "', ":2:6: "),
        (b"schema = 1\n# \xff\n", ":2:3: byte 0xff is not UTF-8"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = 1\na = 2\n", ":2:"),
    ],
)
def test_syntax_errors_have_their_place(own_dirs: Path, body: bytes, place: str) -> None:
    """TOML and UTF-8 errors name file, line and column."""
    path = write(own_dirs / "bad.toml", body)
    with pytest.raises(PolicyError) as info:
        load_policy(str(path))
    assert f"{path}" in info.value.message
    assert place in info.value.message
    assert info.value.code == "policy.syntax"


def test_extends_may_go_over_several_files(own_dirs: Path) -> None:
    """A policy extends one that extends another; the nearest value counts."""
    write(own_dirs / "a.toml", b'schema = 1\nextends = ["default"]\n[limits]\npids = 7\n')
    write(own_dirs / "b.toml", b'schema = 1\nextends = ["./a.toml"]\n[limits]\nwall = "1s"\n')
    policy = load_policy(str(own_dirs / "b.toml"))
    assert (
        policy.limits.pids,
        policy.limits.wall_ms,
        policy.limits.open_files,
    ) == (7, 1000, 4096)
    assert [Path(path).stem for path, _digest in policy.files] == ["b", "a", "default", "strict"]
    assert policy.summary == ""


def test_extends_in_a_circle_is_an_error(own_dirs: Path) -> None:
    """A policy that extends itself over another is refused, with the circle."""
    write(own_dirs / "a.toml", b'schema = 1\nextends = ["./b.toml"]\n')
    write(own_dirs / "b.toml", b'schema = 1\nextends = ["./a.toml"]\n')
    with pytest.raises(PolicyError, match="circle: a → b → a"):
        load_policy(str(own_dirs / "a.toml"))


def test_extends_too_deep_is_an_error(own_dirs: Path) -> None:
    """A chain of more than eight policies is refused."""
    write(own_dirs / "p0.toml")
    for number in range(1, 10):
        body = f'schema = 1\nextends = ["./p{number - 1}.toml"]\n'.encode()
        write(own_dirs / f"p{number}.toml", body)
    with pytest.raises(PolicyError, match="more than 8 policies deep"):
        load_policy(str(own_dirs / "p9.toml"))
    assert load_policy(str(own_dirs / "p7.toml")).name == "p7"


def test_unknown_parent_has_its_place(own_dirs: Path) -> None:
    """A misspelt parent is reported where it is written."""
    path = write(own_dirs / "a.toml", b'schema = 1\nextends = ["defualt"]\n')
    with pytest.raises(PolicyError, match=f"{path}:2: no policy named 'defualt'; did you mean def"):
        load_policy(str(path))


# ------------------------------------------------------------------------------ the cache
def settle(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as settled at once."""
    monkeypatch.setattr(parsed_cache, "_SETTLED_NS", -(1 << 62))


def entries(base: Path) -> list[Path]:
    """Return the cache's files."""
    return sorted((base / "cache/sandbox/policies").glob("*"))


def test_cached_policy_equals_the_parsed_one(
    own_dirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second load needs no parser and gives the same policy."""
    settle(own_dirs, monkeypatch)
    first = load_policy("default")
    assert len(entries(own_dirs)) == 2
    assert {0o600} == {path.stat().st_mode & 0o777 for path in entries(own_dirs)}

    def refuse(*_args: object) -> None:
        raise AssertionError("the parser was called")

    monkeypatch.setattr(find, "parse", refuse)
    assert first == load_policy("default")


def test_changed_file_is_read_again(own_dirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any change of the file makes its entry worthless."""
    settle(own_dirs, monkeypatch)
    path = write(own_dirs / "mine.toml", MINIMAL + b"process.uid = 7\n")
    assert load_policy(str(path)).process.uid == 7
    write(path, MINIMAL + b"process.uid = 8\n")
    assert load_policy(str(path)).process.uid == 8


def test_young_file_is_not_cached(own_dirs: Path) -> None:
    """Within a tick of the clock a file can change and keep its times."""
    load_policy(str(write(own_dirs / "mine.toml")))
    assert entries(own_dirs) == []


@pytest.mark.parametrize("body", [b"", b"\0" * 40, b"\xff" * 99, b"i\x01\0\0\0", b"(\x01\0\0\0N"])
def test_broken_entry_is_ignored(
    own_dirs: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """A damaged entry counts as none."""
    settle(own_dirs, monkeypatch)
    first = load_policy("strict")
    entries(own_dirs)[0].write_bytes(body)
    assert first == load_policy("strict")


def test_entry_that_others_may_read_or_write_is_ignored(
    own_dirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry with another mode than 0600 was not written by us."""
    settle(own_dirs, monkeypatch)
    load_policy("strict")
    entry = entries(own_dirs)[0]
    body = entry.read_bytes().replace(b"60s", b"99h")
    entry.write_bytes(body)
    entry.chmod(0o606)
    assert load_policy("strict").limits.wall_ms == 60_000


def test_cache_of_another_user_is_not_used(own_dirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cache cannot be used, policies load without it."""
    settle(own_dirs, monkeypatch)
    (own_dirs / "cache").mkdir()
    (own_dirs / "cache/sandbox").write_bytes(b"in the way")
    assert load_policy("strict").name == "strict"


# ------------------------------------------------------------------------------- defaults
def test_unstated_values_are_strict(policy_of: Callable[..., Policy]) -> None:
    """A policy that says nothing gets no files, no network and every namespace but time."""
    policy = policy_of("")
    assert policy.filesystem.mounts == ()
    assert (policy.network.mode, policy.network.has_loopback) == ("none", False)
    assert {"require"} == {demand for name, demand in policy.isolation.namespaces if name != "time"}
    assert policy.origin("network.mode") == "built in"


def test_paths_keep_their_slot(policy_of: Callable[..., Policy]) -> None:
    """The four variables become slots, so that one plan serves every directory."""
    text = """
    [filesystem]
    mounts = [
      { path = "${HOME}/.cache/x", mode = "rw" },
      { path = "${TMP}/y//z/", mode = "ro", source = "${RUNTIME_DIR}" },
    ]
    hide = ["${CWD}/secret"]
    [env.set]
    CARGO_HOME = "${HOME}/.cargo"
    """
    policy = policy_of(text)
    rules = policy.filesystem.mounts
    assert [SlotPath(b"/.cache/x", Slot.HOME), SlotPath(b"/y/z", Slot.TMP)] == [
        rule.path for rule in rules
    ]
    assert SlotPath(b"", Slot.RUNTIME) == rules[1].source
    assert SlotPath(b"/secret", Slot.CWD) == policy.filesystem.hide[0].path
    assert (("CARGO_HOME", SlotPath(b"/.cargo", Slot.HOME)),) == policy.env.set
