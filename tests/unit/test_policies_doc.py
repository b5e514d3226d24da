"""docs/policies.md shows what the commands print.

Numbers may differ (lines of policies move); `…` on a line of its own stands for any lines.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sandbox.cli.main import main

# What Debian's golang-github-containers-common brings; commands about it are a test of their own.
PROFILE = "/usr/share/containers/seccomp.json"
DOCUMENT = Path(__file__).parents[2] / "docs" / "policies.md"
BLOCKS = re.findall(
    r"^```console\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL
)


def steps() -> list[tuple[str, list[str]]]:
    """Each command of the page with the lines that follow it."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(BLOCKS).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def pattern(lines: list[str]) -> str:
    """What the output must match: any number for a number, any lines for `…`."""
    parts = ["(?:.*\n)*" if line == "…" else re.escape(line) + "\n" for line in lines]
    return re.sub(r"\d+", r"\\d+", "".join(parts))


def test_page_shows_real_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every command of the page is run, in order, in one directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert len(steps()) > 10
    for command, lines in steps():
        words = shlex.split(command)
        if words[0] == "cat":
            Path(words[1]).write_text("\n".join(lines) + "\n")
        elif PROFILE not in command:
            check(command, lines, capfd)


def test_page_shows_what_the_engines_profile_allows(capfd: pytest.CaptureFixture[str]) -> None:
    """The answer about the real profile, where it is installed."""
    about = [(command, lines) for command, lines in steps() if PROFILE in command]
    assert len(about) == 2
    if not Path(PROFILE).exists():
        pytest.skip(f"needs golang-github-containers-common: {PROFILE} is not there")
    for command, lines in about:
        check(command, lines, capfd)


def check(command: str, lines: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """Run a command of the page; its output must be what the page shows."""
    words = shlex.split(command)
    target = words[words.index(">") + 1] if ">" in words else None
    main(words[1 : words.index(">")] if target else words[1:])
    out, err = capfd.readouterr()
    if target:
        Path(target).write_text(out)
        out = ""
    assert re.fullmatch(pattern(lines), out + err), f"{command}\n{out}{err}"
