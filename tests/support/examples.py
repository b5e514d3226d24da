"""Runs the Python examples of a Markdown page, as a program of its own: `examples.py PAGE`.

All blocks of a page share their names, in order. One with `>>>` is a doctest; any other is run, and
what it prints is compared with the `text` block that follows it.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import sys

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS


def run_page(path: str) -> list[str]:
    """Return one text for each example that does not do what the page says."""
    with open(path, encoding="utf-8") as file:
        page = file.read()
    names: dict[str, object] = {"__name__": "__main__"}
    blocks = [
        (found[1], found[2], page.count("\n", 0, found.start())) for found in _BLOCK.finditer(page)
    ]
    problems = []
    ran = 0
    for index, (kind, code, line) in enumerate(blocks):
        if kind != "python":
            continue
        ran += 1
        if ">>>" in code:
            problems += _doctest(code, path, line, names)
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * (line + 1) + code, path, "exec"), names)  # noqa: S102  # the page's own
        following = blocks[index + 1] if index + 1 < len(blocks) else ("", "", 0)
        if following[0] == "text" and printed.getvalue() != following[1]:
            problems.append(f"{path}:{line + 2}: printed {printed.getvalue()!r}")
    return problems if ran else [f"{path} has no example"]


def _doctest(code: str, path: str, line: int, names: dict[str, object]) -> list[str]:
    test = doctest.DocTestParser().get_doctest(code, {}, path, path, line + 1)
    test.globs = names
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    told: list[str] = []
    runner.run(test, out=told.append, clear_globs=False)
    return told


if __name__ == "__main__":
    found = run_page(sys.argv[1])
    sys.stdout.write("\n".join(found))
    sys.exit(bool(found))
