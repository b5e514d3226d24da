"""What a plan says about each line that refuses calls; cheap to read back from a filter's cache."""

from __future__ import annotations

from sandbox.record import record

FAMILIES_KEY = "syscalls.socket_families"
_FIELD, _ENTRY = "\1", "\2"


@record
class Refusal:
    """A line of a policy that refuses some use of calls.

    Shape: `origin` and `why` are empty where the policy itself states them; `fix` is None where
           nothing may lift it.
    """

    key: str
    origin: str
    fix: str | None
    why: str
    calls: tuple[str, ...]


def to_line(refusals: tuple[Refusal, ...]) -> str:
    """Return the refusals as one line of text."""
    return _ENTRY.join(
        _FIELD.join((one.key, one.origin, one.fix or "", one.why, " ".join(one.calls)))
        for one in refusals
    )


def from_line(line: str) -> tuple[Refusal, ...]:
    """Return what to_line was given.

    Errors: ValueError for anything else.
    """
    found = []
    for entry in line.split(_ENTRY) if line else ():
        key, origin, fix, why, calls = entry.split(_FIELD)
        found.append(Refusal(key, origin, fix or None, why, tuple(calls.split())))
    return tuple(found)
