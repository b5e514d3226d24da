"""When a pool or a session cannot be used, and how that is said."""

from __future__ import annotations

import os
import sys

from sandbox.errors import SetupError, StateError


def check_usable(what: str, owner: int, *, is_closed: bool) -> None:
    """Refuse what a pool or a session cannot do any more.

    Errors: StateError in a forked child, after close(), and while the interpreter shuts down.
    """
    if os.getpid() != owner:
        raise StateError(
            f"this {what} belongs to the process {owner}, of which this one is a fork",
            hint=f"use it there, or make a {what} here",
            code="state.forked",
        )
    if is_closed:
        raise StateError(
            f"this {what} was closed", hint=f"make another {what}", code="state.closed"
        )
    if sys.is_finalizing():
        raise StateError(
            "a sandbox cannot be started while the interpreter shuts down",
            hint="start it earlier, for example from a function that atexit calls",
            code="state.shutdown",
        )


def gone(what: str) -> SetupError:
    """The error of a sandbox that was killed from outside."""
    return SetupError(
        f"the sandbox of this {what} is gone: its first process was killed, or a limit on the"
        " whole sandbox was reached",
        hint=f"close this {what} and make another one; `result` says how it ended",
        code="setup.gone",
    )
