"""Policy and launch together: run a command behind walls.

The package is also what it is named after: `sandbox.run(["make", "test"])` calls run() of api.py.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Room(type(sys)):  # type: ignore[misc]  # the type of modules, without an import
    """A module that can be called."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run a command in a sandbox of its own; see sandbox.run.api.run."""
        from sandbox.run.api import run

        return run(*args, **options)


sys.modules[__name__].__class__ = _Room
