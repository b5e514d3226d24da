"""Render the man pages: docs/man/NAME.SECTION.md to roff.

`render_man.py SOURCE_DIRECTORY TARGET_DIRECTORY`. The Markdown that the pages use is small:
headings, paragraphs, indented or fenced blocks, lists, and definition lists written as a term on
its own line followed by `: text`; in a line **bold**, *italic*, `code`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_INLINE = (
    (re.compile(r"\*\*(.+?)\*\*"), r"\\fB\1\\fR"),
    (re.compile(r"`(.+?)`"), r"\\fB\1\\fR"),
    (re.compile(r"(?<![\w*])\*(?!\s)(.+?)(?<!\s)\*(?![\w*])"), r"\\fI\1\\fR"),
    (re.compile(r"\[([^\]]+)\]\([^)]+\)"), r"\1"),
)


def escape(text: str) -> str:
    """Return `text` with what roff would interpret escaped."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in {".", "'"} else text


def inline(text: str) -> str:
    """Return one line of text with its emphasis in roff."""
    text = escape(text)
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return text


class Renderer:
    """Turns the lines of one page into roff, block by block."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.is_in_fence = False
        self.is_after_blank = True

    def line(self, text: str, following: str) -> None:
        """Take one line; `following` is the next one."""
        if text.startswith("```"):
            self.is_in_fence = not self.is_in_fence
            self.out += [".PP", ".nf", ".RS 4"] if self.is_in_fence else [".RE", ".fi"]
        elif self.is_in_fence:
            self.out.append(escape(text))
        elif not text.strip():
            self.is_after_blank = True
            return
        elif text.startswith("#"):
            self._heading(text)
        elif text.startswith("    ") and self.is_after_blank:
            self.out += [".PP", ".nf", ".RS 4", escape(text.strip()), ".RE", ".fi"]
            return
        elif following.startswith(": "):
            self.out += [".TP", inline(text)]
        elif text.startswith(": "):
            self.out.append(inline(text[2:].strip()))
        elif text.startswith(("- ", "* ")):
            self.out += [".IP \\(bu 2", inline(text[2:])]
        elif text.startswith("|"):
            self._row(text)
        else:
            if self.is_after_blank:
                self.out.append(".PP")
            self.out.append(inline(text.strip()))
        self.is_after_blank = False

    def _heading(self, text: str) -> None:
        level = len(text) - len(text.lstrip("#"))
        name = text.lstrip("#").strip()
        self.out.append(f".SH {escape(name.upper())}" if level <= 2 else f".SS {inline(name)}")

    def _row(self, text: str) -> None:
        cells = [cell.strip() for cell in text.strip("|").split("|")]
        if all(set(cell) <= {"-", ":", " "} for cell in cells):
            return
        self.out += [".TP", inline(cells[0]), inline(" \u2014 ".join(cells[1:]))]


def render(text: str, name: str, section: str) -> str:
    """Return the page as roff."""
    renderer = Renderer()
    lines = [line for line in text.splitlines() if not line.startswith("% ")]
    if lines and lines[0].startswith("# "):
        lines = lines[1:]
    for index, line in enumerate(lines):
        renderer.line(line, lines[index + 1] if index + 1 < len(lines) else "")
    return "\n".join([f'.TH "{name.upper()}" "{section}"', *renderer.out]) + "\n"


def main() -> int:
    """Render every page of the source directory."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.[0-9].md")):
        name, _, section = path.stem.rpartition(".")
        page = render(path.read_text(encoding="utf-8"), name, section)
        (target / path.stem).write_text(page, encoding="utf-8")
        print(target / path.stem)
    return 0


if __name__ == "__main__":
    sys.exit(main())
