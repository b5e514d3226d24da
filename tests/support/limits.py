"""A hard time limit for every phase of every test.

SIGALRM ends a test that waits in Python or in an interruptible system call. A test that does not
come back even then is stuck in C: the interpreter dumps its stacks and ends, rather than hang.
"""

from __future__ import annotations

import faulthandler
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STUCK_AFTER_S = 20.0


class TimeLimitExceeded(BaseException):
    """The test took too long; no `except Exception` of the code under test may swallow it."""


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Raise TimeLimitExceeded in the block when it takes longer than `seconds`."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TimeLimitExceeded(f"{what} took longer than {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, ring)
    faulthandler.dump_traceback_later(seconds + STUCK_AFTER_S, exit=True)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, previous)
