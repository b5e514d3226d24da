"""Jobs for the native supervisor, driven as any Python program would: by posix_spawn and a socket.

The records are those of csrc/abi_job.h, packed by the compiled module.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sandbox._core import ffi, lib
from sandbox.plan.encode import encode_invocation, encode_plan
from sandbox.plan.model import FdMap, Invocation, Plan
from sandbox.record import replace
from sandbox.run import supervisor_client

PROGRAM = Path(supervisor_client.PROGRAM)  # of the package under test, wherever it is installed
CHANNEL, DATA = 3, 4
_ENTRY_MAGIC = 0x45584253
_WAIT_S = 30.0


def _aligned(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def encode_placeholders(pairs: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return an entry with nothing in it but placeholders (path inside, path on the host)."""
    pool, rows = bytearray(b"\0"), []
    base = 16 + 2 * 16
    for pair in pairs:
        row = []
        for path in pair:
            row.append(base + len(pool))
            pool += path + b"\0"
        rows.append(struct.pack("=II", *row))
    strings, records = _aligned(bytes(pool)), b"".join(rows)
    at = base + len(strings)
    table = struct.pack("=IIII", 1, len(strings), base, len(strings))
    kind = lib.SBX_SECTION_ENTRY_PLACEHOLDERS
    table += struct.pack("=IIII", kind, len(rows), at, len(records))
    head = struct.pack("=IIII", _ENTRY_MAGIC, 1, at + len(records), 2)
    return head + table + strings + records


def encode_job(
    plan: Plan, invocation: Invocation, placeholders: tuple[tuple[bytes, bytes], ...] = ()
) -> bytes:
    """Return the bytes of a job."""
    parts = [encode_plan(plan), encode_invocation(invocation)]
    parts.append(encode_placeholders(placeholders) if placeholders else b"")
    header: Any = ffi.new("struct sbx_job_header *")
    header.magic, header.version = lib.SBX_JOB_MAGIC, lib.SBX_JOB_VERSION
    data = b""
    for name, part in zip(("plan", "invocation", "placeholders"), parts, strict=True):
        if part:
            setattr(header, f"{name}_offset", ffi.sizeof("struct sbx_job_header") + len(data))
            setattr(header, f"{name}_size", len(part))
            data = _aligned(data + part)
    return bytes(ffi.buffer(header)) + data


@dataclass
class Message:
    """One message: kind, value and the record behind them."""

    kind: int
    value: int
    payload: bytes

    def record(self, name: str) -> Any:
        """Return the payload as `struct name`."""
        assert len(self.payload) == ffi.sizeof(f"struct {name}")
        made = ffi.new(f"struct {name} *")
        ffi.buffer(made)[:] = self.payload
        return made


@dataclass
class Job:
    """A supervisor that runs; a context manager that leaves nothing."""

    pid: int
    channel: socket.socket
    seen: list[Message] = field(default_factory=list)
    status: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.channel.close()
        self.wait()

    def receive(self, timeout_s: float = _WAIT_S) -> Message | None:
        """Return the next message, None at the end."""
        self.channel.settimeout(timeout_s)
        try:
            data = self.channel.recv(4096)
        except ConnectionResetError:
            return None
        if not data:
            return None
        kind, value = struct.unpack_from("=Ii", data)
        message = Message(kind, value, data[8:])
        self.seen.append(message)
        return message

    def expect(self, kind: int, timeout_s: float = _WAIT_S) -> Message:
        """Return the next message that is no DENIAL; it is of `kind`."""
        message = self.receive(timeout_s)
        while message is not None and message.kind == lib.SBX_MESSAGE_DENIAL:
            message = self.receive(timeout_s)
        assert message is not None
        assert message.kind == kind, message
        return message

    def ended(self, timeout_s: float = _WAIT_S) -> Any:
        """Wait for the end of a started command; return struct sbx_ending."""
        self.expect(lib.SBX_MESSAGE_STARTED, timeout_s)
        return self.expect(lib.SBX_MESSAGE_ENDED, timeout_s).record("sbx_ending")

    def send(self, kind: int, value: int = 0) -> None:
        """Ask for something."""
        self.channel.send(struct.pack("=Ii", kind, value))

    def wait(self, timeout_s: float = _WAIT_S) -> int:
        """Wait for the supervisor itself."""
        if self.status is None:
            pidfd = os.pidfd_open(self.pid)
            try:
                poller = select.poll()
                poller.register(pidfd, select.POLLIN)
                assert poller.poll(timeout_s * 1000), "the supervisor does not end"
            finally:
                os.close(pidfd)
            self.status = os.waitpid(self.pid, 0)[1]
        return self.status


def start_job(data: bytes, fds: Mapping[int, int], env: Mapping[str, str] | None = None) -> Job:
    """Start a supervisor; `fds` maps its descriptors to ours."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = os.memfd_create("job")
    try:
        os.write(memory, data)
        wanted = {**fds, CHANNEL: theirs.fileno(), DATA: memory}
        high = {target: _raised(source) for target, source in wanted.items()}
        actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in high.items()]
        actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in high.values()]  # type: ignore[misc]
        environment = dict(env if env is not None else os.environ)
        argv = ["sandbox-supervisor"]
        pid = os.posix_spawn(
            PROGRAM, argv, environment, file_actions=actions, setsigdef=[signal.SIGPIPE]
        )
        for fd in high.values():
            os.close(fd)
    finally:
        theirs.close()
        os.close(memory)
    return Job(pid, ours)


def _raised(fd: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100)


def with_streams(invocation: Invocation, *targets: int) -> Invocation:
    """Give the command these descriptors, under their own numbers."""
    return replace(invocation, fds=tuple(FdMap(fd, fd) for fd in targets))


def gone_within(pids: list[int], timeout_s: float) -> list[int]:
    """Return those of `pids` that are still there after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        left = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)
