"""Captures the command's stdout and stderr for `--json`."""

from __future__ import annotations

import os
import threading

from sandbox.launch.result import output_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

# Kept of each stream; the rest is read and dropped, so that the command never blocks on it.
KEPT_BYTES = 64 << 20
_CHUNK = 1 << 16


class Capture:
    """Two pipes, read by one thread each until the last writer is gone.

    Use as a context manager around the run; leaving it closes our ends and waits for the threads.
    Pipes rather than files: a file could be seeked to a size that no memory holds.
    """

    def __init__(self) -> None:
        self._kept: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._threads: list[threading.Thread] = []
        self._writers: list[int] = []
        self.total_bytes = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        for name in self._kept:
            reader, writer = os.pipe()
            thread = threading.Thread(target=self._read, args=(name, reader), daemon=True)
            self._threads.append(thread)
            self._writers.append(writer)
            thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for writer in self._writers:
            os.close(writer)
        for thread in self._threads:
            thread.join()

    @property
    def writers(self) -> tuple[int, int]:
        """The descriptors that stand for the command's stdout and stderr."""
        return self._writers[0], self._writers[1]

    @property
    def is_truncated(self) -> bool:
        """Whether more was written than is kept."""
        return self.total_bytes > sum(len(kept) for kept in self._kept.values())

    def data(self) -> dict[str, str]:
        """Return the members of the result: text, or base64 where it is not UTF-8."""
        members: dict[str, str] = {}
        for name, kept in self._kept.items():
            members.update(output_data(name, bytes(kept)))
        return members

    def _read(self, name: str, reader: int) -> None:
        kept = self._kept[name]
        try:
            while chunk := os.read(reader, _CHUNK):
                kept += chunk[: KEPT_BYTES - len(kept)]
                with self._lock:
                    self.total_bytes += len(chunk)
        finally:
            os.close(reader)
