"""load: what a policy file may not say, and how that is reported."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.errors import PolicyError
from sandbox.policy.load import parse_policy
from sandbox.policy.model import Policy

# text of line 3 on → what the message must hold, what the hint must hold
UNKNOWN = [
    ("limit.wall = 1", "test.toml:3: limit: there is no such key; did you mean limits?", "keys"),
    ("[limits]\nwal = '1s'", ":4: limits.wal: there is no such key; did you mean wall?", "wall"),
    ("[isolation.namespaces]\nusr = 'off'", ":4: isolation.namespaces.usr:", "user"),
    ("isolation.landlock = { fss = 'off' }", ":3: isolation.landlock.fss:", "fs"),
    ("[limits.enforce]\ndefualt = 'off'", ":4: limits.enforce.defualt:", "default"),
    ("filesystem.mounts = [{ path = '/a', mod = 'ro' }]", ":3: filesystem.mounts[0].mod:", "mode"),
    ("[syscalls.rules]\nx = { nmes = ['a'] }", ":4: syscalls.rules.x.nmes:", "names"),
    ("'isolation.seccomp' = 'off'", ":3: isolation.seccomp: there is no such key", "keys"),
]

WRONG = [
    ("process.uid = '5'", ":3: process.uid: expected a number from 0"),
    ("process.uid = true", "got true"),
    ("process.uid = -1", "got -1"),
    ("process.hostname = 'a b'", "expected a host name"),
    ("process.tty = 'setsdi'", 'expected "relay" or "setsid" or "raw", got "setsdi"'),
    ("isolation.seccomp = 'required'", 'expected "require" or "prefer" or "off"'),
    ("isolation.nested_userns = 'no'", "expected true or false"),
    ("isolation = 'none'", "isolation: expected a table"),
    ("limits.wall = 60", ":3: limits.wall: expected a duration such as"),
    ("limits.wall = '60'", "expected a duration such as"),
    ("limits.wall = '1.5s'", "expected a duration such as"),
    ("limits.memory = '1X'", "expected a size such as 64M"),
    ("limits.memory = -1", "expected a size such as 64M"),
    ("limits.pids = 0", "of at least 1"),
    ("limits.pids = '0x10'", "expected a number"),
    ("env.allow = 'LANG'", "expected an array of strings"),
    ("env.allow = ['LANG', 5]", ":3: env.allow[1]: expected a string, got 5"),
    ("env.allow = ['A*B']", "may end in *"),
    ("env.allow = ['A', 'A']", "stands twice"),
    ("env.set = { 'A=B' = 'x' }", "not a variable's name"),
    ("env.set = { A = 'x:${HOME}' }", "only at the start"),
    ('env.set = { A = "x\\u0000" }', "a NUL byte"),
    ("filesystem.hide = ['relative']", "expected an absolute path"),
    ("filesystem.hide = ['/a/../b']", "expected an absolute path"),
    ("filesystem.hide = ['${PWD}/x']", "expected an absolute path"),
    ("filesystem.hide = ['${CWD}x']", "expected an absolute path"),
    ("filesystem.symlinks = { 'bin' = 'usr/bin' }", "must be absolute"),
    ("filesystem.dev = ['nul']", 'expected "null" or'),
    ("filesystem.mounts = [{ path = '/a' }]", "the key mode is missing"),
    ("filesystem.mounts = [{ path = '/a', mode = 'tmpfs', only = ['x'] }]", "has no only"),
    ("filesystem.mounts = [{ path = '/a', mode = 'ro', size = '1M' }]", "has no size"),
    ("filesystem.mounts = [{ path = '/a', mode = 'ro', only = ['x/y'] }]", "without slash"),
    ("filesystem.mounts = [{ path = '${CWD}', mode = 'ro', only = ['x'] }]", "fixed path"),
    ("filesystem.mounts = [{ path = '/', mode = 'ro' }]", "the root is the sandbox's own"),
    ("filesystem.mounts = [{ path = '/proc/x', mode = 'ro' }]", "/proc is the sandbox's own"),
    ("filesystem.mounts = [{ path = '/dev', mode = 'ro' }]", "/dev is the sandbox's own"),
    ("filesystem.mounts = [{ path = '/sys/fs', mode = 'ro' }]", "/sys is the sandbox's own"),
    (
        "filesystem.mounts = [{ path = '/a', mode = 'ro' }, { path = '/a/', mode = 'rw' }]",
        "/a stands twice; first at test.toml:3",
    ),
    ("syscalls.denied = 'errno:EPRM'", ":3: syscalls.denied: no errno is called"),
    ("syscalls.unknown = 7", "expected an action"),
    ("syscalls.socket_families = ['inet7']", "expected a socket family"),
    ("syscalls.rules.x = { names = ['a'] }", "the key action is missing"),
    ("syscalls.rules.x = { names = [], action = 'kill' }", "at least one call"),
    ("network.mode = 'off'", 'expected "none" or "host"'),
]

LATER = [
    "network.mode = 'proxy'",
    "network.allow = ['a.example:443']",
    "process.pass_fds = [3]",
    "filesystem.root = 'host-ro'",
    "filesystem.sockets = ['/run/x']",
    "filesystem.hide = ['**/.env']",
    "filesystem.mounts = [{ path = '/a', mode = 'overlay', commit = 'ask' }]",
    "filesystem.proc.fallback = 'none'",
    "isolation.namespaces.user = 'prefer'",
    "audit.trace = 'auto'",
    "audit.record = ['exec']",
]


@pytest.mark.parametrize(("text", "message", "hint"), UNKNOWN)
def test_unknown_key_has_place_and_nearest_name(
    policy_of: Callable[..., Policy], text: str, message: str, hint: str
) -> None:
    """A key that is none is an error with file:line, the full key and the nearest one."""
    with pytest.raises(PolicyError) as info:
        policy_of(text)
    assert message in info.value.message
    assert hint in f"{info.value.hint} {info.value.message}"
    assert info.value.code == "policy.unknown-key"


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong_value_has_place_and_form(
    policy_of: Callable[..., Policy], text: str, message: str
) -> None:
    """A value that is none is an error with file:line, what was expected, what was got."""
    with pytest.raises(PolicyError) as info:
        policy_of(text)
    assert message in info.value.message
    assert info.value.message.startswith("test.toml:3")
    assert info.value.code == "policy.value"


@pytest.mark.parametrize("text", LATER)
def test_what_comes_later_is_refused_not_ignored(
    policy_of: Callable[..., Policy], text: str
) -> None:
    """A part of the format without machinery is an error that says so."""
    with pytest.raises(PolicyError, match="not available in this version"):
        policy_of(text)


@pytest.mark.parametrize("key", ["process.capabilities", "process.pass_fds", "filesystem.sockets"])
def test_empty_lists_of_later_keys_are_true_already(
    policy_of: Callable[..., Policy], key: str
) -> None:
    """`capabilities = []` says what holds anyway."""
    policy_of(f"{key} = []")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the key schema is missing"),
        (b"schema = 2", "schema: expected 1, got 2"),
        (b"schema = '1'", 'schema: expected 1, got "1"'),
        (b"schema = 1", "syscalls.base is missing"),
    ],
)
def test_policy_needs_schema_and_base(body: bytes, message: str) -> None:
    """The format's version must be stated, and what may be called as well."""
    with pytest.raises(PolicyError) as info:
        parse_policy(body, "test")
    assert message in info.value.message


def test_contradiction_names_the_place(policy_of: Callable[..., Policy]) -> None:
    """No network namespace, but no network either: one of them is wrong."""
    with pytest.raises(PolicyError, match=r"test\.toml:3: without a network namespace") as info:
        policy_of("isolation.namespaces.net = 'off'")
    assert info.value.code == "policy.conflict"


def test_message_is_one_plain_line(policy_of: Callable[..., Policy]) -> None:
    """Control characters of a hostile file reach no terminal."""
    with pytest.raises(PolicyError) as info:
        policy_of('"\\u001b[2J\\n" = 1')
    assert info.value.message.isprintable()


def test_error_is_data(policy_of: Callable[..., Policy]) -> None:
    """Editors get file, line, column and key as fields."""
    with pytest.raises(PolicyError) as info:
        policy_of("[limits]\nenforce = { wall = 'maybe' }")
    data = info.value.to_data()
    assert (
        data["file"],
        data["line"],
        data["column"],
        data["key"],
    ) == ("test.toml", 4, 13, "limits.enforce.wall")
