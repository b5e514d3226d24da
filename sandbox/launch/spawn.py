"""Start a Plan + Invocation and watch the child: the only caller of `sbx_spawn`."""

from __future__ import annotations

import errno
import os
import select
import struct

from sandbox._core import ffi, lib
from sandbox.errors import SetupError
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from sandbox._core import _CData

_ERROR = struct.Struct("=iiii")
_STATUS = struct.Struct("=iiQQQQII")
_WALL = 0x40000000  # __WALL: the child has no exit signal, see csrc/spawn.c

DEGRADED_PROC_BIND = 0x1
DEGRADED_USERNS_LOCK = 0x2


@record
class Failure:
    """Where set-up ended: stage (enum sbx_stage), op (record index or -1), errno, detail."""

    stage: int
    op: int
    errno: int
    detail: int


@record
class Status:
    """How the command ended: `wait_status` as waitpid(2); usage of all reaped processes."""

    wait_status: int
    user_us: int
    system_us: int
    max_rss_kib: int
    switches: int
    degraded: int

    @property
    def is_stop(self) -> bool:
        """Whether it only stopped (a command on a terminal of its own, see Child.terminal)."""
        return os.WIFSTOPPED(self.wait_status)


class SpawnFailed(SetupError):
    """The core refused; `failure` says where. Worded by launch/errors_text.py."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"set-up failed at stage {failure.stage}: {os.strerror(failure.errno)}")
        self.failure = failure


class Child:
    """A started sandbox: descriptors are owned here; closing `control` ends the sandbox.

    Use as a context manager: leaving it kills what is left and reaps pid 1. Without a pid
    namespace (`has_namespace`) it is init that ends the tree, so init is asked, not killed.
    """

    def __init__(
        self,
        record: _CData,
        plan: bytes,
        *,
        has_namespace: bool = True,
        own_children: frozenset[int] = frozenset(),
    ) -> None:
        self._has_namespace = has_namespace
        self._own_children = own_children
        self.plan = plan
        self.pid: int = record.pid
        self.pidfd: int = record.pidfd
        self.control_fd: int = record.control_fd
        self.error_fd: int = record.error_fd
        self.status_fd: int = record.status_fd
        self._handover_fd: int = record.handover_fd
        self._is_reaped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def start_failure(self) -> Failure | None:
        """Wait until the command is executed; return None, or where set-up ended."""
        data = b""
        while len(data) < _ERROR.size:
            chunk = os.read(self.error_fd, _ERROR.size - len(data))
            if not chunk:
                break
            data += chunk
        if not data:
            return None
        if len(data) < _ERROR.size:
            return Failure(0, -1, errno.EPIPE, 0)
        return Failure(*_ERROR.unpack(data))

    def settled(self) -> None:
        """Let a held child go on; if it is gone, `start_failure` says so."""
        try:
            os.write(self.control_fd, b"M")
        except BrokenPipeError:
            return

    def release(self) -> None:
        """Open the barrier of an invocation that has one."""
        os.write(self.control_fd, b"G")

    def terminal(self) -> int:
        """Return the master of the command's terminal; the caller closes it.

        Errors: OSError where the command has none. Call it once, after the command started.
        """
        fd = lib.sbx_terminal_receive(self._handover_fd)
        if fd < 0:
            raise OSError(-fd, os.strerror(-fd))
        return fd

    def listener(self) -> int:
        """Return the filter's listener, which launch/listener.py takes over, or a negative errno.

        Call it once, after the command started and after `terminal`: -EBUSY, for example, where
        the tree has another listener already; refused calls then have a plain errno.
        """
        return lib.sbx_listener_receive(self._handover_fd)

    def status(self) -> Status | None:
        """Return pid 1's report; None if it died without one (killed from outside).

        With a terminal there is one for each stop of the command, and the last for its end.
        """
        data = os.read(self.status_fd, _STATUS.size)
        if len(data) < _STATUS.size:
            return None
        wait_status, _pid, user, system, rss, switches, degraded, _pad = _STATUS.unpack(data)
        return Status(wait_status, user, system, rss, switches, degraded)

    def signal(self, number: int) -> None:
        """Send a signal to pid 1, which forwards it to the command."""
        try:
            self._pidfd_signal(number)
        except ProcessLookupError:
            return  # it ended meanwhile: nothing is left to be signalled

    def kill(self) -> None:
        """End every process of the sandbox now."""
        if self._has_namespace:
            self.signal(9)
        else:
            self._close_control()

    def _close_control(self) -> None:
        if self.control_fd >= 0:
            os.close(self.control_fd)
            self.control_fd = -1

    def _pidfd_signal(self, number: int) -> None:
        import signal  # most runs never send one

        signal.pidfd_send_signal(self.pidfd, number)

    def wait_gone(self, timeout_ms: int) -> bool:
        """Wait until pid 1, and with it the whole namespace, is gone; reap it."""
        if self._is_reaped:
            return True
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        if not poller.poll(timeout_ms):
            return False
        ended = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | _WALL)
        self._is_reaped = True
        if not self._has_namespace and ended is not None and ended.si_code != os.CLD_EXITED:
            from sandbox.launch.orphans import end_orphans  # somebody killed init

            end_orphans(self._own_children)
        return True

    def close(self) -> None:
        """Kill what is left, reap, close every descriptor. May be called twice."""
        if self.pidfd < 0:
            return
        if not self._is_reaped:
            self.kill()
            if not self.wait_gone(10_000) and not self._has_namespace:
                self.signal(9)  # a stopped init cannot end the tree
                self.wait_gone(10_000)
        self._close_control()
        for fd in (self.error_fd, self.status_fd, self._handover_fd, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self.pidfd = -1


def spawn(
    plan: bytes,
    invocation: bytes,
    settle: Callable[[int], None] | None = None,
    *,
    has_namespace: bool = True,
) -> Child:
    """Start the encoded invocation behind the encoded plan's walls.

    Shape:  returns once the child has its id maps; `Child.start_failure` says whether it ran;
            `has_namespace` says whether the plan has a pid namespace. `settle(pid)` belongs to an
            invocation that is held: it moves the waiting child into its control group or has its
            maps written, and then the child goes on.
    Errors: SpawnFailed with the stage in which the parent's part ended, or what `settle` raises;
            nothing is left over.
    """
    own_children: frozenset[int] = frozenset()
    if not has_namespace:
        from sandbox.launch.orphans import adopt, children

        adopt()
        own_children = frozenset(children())
    child = ffi.new("struct sbx_child *")
    error = ffi.new("struct sbx_error *")
    result = lib.sbx_spawn(
        ffi.from_buffer("char[]", plan),
        len(plan),
        ffi.from_buffer("char[]", invocation),
        len(invocation),
        child,
        error,
    )
    if result < 0:
        raise SpawnFailed(Failure(error.stage, error.op, -result, error.detail))
    started = Child(child, plan, has_namespace=has_namespace, own_children=own_children)
    if settle is not None:
        try:
            settle(started.pid)
            started.settled()
        except BaseException:
            started.close()
            raise
    return started
