"""How an ended run becomes its Result: reason, who ended it, limits, usage."""

from __future__ import annotations

import errno
import os

from sandbox.launch.result import Limit, Result, Usage
from sandbox.launch.spawn import DEGRADED_PROC_BIND, DEGRADED_USERNS_LOCK, Status
from sandbox.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.run.relay import Relay
    from sandbox.run.request import Prepared
    from sandbox.run.supervise import Ending


_SIGKILL, _SIGXCPU, _SIGXFSZ, _SIGSYS = 9, 24, 25, 31
_KILLED_BELOW = 128 + _SIGKILL  # how a shell reports it
_CAUSES = {"timeout": "timeout", "memory": "oom", "output": "limit", "cpu": "limit"}
_CAUSE_LIMIT = {"timeout": "wall", "memory": "memory", "output": "output", "cpu": "cpu"}
_SIGNAL_LIMIT = {_SIGXCPU: "cpu", _SIGXFSZ: "file_size"}


# What pid 1 met on its way: bit, protection, what was got of it.
_DEGRADED: tuple[tuple[int, str, dict[str, str]], ...] = (
    (
        DEGRADED_PROC_BIND,
        "filesystem.proc",
        {
            "wanted": "prefer",
            "got": "the caller's /proc, read-only",
            "by": "bind mount",
            "note": "a fresh /proc was refused: the outer container masks parts of its own",
        },
    ),
    (
        DEGRADED_USERNS_LOCK,
        "isolation.nested_userns",
        {
            "wanted": "require",
            "got": "the filter alone",
            "by": "the filter",
            "note": "max_user_namespaces cannot be set: the outer container's /proc/sys is"
            " read-only",
        },
    ),
)


@record
class Counted:
    """What the supervisor counted of the command's output."""

    total_bytes: int
    is_truncated: bool


def facts_of(prepared: Prepared) -> dict[str, Any]:
    """Return the members of Result that the plan's notes already hold."""
    import json  # a command that simply exited, with nobody to read a result, does without

    notes = json.loads(prepared.plan.notes) if prepared.plan.notes else {}
    return {
        "policy": notes.get("policy"),
        "overrides": tuple(notes.get("overrides", ())),
        "effective": notes.get("effective"),
        "tier": notes.get("tier"),
        "limits": tuple(
            (name, Limit(item["requested"], item["enforced_by"], item["scope"]))
            for name, item in notes.get("limits", {}).items()
        ),
    }


def ended(
    prepared: Prepared,
    ending: Ending,
    relay: Relay | Counted | None,
    known: dict[str, Any],
    *,
    was_user: bool,
    facts: dict[str, Any] | None = None,
) -> Result:
    """Return the Result of a command that ran; without a digest in `known`, as execute() says.

    Shape: `facts` are those of facts_of(), where the caller has them already.
    """
    status = ending.status
    exit_code, signal = (None, _SIGKILL) if status is None else _split(status.wait_status)
    reason, ended_by = _reason(ending, signal, was_user=was_user)
    has_plain_end = reason == "exited" and "plan_digest" not in known
    if facts is None:
        facts = {"limits": ()} if has_plain_end else facts_of(prepared)
    hits = {_CAUSE_LIMIT.get(ending.cause), _SIGNAL_LIMIT.get(signal or 0), *ending.hits}
    facts["limits"] = tuple(
        (name, _kept(name, limit, relay, is_hit=name in hits)) for name, limit in facts["limits"]
    )
    degraded = 0 if status is None else status.degraded
    for bit, name, entry in _DEGRADED:
        if degraded & bit:
            facts["tier"] = "reduced"
            facts["effective"] = {**(facts.get("effective") or {}), name: entry}
    if not has_plain_end and ending.record_error:
        entry = _no_record(ending.record_error, facts.get("effective") or {})
        facts["effective"] = {**(facts.get("effective") or {}), "audit.denials": entry}
    if ending.denials and (not has_plain_end or exit_code or os.isatty(2)):
        from sandbox.run.denied import denial_data

        facts["denials"] = denial_data(ending.denials, prepared.policy, prepared.host.arch)
        facts["denials_lost"] = ending.denials_lost
    return Result(
        reason=reason,
        ended_by=ended_by,
        exit_code=exit_code,
        signal=signal,
        usage=_usage(ending, relay),
        **known,
        **facts,
    )


