"""Signals of the caller, passed on to the command while it runs."""

from __future__ import annotations

import os
import signal
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Self

    from sandbox.launch.spawn import Child

_FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCONT,
)
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})


class Forwarding:
    """Forwards signals to `child`, once there is one; a context manager.

    Only a main thread may set handlers; elsewhere the program's own handling stays.
    A signal that was ignored stays so: nohup(1) means what it says.
    """

    def __init__(self) -> None:
        self._child: Child | None = None
        self._early: list[int] = []
        self._previous: dict[int, signal.Handlers] = {}
        self.was_ended = False

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in _FORWARDED:
            self._set(number, self._forward)
        self._set(signal.SIGTSTP, self._stop)
        return self

    def __exit__(self, *_exc: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _set(self, number: int, handler: object) -> None:
        previous = signal.getsignal(number)
        if previous is signal.SIG_IGN or previous is None:
            return
        self._previous[number] = signal.signal(number, handler)  # type: ignore[arg-type,assignment]  # typeshed has no name for the union of both

    def attach(self, child: Child) -> None:
        """Start to forward; signals that came before are delivered now."""
        self._child = child
        for number in self._early:
            child.signal(number)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        if number in _ENDING:
            self.was_ended = True
        if self._child is None:
            self._early.append(number)
        else:
            self._child.signal(number)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: stop the command, then ourselves; CONT wakes both."""
        if self._child is not None:
            self._child.signal(number)
        os.kill(os.getpid(), signal.SIGSTOP)
