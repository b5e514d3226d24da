"""The supervisor process of one sandbox, started and spoken to.

`sandbox-supervisor` is a small static program beside this package (csrc/launcher). It is started
with posix_spawn(3): the calling process is never forked, no fork handler runs, and no page table is
copied. What it shall run lies in a memory file, which becomes its descriptor 4; descriptor 3 is a
socket on which it reports and is told. When that socket closes, by us or by our death, it ends the
sandbox and itself. It is our child, so it is reaped here, by its pidfd: no SIGCHLD handler is
needed, and a foreign waitpid(-1) that takes it away does no harm.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
from contextlib import suppress

from sandbox.errors import HostError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_native", "sandbox-supervisor"
)
CHANNEL_FD, JOB_FD, FIRST_FREE_FD = 3, 4, 5
_MESSAGE_BYTES = 4096
# The interpreter ignores these; the command shall not.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
# Where the supervisor keeps the journal of placeholders.
_VARIABLES = ("HOME", "TMPDIR", "XDG_RUNTIME_DIR")

# Supervisors that were let go before they had ended (a cancelled task, a forgotten object).
_leftover: list[Supervisor] = []


class Supervisor:
    """One running supervisor; whoever holds it owns its descriptors.

    Shape: `channel` is a non-blocking socket: readable when there is a message, or when the
           supervisor is gone. `pidfd` is readable when it is gone, also where a forked child of
           ours keeps its end of the channel open.
    """

    def __init__(self, pid: int, pidfd: int, channel: socket.socket) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.channel = channel
        self._is_reaped = False

    def receive(self) -> bytes | None:
        """Return the next message; None while there is none, b"" when there will be no more."""
        try:
            return receive_one(self.channel, _MESSAGE_BYTES)
        except BlockingIOError:
            return b"" if self._is_gone() else None
        except ConnectionError:
            return b""

    def _is_gone(self) -> bool:
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        if not poller.poll(0):
            return False
        try:
            # what it sent before its end counts
            self.channel.recv(1, socket.MSG_PEEK)
        except ConnectionResetError:
            return False  # as in receive_one(): the next look sees what is there
        except OSError:
            return True
        return False

    def tell(self, message: bytes) -> None:
        """Send one message; a supervisor that is gone need not be told."""
        try:
            self.channel.send(message, socket.MSG_NOSIGNAL)
        except (ConnectionError, BlockingIOError):
            return  # it reads at once: a full socket means that it is stopped, and will see our end

    def reap(self, timeout_ms: int | None = 0) -> bool:
        """Take the ended process away; say whether it is gone."""
        if not self._is_reaped:
            poller = select.poll()
            poller.register(self.pidfd, select.POLLIN)
            if not poller.poll(timeout_ms):
                return False
            # It may be taken already: by one who waits for every child, or where SIGCHLD is ignored
            with suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
            self._is_reaped = True
        return True

    def leave(self) -> None:
        """End the conversation, also where a forked child of ours holds a copy of the socket."""
        try:
            self.channel.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is gone already

    def close(self) -> None:
        """Let go: what still runs ends. May be called twice."""
        if self.pidfd < 0:
            return
        self.channel.close()
        if self.reap():
            os.close(self.pidfd)
            self.pidfd = -1
        elif self not in _leftover:
            _leftover.append(self)  # it ends by itself now; the next start takes it away


def receive_one(channel: socket.socket, size: int) -> bytes:
    """Return the next message.

    Where the peer closed without having read all that it was sent, the kernel reports that first,
    once; what the peer had said before its end is still there.
    """
    try:
        return channel.recv(size)
    except ConnectionResetError:
        return channel.recv(size)


def collect() -> None:
    """Take away supervisors that were let go and have ended since."""
    for supervisor in tuple(_leftover):
        if supervisor.reap():
            supervisor.close()
            try:
                _leftover.remove(supervisor)
            except ValueError:
                continue  # another thread did


def start(job: bytes, fds: Mapping[int, int]) -> Supervisor:
    """Start a supervisor for the encoded `job`.

    Shape:  `fds` maps descriptors of the supervisor (0-2, and from FIRST_FREE_FD on) to open ones
            of ours; they are duplicated.
    Errors: StateError(state.native) where the program is missing; HostError(host.start) where the
            host refuses another process or descriptor.
    """
    if _leftover:
        collect()
    held: list[int] = []
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            ours.setblocking(False)
            held.append(theirs.detach())
            held.append(_job_file(job))
            wanted = {**fds, CHANNEL_FD: held[0], JOB_FD: held[1]}
            pid = _spawn(_actions(wanted, held))
            try:
                pidfd = os.pidfd_open(pid)
            except OSError:
                ours.close()
                os.waitpid(pid, 0)  # it ends, for its channel has
                raise
        except BaseException:
            ours.close()
            raise
    except OSError as error:
        raise refused(error) from error
    finally:
        for fd in held:
            os.close(fd)
    return Supervisor(pid, pidfd, ours)


def _job_file(job: bytes) -> int:
    fd = os.memfd_create("sandbox-job", os.MFD_CLOEXEC)
    try:
        view = memoryview(job)
        while view:
            view = view[os.write(fd, view) :]
    except BaseException:
        os.close(fd)
        raise
    return fd


def _actions(wanted: Mapping[int, int], held: list[int]) -> list[tuple[int, int, int]]:
    """Return the file actions for posix_spawn; copies that they need are added to `held`.

    A source below the highest target could be overwritten before its turn, so it moves up first.
    """
    top = max(wanted) + 1
    actions = []
    for target, source in wanted.items():
        if source < top and source != target:
            source = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, top)  # noqa: PLW2901  # the same file
            held.append(source)
        actions.append((os.POSIX_SPAWN_DUP2, source, target))
    return actions


def _spawn(actions: list[tuple[int, int, int]]) -> int:
    environment = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    return os.posix_spawn(
        PROGRAM,
        ["sandbox-supervisor"],
        environment,
        file_actions=actions,
        setsigmask=(),
        setsigdef=_DEFAULT_SIGNALS,
    )


def refused(error: OSError) -> StateError | HostError:
    """Return the words for what the host refused on the way to a supervisor."""
    if error.errno in (errno.ENOENT, errno.EACCES, errno.ENOEXEC):
        return StateError(
            f"the sandbox's native supervisor cannot be started: {PROGRAM}: {error.strerror}",
            hint="install the package where a C compiler is, or from a wheel: it is built then",
            code="state.native",
            path=PROGRAM,
            errno=error.errno,
        )
    hints = {
        errno.EMFILE: "close some, raise `ulimit -n`, or have fewer sandboxes at once",
        errno.ENFILE: "the whole system has used up its open files",
        errno.EAGAIN: "the caller's process limit may be used up: see `ulimit -u`",
    }
    return HostError(
        f"a sandbox cannot be started: {error.strerror}",
        hint=hints.get(error.errno or 0, "`sandbox doctor` says what this host can do"),
        code="host.start",
        errno=error.errno,
    )
