"""Prepared requests, used again by the same process while all that they rest on is as it was.

What does not change while a process lives (its own program, the kernel) is not looked at again; all
else is, at each use, in one call.
"""

from __future__ import annotations

import os

from sandbox.host.observe import recording
from sandbox.plan.entry import KEY_VARIABLES, encode_facts, first_broken
from sandbox.record import record, replace
from sandbox.run.environment import command_parts
from sandbox.run.execute import prepare
from sandbox.run.keep import is_settled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.run.request import Prepared, Request

KEPT_MAX = 64


@record
class _Kept:
    """A prepared request and its facts, packed for the check."""

    prepared: Prepared
    facts: bytes
    start: int
    count: int

    def holds(self) -> bool:
        """Say whether all is as it was."""
        return first_broken(self.facts, self.start, self.count) == self.count


_kept: dict[tuple[Any, ...], _Kept] = {}


def prepared_cache(request: Request) -> Prepared:
    """Return what prepare() returns for `request`, from an earlier call where nothing has changed.

    Shape:  thread-safe: each call sees a whole entry or none.
    Errors: as prepare().
    """
    return _for_command(prepared_template(request), request)


def prepared_template(request: Request) -> Prepared:
    """Return the same for any command: the object of an earlier call where nothing has changed.

    Shape:  its command is that of the call which made it.
    Errors: as prepare().
    """
    key = _key(request)
    kept = _kept.get(key)
    if kept is not None and kept.holds():
        return kept.prepared
    with recording() as facts:
        prepared = prepare(request)
    if facts.gap or not is_settled(facts):
        _kept.pop(key, None)
        return prepared
    if len(_kept) >= KEPT_MAX:
        _kept.clear()  # few programs have so many policies; none needs an order among them
    _kept[key] = _Kept(prepared, *encode_facts(facts.listed()))
    return prepared


def _key(request: Request) -> tuple[Any, ...]:
    """Return everything but the host that a plan depends on."""
    try:
        cwd = os.getcwdb()
    except FileNotFoundError:
        cwd = b""  # prepare() has the words for it
    ids = (os.getuid(), os.geteuid(), os.getgid(), os.getegid())
    environ = os.environb
    return (replace(request, argv=()), cwd, ids, *(environ.get(name) for name in KEY_VARIABLES))


def _for_command(prepared: Prepared, request: Request) -> Prepared:
    invocation = prepared.invocation
    env, programs = command_parts(prepared.plan.env, invocation.slots, request.argv)
    invocation = replace(invocation, argv=request.argv, env=env, programs=programs)
    return replace(prepared, request=request, invocation=invocation)
