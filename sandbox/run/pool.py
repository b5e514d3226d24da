"""`sandbox.Pool`: sandboxes that are set up before their commands are known, each used once.

What takes the time is done ahead: namespaces, the view, the walls. A command is a message to a
process that waits behind all of them. A thread of the pool's own makes the next one with
posix_spawn(3) as soon as one was used; the calling process is never forked.
"""

from __future__ import annotations

import os
import threading
from collections import deque

from sandbox.errors import SandboxError, UsageError
from sandbox.run import api
from sandbox.run.keywords import ask
from sandbox.run.served import ServedSandbox, Streams, ask_command, finish
from sandbox.run.serving import Request, ServingJob, ServingReady
from sandbox.run.serving_errors import check_usable
from sandbox.run.stdio import DEVNULL, PIPE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self, Unpack

    from sandbox.launch.result import Result
    from sandbox.run.keywords import Asked, Options, Walls, Word
    from sandbox.run.served import CommandOptions
    from sandbox.run.stdio import Stream

_SIZE_MAX = 1024
_COMMAND = ("-",)  # stands for the command that is yet to come


class Pool:
    """`size` sandboxes of one policy that wait for a command; each runs one and is gone.

    Shape:  `options` are those of sandbox.run(): policy, tighten, timeout, limits, mounts, env,
            cwd, network, hostname, chdir, rootfs, allow_syscalls, deny_syscalls. What they say is
            looked at when the pool is made; a policy file that changes later is read again, and
            the sandboxes that wait are replaced. A command that finds none ready makes its own.
            For any number of threads; as a context manager it closes.
    Errors: those of sandbox.run(); HostError(host.serve) for a policy without namespaces;
            UsageError for a size below 1 or above 1024.
    """

    def __init__(
        self, policy: Word | Sequence[Word] = "default", size: int = 2, **options: Unpack[Walls]
    ) -> None:
        if isinstance(size, bool) or not 1 <= size <= _SIZE_MAX:
            raise UsageError(
                f"size={size!r} is not a number of sandboxes from 1 to {_SIZE_MAX}",
                hint="2 are enough for one thread; take one for each command that starts at once",
                code="usage.size",
            )
        self.size = size
        self._owner = os.getpid()
        given: Options = {**options, "policy": policy}
        self._is_closed = False
        self._waiting: deque[ServingJob] = deque()
        self._change = threading.Condition()
        self._error: SandboxError | None = None
        self._ready = ServingReady(ask(_COMMAND, given), is_once=True)
        self._waiting.append(self._make())
        self._thread = threading.Thread(target=self._refill, name="sandbox-pool", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_owner", None) == os.getpid():
            self._shut()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"{len(self._waiting)} of {self.size} ready"
        return f"<Pool {self._ready.prepared.policy.name!r}: {state}>"

    def run(
        self,
        argv: Sequence[Word],
        *,
        input: str | bytes | None = None,  # noqa: A002  # the name that subprocess.run gives it
        stdin: Stream = DEVNULL,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        pass_fds: Sequence[int] = (),
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> Result:
        """Run `argv` in a sandbox of its own that was set up before, and return the Result.

        Shape:  as sandbox.run(); `options` are timeout, env and chdir (a directory inside).
        Errors: those of sandbox.run(); StateError after close(), and in a forked child.
        """
        self._check()
        streams = Streams(input, (stdin, stdout, stderr), pass_fds)
        job: ServingJob | None = None
        try:
            job = self._start(argv, streams, options)
            result = finish(job, streams, job.ready)
        finally:
            streams.stdio.close()
            if job is not None:
                job.release()
        if check:
            api.check_result(result)
        return result

    def start(
        self,
        argv: Sequence[Word],
        *,
        stdin: Stream = DEVNULL,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        pass_fds: Sequence[int] = (),
        **options: Unpack[CommandOptions],
    ) -> ServedSandbox:
        """Start `argv` in a sandbox of its own that was set up before; return it running.

        Shape:  what is returned is used as sandbox.Sandbox; a policy's limit on output does not
                count what is read from it, since nobody stands between.
        Errors: those of run().
        """
        self._check()
        streams = Streams(None, (stdin, stdout, stderr), pass_fds)
        try:
            job = self._start(argv, streams, options)
            return ServedSandbox(job, streams, job.args)
        except BaseException:
            streams.stdio.close()
            raise

    def close(self) -> None:
        """End the sandboxes that wait; commands that run go on. May be called twice."""
        if os.getpid() != self._owner:
            return  # a fork holds copies of the descriptors, and nothing else
        self._shut()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _shut(self) -> None:
        if not hasattr(self, "_ready"):
            return  # it was never made
        with self._change:
            self._is_closed = True
            waiting, self._waiting = self._waiting, deque()
            self._change.notify_all()
        for job in waiting:
            job.release()

    def _check(self) -> None:
        check_usable("pool", self._owner, is_closed=self._is_closed)

    def _start(self, argv: Sequence[Word], streams: Streams, options: CommandOptions) -> ServingJob:
        """Have a sandbox execute the command; one that has died meanwhile is passed over."""
        ready = self._current()
        asked, chdir = ask_command(ready, argv, options)
        request = Request(ready, asked, chdir, streams.fds)
        while True:
            job = self._take(ready)
            try:
                if self._send(job, request, asked):
                    streams.stdio.close_theirs()
                    return job
            except BaseException:
                job.release()
                raise
            finally:
                request.close()
                with self._change:
                    # only now: the thread that makes the next one would take time from this one
                    self._change.notify_all()
            job.release()

    def _send(self, job: ServingJob, request: Request, asked: Asked) -> bool:
        job.assign(asked)
        if not request.send(job, None, None):
            return False
        failure = request.failure()
        if failure is not None:
            raise failure
        limit_ms = asked.timeout_ms or job.ready.wall_ms
        if limit_ms is not None:
            job.limit_time(limit_ms)
        return True

    def _current(self) -> ServingReady:
        """Return what the pool prepares from, made anew where a policy has changed."""
        ready = self._ready
        if ready.holds():
            return ready
        made = ServingReady(ready.asked, is_once=True)
        with self._change:
            self._ready = made
            stale, self._waiting = self._waiting, deque()
            self._change.notify_all()
        for job in stale:
            job.release()
        return made

    def _take(self, ready: ServingReady) -> ServingJob:
        """Return a sandbox that waits; without one, a new one."""
        while True:
            with self._change:
                job = self._waiting.popleft() if self._waiting else None
                self._error = None
            if job is None:
                return self._make(ready)
            if job.ready is ready and not job.take():
                return job
            job.release()

    def _make(self, ready: ServingReady | None = None) -> ServingJob:
        job = ServingJob(ready or self._ready)
        job.open()
        return job

    def _wants(self, ready: ServingReady) -> bool:
        return not self._is_closed and ready is self._ready

    def _refill(self) -> None:
        """Make sandboxes until `size` wait, whenever one was taken."""
        while True:
            with self._change:
                while not self._is_closed and (
                    self._error is not None or len(self._waiting) >= self.size
                ):
                    self._change.wait()
                if self._is_closed:
                    return
                ready = self._ready
            try:
                job = self._make(ready)
            except SandboxError as error:
                self._error = error  # whoever takes the next one makes it, and is told
                continue
            with self._change:
                is_wanted = self._wants(ready)
                if is_wanted:
                    self._waiting.append(job)
            if not is_wanted:
                job.release()
