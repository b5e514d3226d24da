"""What goes between us and a supervisor, as bytes: the job, and messages in both directions.

The structs are csrc/abi.h's; a unit test compares them with the C compiler's sizes and offsets.
"""

from __future__ import annotations

import struct

from sandbox.launch.spawn import Status
from sandbox.record import record
from sandbox.run.outcome import Counted
from sandbox.run.supervise import Ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.run.request import Prepared

MAGIC = 0x4A584253
VERSION = 1
FORMATS = {
    "sbx_job_header": "=12I",
    "sbx_ending": "=iIiiQQQQIIQQQIIII",
}
SPAWNED, STARTED, FAILED, DENIAL, ENDED = 1, 2, 3, 4, 5
SIGNAL, KILL, SETTLED = 16, 17, 18
_KIND = struct.Struct("=II")
_ERROR = struct.Struct("=iiii")
_PID = struct.Struct("=i")
_HEADER = struct.Struct(FORMATS["sbx_job_header"])
_ENDING = struct.Struct(FORMATS["sbx_ending"])

KILL_MESSAGE = _KIND.pack(KILL, 0)
SETTLED_MESSAGE = _KIND.pack(SETTLED, 0)

_CAUSES = ("", "timeout", "memory", "cpu", "output", "cancelled")
USER_ENDED, OUTPUT_TRUNCATED, STATUS_KNOWN, COUNTED, PEAK_KNOWN = 1, 2, 4, 8, 16
_HITS = ((1, "memory"), (2, "pids"))


@record
class Ended:
    """The last message: how the run ended, and what only the supervisor knows about it."""

    ending: Ending
    counted: Counted | None = None
    was_user: bool = False
    denials_lost: int = 0


def encode_job(plan: bytes, invocation: bytes) -> bytes:
    """Return the job file's content: a header, the plan and the invocation, each aligned."""
    plan_at = _aligned(_HEADER.size)
    invocation_at = _aligned(plan_at + len(plan))
    header = _HEADER.pack(
        MAGIC, VERSION, plan_at, len(plan), invocation_at, len(invocation), 0, 0, 0, 0, 0, 0
    )
    return b"".join(
        (
            header.ljust(plan_at, b"\0"),
            plan.ljust(invocation_at - plan_at, b"\0"),
            invocation,
        )
    )


def _aligned(size: int) -> int:
    return (size + 7) & ~7


def signal_message(number: int) -> bytes:
    """Return the message that sends a signal to the command."""
    return _KIND.pack(SIGNAL, number)


def kind_of(message: bytes) -> int:
    """Return what a message from the supervisor is about; 0 for the end of the conversation."""
    return _KIND.unpack_from(message)[0] if len(message) >= _KIND.size else 0


def spawned_pid(message: bytes) -> int:
    """Return the pid of the child that waits to be settled."""
    pid: int = _PID.unpack_from(message, 4)[0]
    return pid


def failure_of(message: bytes) -> tuple[int, int, int, int]:
    """Return stage, op, errno and detail of a set-up that failed."""
    stage, op, number, detail = _ERROR.unpack_from(message, _KIND.size)
    return stage, op, number, detail


def ending_of(message: bytes) -> Ended:
    """Return how the run ended."""
    fields = _ENDING.unpack_from(message, _KIND.size)
    cause, flags = fields[:2]
    wait_status, _pid, user, system, rss, switches, degraded, _pad = fields[2:10]
    wall_us, peak, output, hits, _denials, lost, _reserved = fields[10:]
    status = None
    if flags & STATUS_KNOWN:
        status = Status(wait_status, user, system, rss, switches, degraded)
    ending = Ending(
        status,
        _CAUSES[cause],
        wall_us // 1000,
        peak if flags & PEAK_KNOWN else None,
        frozenset(name for bit, name in _HITS if hits & bit),
    )
    counted = Counted(output, bool(flags & OUTPUT_TRUNCATED)) if flags & COUNTED else None
    return Ended(ending, counted, bool(flags & USER_ENDED), lost)


def denials_of(messages: list[bytes], lost: int, prepared: Prepared) -> dict[str, Any]:
    """Return the members of Result that tell of denied calls."""
    del prepared
    return {"denials": tuple({} for _ in messages), "denials_lost": lost}
