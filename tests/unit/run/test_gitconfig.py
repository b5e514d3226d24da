"""@gitconfig: the caller's git configuration without its secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.run.gitconfig import gitconfig_mounts, without_secrets

CONFIG = b"""\
[user]
\tname = A Person
\temail = a@example.org
[credential]
\thelper = store
[credential "https://example.org"]
\tusername = canary
[url "https://canary@example.org/"]
\tinsteadOf = https://example.org/
[http "https://example.org"]
\textraheader = Authorization: canary
[github]
\ttoken = canary
\tuser = me
[alias]
\tlg = log \\
\t--graph
[sendemail]
\tsmtpPass = canary \\
\tcanary
[remote "x"] url = https://me:canary@example.org/x
[core]
\teditor = vi
"""


def test_secrets_are_left_out_and_the_rest_stays() -> None:
    """No canary survives; names, aliases and settings do."""
    kept = without_secrets(CONFIG)
    assert b"canary" not in kept
    for line in (b"name = A Person", b"user = me", b"--graph", b"editor = vi"):
        assert line in kept


@pytest.mark.parametrize("text", [b"", b"[", b"[]", b"=", b"\xff\xfe", b"[a\n", b"x = \\"])
def test_broken_configuration_does_not_break_us(text: bytes) -> None:
    """git will complain about it; we do not."""
    without_secrets(text)


def test_files_of_the_caller_become_read_only_files_inside(tmp_path: Path) -> None:
    """~/.gitconfig and ~/.config/git appear below the home inside; a huge file does not."""
    (tmp_path / ".config/git").mkdir(parents=True)
    (tmp_path / ".gitconfig").write_bytes(b"[user]\n\tname = x\n")
    (tmp_path / ".config/git/ignore").write_bytes(b"*.o\n")
    (tmp_path / ".config/git/attributes").write_bytes(b"x" * 70000)
    mounts = gitconfig_mounts(bytes(tmp_path), b"/home/sandbox")
    assert {op.target.path: op.data for op in mounts} == {
        b"/home/sandbox/.gitconfig": b"[user]\n\tname = x\n",
        b"/home/sandbox/.config/git/ignore": b"*.o\n",
    }


def test_without_a_home_there_is_nothing() -> None:
    """A caller without a home has no git configuration."""
    assert gitconfig_mounts(b"", b"/home/sandbox") == ()
