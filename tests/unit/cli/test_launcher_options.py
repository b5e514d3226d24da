"""The launcher's table of options is that of the Python door."""

from __future__ import annotations

import re
from pathlib import Path

from sandbox.cli.exec_options import OPTIONS

SOURCE = Path(__file__).parents[3] / "csrc" / "launcher" / "arguments.c"
# What only Python can do, because it words or renders something.
PYTHONS = {"explain", "json", "result", "log-level", "log-json", "help"}


def launcher_table() -> dict[str, str]:
    """Return the rows of `options[]` in arguments.c: word → kind."""
    text = SOURCE.read_text(encoding="utf-8")
    return dict(re.findall(r'\{ "(-[^"]*)", ([A-Z]+) \}', text))


def kind_of(name: str, metavar: str) -> str:
    """Return what the launcher has to know of an option."""
    if name in PYTHONS:
        return "PYTHON"
    if name == "quiet":
        return "QUIET"
    return "VALUE" if metavar else "FLAG"


def test_launcher_knows_the_options_of_exec() -> None:
    """An option that one door takes and the other does not know would end in two results."""
    wanted = {}
    for option in OPTIONS:
        wanted[f"--{option.name}"] = kind_of(option.name, option.metavar)
        if option.short:
            wanted[f"-{option.short}"] = kind_of(option.name, option.metavar)
    assert launcher_table() == wanted
