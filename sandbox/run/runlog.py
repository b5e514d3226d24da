"""The log of runs: one binary record for each (csrc/abi_denials.h), written here, read here.

The launcher appends the same records from C. They hold numbers, not words: what a refused call
means is said when the log is read.
"""

from __future__ import annotations

import os
import struct

from sandbox._core import ffi, lib
from sandbox.errors import StateError
from sandbox.host import paths
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sandbox.launch.listener import Denial
    from sandbox.launch.result import Result
    from sandbox.run.request import Request

REASONS = ("exited", "signaled", "timeout", "oom", "limit", "policy", "cancelled", "setup")
_MAGIC = 0x4C584253
_HEAD = struct.Struct("=IIQQIiIIIIII24s")
_DENIAL = struct.Struct("=Q6QIiIIiI16s160s")
_SIGNALED, _TEXT_CUT, _SETUP = 0x1, 0x2, 0x4
_TEXT_MAX_BYTES = 16384  # SBX_LOG_TEXT_MAX
_DENIALS_MAX = 64  # SBX_LOG_DENIALS_MAX
_FILE = "runs"


@record
class Run:
    """One record of the log.

    Shape: `value` is an exit code, or a signal where `is_signaled`; `options` are the words of
           `sandbox exec` that chose and changed the policy; with `is_cut` the command misses words.
    """

    run_id: str
    started_us: int
    wall_us: int
    reason: str
    value: int
    is_signaled: bool
    policy: str
    cwd: bytes
    options: tuple[str, ...]
    argv: tuple[bytes, ...]
    is_cut: bool
    denials: tuple[Denial, ...]
    denials_lost: int


def log_path() -> str:
    """Return the path of the log.

    Errors: StateError where its directory cannot be used.
    """
    return os.path.join(paths.state_dir("log"), _FILE)


def append(
    request: Request,
    policy: str,
    result: Result,
    denials: Sequence[Denial],
    started_s: float,
    lost: int = 0,
) -> None:
    """Write a run into the log; where that is impossible, do nothing: a log holds up no run."""
    words = [policy.encode("utf-8", "surrogateescape"), _cwd(), *_options(request)]
    option_count = len(words) - 2
    text, is_cut = _pack_words([*words, *request.argv])
    flags = _TEXT_CUT * is_cut
    value = result.shell_exit_code() if result.setup is not None else result.exit_code
    if result.setup is not None:
        flags |= _SETUP
    elif result.signal is not None:
        flags, value = flags | _SIGNALED, result.signal
    kept = [_pack_denial(one) for one in denials[:_DENIALS_MAX]]
    head = _HEAD.pack(
        *(_MAGIC, 0, int(started_s * 1e6), result.usage.wall_ms * 1000, flags, value or 0),
        *(REASONS.index(result.reason), min(lost, 0xFFFFFFFF), len(kept), option_count),
        *(len(text), 0, result.run_id.encode()[:23]),
    )
    try:
        path = os.fsencode(log_path())
    except StateError:
        return
    lib.sbx_log_append(
        path,
        ffi.from_buffer("struct sbx_log_record *", bytearray(head)),
        ffi.from_buffer("char[]", text),
        ffi.from_buffer("struct sbx_denial[]", b"".join(kept)),
    )


def _cwd() -> bytes:
    try:
        return os.getcwdb()
    except OSError:
        return b""  # it was removed


def _options(request: Request) -> list[bytes]:
    names = (request.policy, *request.more_policies)
    words = [f"--policy={name}" for name in names]
    words += [f"--tighten={name}" for name in request.tighten]
    words += [f"--{flag.key}={flag.value}" if flag.value else flag.text for flag in request.flags]
    return [word.encode("utf-8", "surrogateescape") for word in words]


def _pack_words(words: Sequence[bytes]) -> tuple[bytes, bool]:
    """Return the words with their NULs, as many as fit."""
    text = b""
    for word in words:
        if len(text) + len(word) + 1 > _TEXT_MAX_BYTES:
            return text, True
        text += word + b"\0"
    return text, False


def _pack_denial(one: Denial) -> bytes:
    return _DENIAL.pack(
        *(one.t_ms * 1000, *one.args, one.arch, one.nr, one.errno, one.count, one.pid, 0),
        *(one.comm[:15], one.text[:159]),
    )


def read_log() -> Iterator[Run]:
    """Yield the runs in the log, the oldest first; damaged records are passed over.

    Errors: StateError where the log's directory cannot be used.
    """
    path = log_path()
    for name in (f"{path}.1", path):
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StateError(
                f"the log {name} cannot be read: {error.strerror}",
                hint="remove it; the next run begins a new one",
                path=name,
            ) from error
        with open(fd, "rb") as file:
            yield from _runs(file.read(8 << 20))


def _runs(data: bytes) -> Iterator[Run]:
    at = 0
    while at + _HEAD.size <= len(data):
        magic, size = struct.unpack_from("=II", data, at)
        if magic != _MAGIC or not _HEAD.size <= size <= len(data) - at:
            # half a record, on a disk that was full: look for the next one
            at = data.find(struct.pack("=I", _MAGIC), at + 1)
            if at < 0:
                return
            continue
        run = decode_run(data[at : at + size])
        if run is None:
            at += 1
            continue
        yield run
        at += size


def decode_run(blob: bytes) -> Run | None:
    """Return the run of one whole record; None where it is damaged."""
    if len(blob) < _HEAD.size:
        return None
    _magic, _size, started, wall, flags, value, reason, *rest = _HEAD.unpack_from(blob)
    lost, count, option_count, text_size, _reserved, run_id = rest
    denials_at = _HEAD.size + text_size + -text_size % 8
    words = blob[_HEAD.size : _HEAD.size + text_size].split(b"\0")[:-1]
    start = 2 + option_count
    is_whole = denials_at + count * _DENIAL.size == len(blob) and len(words) >= start
    if not is_whole or reason >= len(REASONS):
        return None
    return Run(
        run_id=run_id.partition(b"\0")[0].decode("ascii", "replace"),
        started_us=started,
        wall_us=wall,
        reason=REASONS[reason],
        value=value,
        is_signaled=bool(flags & _SIGNALED),
        policy=words[0].decode("utf-8", "surrogateescape"),
        cwd=words[1],
        options=tuple(word.decode("utf-8", "surrogateescape") for word in words[2:start]),
        argv=tuple(words[start:]),
        is_cut=bool(flags & _TEXT_CUT),
        denials=tuple(
            _unpack_denial(blob, denials_at + index * _DENIAL.size) for index in range(count)
        ),
        denials_lost=lost,
    )


def _unpack_denial(blob: bytes, at: int) -> Denial:
    from sandbox.launch.listener import Denial

    t_us, *numbers, comm, text = _DENIAL.unpack_from(blob, at)
    arch, nr, errno, count, pid, _reserved = numbers[6:]
    return Denial(
        t_ms=t_us // 1000,
        arch=arch,
        nr=nr,
        args=tuple(numbers[:6]),
        errno=errno,
        count=count,
        pid=pid,
        comm=comm.partition(b"\0")[0],
        text=text.partition(b"\0")[0],
    )
