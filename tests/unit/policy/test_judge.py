from __future__ import annotations

import pytest

from sandbox.errors import UsageError
from sandbox.policy.judge import Court, judge, open_court, parse_call
from sandbox.policy.load import load_policy


@pytest.fixture(scope="module")
def strict() -> Court:
    """The policy strict with its filter."""
    return open_court(load_policy("strict"), "x86_64")


@pytest.mark.parametrize(
    ("text", "action", "key"),
    [
        ("read", "allow", "syscalls.base"),
        ("mount", "errno:EPERM", "syscalls.deny[@mount]"),
        ("ioctl:0:TIOCSTI", "errno:EPERM", "syscalls.rules.terminal-injection"),
        ("ioctl:0:0x5401", "allow", "syscalls.base"),
        ("socket:AF_NETLINK:SOCK_RAW", "errno:EAFNOSUPPORT", "syscalls.socket_families"),
        ("clone:CLONE_NEWUSER|SIGCHLD", "errno:EPERM", "syscalls.rules.new-namespaces"),
        ("ptrace", "errno:EPERM", "syscalls.deny[@debug]"),
        ("waitid", "errno:EPERM", "syscalls.denied"),
        ("#9999", "errno:ENOSYS", "syscalls.unknown"),
    ],
)
def test_call_is_judged_by_the_line_that_decides(
    strict: Court, text: str, action: str, key: str
) -> None:
    """The compiled filter's verdict comes with the key behind it, and a cost."""
    found = judge(strict, parse_call(text, "x86_64"))
    assert (str(found.action), found.key, found.cost > 0) == (action, key, True)
    assert ".toml:" in found.origin


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raed", "did you mean read?"),
        ("read:AF_UNIXX", "did you mean AF_UNIX?"),
        ("read:1:2:3:4:5:6:7", "write NAME"),
        ("open_tree:99999999999999999999999", "write NAME"),
        ("", "write NAME"),
        ("read:", "write NAME"),
    ],
)
def test_bad_call_is_refused_with_a_hint(text: str, words: str) -> None:
    """A name that does not exist gets the nearest one."""
    with pytest.raises(UsageError) as error:
        parse_call(text, "x86_64")
    assert words in (error.value.hint or "")


def test_call_of_another_architecture_is_named_so() -> None:
    """open is no call of aarch64."""
    with pytest.raises(UsageError, match="another architecture has it"):
        parse_call("open", "aarch64")
