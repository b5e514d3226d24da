"""What goes between us and a supervisor, as bytes: the job, and messages in both directions.

The structs are csrc/abi.h's; a unit test compares them with the C compiler's sizes and offsets.
"""

from __future__ import annotations

import struct

from sandbox._core import ffi
from sandbox.launch.listener import denial_of
from sandbox.launch.spawn import Status
from sandbox.plan.encode import Writer
from sandbox.plan.entry import ENTRY_MAGIC, PLACEHOLDERS
from sandbox.record import record
from sandbox.run.outcome import Counted
from sandbox.run.supervise import Ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.launch.listener import Denial

MAGIC = 0x4A584253
VERSION = 1
FORMATS = {
    "sbx_job_header": "=12I",
    "sbx_message": "=Ii",
    "sbx_ending": "=iIiiQQQQIIQQQIIIi",
}
SPAWNED, STARTED, FAILED, DENIAL, ENDED = range(1, 6)  # enum sbx_message_kind: up
SIGNAL, KILL, SETTLED = range(16, 19)  # down
_KIND = struct.Struct(FORMATS["sbx_message"])
_ERROR = struct.Struct("=iiii")
_HEADER = struct.Struct(FORMATS["sbx_job_header"])
_ENDING = struct.Struct(FORMATS["sbx_ending"])

KILL_MESSAGE = _KIND.pack(KILL, 0)
CPU_MESSAGE = _KIND.pack(KILL, 3)  # SBX_CAUSE_CPU
SETTLED_MESSAGE = _KIND.pack(SETTLED, 0)

CAUSES = ("", "timeout", "memory", "cpu", "output", "cancelled")
USER_ENDED, OUTPUT_TRUNCATED, STATUS_KNOWN, COUNTED, PEAK_KNOWN = 1, 2, 4, 8, 16
_HITS = ((1, "memory"), (2, "pids"))


@record
class Ended:
    """The last message: how the run ended, and what only the supervisor knows about it."""

    ending: Ending
    counted: Counted | None = None
    was_user: bool = False


def encode_job(plan: bytes, invocation: bytes, placeholders: bytes = b"") -> bytes:
    """Return the job file's content: a header, then the blobs, each aligned to 8 bytes."""
    places = []
    content = [b""]
    at = _HEADER.size
    for blob in (plan, invocation, placeholders):
        places += [at, len(blob)] if blob else [0, 0]
        padding = -len(blob) % 8
        content += [blob, bytes(padding)]
        at += len(blob) + padding
    content[0] = _HEADER.pack(MAGIC, VERSION, *places, 0, 0, 0, 0)
    return b"".join(content)


def encode_placeholders(pairs: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return placeholders (inside, on the host) as an entry that holds nothing else."""
    if not pairs:
        return b""
    writer = Writer(ENTRY_MAGIC)
    rows = [(writer.text(inside), writer.text(host)) for inside, host in pairs]
    writer.records(PLACEHOLDERS, "sbx_placeholder", rows)
    return writer.finish()


def signal_message(number: int) -> bytes:
    """Return the message that sends a signal to the command."""
    return _KIND.pack(SIGNAL, number)


def kind_of(message: bytes) -> int:
    """Return what a message from the supervisor is about; 0 for the end of the conversation."""
    return _KIND.unpack_from(message)[0] if len(message) >= _KIND.size else 0


def spawned_pid(message: bytes) -> int:
    """Return the pid of the child that waits to be settled."""
    pid: int = _KIND.unpack_from(message)[1]
    return pid


def failure_of(message: bytes) -> tuple[int, int, int, int]:
    """Return stage, op, errno and detail of a set-up that failed."""
    stage, op, number, detail = _ERROR.unpack_from(message, _KIND.size)
    return stage, op, number, detail


def denial_in(message: bytes) -> Denial:
    """Return the refused call that a message tells of."""
    record = ffi.new("struct sbx_denial *")
    ffi.buffer(record)[:] = message[_KIND.size :]
    return denial_of(record)


def ending_of(message: bytes, denials: tuple[Denial, ...] = ()) -> Ended:
    """Return how the run ended; `denials` came before."""
    fields = _ENDING.unpack_from(message, _KIND.size)
    cause, flags = fields[:2]
    wait_status, _pid, user, system, rss, switches, degraded, _pad = fields[2:10]
    wall_us, peak, output, hits, _count, lost, record_error = fields[10:]
    status = None
    if flags & STATUS_KNOWN:
        status = Status(wait_status, user, system, rss, switches, degraded)
    ending = Ending(
        status,
        CAUSES[cause],
        wall_us // 1000,
        peak if flags & PEAK_KNOWN else None,
        frozenset(name for bit, name in _HITS if hits & bit),
        denials=denials,
        denials_lost=lost,
        record_error=record_error,
    )
    counted = Counted(output, bool(flags & OUTPUT_TRUNCATED)) if flags & COUNTED else None
    return Ended(ending, counted, bool(flags & USER_ENDED))
