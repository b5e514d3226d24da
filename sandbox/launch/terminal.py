"""The terminal relay: the command has a pseudo-terminal of its own, and its bytes pass here.

The caller's terminal is in raw mode while the command may read it: every key goes to the command's
terminal, whose line discipline makes signals of Ctrl-C and Ctrl-Z inside. The command cannot push
input into the caller's terminal, because it never has it.

When it is taken:
- at once, where the caller's process group is in the foreground and stdout is no pipe;
- otherwise when the command first reads its terminal or changes its modes, which stops it (SIGTTIN,
  SIGTTOU) since it starts in the background. So `sandbox exec ls | less` leaves the keys to less,
  and a job started with & waits for its `fg`, as it would without a sandbox.
"""

from __future__ import annotations

import os
import select
import stat
import termios
import time

from sandbox.plan.model import FD_TERMINAL, FdMap, MountKind, MountOp, OwnTerminal, SlotPath
from sandbox.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self

    from sandbox.launch.spawn import Child
    from sandbox.plan.model import Invocation, Plan

_STANDARD = (0, 1, 2)
_CHUNK = 1 << 16
_PENDING_MAX = 1 << 16  # held for the caller's terminal before the command has to wait
_KEYS_MAX = 1 << 12
_FLUSH_STEPS = 64
_SIGHUP, _SIGCONT, _SIGTSTP, _SIGTTIN, _SIGTTOU = 1, 18, 20, 21, 22
_RECHECK_MS = 250
_IDLE_S = 0.5  # a terminal that somebody still holds after the end, and nobody writes
_STALL_S = 10.0  # a caller's terminal that takes nothing any more
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


def find_terminals(fds: tuple[FdMap, ...]) -> tuple[FdMap, ...]:
    """Return those of the command's standard streams that are terminals, in the order of numbers.

    Shape: cheap and without effect; most runs of programs and scripts have none.
    """
    found = (fd for fd in fds if fd.target in _STANDARD and os.isatty(fd.source))
    return tuple(sorted(found, key=lambda fd: fd.target))


def with_terminal(invocation: Invocation, plan: Plan, terminals: tuple[FdMap, ...]) -> Invocation:
    """Return the invocation with a terminal of its own in place of the caller's `terminals`."""
    fds = tuple(FdMap(FD_TERMINAL, fd.target) if fd in terminals else fd for fd in invocation.fds)
    has_pipe = any(fd.target == 1 and _is_pipe(fd.source) for fd in invocation.fds)
    source = terminals[0].source
    own = OwnTerminal(source, is_foreground=not has_pipe and _is_foreground(source))
    mounts = invocation.extra_mounts
    if plan.namespaces and not any(op.kind is MountKind.DEVPTS for op in plan.mounts):
        # a policy without devices: the terminal has to be somewhere
        mounts += (MountOp(MountKind.DEVPTS, SlotPath(b"/dev/pts"), origin="the terminal"),)
    return replace(invocation, fds=fds, terminal=own, extra_mounts=mounts)


