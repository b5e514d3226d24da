"""The output limit's relay."""

from __future__ import annotations

import os
import select
from contextlib import contextmanager

from sandbox.plan.model import FdMap
from sandbox.run.relay import Relay, limited_targets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def read_all(fd: int) -> bytes:
    """Everything until the last writer is gone."""
    data = b""
    while chunk := os.read(fd, 65536):
        data += chunk
    return data


class Set:
    """A relay onto a pipe: `source` is written to as a command would, `reader` is our reader."""

    def __init__(self, limit_bytes: int) -> None:
        self.reader, self.destination = os.pipe()
        fds = (FdMap(0, 0), FdMap(self.destination, 1), FdMap(self.destination, 2))
        self.relay = Relay(fds, limit_bytes)
        self.targets = {fd.target: fd.source for fd in self.relay.fds}
        self.source = os.dup(self.targets[1])

    def write_and_end(self, data: bytes) -> bytes:
        """Write as the command, end as it would, and return what came out."""
        self.relay.release_writers()
        os.write(self.source, data)
        os.close(self.source)
        self.relay.drain(5)
        os.close(self.destination)
        return read_all(self.reader)


@contextmanager
def made(limit_bytes: int) -> Iterator[Set]:
    """A Set whose relay and reader are closed afterwards."""
    it = Set(limit_bytes)
    with it.relay:
        yield it
    os.close(it.reader)


def test_output_passes_and_is_counted() -> None:
    """Below the limit nothing changes."""
    with made(100) as it:
        assert it.write_and_end(b"hello") == b"hello"
        assert (it.relay.total_bytes, it.relay.is_truncated) == (5, False)


def test_output_over_the_limit_is_cut_and_announced() -> None:
    """Exactly the limit passes; the supervisor's descriptor becomes readable."""
    with made(10) as it:
        assert it.write_and_end(b"x" * 64) == b"x" * 10
        ready, _writable, _failed = select.select([it.relay.full_fd], [], [], 5)
        assert (ready, it.relay.is_truncated) == ([it.relay.full_fd], True)


def test_output_of_exactly_the_limit_is_whole() -> None:
    """The limit is the last byte that passes, not the first that does not."""
    with made(10) as it:
        assert it.write_and_end(b"x" * 10) == b"x" * 10
        assert not it.relay.is_truncated


def test_streams_of_one_file_share_a_pipe() -> None:
    """Lines of stdout and stderr keep their order in a common log."""
    with made(10) as it:
        assert it.targets[1] == it.targets[2]
        it.write_and_end(b"")


def test_a_terminal_is_not_counted() -> None:
    """A terminal through a pipe would be none: it is left alone."""
    main, side = os.openpty()
    reader, writer = os.pipe()
    found = limited_targets((FdMap(side, 1), FdMap(writer, 2), FdMap(0, 0), FdMap(writer, 7)))
    assert found == (FdMap(writer, 2),)
    for fd in (main, side, reader, writer):
        os.close(fd)
