"""A person at a terminal: a pseudo-terminal, a session on it, keys typed and the screen read."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

DEFAULT_TIMEOUT_S = 20.0
PROMPT = "outer% "  # of the shell that a test starts the program from
_CHUNK = 1 << 16


class Person:
    """`argv` runs as the leader of a session whose controlling terminal is ours.

    Shape: `seen` is everything that appeared so far; `expect` consumes it up to its match.
    """

    def __init__(
        self,
        argv: Sequence[object],
        *,
        cwd: Path,
        env: Mapping[str, str],
        size: tuple[int, int] = (24, 80),
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        owner: int = -1,
    ) -> None:
        self.master, self.slave = os.openpty()
        os.fchown(self.slave, owner, -1)  # as login(1) does
        self.resize(*size)
        self.seen = b""
        self._at = 0
        slave = self.slave

        def lead() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [str(word) for word in argv],
            cwd=cwd,
            env=dict(env),
            stdin=slave if stdin is None else stdin,
            stdout=slave if stdout is None else stdout,
            stderr=slave if stderr is None else stderr,
            preexec_fn=lead,  # noqa: PLW1509 - the tests that use it start no threads
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for fd in (self.master, self.slave):
            os.close(fd)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the window; the kernel tells the foreground group."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def modes(self) -> list[object]:
        """Return the terminal's modes as tcgetattr(3) gives them."""
        return termios.tcgetattr(self.slave)

    @contextmanager
    def modes_kept(self) -> Iterator[None]:
        """The modes are the same afterwards, byte for byte."""
        before = self.modes()
        yield
        deadline_s = time.monotonic() + 10
        while self.modes() != before and time.monotonic() < deadline_s:
            self.read_some(0.05)
        assert self.modes() == before

    def is_taken(self) -> bool:
        """Whether keys make no signals: raw mode, which a shell's line editor never is in."""
        return not int(str(self.modes()[3])) & termios.ISIG

    def wait_taken(self) -> None:
        """Wait until the relay has the terminal."""
        deadline_s = time.monotonic() + DEFAULT_TIMEOUT_S
        while not self.is_taken():
            assert time.monotonic() < deadline_s, self.seen
            self.read_some(0.02)

    def type(self, keys: str | bytes) -> None:
        """Press keys."""
        data = keys.encode() if isinstance(keys, str) else keys
        while data:
            data = data[os.write(self.master, data) :]

    def read_some(self, timeout_s: float) -> bytes:
        """Wait for output; return what came, b"" for none."""
        ready, _, _ = select.select([self.master], [], [], timeout_s)
        if not ready:
            return b""
        chunk = os.read(self.master, _CHUNK)
        self.seen += chunk
        return chunk

    def expect(self, pattern: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> re.Match[bytes]:
        """Wait until `pattern` appears after the last match; fail with what appeared instead."""
        compiled = re.compile(pattern.encode(), re.DOTALL)
        deadline_s = time.monotonic() + timeout_s
        while True:
            found = compiled.search(self.seen, self._at)
            if found is not None:
                self._at = found.end()
                return found
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                rest = self.seen[self._at :]
                raise AssertionError(f"{pattern!r} did not appear in {timeout_s} s: {rest!r}")
            self.read_some(left_s)

    def unread(self) -> bytes:
        """Return what appeared after the last match, without waiting for more than is there."""
        while self.read_some(0.2):
            continue
        return self.seen[self._at :]

    def signal(self, number: signal.Signals) -> None:
        """Signal the session's leader alone."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float = DEFAULT_TIMEOUT_S) -> int:
        """Read on until the leader has ended; return its exit code."""
        deadline_s = time.monotonic() + timeout_s
        while self.process.poll() is None:
            if time.monotonic() > deadline_s:
                raise AssertionError(f"still running: {self.seen[self._at :]!r}")
            self.read_some(0.02)
        while self.read_some(0.05):
            continue
        return self.process.returncode
