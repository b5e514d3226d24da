"""Requests that are prepared once and run often, kept in this process.

Preparing costs tens of milliseconds: policies are read and composed, the host is asked, a plan is
compiled and encoded. What was prepared counts as long as everything it depends on is as it was:
the caller's directories and every file that was looked at (reuse.py). The command, its variables
and its time limit are put in afterwards, call by call.
"""

from __future__ import annotations

import os
import struct

from sandbox.errors import UsageError
from sandbox.plan.encode import INVOCATION_HOLD, SUPERVISE, encode_plan, run_digest
from sandbox.plan.model import Supervise
from sandbox.policy.model import COMMAND_LINE
from sandbox.record import replace
from sandbox.run.environment import DEFAULT_PATH, make_environment, program_paths
from sandbox.run.job_format import encode_placeholders
from sandbox.run.request_format import Shared, encode_shared
from sandbox.run.reuse import KEPT_MAX, template_to_check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from sandbox.plan.model import Invocation, Plan
    from sandbox.run.keywords import Asked
    from sandbox.run.request import Prepared, Request

_SECTION = struct.Struct("=IIII")
_LIMIT = struct.Struct("=IIQ")


_ready: dict[int, Ready] = {}  # by the identity of what is prepared, which each holds on to


def ready_for(request: Request) -> tuple[Ready, Callable[[], bool] | None]:
    """Return the prepared request: the one that was kept, if nothing has changed since, or a new.

    Shape:  with it what is to be asked before the command runs, whether nothing has changed; None
            where that is known. No lock, since a process may be forked at any time: two threads
            may prepare the same, and the later one is kept.
    Errors: those of prepare().
    """
    prepared, check = template_to_check(request)
    known = _ready.get(id(prepared))
    if known is not None and known.prepared is prepared:
        return known, check
    made = Ready(prepared)
    if len(_ready) >= KEPT_MAX:
        _ready.clear()
    _ready[id(prepared)] = made
    return made, check


class Ready:
    """A prepared request with its encoded plan; immutable but for what is worked out when asked."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.plan: Plan = prepared.plan
        self.placeholders = encode_placeholders(prepared.placeholders)
        self._blob = encode_plan(self.plan)
        self._timed: _Timed | None = None
        self._walls: _Timed | None = None
        self._digest: str | None = None
        self._facts: dict[str, Any] | None = None
        self._shared: tuple[list[bytes], Shared] | None = None  # of the last environment

    def plan_bytes(self, timeout_ms: int | None) -> bytes:
        """Return the encoded plan; with a time limit of this call's own, where one is given."""
        if timeout_ms is None:
            return self._blob
        if self._timed is None:
            self._timed = _Timed(self.plan)
        return self._timed.blob(timeout_ms)

    def digest(self, timeout_ms: int | None) -> str:
        """Return what run_digest() says about a run with that time limit."""
        if timeout_ms is None:
            if self._digest is None:
                self._digest = run_digest(self.plan, self.prepared.invocation)
            return self._digest
        if self._walls is None:
            mounts = self.plan.mounts + self.prepared.invocation.extra_mounts
            bare = replace(self.plan, mounts=mounts, notes=b"", rules=b"", fingerprint=b"")
            self._walls = _Timed(bare)
        from hashlib import sha256

        return sha256(self._walls.blob(timeout_ms)).hexdigest()

    def facts(self, timeout_ms: int | None) -> dict[str, Any]:
        """Return the members of Result that the plan's notes hold."""
        if self._facts is None:
            from sandbox.run.outcome import facts_of

            self._facts = facts_of(self.prepared)
        facts = dict(self._facts)
        if timeout_ms is not None:
            from sandbox.launch.result import Limit

            limits = dict(facts["limits"])
            was = limits["wall"].requested
            limits["wall"] = Limit(timeout_ms, "supervisor", "tree")
            facts["limits"] = tuple(limits.items())
            if was != timeout_ms:
                # worded as sandbox/policy/flags.py does for --timeout
                before = "none" if was is None else str(was)
                entry = {"key": "limits.wall", "value": str(timeout_ms), "was": before}
                facts["overrides"] = (*facts["overrides"], {**entry, "origin": COMMAND_LINE})
        return facts

    def invocation(self, asked: Asked) -> Invocation:
        """Return the Invocation of one call: its command and the environment as it is now."""
        env, programs = self._command_parts(asked)
        template = self.prepared.invocation
        return replace(template, argv=asked.argv, env=tuple(env), programs=programs)

    def _command_parts(self, asked: Asked) -> tuple[list[bytes], tuple[bytes, ...]]:
        made = make_environment(self.plan.env, os.environb, self.prepared.invocation.slots)
        for name, value in asked.env:
            made[name] = value
        env = [name + b"=" + value for name, value in made.items()]
        return env, program_paths(asked.argv[0], made.get(b"PATH", DEFAULT_PATH))

    def encoded(
        self, asked: Asked, fds: Sequence[tuple[int, int]], *, is_held: bool
    ) -> bytes | None:
        """Return the same encoded, with pairs of source and target; None where that is not plain.

        Plain is what has no mounts of its own and no directory on disk, and fits.
        """
        template = self.prepared.invocation
        if template.extra_mounts or not template.cwd or not self.plan.namespaces:
            return None
        env, programs = self._command_parts(asked)
        try:
            known = self._shared
            if known is None or known[0] != env:
                known = self._shared = env, Shared(template.cwd, env)
            return encode_shared(
                known[1],
                asked.argv,
                programs,
                fds,
                slots=template.slots,
                flags=INVOCATION_HOLD if is_held else 0,
            )
        except UsageError:
            return None  # the other way has the words


class _Timed:
    """An encoded plan whose time limit is written in at each call."""

    def __init__(self, plan: Plan) -> None:
        limits = {**dict(plan.supervise), Supervise.WALL_MS: 0}
        blob = encode_plan(replace(plan, supervise=tuple(sorted(limits.items()))))
        at = _wall_offset(blob)
        self._parts = blob[:at], blob[at + 8 :]

    def blob(self, timeout_ms: int) -> bytes:
        """Return the plan with that limit."""
        before, after = self._parts
        return before + struct.pack("=Q", timeout_ms) + after


def _wall_offset(blob: bytes) -> int:
    """Where the time limit's value stands in an encoded plan that has one."""
    count = struct.unpack_from("=IIII", blob)[3]
    for number in range(count):
        kind, records, offset, _size = _SECTION.unpack_from(blob, 16 + 16 * number)
        if kind == SUPERVISE:
            for at in range(offset, offset + records * _LIMIT.size, _LIMIT.size):
                if _LIMIT.unpack_from(blob, at)[0] == Supervise.WALL_MS:
                    return at + 8
    raise ValueError("the plan has no time limit")
