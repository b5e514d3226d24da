"""The size of things (CONTRIBUTING.md): what does not fit on a page is split by subject."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON_FILE_LINES = 400
PYTHON_FUNCTION_LINES = 50
C_FILE_LINES = 450
C_FUNCTION_LINES = 60

PYTHON_FILES = sorted(
    path
    for top in ("sandbox", "policies", "tests")
    for path in (ROOT / top).rglob("*.py")
    if "__pycache__" not in path.parts
)
C_FILES = sorted(path for top in ("csrc", "tests") for path in (ROOT / top).rglob("*.[ch]"))


def name_of(path: Path) -> str:
    """Return the path as people write it."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PYTHON_FILES, ids=name_of)
def test_python_fits(path: Path) -> None:
    """A Python file has at most 400 lines, a function at most 50."""
    text = path.read_text(encoding="utf-8")
    long = [
        f"{node.name}: {(node.end_lineno or 0) - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > PYTHON_FUNCTION_LINES
    ]
    assert (len(text.splitlines()) <= PYTHON_FILE_LINES, long) == (True, [])


@pytest.mark.parametrize("path", C_FILES, ids=name_of)
def test_c_fits(path: Path) -> None:
    """A C file has at most 450 lines, a function at most 60."""
    lines = path.read_text(encoding="utf-8").splitlines()
    long = []
    start = 0
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            if number - start + 1 > C_FUNCTION_LINES:
                long.append(f"line {start}: {number - start + 1} lines")
            start = 0
    assert (len(lines) <= C_FILE_LINES, long) == (True, [])


def test_nothing_unfinished_is_left() -> None:
    """No file says that it is to be finished later."""
    words = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    found = [
        f"{name_of(path)}:{number}"
        for path in PYTHON_FILES + C_FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line)
    ]
    assert found == []
