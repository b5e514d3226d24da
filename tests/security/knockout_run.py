"""Runs a command behind a plan from which protections were taken out. For tests only.

The shipped program has no such switch: the plan is changed here, between prepare() and execute().
Usage: python -I knockout_run.py JSON COMMAND [ARGUMENT]...
JSON: {"policy": name, "flags": [[key, value], …], "without": [knock, …]}
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from sandbox.plan.model import (
    MountAttr,
    MountFlag,
    MountKind,
    MountOp,
    Namespace,
    Plan,
    PlanFlag,
    SlotPath,
)
from sandbox.policy.compose import Flag
from sandbox.record import replace
from sandbox.run.execute import Request, execute, prepare

EVERY_CAPABILITY = (1 << 41) - 1
WEAKENED = (MountKind.BIND, MountKind.TMPFS, MountKind.SELF, MountKind.DEV)


def _without_seccomp(plan: Plan) -> Plan:
    return replace(plan, filters=(), proof_nr=-1, proof_errno=0)


def _without_landlock(plan: Plan) -> Plan:
    return replace(plan, flags=plan.flags & ~PlanFlag.LANDLOCK)


def _without_limit(plan: Plan) -> Plan:
    return replace(plan, flags=plan.flags & ~PlanFlag.LOCK_USERNS)


def _without_capability_drop(plan: Plan) -> Plan:
    return replace(plan, caps=EVERY_CAPABILITY, securebits=0)


def _without_attributes(plan: Plan, attributes: MountAttr) -> Plan:
    mounts = tuple(
        replace(op, attrs=op.attrs & ~attributes) if op.kind in WEAKENED else op
        for op in plan.mounts
    )
    return replace(plan, mounts=mounts)


def _without_readonly(plan: Plan) -> Plan:
    plan = replace(plan, flags=plan.flags & ~PlanFlag.ROOT_READONLY)
    return _without_attributes(plan, MountAttr.RDONLY)


def _without_nodev(plan: Plan) -> Plan:
    return _without_attributes(plan, MountAttr.NODEV)


def _without_masks(plan: Plan) -> Plan:
    return replace(plan, mounts=tuple(op for op in plan.mounts if op.kind is not MountKind.MASK))


def _without_sizes(plan: Plan) -> Plan:
    return replace(plan, mounts=tuple(replace(op, size_bytes=0) for op in plan.mounts))


def _without_rlimits(plan: Plan) -> Plan:
    return replace(plan, rlimits=())


def _without_supervision(plan: Plan) -> Plan:
    return replace(plan, supervise=())


def _without_session(plan: Plan) -> Plan:
    return replace(plan, flags=plan.flags & ~PlanFlag.NEW_SESSION)


KNOCKS = {
    "seccomp": _without_seccomp,
    "landlock": _without_landlock,
    "limit": _without_limit,
    "capabilities": _without_capability_drop,
    "readonly": _without_readonly,
    "nodev": _without_nodev,
    "masks": _without_masks,
    "sizes": _without_sizes,
    "rlimits": _without_rlimits,
    "session": _without_session,
    "supervision": _without_supervision,
}


def _without_namespace(plan: Plan, name: str) -> Plan:
    gone = {"NET": PlanFlag.LOOPBACK}.get(name, PlanFlag(0))
    hostname = b"" if name == "UTS" else plan.hostname
    return replace(
        plan,
        namespaces=plan.namespaces & ~Namespace[name],
        flags=plan.flags & ~gone,
        hostname=hostname,
    )


def _with_view(plan: Plan, paths: str) -> Plan:
    source, _, target = paths.partition(":")
    shown = MountOp(
        MountKind.BIND,
        SlotPath(os.fsencode(target or source)),
        source=SlotPath(os.fsencode(source)),
        flags=MountFlag.RECURSIVE,
    )
    return replace(plan, mounts=(*plan.mounts, shown))


def knock_out(plan: Plan, knock: str) -> Plan:
    """Return `plan` without one protection.

    Shape: `knock` is a key of KNOCKS, `namespace:NAME` or `view:PATH[:WHERE]`.
    """
    kind, _, name = knock.partition(":")
    if kind == "namespace":
        return _without_namespace(plan, name)
    if kind == "view":
        return _with_view(plan, name)
    return KNOCKS[kind](plan)


def main(words: list[str]) -> int:
    """Run the command and return its exit code for the shell."""
    order: dict[str, Any] = json.loads(words[0])
    flags = tuple(Flag(key, value, f"--{key} {value}") for key, value in order["flags"])
    argv = tuple(os.fsencode(word) for word in words[1:])
    prepared = prepare(Request(argv, order["policy"], flags))
    plan, invocation = prepared.plan, prepared.invocation
    for knock in order["without"]:
        if knock == "environment":
            everything = tuple(k + b"=" + v for k, v in os.environb.items())
            invocation = replace(invocation, env=everything)
        else:
            plan = knock_out(plan, knock)
    result = execute(replace(prepared, plan=plan, invocation=invocation))
    if result.setup is not None:
        sys.stderr.write(f"{result.setup.stage}: {result.setup.cause}\n")
    return result.shell_exit_code()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
