from __future__ import annotations

import sys

import pytest

from sandbox.cli import main as door
from sandbox.cli.main import COMMANDS, help_text, main
from sandbox.errors import SandboxError


def test_help_fits_one_screen() -> None:
    """24 lines of 80 columns, and it names every command and no other."""
    lines = help_text().splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    names = {"exec", "shell", "policy", "log", "doctor", "cache", "completion"}
    assert names == {command.name for command in COMMANDS}
    assert all(f" {command.name} " in help_text() for command in COMMANDS)


def test_help_goes_to_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    """Asked for, help is the output; not asked for, it is an error."""
    assert main(["--help"]) == 0
    assert capfd.readouterr() == (help_text(), "")
    assert main([]) == 2
    assert capfd.readouterr() == ("", help_text())


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_has_help(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    """--help and -h of each command print its usage."""
    assert main([command, "--help"]) == main([command, "-h"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith(f"usage: sandbox {command}")
    assert err == ""


def test_version_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """The version stands alone on one line."""
    assert main(["--version"]) == 0
    assert capfd.readouterr().out.startswith("sandbox ")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("exce", "did you mean exec?"),
        ("ls", "sandbox exec ls"),
        ("--policy", "options follow the command"),
    ],
)
def test_unknown_command_says_what_was_meant(
    word: str, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, and the hint on a line of its own."""
    assert main([word]) == 2
    message, hint = capfd.readouterr().err.splitlines()
    assert message.startswith("sandbox: no ")
    assert hint.startswith("  hint: ")
    assert expected in hint


def test_message_cannot_steer_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """A name with control characters is shown escaped."""
    assert main(["\x1b]0;x\x07\n"]) == 2
    assert "\x1b" not in capfd.readouterr().err


def ends_with(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, words: tuple[str, ...] = ("doctor",)
) -> int:
    """The exit code when a command raises `error`."""

    def fail(_words: tuple[str, ...], _missing: tuple[str, ...]) -> int:
        raise error

    monkeypatch.setattr(door, "_dispatch", fail)
    return main(words)


def test_errors_become_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No way out of a command ends in a traceback with Python's own exit code."""
    assert ends_with(monkeypatch, SandboxError("broken", hint="mend it")) == 125
    assert capfd.readouterr().err == "sandbox: broken\n  hint: mend it\n"
    assert ends_with(monkeypatch, SandboxError("broken")) == 125
    assert capfd.readouterr().err == "sandbox: broken\n"
    assert ends_with(monkeypatch, KeyboardInterrupt()) == 130
    assert ends_with(monkeypatch, BrokenPipeError()) == 141
    assert capfd.readouterr().err == ""
    assert ends_with(monkeypatch, OSError(28, "No space left on device")) == 125
    assert capfd.readouterr().err.startswith("sandbox: no space left on device (ENOSPC)\n  hint: ")
    assert ends_with(monkeypatch, ZeroDivisionError()) == 125
    assert "a defect of sandbox" in capfd.readouterr().err


def test_arguments_become_utf8_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are not UTF-8 pass as surrogate escapes."""
    seen: list[tuple[str, ...]] = []

    def note(words: tuple[str, ...], _missing: tuple[str, ...]) -> int:
        seen.append(words)
        return 0

    monkeypatch.setattr(door, "_dispatch", note)
    monkeypatch.setattr(sys, "argv", ["sandbox", "exec", "\udcffé"])
    assert main() == 0
    assert seen == [("exec", "\udcffé")]
