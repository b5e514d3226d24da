"""Signals of the caller, passed on to the command while it runs."""

from __future__ import annotations

import os
import signal
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
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
        self._on_resize: Callable[[], None] | None = None
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

    def attach(self, child: Child, on_resize: Callable[[], None] | None = None) -> None:
        """Start to forward; signals that came before are delivered now.

        With `on_resize` the command has a terminal of its own: a new size goes there, and a stop
        of the command stops us (see stop_group).
        """
        self._child = child
        self._on_resize = on_resize
        for number in self._early:
            child.signal(number)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        if number in _ENDING:
            self.was_ended = True
        if number == signal.SIGWINCH and self._on_resize is not None:
            self._on_resize()
            return
        if self._child is None:
            self._early.append(number)
        else:
            self._child.signal(number)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: stop the command, then ourselves; CONT wakes both.

        With a terminal pid 1 reports the command's stop, and ours follows from that.
        """
        if self._child is not None:
            self._child.signal(number)
            if self._on_resize is not None:
                return
        os.kill(os.getpid(), signal.SIGSTOP)

    def stop_group(self, number: int) -> None:
        """Stop our process group by `number`, as the terminal would; return when it goes on.

        A group that no shell waits for is not stopped by the kernel: this returns at once. So it
        does outside of the main thread, where the program's own handling stays.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        handler = signal.getsignal(number)
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
        try:
            os.killpg(os.getpgrp(), number)
        finally:
            if handler is not None:
                signal.signal(number, handler)