def _is_pipe(fd: int) -> bool:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _is_foreground(fd: int) -> bool:
    """Whether the terminal is ours to read. One that is not our controlling terminal always is."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return True


class Terminal:
    """The caller's terminal and the master of the command's; a context manager.

    `count` is asked how much of an output chunk may pass (the limit on output); `stop` stops the
    caller's process group by a signal and returns when it goes on. Leaving gives the terminal back.
    """

    def __init__(
        self,
        terminals: tuple[FdMap, ...],
        *,
        is_foreground: bool,
        count: Callable[[bytes], bytes] | None,
        stop: Callable[[int], None],
    ) -> None:
        by_target = {fd.target: fd.source for fd in terminals}
        outputs = [by_target[target] for target in (1, 2, 0) if target in by_target]
        self._modes_fd = terminals[0].source
        self._input = _reopen(self._modes_fd, os.O_RDONLY)
        self._output = _reopen(outputs[0], os.O_WRONLY)
        # where it could not be opened anew a write may block: small pieces block briefly
        is_own = self._output < 0 or not os.get_blocking(self._output)
        self._piece = _PENDING_MAX * 2 if is_own else _KEYS_MAX
        self._count = count
        self._stop = stop
        self._is_wanted = is_foreground
        self._has_modes = is_foreground  # the command's has the caller's, see csrc/terminal.c
        self._is_held = False  # the command is stopped until the terminal is ours
        self._saved: list[Any] | None = None
        self._child: Child | None = None
        self._master = -1
        self._keys = b""
        self._pending = b""
        self._is_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.give_back()
        for fd in (self._input, self._output, self._master):
            if fd >= 0:
                os.close(fd)
        self._input = self._output = self._master = -1

    def start(self, child: Child) -> None:
        """Begin to relay for a command that was started."""
        self._child = child
        self._master = child.terminal()
        os.set_blocking(self._master, False)
        if self._is_wanted:
            self._take()
        self.resize()

    # ------------------------------------------------------------------- the caller's terminal

    def _take(self) -> bool:
        """Put the caller's terminal into raw mode, if it is ours to take; return whether it is."""
        if self._saved is not None:
            return True
        if not _is_foreground(self._modes_fd):
            return False
        try:
            saved = termios.tcgetattr(self._modes_fd)
            termios.tcsetattr(self._modes_fd, termios.TCSANOW, _raw(saved))
        except termios.error:
            return True  # it was hung up: there is nothing to take
        self._saved = saved
        if not self._has_modes:
            self._has_modes = True
            termios.tcsetattr(self._master, termios.TCSANOW, saved)
        return True

    def give_back(self) -> None:
        """Restore the modes that the caller's terminal had when it was taken."""
        if self._saved is None:
            return
        import signal

        saved, self._saved = self._saved, None
        # in the background tcsetattr(3) would stop us, unless SIGTTOU is blocked
        old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            termios.tcsetattr(self._modes_fd, termios.TCSANOW, saved)
        except termios.error:
            return  # it was hung up
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

    def resize(self) -> None:
        """Give the command's terminal the caller's size; the kernel signals it where it changed."""
        try:
            termios.tcsetwinsize(self._master, termios.tcgetwinsize(self._modes_fd))
        except (OSError, termios.error):
            return  # one of them has gone

    # --------------------------------------------------------------------------- job control

    @property
    def recheck_ms(self) -> int | None:
        """How long until `recheck()` is due; None while there is nothing to wait for.

        A shell that brings a running job to the foreground sends no signal, so we have to look.
        """
        is_waiting = self._is_wanted and self._saved is None and self._input >= 0
        return _RECHECK_MS if is_waiting else None

    def recheck(self) -> None:
        """Take the terminal if it is ours by now; let a command go on that waits for it."""
        if self.recheck_ms is not None and self._take():
            self.resize()
            self._release()

    def stopped(self, number: int) -> None:
        """The command was stopped by a signal: for the terminal's sake, or by its user."""
        if number in (_SIGTTIN, _SIGTTOU):
            self._is_wanted = self._is_held = True
            self.flush()  # before raw mode: its lines end here as they were written
            if not self._take():
                self._stop(_SIGTTIN)
            self.recheck()
            if self._saved is not None:
                self._release()
            return
        self.flush()
        self.give_back()
        self._stop(_SIGTSTP)
        if self._is_wanted:
            self._take()
        self.resize()
        self._signal(_SIGCONT)

    def _release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._signal(_SIGCONT)

    def _signal(self, number: int) -> None:
        if self._child is not None:
            self._child.signal(number)

    # ----------------------------------------------------------------------------- the relay

    def interests(self) -> list[tuple[int, int]]:
        """Return the descriptors to poll, and for what."""
        found = []
        master = 0 if self._is_ended or len(self._pending) >= _PENDING_MAX else select.POLLIN
        if self._keys:
            master |= select.POLLOUT
        if master:
            found.append((self._master, master))
        if self._pending and self._output >= 0:
            found.append((self._output, select.POLLOUT))
        if self._saved is not None and self._input >= 0 and len(self._keys) < _KEYS_MAX:
            found.append((self._input, select.POLLIN))
        return found

    def handle(self, fd: int, events: int) -> None:
        """Do what `events` of one of the polled descriptors allow."""
        if fd == self._master:
            if events & (select.POLLIN | _GONE):
                self._read_master()
            if events & select.POLLOUT:
                self._write_master()
        elif fd == self._output:
            self._write_output()
        elif fd == self._input:
            self._read_keys(is_gone=bool(events & _GONE))

    def _read_keys(self, *, is_gone: bool) -> None:
        try:
            keys = os.read(self._input, _KEYS_MAX)
        except BlockingIOError:
            return
        except OSError:
            keys, is_gone = b"", True
        self._keys += keys
        self._write_master()
        if is_gone and not keys:
            os.close(self._input)
            self._input = -1
            self._signal(_SIGHUP)  # as the kernel does to those who have the terminal

    def _write_master(self) -> None:
        while self._keys:
            try:
                self._keys = self._keys[os.write(self._master, self._keys) :]
            except BlockingIOError:
                return
            except OSError:
                self._keys = b""  # nobody has the other end any more

    def _read_master(self) -> None:
        try:
            chunk = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""  # EIO: the last one closed the other end
        if not chunk:
            self._is_ended = True
            return
        if self._count is not None:
            chunk = self._count(chunk)
        self._pending += chunk
        self._write_output()

    def _write_output(self) -> None:
        while self._pending:
            if self._output < 0:
                self._pending = b""
                return
            try:
                done = os.write(self._output, self._pending[: self._piece])
            except BlockingIOError:
                return
            except OSError:
                os.close(self._output)
                self._output = -1
                continue
            self._pending = self._pending[done:]

    def flush(self) -> None:
        """Pass on what is there, without waiting: a stop or pid 1's end comes next."""
        for _ in range(_FLUSH_STEPS):  # a command that never pauses does not keep us
            if not self._step(0):
                return

    def drain(self, timeout_s: float | None) -> bool:
        """Pass on everything to the end of the command's output; return whether it all went.

        Shape: gives up on a caller's terminal that takes nothing for ten seconds, or after
               `timeout_s`; and on an end that does not come, because a process outside of pid 1's
               reach still has the terminal.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._is_ended or self._pending:
            idle_s = _STALL_S if self._pending else _IDLE_S
            if deadline_s is not None:
                idle_s = min(idle_s, deadline_s - time.monotonic())
            if idle_s <= 0 or not self._step(int(idle_s * 1000)):
                return not self._pending
        return True

    def _step(self, timeout_ms: int) -> bool:
        """Wait for output or room for it; return whether there was any."""
        poller = select.poll()
        is_polled = False
        for fd, events in self.interests():
            if fd != self._input:
                poller.register(fd, events & ~(select.POLLOUT if fd == self._master else 0))
                is_polled = True
        ready = poller.poll(timeout_ms) if is_polled else []
        for fd, events in ready:
            self.handle(fd, events)
        return bool(ready)


def _raw(modes: list[Any]) -> list[Any]:
    """Return `modes` with every byte passing as it is (cfmakeraw(3)), and reads that never wait."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, characters = modes
    iflag &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    characters = list(characters)
    characters[termios.VMIN] = characters[termios.VTIME] = 0
    return [
        iflag,
        oflag & ~termios.OPOST,
        cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8,
        lflag,
        ispeed,
        ospeed,
        characters,
    ]


def _reopen(fd: int, access: int) -> int:
    """Return a descriptor of the same terminal that never waits, or -1 where `access` is not had.

    O_NONBLOCK on the caller's own would reach every process that shares it, so it is opened anew;
    where the node may not be opened (after su(1), say), a copy has to do.
    """
    try:
        flags = access | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        opened = os.open(f"/proc/self/fd/{fd}", flags)
        if os.fstat(opened).st_rdev == os.fstat(fd).st_rdev:
            return opened
        os.close(opened)
    except OSError:
        pass  # no /proc, or not our node: the copy
    import fcntl

    had = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    if had not in (access, os.O_RDWR):
        return -1
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
