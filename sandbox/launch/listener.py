"""Refused calls of a started sandbox: answered and recorded by C, read here at the end."""

from __future__ import annotations

from sandbox._core import ffi, lib
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from sandbox._core import _CData


@record
class Denial:
    """One kind of refused call (struct sbx_denial): numbers of the first, and how many there were.

    Shape: `text` is the path, the address or the operation, cut at 159 bytes; a hint, read from
           memory that the caller may have changed. `pid` is as seen from outside.
    """

    t_ms: int
    arch: int
    nr: int
    args: tuple[int, ...]
    errno: int
    count: int
    pid: int
    comm: bytes
    text: bytes


def denial_of(entry: _CData) -> Denial:
    """Return a struct sbx_denial as a value."""
    return Denial(
        t_ms=entry.t_us // 1000,
        arch=entry.arch,
        nr=entry.nr,
        args=tuple(entry.args[index] for index in range(6)),
        errno=entry.error,
        count=entry.count,
        pid=entry.pid,
        comm=bytes(ffi.buffer(entry.comm)).partition(b"\0")[0],
        text=bytes(ffi.buffer(entry.text)).partition(b"\0")[0],
    )


class Listener:
    """Answers the refused calls of one tree; leaving it as a context lets later ones fail.

    Shape: `fd` is to be polled for reading, -1 once nobody is left under the filter. `error` is
           the errno that says why nothing is recorded, 0 where it is.
    """

    def __init__(self, given: int, plan: bytes, started_us: int) -> None:
        self.fd = given
        self.error = -given if given < 0 else 0
        self._notify: _CData | None = None
        if given < 0:
            self.fd = -1
            return
        self._notify = lib.sbx_notify_open(
            given, ffi.from_buffer("char[]", plan), len(plan), started_us
        )
        if self._notify == ffi.NULL:
            raise MemoryError("no memory for the record of refused calls")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def serve(self) -> None:
        """Answer what is pending, a bounded number of calls, in a few milliseconds at most."""
        if self._notify is not None and lib.sbx_notify_serve(self._notify) < 0:
            self.fd = -1  # open until the end, but there is nothing to poll any more

    def denials(self) -> tuple[Denial, ...]:
        """Return what was recorded, in the order of the first ones."""
        if self._notify is None:
            return ()
        first = lib.sbx_notify_denials(self._notify)
        return tuple(denial_of(first[index]) for index in range(self.count))

    @property
    def count(self) -> int:
        """How many kinds of refused calls were recorded."""
        return 0 if self._notify is None else lib.sbx_notify_count(self._notify)

    @property
    def lost(self) -> int:
        """How many calls found no room in the record."""
        return 0 if self._notify is None else lib.sbx_notify_lost(self._notify)

    def close(self) -> None:
        """Let go of the listener; calls that are refused from now on fail with ENOSYS."""
        if self._notify is not None:
            lib.sbx_notify_close(self._notify)
            self._notify = None
        self.fd = -1
