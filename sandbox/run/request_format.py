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
_NO_SLOTS = bytes(6 * 4)


def encode_head(
    size: int, fd_count: int, timeout_ms: int = 0, grace_ms: int = 0, *, is_file: bool = False
) -> bytes:
    """Return what stands before the invocation of a request."""
    return _REQUEST.pack(MAGIC, IS_FILE * is_file, size, fd_count, timeout_ms, grace_ms)


def encode_command(
    argv: Sequence[bytes],
    env: Sequence[bytes],
    programs: Sequence[bytes],
    cwd: bytes,
    targets: Sequence[int],
) -> bytes:
    """Return the invocation of a request: what encode_invocation() makes, at a tenth of the time.

    Shape:  descriptor number i of the request becomes the command's targets[i].
    Errors: UsageError for a NUL in a string, and where it is larger than the kernel could take.
    """
    strings = (cwd, *argv, *env, *programs)
    pool = b"\0" + b"\0".join(strings) + b"\0\0"
    if pool.count(b"\0") != len(strings) + 2:
        raise UsageError(
            "a NUL byte stands in an argument, a variable or a path",
            hint="none of these can hold NUL on Linux; pass such data through input or a file",
            code="usage.nul",
        )
    sections = 7 if targets else 6
    base = (16 + 16 * sections + 7) & ~7
    offsets = [base + 1 + at for at in accumulate((len(text) + 1 for text in strings), initial=0)]
    count = len(argv)
    at_env, at_programs, end = 1 + count, 1 + count + len(env), len(strings)
    lists = (
        (encode.ARGV, offsets[1:at_env]),
        (encode.ENVP, offsets[at_env:at_programs]),
        (encode.PROGRAMS, offsets[at_programs:end]),
    )
    bodies = [
        (encode.STRINGS, len(pool), pool),
        (encode.INVOCATION, 1, _CORE.pack(offsets[0], 0, -1, 0)),
        (encode.SLOTS, 6, _NO_SLOTS),
    ]
    bodies += [(kind, len(at), struct.pack(f"={len(at)}I", *at)) for kind, at in lists if at]
    if targets:
        pairs = [number for pair in enumerate(targets) for number in pair]
        bodies.append((encode.FDS, len(targets), struct.pack(f"={len(pairs)}i", *pairs)))
    return _lay_out(bodies, base)


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
