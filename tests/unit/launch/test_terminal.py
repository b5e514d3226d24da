"""The relay's parts that need no sandbox: which terminals, which modes, which bytes."""

from __future__ import annotations

import os
import termios
from collections.abc import Iterator
from contextlib import closing

import pytest

from sandbox.launch import terminal
from sandbox.launch.spawn import Child
from sandbox.plan.model import FD_TERMINAL, FdMap, MountKind
from sandbox.record import replace
from support.plans import bare_plan, full_plan, made_invocations

STANDARD = (FdMap(0, 0), FdMap(1, 1), FdMap(2, 2))


@pytest.fixture
def pty() -> Iterator[tuple[int, int]]:
    """The two ends of a pseudo-terminal that is nobody's controlling one."""
    master, slave = os.openpty()
    with closing(os.fdopen(master, "rb", buffering=0)), closing(os.fdopen(slave, "rb")):
        yield master, slave


class FakeChild(Child):
    """A child that only has a terminal, and remembers its signals."""

    def __init__(self, master: int) -> None:
        self.master = master
        self.signals: list[int] = []

    def terminal(self) -> int:
        """The master, as the core would hand it over."""
        return os.dup(self.master)

    def signal(self, number: int) -> None:
        """Remember the signal."""
        self.signals.append(number)


def made(slave: int, *, count: object = None, is_foreground: bool = True) -> terminal.Terminal:
    """A relay on `slave` as the caller's terminal."""
    return terminal.Terminal(
        (FdMap(slave, 0), FdMap(slave, 1)),
        is_foreground=is_foreground,
        count=count,  # type: ignore[arg-type]  # a callable or None
        stop=lambda _number: None,
    )


def test_terminals_are_found_among_the_standard_streams(pty: tuple[int, int]) -> None:
    """Pipes, files and descriptors above 2 are none."""
    reader, writer = os.pipe()
    fds = (FdMap(pty[1], 2), FdMap(reader, 1), FdMap(pty[1], 0), FdMap(pty[1], 3), FdMap(-1, 1))
    assert terminal.find_terminals(fds) == (FdMap(pty[1], 0), FdMap(pty[1], 2))
    os.close(reader)
    os.close(writer)


def test_only_terminals_are_replaced(pty: tuple[int, int]) -> None:
    """The invocation keeps its other streams, and names the terminal whose modes are copied."""
    file = os.open(os.devnull, os.O_RDWR)
    fds = (FdMap(pty[1], 0), FdMap(file, 1), FdMap(file, 2))
    small = replace(made_invocations()["small"], fds=fds)
    found = terminal.with_terminal(small, full_plan(), terminal.find_terminals(small.fds))
    os.close(file)
    assert found.fds == (FdMap(FD_TERMINAL, 0), FdMap(file, 1), FdMap(file, 2))
    assert found.terminal is not None
    assert (found.terminal.source, found.terminal.is_foreground) == (pty[1], True)


def test_output_into_a_pipe_starts_in_the_background(pty: tuple[int, int]) -> None:
    """What reads the pipe may want the keys."""
    reader, writer = os.pipe()
    fds = (FdMap(pty[1], 0), FdMap(writer, 1))
    small = replace(made_invocations()["small"], fds=fds)
    found = terminal.with_terminal(small, full_plan(), terminal.find_terminals(fds))
    assert found.terminal is not None
    assert not found.terminal.is_foreground
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("has_devices", [True, False])
def test_view_has_a_devpts(has_devices: bool, pty: tuple[int, int]) -> None:
    """A policy without devices gets one for the terminal, and only then."""
    plan = full_plan()
    if not has_devices:
        plan = replace(plan, mounts=tuple(o for o in plan.mounts if o.kind != MountKind.DEVPTS))
    small = replace(made_invocations()["small"], fds=(FdMap(pty[1], 0),))
    found = terminal.with_terminal(small, plan, small.fds)
    assert [op.kind for op in found.extra_mounts] == [] if has_devices else [MountKind.DEVPTS]
    assert terminal.with_terminal(small, bare_plan(), small.fds).extra_mounts == ()


