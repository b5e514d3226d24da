"""Check the documents: links lead somewhere, commands and make targets named in them exist.

Prints one line for each defect; exit code 1 if there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)(#[^)]*)?\)")
TARGET = re.compile(r"`make ([a-z-]+)")
COMMAND = re.compile(r"(?:^|[`$ ])sandbox ([a-z]+)(?=[ `\n])")
DECISION_MAX_LINES = 60


def documents() -> list[Path]:
    """Return every Markdown file of the project."""
    skip = {".venv", "build", "node_modules"}
    found = sorted(ROOT.rglob("*.md"))
    return [path for path in found if not skip.intersection(path.relative_to(ROOT).parts)]


def make_targets() -> set[str]:
    """Return the targets of the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))


def commands() -> set[str]:
    """Return the commands that have a man page."""
    return {
        path.name.split(".")[0].partition("-")[2] for path in ROOT.glob("docs/man/sandbox-*.md")
    }


def blocks(text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield each line with its number and whether it is code."""
    is_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            is_code = not is_code
            continue
        yield number, line, is_code or line.startswith("    ")


def defects(path: Path) -> Iterator[str]:
    """Yield one line for each defect of one document."""
    text = path.read_text(encoding="utf-8")
    where = path.relative_to(ROOT)
    targets, known = make_targets(), commands()
    for number, line, is_code in blocks(text):
        if not is_code:
            for match in LINK.finditer(line):
                link = match[1]
                if "://" not in link and not (path.parent / link).exists():
                    yield f"{where}:{number}: the link to {link} leads nowhere"
        for name in TARGET.findall(line):
            if name not in targets:
                yield f"{where}:{number}: there is no `make {name}`"
        if is_code and line.strip().startswith("$ sandbox "):
            word = line.split()[2]
            if not word.startswith("-") and word not in known:
                yield f"{where}:{number}: there is no command `sandbox {word}`"
    if path.parent.name == "decisions" and len(text.splitlines()) > DECISION_MAX_LINES:
        yield f"{where}: longer than {DECISION_MAX_LINES} lines"


def main() -> int:
    """Check every document."""
    found = [line for path in documents() for line in defects(path)]
    print("\n".join(found) if found else f"{len(documents())} documents, no defect")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
