"""`prepare()` makes a Request into a Plan and an Invocation; `execute()` runs them."""

from __future__ import annotations

import os
import time

from sandbox.errors import SetupError
from sandbox.launch.result import Result, Setup, new_run_id, utc_text
from sandbox.launch.spawn import SpawnFailed, spawn
from sandbox.plan.encode import encode_invocation, encode_plan, run_digest
from sandbox.plan.model import FilterFlag, Invocation, Slot, Supervise
from sandbox.record import replace
from sandbox.run.outcome import ended, facts_of
from sandbox.run.places import find_places, sandbox_home
from sandbox.run.request import Prepared, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any

    from sandbox.errors import SandboxError
    from sandbox.launch.listener import Denial, Listener
    from sandbox.launch.spawn import Child
    from sandbox.launch.terminal import Terminal
    from sandbox.plan.model import FdMap, MountOp, Plan
    from sandbox.run.relay import Relay

__all__ = ["Prepared", "Request", "execute", "prepare"]


def prepare(request: Request) -> Prepared:
    """Return what `request` becomes on this host; nothing is started, and nothing stays written.

    Errors: PolicyError, HostError, UsageError as the policy, the host or the flags give reason.
    """
    from sandbox.host.facts import detect
    from sandbox.policy.compile import compile_plan, needed_features
    from sandbox.policy.compose import apply_flags
    from sandbox.policy.load import load_policy
    from sandbox.policy.settle import arrange
    from sandbox.run.environment import command_parts

    cwd = os.fsdecode(request.cwd) or os.getcwd()
    tree = cwd if request.has_tree else None
    composed = load_policy(
        request.policy, *request.more_policies, tighten=request.tighten, tree=tree
    )
    policy = apply_flags(composed, request.flags, cwd)
    host = detect(need=needed_features(policy))
    plan = compile_plan(policy, host)
    places = find_places(policy, plan, request.cwd)
    if not plan.namespaces:
        from sandbox.policy.confined import check_narrowing  # few runs go without namespaces

        check_narrowing(policy, places.slots)
    if "@toolchains" in policy.filesystem.groups and b"VIRTUAL_ENV" in os.environb:
        from sandbox.run.virtualenv import with_virtualenv

        plan = with_virtualenv(plan, places.slots, os.environb[b"VIRTUAL_ENV"])
    plan = arrange(plan, places.slots)
    env, programs = command_parts(plan.env, places.slots, request.argv)
    mounts, placeholders, notes = _extra_mounts(policy.filesystem.groups, plan, places.slots)
    invocation = Invocation(
        argv=request.argv,
        env=env,
        programs=programs,
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
    if plan.namespaces:
        from sandbox.policy.settle import guards
        from sandbox.run.protect import own_protections, plan_protection

        protect = plan.protect + own_protections(plan, slots)
        found = plan_protection(guards(replace(plan, protect=protect), slots))
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
        invocation = final_invocation(prepared, scratch.path, missing)
        final = replace(prepared, invocation=invocation)
        if not prepared.host.hierarchies:
            return _run(final, forwarding, None, known, emit)
        from sandbox.run.cgroup import RunGroup  # only where control groups are delegated

        with RunGroup(prepared.host.hierarchies, prepared.plan.supervise, run_id) as group:
            return _run(final, forwarding, group, known, emit)


def _ignore(_event: str, **_fields: object) -> None:
    """Stands for a caller without interest in events."""


def final_invocation(prepared: Prepared, state: bytes, missing: frozenset[bytes]) -> Invocation:
    """Put in what exists only now: the state directory, and which placeholders could be made."""
    invocation = prepared.invocation
    slots = list(invocation.slots)
    slots[Slot.STATE] = state
    mounts = tuple(op for op in invocation.extra_mounts if op.target.path not in missing)
    invocation = replace(invocation, slots=tuple(slots), extra_mounts=mounts)
    if prepared.plan.namespaces:
        return invocation
    own = {rule.name: rule.value for rule in prepared.plan.env if rule.value.slot is Slot.STATE}
    if not own and invocation.cwd:
        return invocation
    given = {entry.partition(b"=")[0] for entry in invocation.env}
    made = tuple(
        name + b"=" + value.resolve(invocation.slots)
        for name, value in own.items()
        if name not in given
    )
    cwd = invocation.cwd or own[b"TMPDIR"].resolve(invocation.slots)
    return replace(invocation, env=invocation.env + made, cwd=cwd)


def _run(
    prepared: Prepared, forwarding: Any, group: Any, known: dict[str, Any], emit: Any
) -> Result:
    from sandbox.run.supervise import Supervisor

    plan = prepared.plan
    invocation, terminals = _with_terminal(prepared)
    relay = _open_relay(plan, invocation)
    if relay is not None:
        invocation = replace(invocation, fds=relay.fds)
    terminal: Terminal | None = None
    started_s = time.monotonic()
    try:
        terminal = _open_terminal(invocation, terminals, relay, forwarding)
        with _spawn(prepared, invocation, group) as child:
            forwarding.attach(child, None if terminal is None else terminal.resize)
            if relay is not None:
                relay.release_writers()
            failure = child.start_failure()
            if failure is not None:
                child.wait_gone(1000)
                raise SpawnFailed(failure)
            emit("run.started", **known, policy=prepared.policy.name)
            if terminal is not None:
                terminal.start(child)
            with _open_listener(child, plan, started_s) as listener:
                ending = Supervisor(child, plan, relay, group, terminal, listener).run(started_s)
        if relay is not None:
            # a reader that stalls holds up the end only of a run that ended by itself
            relay.drain(2.0 if ending.cause else None)
    except SetupError as error:
        return _failed(prepared, error, known, emit)
    finally:
        if terminal is not None:
            terminal.__exit__(None, None, None)
        if relay is not None:
            relay.__exit__(None, None, None)
    result = ended(prepared, ending, relay, known, was_user=forwarding.was_ended)
    _log(prepared, result, ending.denials, ending.denials_lost)
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


def _with_terminal(prepared: Prepared) -> tuple[Invocation, tuple[FdMap, ...]]:
    """Give the command a terminal of its own for those of the caller's that are also returned."""
    invocation = prepared.invocation
    is_relayed = prepared.policy.process.tty == "relay" and bool(prepared.plan.namespaces)
    if not is_relayed or not any(os.isatty(fd.source) for fd in invocation.fds):
        return invocation, ()
    from sandbox.launch.terminal import find_terminals, with_terminal  # only on a terminal

    terminals = find_terminals(invocation.fds)
    if terminals:
        invocation = with_terminal(invocation, prepared.plan, terminals)
    return invocation, terminals


def _open_terminal(
    invocation: Invocation, terminals: tuple[FdMap, ...], relay: Relay | None, forwarding: Any
) -> Terminal | None:
    if invocation.terminal is None:
        return None
    from sandbox.launch.terminal import Terminal

    return Terminal(
        terminals,
        is_foreground=invocation.terminal.is_foreground,
        count=None if relay is None else relay.allowed,
        stop=forwarding.stop_group,
    )


def _log(
    prepared: Prepared, result: Result, denials: tuple[Denial, ...] = (), lost: int = 0
) -> None:
    from sandbox.run.runlog import append

    started_s = time.time() - result.usage.wall_ms / 1000
    append(prepared.request, prepared.policy.name, result, denials, started_s, lost)


def _open_listener(
    child: Child, plan: Plan, started_s: float
) -> AbstractContextManager[Listener | None]:
    if not any(item.flags & FilterFlag.NOTIFY for item in plan.filters):
        from contextlib import nullcontext  # few policies do without a record

        return nullcontext()
    from sandbox.launch.listener import Listener

    return Listener(child.listener(), child.plan, int(started_s * 1e6))


def _open_relay(plan: Plan, invocation: Invocation) -> Relay | None:
    limit_bytes = dict(plan.supervise).get(Supervise.OUTPUT_BYTES)
    if limit_bytes is None:
        return None
    from sandbox.run.relay import Relay, limited_targets  # threading is not free

    if not limited_targets(invocation.fds) and invocation.terminal is None:
        return None
    return Relay(invocation.fds, limit_bytes)


def _spawn(prepared: Prepared, invocation: Invocation, group: Any) -> Child:
    plan = prepared.plan
    has_namespace = bool(plan.namespaces)
    # Root may write maps of any length; others need the helpers beyond the one id of their own.
    has_outer_maps = len(plan.id_maps) > 2 and not prepared.host.is_privileged
    if group is None and not has_outer_maps:
        blob = encode_invocation(invocation)
        return spawn(encode_plan(plan), blob, has_namespace=has_namespace)

    def settle(pid: int) -> None:
        if group is not None:
            group.join(pid)
        if has_outer_maps:
            from sandbox.host.idmap import map_by_helpers

            map_by_helpers(pid, plan.id_maps)

    held = replace(invocation, is_held=True, has_outer_maps=has_outer_maps)
    blob = encode_invocation(held)
    return spawn(encode_plan(plan), blob, settle, has_namespace=has_namespace)


def _failed(prepared: Prepared, error: SetupError, known: dict[str, Any], emit: Any) -> Result:
    worded: SandboxError = error
    if isinstance(error, SpawnFailed):
        from sandbox.launch.errors_text import setup_error  # only a failed run pays for it

        where = error.failure
        worded = setup_error(
            where.stage, where.op, where.errno, where.detail, prepared.plan, prepared.invocation
        )
    op, number = worded.fields.get("op", -1), worded.fields.get("errno")
    setup = Setup(
        stage=str(worded.fields.get("stage", worded.code)),
        op=op if op >= 0 else None,
        errno=number,
        cause=worded.message,
        remedy=worded.hint,
        exit_code=worded.exit_code,
    )
    emit("run.failed", **known, policy=prepared.policy.name, **worded.to_data())
    result = Result(reason="setup", ended_by="sandbox", setup=setup, **known, **facts_of(prepared))
    _log(prepared, result)
    return result