def plain(
    prepared: Prepared, known: dict[str, Any], facts: dict[str, Any], *, is_counted: bool
) -> Result:
    """Return the Result of a command that simply exited, to be completed when it has."""
    from sandbox.run.supervise import Ending  # the API has it already

    counted = Counted(0, is_truncated=False) if is_counted else None
    ending = Ending(Status(0, 0, 0, 0, 0, 0), "", 0, None)
    return ended(prepared, ending, counted, known, was_user=False, facts=facts)


def completed(made: Result, ending: Ending, relay: Counted | None) -> Result | None:
    """Return plain()'s result for a command that has ended; None where there is more to say."""
    status = ending.status
    if (
        status is None
        or status.wait_status & 0xFF
        or status.degraded
        or ending.cause
        or ending.hits
        or ending.denials
        or ending.record_error
    ):
        return None
    return replace(made, exit_code=status.wait_status >> 8, usage=_usage(ending, relay))


def _no_record(number: int, effective: dict[str, Any]) -> dict[str, Any]:
    reasons = {
        errno.EBUSY: "an outer sandbox or container already listens to this tree's refused calls",
        errno.EACCES: "the policy refuses the calls by which the listener is handed over",
        errno.EPIPE: "the listener was lost on its way out",
    }
    reason = reasons.get(number) or f"the kernel gives no listener: {os.strerror(number)}"
    wanted = effective.get("audit.denials", {}).get("wanted", "prefer")
    return {"wanted": wanted, "got": "off", "by": "", "note": reason}


def _kept(name: str, limit: Limit, relay: Relay | Counted | None, *, is_hit: bool) -> Limit:
    """Output on a terminal is not counted, and the result says so."""
    keeper = "none" if name == "output" and relay is None else limit.enforced_by
    if keeper == limit.enforced_by and not is_hit:
        return limit
    return Limit(limit.requested, keeper, limit.scope, hit=is_hit)


def _split(wait_status: int) -> tuple[int | None, int | None]:
    code = os.waitstatus_to_exitcode(wait_status)
    return (code, None) if code >= 0 else (None, -code)


def _reason(ending: Ending, signal: int | None, *, was_user: bool) -> tuple[str, str]:
    if ending.cause == "cancelled":
        return "cancelled", "user"
    if ending.cause:
        return _CAUSES[ending.cause], "sandbox"
    if _is_oom(ending, signal):
        return "oom", "kernel"
    if ending.status is None:
        return "signaled", "user"  # pid 1 was killed from outside
    if signal is None:
        return "exited", "user" if was_user else "command"
    if signal == _SIGSYS:
        return "policy", "kernel"
    if signal in _SIGNAL_LIMIT:
        return "limit", "kernel"
    return "signaled", "user" if was_user else "command"


def _is_oom(ending: Ending, signal: int | None) -> bool:
    """Whether the kernel ended the run for its memory: the command itself, or what a shell ran."""
    if "memory" not in ending.hits:
        return False
    status = ending.status
    return signal == _SIGKILL or (status is not None and status.wait_status == _KILLED_BELOW << 8)


def _usage(ending: Ending, relay: Relay | Counted | None) -> Usage:
    status = ending.status
    counted: dict[str, Any] = {}
    if relay is not None:
        counted = {"output_bytes": relay.total_bytes, "output_truncated": relay.is_truncated}
    counted["memory_peak_bytes"] = ending.memory_peak_bytes
    if status is None:
        return Usage(wall_ms=ending.wall_ms, **counted)
    return Usage(
        wall_ms=ending.wall_ms,
        user_ms=status.user_us // 1000,
        sys_ms=status.system_us // 1000,
        max_rss_bytes=status.max_rss_kib * 1024,
        switches=status.switches,
        **counted,
    )
