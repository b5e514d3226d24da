"""The command's standard streams: what the caller gave for them, and our ends of the pipes."""

from __future__ import annotations

import os

from sandbox.errors import UsageError
from sandbox.run.exchange import Pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class HasFileno(Protocol):
        """An open file, socket or pipe."""

        def fileno(self) -> int:
            """Return its descriptor."""

    Stream = int | HasFileno | None

# The numbers of the `subprocess` module, so that either name serves.
PIPE, STDOUT, DEVNULL = -1, -2, -3
_NAMES = ("stdin", "stdout", "stderr")


class Stdio:
    """Descriptors 0-2 of a command, opened; whoever holds it closes it.

    Shape: `fds` are to be handed to the command, `pipes` are our ends of what is PIPE.
    """

    def __init__(self, stdin: Stream, stdout: Stream, stderr: Stream) -> None:
        self._theirs: list[int] = []
        self._ours = [-1, -1, -1]
        self._null = -1
        self.fds: dict[int, int] = {}
        try:
            for number, stream in enumerate((stdin, stdout, stderr)):
                self.fds[number] = self._open(number, stream)
        except BaseException:
            self.close()
            raise

    @property
    def pipes(self) -> Pipes:
        """Our ends; -1 where there is none."""
        return Pipes(*self._ours)

    def _open(self, number: int, stream: Stream) -> int:
        if stream is None:
            return number if is_open(number) else self._devnull()
        if stream == PIPE:
            return self._pipe(number)
        if stream == DEVNULL:
            return self._devnull()
        if stream == STDOUT and number == 2:
            return self.fds[1]
        fd = stream if isinstance(stream, int) else stream.fileno()
        if isinstance(fd, bool) or fd < 0 or not is_open(fd):
            raise UsageError(
                f"{_NAMES[number]}={stream!r} is no open file",
                hint="PIPE, DEVNULL, None for the caller's own, or an open file or descriptor"
                + ("; STDOUT too" if number == 2 else ""),
                code="usage.stream",
            )
        return fd

    def _pipe(self, number: int) -> int:
        reader, writer = os.pipe()
        ours, theirs = (writer, reader) if number == 0 else (reader, writer)
        self._ours[number] = ours
        self._theirs.append(theirs)
        return theirs

    def _devnull(self) -> int:
        if self._null < 0:
            self._null = os.open(os.devnull, os.O_RDWR)
            self._theirs.append(self._null)
        return self._null

    def close_theirs(self) -> None:
        """Close what only the command shall hold."""
        for fd in self._theirs:
            os.close(fd)
        self._theirs = []

    def take(self, number: int) -> int:
        """Hand over our end of a pipe: it is no longer closed here."""
        fd, self._ours[number] = self._ours[number], -1
        return fd

    def close_ours(self, number: int) -> None:
        """Close our end of a pipe, if there is one."""
        fd = self.take(number)
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        """Close everything that is still ours. May be called twice."""
        self.close_theirs()
        for number in range(3):
            self.close_ours(number)


def is_open(fd: int) -> bool:
    """Say whether a descriptor of this process is open."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