def test_modes_are_raw_and_then_as_before(pty: tuple[int, int]) -> None:
    """Every byte passes while it is taken; afterwards not a bit is different."""
    before = termios.tcgetattr(pty[1])
    inner_master, inner_slave = os.openpty()
    with made(pty[1]) as relay:
        relay.start(FakeChild(inner_master))
        iflag, oflag, _cflag, lflag, *_rest = termios.tcgetattr(pty[1])
        assert not lflag & (termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
        assert not iflag & (termios.ICRNL | termios.IXON)
        assert not oflag & termios.OPOST
    assert termios.tcgetattr(pty[1]) == before
    os.close(inner_master)
    os.close(inner_slave)


def test_the_callers_descriptor_keeps_its_flags(pty: tuple[int, int]) -> None:
    """O_NONBLOCK would reach everybody who shares the terminal."""
    with made(pty[1]):
        assert os.get_blocking(pty[1])


def test_bytes_pass_both_ways_and_are_counted(pty: tuple[int, int]) -> None:
    """Keys in, output out; the limit's counter sees and cuts the output."""
    seen: list[bytes] = []

    def count(chunk: bytes) -> bytes:
        seen.append(chunk)
        return chunk[:3]

    master, slave = pty
    inner_master, inner_slave = os.openpty()
    with made(slave, count=count) as relay:
        relay.start(FakeChild(inner_master))
        os.write(inner_slave, b"abcdef")
        relay.flush()
        assert (b"".join(seen), os.read(master, 100)) == (b"abcdef", b"abc")
        os.write(master, b"key\r")
        relay.handle(relay.interests()[-1][0], 1)
        assert os.read(inner_slave, 100) == b"key\n"
    os.close(inner_master)
    os.close(inner_slave)


def test_drain_ends_with_the_last_writer(pty: tuple[int, int]) -> None:
    """What was written before the end arrives, and the end is noticed."""
    inner_master, inner_slave = os.openpty()
    with made(pty[1]) as relay:
        relay.start(FakeChild(inner_master))
        os.write(inner_slave, b"last")
        os.close(inner_slave)
        assert relay.drain(5.0)
        assert os.read(pty[0], 100) == b"last"
        assert [fd for fd, _events in relay.interests()] == [relay.interests()[-1][0]]
    os.close(inner_master)


def test_drain_gives_up_on_a_terminal_that_takes_nothing(pty: tuple[int, int]) -> None:
    """A limit that ended the run is not held up."""
    inner_master, inner_slave = os.openpty()
    with made(pty[1]) as relay:
        relay.start(FakeChild(inner_master))
        os.set_blocking(inner_slave, False)
        for _ in range(2000):
            try:
                os.write(inner_slave, b"x" * 1024)
            except BlockingIOError:
                relay.flush()
        assert not relay.drain(0.2)
    os.close(inner_master)
    os.close(inner_slave)


def test_hung_up_terminal_ends_the_input(pty: tuple[int, int]) -> None:
    """Without the caller's terminal the command is told, and nothing is polled for ever."""
    master, slave = os.openpty()
    inner_master, inner_slave = os.openpty()
    child = FakeChild(inner_master)
    with made(slave) as relay:
        relay.start(child)
        os.close(master)
        (found,) = [fd for fd, events in relay.interests() if fd != relay.interests()[0][0]]
        relay.handle(found, 0x10)
        assert child.signals == [1]
        assert len(relay.interests()) == 1
        os.write(inner_slave, b"dropped")
        relay.flush()
        assert len(relay.interests()) == 1
    for fd in (slave, inner_master, inner_slave):
        os.close(fd)


def test_first_read_in_the_background_takes_the_terminal(pty: tuple[int, int]) -> None:
    """A stop by SIGTTIN is a request; it is granted and the command goes on."""
    inner_master, inner_slave = os.openpty()
    child = FakeChild(inner_master)
    before = termios.tcgetattr(pty[1])
    with made(pty[1], is_foreground=False) as relay:
        relay.start(child)
        assert termios.tcgetattr(pty[1]) == before
        assert relay.recheck_ms is None
        relay.stopped(21)
        assert termios.tcgetattr(pty[1]) != before
        assert termios.tcgetattr(inner_slave)[1] == before[1]
        assert child.signals == [18]
    os.close(inner_master)
    os.close(inner_slave)


def test_stop_gives_the_terminal_back_meanwhile(pty: tuple[int, int]) -> None:
    """While we are stopped the modes are the caller's, afterwards raw again."""
    inner_master, inner_slave = os.openpty()
    child = FakeChild(inner_master)
    before = termios.tcgetattr(pty[1])
    during = []
    relay = terminal.Terminal(
        (FdMap(pty[1], 0),),
        is_foreground=True,
        count=None,
        stop=lambda number: during.append((number, termios.tcgetattr(pty[1]))),
    )
    with relay:
        relay.start(child)
        relay.stopped(20)
        assert during == [(20, before)]
        assert termios.tcgetattr(pty[1]) != before
        assert child.signals == [18]
    os.close(inner_master)
    os.close(inner_slave)
