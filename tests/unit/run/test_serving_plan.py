"""Plans of sandboxes that serve: whether their filter can come first, and without a listener."""

from __future__ import annotations

import platform
import struct

import pytest

from sandbox.errors import HostError
from sandbox.plan.model import Filter, FilterFlag
from sandbox.record import replace
from sandbox.run.serving_plan import allows_requests, without_listener
from support.plans import bare_plan

BARE = bare_plan()

ALLOW, ERRNO, NOTIFY = 0x7FFF0000, 0x00050000, 0x7FC00000


def _filter(*lines: tuple[int, int, int, int], flags: int = 0) -> Filter:
    return Filter(b"".join(struct.pack("=HBBI", *line) for line in lines), FilterFlag(flags))


def _answering(value: int, flags: int = 0) -> Filter:
    """Call 9999 gets `value`, all others pass."""
    return _filter(
        (0x20, 0, 0, 0), (0x15, 0, 1, 9999), (6, 0, 0, value), (6, 0, 0, ALLOW), flags=flags
    )


def test_a_plan_without_a_filter_is_no_obstacle() -> None:
    """Nothing can refuse what a request needs."""
    assert allows_requests(replace(BARE, filters=()))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86-64 in the filter")
@pytest.mark.parametrize("number", [59, 47, 46, 436, 80])
def test_one_refused_call_is_enough(number: int) -> None:
    """execve, recvmsg, sendmsg, close_range, chdir: without any of them the filter comes last."""
    refusing = _filter(
        (0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, ERRNO | 1), (6, 0, 0, ALLOW)
    )
    assert not allows_requests(replace(BARE, filters=(refusing,)))
    assert allows_requests(replace(BARE, filters=(_answering(ERRNO | 1),)))


def test_without_a_listener_the_errno_stays() -> None:
    """The errno beside SECCOMP_RET_USER_NOTIF is what the plain filter answers."""
    plan = replace(BARE, filters=(_answering(NOTIFY | 13, 0x8),))
    plain = without_listener(plan)
    assert plain.filters == (_answering(ERRNO | 13),)
    assert without_listener(plain) is plain


def test_a_demanded_record_is_not_dropped() -> None:
    """A policy that requires the record gets no weaker sandbox."""
    with pytest.raises(HostError, match="record"):
        without_listener(replace(BARE, filters=(_answering(NOTIFY | 1, 0x10008),)))
