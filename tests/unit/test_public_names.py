"""What `import sandbox` offers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sandbox

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_every_public_name_is_there() -> None:
    """Each name of __all__ can be had, and stands in dir()."""
    for name in sandbox.__all__:
        assert getattr(sandbox, name) is not None
        assert name in dir(sandbox)


def test_the_page_names_every_public_name() -> None:
    """docs/api.md knows what the package offers."""
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in sandbox.__all__ if name not in text] == []


def test_importing_the_package_imports_nothing_else() -> None:
    """Neither another module of the package nor anything that takes time."""
    code = "import sys; before = set(sys.modules); import sandbox; print(set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "{'sandbox'}\n"


def test_run_can_be_called_whatever_was_imported_before() -> None:
    """The name stands for the room as well: both ways to it lead to one that can be called."""
    import sandbox.run.api
    import sandbox.run.process

    assert callable(sandbox.run)
    assert sandbox.run.api.run.__name__ == "run"  # type: ignore[attr-defined]  # the room, here
