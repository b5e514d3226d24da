"""Prepared requests, used again by the same process while all that they rest on is as it was.

What does not change while a process lives (its own program, the kernel) is not looked at again; all
else is, at each use, in one call. Where nothing of a run can change what is looked at, the look may
come while its sandbox is being made: the command waits for it.
"""

from __future__ import annotations

import os

from sandbox.host.observe import recording
from sandbox.plan.entry import KEY_VARIABLES, FactKind, Probe, encode_facts, first_broken
from sandbox.record import record, replace
from sandbox.run.environment import command_parts
from sandbox.run.execute import prepare
from sandbox.run.keep import is_settled
from sandbox.run.scratch import upper_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from sandbox.plan.entry import Fact
    from sandbox.run.request import Prepared, Request

KEPT_MAX = 64
_PACKAGE = os.fsencode(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + b"/"
# What the kernel can do; a limit or a privilege of this process may change.
_KERNEL = frozenset({Probe.LANDLOCK, Probe.SECCOMP, Probe.TMPFS_XATTR})


@record
class _Kept:
    """A prepared request and its facts, packed for the check."""

    prepared: Prepared
    facts: bytes
    start: int
    count: int
    may_be_late: bool

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
    return _template(request, may_be_late=False)[0]


def template_to_check(request: Request) -> tuple[Prepared, Callable[[], bool] | None]:
    """Return the same, and what is to be asked before its command runs: whether it still holds.

    Shape:  None where that is known already.
    Errors: as prepare().
    """
    return _template(request, may_be_late=True)


def _template(request: Request, *, may_be_late: bool) -> tuple[Prepared, Callable[[], bool] | None]:
    key = _key(request)
    kept = _kept.get(key)
    if kept is not None:
        if may_be_late and kept.may_be_late:
            return kept.prepared, kept.holds
        if kept.holds():
            return kept.prepared, None
    with recording() as facts:
        prepared = prepare(request)
    if facts.gap or not is_settled(facts):
        _kept.pop(key, None)
        return prepared, None
    if len(_kept) >= KEPT_MAX:
        _kept.clear()  # few programs have so many policies; none needs an order among them
    packed = encode_facts(changing(facts.listed()))
    _kept[key] = _Kept(prepared, *packed, _changes_nothing(prepared))
    return prepared, None


def forget(prepared: Prepared) -> None:
    """Use no more what has turned out to be of the past."""
    for key, kept in tuple(_kept.items()):
        if kept.prepared is prepared:
            _kept.pop(key, None)


def changing(facts: Iterable[Fact]) -> list[Fact]:
    """Return the facts that may change while this process lives."""
    return [
        fact
        for fact in facts
        if not (
            (fact.kind is FactKind.PROBE and fact.value[0] in _KERNEL)
            or (
                fact.kind is FactKind.FILE
                and fact.path.startswith(_PACKAGE)
                and fact.path.endswith(b".py")
            )
        )
    ]


def _changes_nothing(prepared: Prepared) -> bool:
    """Whether a run leaves everything that is looked at as it is, until its command runs."""
    plan = prepared.plan
    is_plain = bool(plan.namespaces) and not prepared.placeholders
    # of two extents the child's maps are written at once; more may need the helpers, in the middle
    is_plain = is_plain and not prepared.host.hierarchies and len(plan.id_maps) <= 2
    return is_plain and not upper_names(plan)


def _key(request: Request) -> tuple[Any, ...]:
    """Return everything but the host that a plan depends on."""
    try:
        cwd = os.getcwdb()
    except FileNotFoundError:
        cwd = b""  # prepare() has the words for it
    ids = (os.getuid(), os.geteuid(), os.getgid(), os.getegid())
    environ = os.environb
    bare = replace(request, argv=()) if request.argv else request
    return (bare, cwd, ids, *(environ.get(name) for name in KEY_VARIABLES))


def _for_command(prepared: Prepared, request: Request) -> Prepared:
    invocation = prepared.invocation
    env, programs = command_parts(prepared.plan.env, invocation.slots, request.argv)
    invocation = replace(invocation, argv=request.argv, env=env, programs=programs)
    return replace(prepared, request=request, invocation=invocation)
