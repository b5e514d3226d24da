"""Requests to a sandbox that serves, as bytes (csrc/abi_serve.h).

A unit test compares the format with the C compiler's, and each request with encode_invocation().
"""

from __future__ import annotations

import struct
from itertools import accumulate

from sandbox.errors import UsageError
from sandbox.plan import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = 0x51584253
FORMATS = {"sbx_request": "=6I"}
IS_FILE = 0x1
INLINE_MAX_BYTES = 65536
FDS_MAX = 250
_REQUEST = struct.Struct(FORMATS["sbx_request"])
_HEAD = struct.Struct("=IIII")
_CORE = struct.Struct(encode.FORMATS["sbx_invocation_core"])
_SLOTS = struct.Struct("=6I")
_NO_SLOTS = bytes(_SLOTS.size)


def encode_head(
    size: int, fd_count: int, timeout_ms: int = 0, grace_ms: int = 0, *, is_file: bool = False
) -> bytes:
    """Return what stands before the invocation of a request."""
    return _REQUEST.pack(MAGIC, IS_FILE * is_file, size, fd_count, timeout_ms, grace_ms)


class Shared:
    """What the commands of a sandbox have in common, laid out once: directory and variables.

    Errors: UsageError for a NUL in a string.
    """

    def __init__(self, cwd: bytes, env: Sequence[bytes]) -> None:
        strings = (cwd, *env)
        self.pool = b"\0" + b"\0".join(strings) + b"\0"
        _refuse_nul(self.pool, len(strings) + 1)
        lengths = (len(text) + 1 for text in strings)
        offsets = list(accumulate(lengths, initial=1))
        self._offsets = offsets[1:-1]
        self._packed: dict[int, bytes] = {}

    @property
    def count(self) -> int:
        """How many variables there are."""
        return len(self._offsets)

    def offsets(self, base: int) -> bytes:
        """Return the section of the variables, of a pool that begins at `base`."""
        packed = self._packed.get(base)
        if packed is None:
            places = [base + at for at in self._offsets]
            packed = self._packed[base] = struct.pack(f"={len(places)}I", *places)
        return packed


def encode_command(
    argv: Sequence[bytes],
    env: Sequence[bytes],
    programs: Sequence[bytes],
    cwd: bytes,
    fds: Sequence[tuple[int, int]],
    *,
    slots: Sequence[bytes] = (),
    flags: int = 0,
) -> bytes:
    """Return the invocation of a command: what encode_invocation() makes, at a tenth of the time.

    Shape:  `fds` are pairs of source and target; a request's sources are the numbers of the
            descriptors that come with it, and it has neither slots nor flags.
    Errors: UsageError for a NUL in a string, and where it is larger than the kernel could take.
    """
    return encode_shared(Shared(cwd, env), argv, programs, fds, slots=slots, flags=flags)


def encode_shared(
    shared: Shared,
    argv: Sequence[bytes],
    programs: Sequence[bytes],
    fds: Sequence[tuple[int, int]],
    *,
    slots: Sequence[bytes] = (),
    flags: int = 0,
) -> bytes:
    """As encode_command(), with what was laid out before."""
    strings = (*argv, *programs, *slots)
    own = b"\0".join(strings) + b"\0\0"
    _refuse_nul(own, len(strings) + 1)
    pool = shared.pool + own
    sections = (6 if shared.count else 5) + (1 if fds else 0)
    base = (16 + 16 * sections + 7) & ~7
    start = base + len(shared.pool)
    places = [start, *[start + at for at in accumulate([len(text) + 1 for text in strings])]]
    at_programs = len(argv)
    end = at_programs + len(programs)
    bodies = [
        (encode.STRINGS, len(pool), pool),
        (encode.INVOCATION, 1, _CORE.pack(base + 1, flags, -1, 0)),
        (encode.SLOTS, 6, _slots(slots, places[end:])),
        (encode.ARGV, at_programs, struct.pack(f"={at_programs}I", *places[:at_programs])),
        (
            encode.PROGRAMS,
            len(programs),
            struct.pack(f"={len(programs)}I", *places[at_programs:end]),
        ),
    ]
    if shared.count:
        bodies.append((encode.ENVP, shared.count, shared.offsets(base)))
    if fds:
        pairs = [number for pair in fds for number in pair]
        bodies.append((encode.FDS, len(fds), struct.pack(f"={len(pairs)}i", *pairs)))
    return _lay_out(bodies, base)


def _refuse_nul(joined: bytes, ends: int) -> None:
    if joined.count(b"\0") != ends:
        raise UsageError(
            "a NUL byte stands in an argument, a variable or a path",
            hint="none of these can hold NUL on Linux; pass such data through input or a file",
            code="usage.nul",
        )


def _slots(slots: Sequence[bytes], offsets: Sequence[int]) -> bytes:
    if not slots:
        return _NO_SLOTS
    return _SLOTS.pack(*[at if slot else 0 for slot, at in zip(slots, offsets, strict=False)])


def _lay_out(bodies: list[tuple[int, int, bytes]], base: int) -> bytes:
    at = base
    table = []
    parts: list[bytes] = []
    for kind, records, data in bodies:
        table.append(_HEAD.pack(kind, records, at, len(data)))
        padding = -len(data) % 8
        parts += (data, bytes(padding))
        at += len(data) + padding
    if at > encode.INVOCATION_MAX_BYTES:
        raise UsageError(
            f"arguments and environment are too large: {at} bytes of at most"
            f" {encode.INVOCATION_MAX_BYTES}",
            hint="pass large input through a file or standard input",
            code="usage.too-large",
        )
    head = _HEAD.pack(encode.INVOCATION_MAGIC, encode.VERSION, at, len(bodies)) + b"".join(table)
    return b"".join((head, bytes(base - len(head)), *parts))
