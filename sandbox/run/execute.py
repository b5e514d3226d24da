"""`prepare()` makes a Request into a Plan and an Invocation; `execute()` runs them."""

from __future__ import annotations

import os
import time

from sandbox.launch.result import Result, Setup, new_run_id, utc_text
from sandbox.launch.spawn import SpawnFailed, spawn
from sandbox.plan.encode import encode_invocation, encode_plan, run_digest
from sandbox.plan.model import Invocation, Slot, Supervise
from sandbox.record import replace
from sandbox.run.outcome import ended, facts_of
from sandbox.run.places import find_places, sandbox_home
from sandbox.run.request import Prepared, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sandbox.errors import SandboxError
    from sandbox.launch.spawn import Child
    from sandbox.plan.model import MountOp
    from sandbox.run.relay import Relay

__all__ = ["Prepared", "Request", "execute", "prepare"]


def prepare(request: Request) -> Prepared:
    """Return what `request` becomes on this host; nothing is started or written.

    Errors: PolicyError, HostError, UsageError as the policy, the host or the flags give reason.
    """
    from sandbox.host.facts import detect
    from sandbox.policy.compile import compile_plan, needed_features
    from sandbox.policy.compose import apply_flags
    from sandbox.policy.load import load_policy
    from sandbox.policy.settle import arrange
    from sandbox.run.environment import DEFAULT_PATH, make_environment, program_paths

    policy = apply_flags(load_policy(request.policy), request.flags)
    host = detect(need=needed_features(policy))
    plan = compile_plan(policy, host)
    places = find_places(policy, plan)
    if not plan.namespaces:
        from sandbox.policy.confined import check_narrowing  # few runs go without namespaces

        check_narrowing(policy, places.slots)
    if "@toolchains" in policy.filesystem.groups and b"VIRTUAL_ENV" in os.environb:
        from sandbox.run.virtualenv import with_virtualenv

        plan = with_virtualenv(plan, places.slots, os.environb[b"VIRTUAL_ENV"])
    plan = arrange(plan, places.slots)
    environment = make_environment(plan.env, os.environb, places.slots)
    mounts, placeholders, notes = _extra_mounts(policy.filesystem.groups, plan, places.slots)
    invocation = Invocation(
        argv=request.argv,
        env=tuple(name + b"=" + value for name, value in environment.items()),
        programs=program_paths(request.argv[0], environment.get(b"PATH", DEFAULT_PATH))
        if request.argv
        else (),
        cwd=places.cwd,
        slots=places.slots,
        extra_mounts=mounts,
    )
    return Prepared(request, policy, host, plan, invocation, places.notes + notes, placeholders)


def _extra_mounts(
    groups: tuple[str, ...], plan: Any, slots: tuple[bytes, ...]
) -> tuple[tuple[MountOp, ...], tuple[tuple[bytes, bytes], ...], tuple[str, ...]]:
    """What depends on this caller's files: protected paths and git's configuration."""
    mounts: tuple[MountOp, ...] = ()
    placeholders: tuple[tuple[bytes, bytes], ...] = ()
    notes: tuple[str, ...] = ()
    if "@gitconfig" in groups:
        from sandbox.run.gitconfig import gitconfig_mounts

        mounts += gitconfig_mounts(slots[Slot.HOME], sandbox_home(plan))
    if plan.protect:
        from sandbox.policy.settle import guards
        from sandbox.run.protect import plan_protection

        found = plan_protection(guards(plan, slots))
        mounts += found.mounts
        placeholders = found.placeholders
        notes = tuple(
            f"{os.fsdecode(path)} is a symbolic link, which cannot be protected"
            for path in found.links
        )
    return mounts, placeholders, notes


def execute(
    prepared: Prepared, *, on_event: Callable[..., Any] | None = None, is_detailed: bool = True
) -> Result:
    """Run a prepared request to its end and return the result.

    Shape:  a failure before the command started is a Result with `setup`; `on_event(name,
            **fields)` receives run.started, run.finished or run.failed. Without `is_detailed` the
            result of a command that simply exited leaves out policy, digest, effective
            protections and limits (their JSON and hashes cost about 10 ms).
    Errors: SandboxError where our own files (journal, state directory) cannot be used.
    """
    from sandbox.run.placeholders import Placeholders
    from sandbox.run.scratch import Scratch
    from sandbox.run.signals import Forwarding

    paths = dict(prepared.placeholders)
    run_id = new_run_id()
    started_s = time.time()
    known: dict[str, Any] = {"run_id": run_id, "started": utc_text(started_s)}
    if on_event is not None or is_detailed:
        known["plan_digest"] = run_digest(prepared.plan, prepared.invocation)
    emit = on_event if on_event is not None else _ignore
    with (
        Scratch(prepared.plan, run_id) as scratch,
        Placeholders(tuple(paths.values()), run_id) as placeholders,
        Forwarding() as forwarding,
    ):
        missing = frozenset(
            inside for inside, path in paths.items() if path not in placeholders.covered
        )
        invocation = _final_invocation(prepared, scratch.path, missing)
        return _run(replace(prepared, invocation=invocation), forwarding, known, emit)


