"""Policy and launch together: run a command behind walls.

The package is also what it is named after: `sandbox.run(["make", "test"])` calls run() of api.py.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_run: Callable[..., Any] | None = None  # kept, since no import works in a late shutdown


class _Room(type(sys)):  # type: ignore[misc]  # the type of modules, without an import
    """A module that can be called."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run a command in a sandbox of its own; see sandbox.run.api.run."""
        global _run
        if _run is None:
            if sys.is_finalizing():
                raise RuntimeError("a sandbox cannot be started while the interpreter shuts down")
            from importlib import import_module  # api.py imports from this package in its turn

            _run = import_module("sandbox.run.api").run
        return _run(*args, **options)


sys.modules[__name__].__class__ = _Room