def _ignore(_event: str, **_fields: object) -> None:
    """Stands for a caller without interest in events."""


def _final_invocation(prepared: Prepared, state: bytes, missing: frozenset[bytes]) -> Invocation:
    """Put in what exists only now: the state directory, and which placeholders could be made."""
    invocation = prepared.invocation
    slots = list(invocation.slots)
    slots[Slot.STATE] = state
    mounts = tuple(op for op in invocation.extra_mounts if op.target.path not in missing)
    invocation = replace(invocation, slots=tuple(slots), extra_mounts=mounts)
    if prepared.plan.namespaces:
        return invocation
    own = {rule.name: rule.value for rule in prepared.plan.env if rule.value.slot is Slot.STATE}
    given = {entry.partition(b"=")[0] for entry in invocation.env}
    made = tuple(
        name + b"=" + value.resolve(invocation.slots)
        for name, value in own.items()
        if name not in given
    )
    cwd = invocation.cwd or own[b"TMPDIR"].resolve(invocation.slots)
    return replace(invocation, env=invocation.env + made, cwd=cwd)


def _run(prepared: Prepared, forwarding: Any, known: dict[str, Any], emit: Any) -> Result:
    from sandbox.run.supervise import Supervisor

    plan, invocation = prepared.plan, prepared.invocation
    relay = _open_relay(prepared)
    if relay is not None:
        invocation = replace(invocation, fds=relay.fds)
    started_s = time.monotonic()
    try:
        with _spawn(prepared, invocation) as child:
            forwarding.attach(child)
            if relay is not None:
                relay.release_writers()
            failure = child.start_failure()
            if failure is not None:
                child.wait_gone(1000)
                raise SpawnFailed(failure)
            emit("run.started", **known, policy=prepared.policy.name)
            ending = Supervisor(child, plan, relay).run(started_s)
        if relay is not None:
            # a reader that stalls holds up the end only of a run that ended by itself
            relay.drain(2.0 if ending.cause else None)
    except SpawnFailed as error:
        return _failed(prepared, error, known, emit)
    finally:
        if relay is not None:
            relay.__exit__(None, None, None)
    result = ended(prepared, ending, relay, known, was_user=forwarding.was_ended)
    emit(
        "run.finished",
        run_id=result.run_id,
        policy=prepared.policy.name,
        plan_digest=result.plan_digest,
        reason=result.reason,
        exit_code=result.exit_code,
        signal=result.signal,
        duration_ms=result.usage.wall_ms,
    )
    return result


def _open_relay(prepared: Prepared) -> Relay | None:
    limit_bytes = dict(prepared.plan.supervise).get(Supervise.OUTPUT_BYTES)
    if limit_bytes is None:
        return None
    from sandbox.run.relay import Relay, limited_targets  # threading is not free

    if not limited_targets(prepared.invocation.fds):
        return None
    return Relay(prepared.invocation.fds, limit_bytes)


def _spawn(prepared: Prepared, invocation: Invocation) -> Child:
    return spawn(
        encode_plan(prepared.plan),
        encode_invocation(invocation),
        has_namespace=bool(prepared.plan.namespaces),
    )


def _failed(prepared: Prepared, error: SpawnFailed, known: dict[str, Any], emit: Any) -> Result:
    from sandbox.launch.errors_text import setup_error  # only a failed run pays for it

    where = error.failure
    worded: SandboxError = setup_error(
        where.stage, where.op, where.errno, where.detail, prepared.plan, prepared.invocation
    )
    setup = Setup(
        stage=str(worded.fields.get("stage", worded.code)),
        op=where.op if where.op >= 0 else None,
        errno=where.errno,
        cause=worded.message,
        remedy=worded.hint,
        exit_code=worded.exit_code,
    )
    emit("run.failed", **known, policy=prepared.policy.name, **worded.to_data())
    return Result(
        reason="setup",
        ended_by="sandbox",
        setup=setup,
        **known,
        **facts_of(prepared),
    )
