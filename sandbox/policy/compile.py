"""compile_plan(policy, host) → Plan: the only place that builds a Plan.

Every protection ends here as a part of the plan, or as an error (required and missing), or as a
note (preferred and missing). Nothing is weakened silently.
"""

from __future__ import annotations

from sandbox.errors import HostError
from sandbox.plan.model import (
    EnvKind,
    EnvRule,
    Namespace,
    Plan,
    PlanFlag,
    SlotPath,
)
from sandbox.policy import audit, landlock
from sandbox.policy.limits import compile_limits, group_needs
from sandbox.policy.model import OFF, REQUIRE
from sandbox.policy.notes import CONFINED, FULL, REDUCED, Effective, dump_json
from sandbox.policy.rule_table import rule_table
from sandbox.policy.shape import command_ids, kept_capabilities, root_and_view, securebits
from sandbox.record import record, to_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.host.facts import Host
    from sandbox.policy.files import View
    from sandbox.policy.limits import Bounds
    from sandbox.policy.model import Policy
    from sandbox.policy.syscalls import CompiledFilter

_NAMESPACE_BITS = {
    "user": (Namespace.USER, "userns"),
    "mount": (Namespace.MOUNT, "mountns"),
    "pid": (Namespace.PID, "pidns"),
    "net": (Namespace.NET, "netns"),
    "ipc": (Namespace.IPC, "ipcns"),
    "uts": (Namespace.UTS, "utsns"),
    "cgroup": (Namespace.CGROUP, "cgroupns"),
    "time": (Namespace.TIME, "timens"),
}
_INET = frozenset({"inet", "inet6"})
_NO_CAPS = "all sets empty, securebits locked"


def needed_features(policy: Policy) -> frozenset[str]:
    """Return the names of the facts that `compile_plan` asks the host for."""
    isolation = policy.isolation
    need = {_NAMESPACE_BITS[name][1] for name, demand in isolation.namespaces if demand != OFF}
    demands = (isolation.landlock_fs, isolation.landlock_net, isolation.landlock_scope)
    if any(demand != OFF for demand in demands):
        need.add("landlock")
    if isolation.seccomp != OFF:
        need.add("seccomp")
    has_image = policy.filesystem.root == "image"
    if has_image or any(rule.mode == "overlay" for rule in policy.filesystem.mounts):
        need.add("overlay-tmpfs-upper")
    need.add("idmap")
    need.update(f"group.{name}" for name in group_needs(policy.limits))
    if policy.process.id_map == "multi":
        need.add("subids")
    return frozenset(need)


def compile_plan(policy: Policy, host: Host) -> Plan:
    """Return the walls that `policy` builds on this host.

    Errors: HostError(host.missing) for a required protection that the host lacks;
            PolicyError(policy.path) for a path that does not exist, (policy.filter).
    """
    effective: list[Effective] = []
    root, view, policy = root_and_view(policy, host)
    namespaces = _namespaces(policy, host, effective)
    walls = _landlock(policy, host, effective)
    bounds = compile_limits(policy, host)
    compiled = _filter(policy, host, effective)
    filters = audit.load_as(policy, compiled, effective)
    effective += _simple(policy)
    effective += bounds.effective
    uid, gid, id_maps = command_ids(policy, host, namespaces)
    return Plan(
        flags=_flags(policy, namespaces, has_landlock=walls.is_on)
        | (PlanFlag.LOW_PRIORITY if bounds.is_low_priority else PlanFlag(0)),
        namespaces=namespaces,
        id_maps=id_maps,
        uid=uid,
        gid=gid,
        mounts=view.mounts,
        rlimits=bounds.rlimits,
        hostname=policy.process.hostname.encode() if namespaces & Namespace.UTS else b"",
        root_kind=root.kind,
        root_source=root.source,
        root_upper=root.upper,
        root_size_bytes=root.size_bytes,
        caps=kept_capabilities(policy),
        securebits=securebits(policy, namespaces),
        landlock_fs=walls.fs,
        landlock_net=walls.net,
        landlock_scoped=walls.scoped,
        landlock_min_abi=walls.min_abi,
        landlock=view.landlock if walls.fs else (),
        filters=filters,
        proof_nr=compiled.proof_nr if compiled else -1,
        proof_errno=compiled.proof_errno if compiled else 0,
        env=_env(policy, namespaces),
        protect=view.protect,
        supervise=bounds.supervise,
        notes=_notes(policy, host, effective, view, bounds, compiled),
        rules=rule_table(policy, compiled),
    )


def _missing(policy: Policy, key: str, reason: str, remedy: str) -> HostError:
    return HostError(
        f"{key} is required ({policy.origin(key)}) and this host lacks it: {reason}",
        hint=remedy,
        protection=key,
        reason=reason,
    )


def _namespaces(policy: Policy, host: Host, effective: list[Effective]) -> Namespace:
    """Return the namespaces to make; a network that the policy shares is no gap."""
    bits = Namespace(0)
    for name, demand in policy.isolation.namespaces:
        key = f"isolation.namespaces.{name}"
        bit, feature = _NAMESPACE_BITS[name]
        by = f"CLONE_NEW{'NS' if name == 'mount' else name.upper()}"
        if name == "net" and policy.network.mode == "host":
            note = f"the network is the host's ({policy.origin('network.mode')})"
            effective.append(Effective(key, demand, OFF, "", note))
        elif demand == OFF:
            effective.append(Effective(key, OFF, OFF, ""))
        elif feature in host.features:
            bits |= bit
            effective.append(Effective(key, demand, "on", by))
        else:
            reason = host.reason(feature) or "the kernel does not offer it"
            if demand == REQUIRE:
                raise _missing(
                    policy, key, reason, "see `sandbox doctor` for what this host offers"
                )
            effective.append(Effective(key, demand, OFF, "", reason, is_gap=True))
    return bits


def _flags(policy: Policy, namespaces: Namespace, *, has_landlock: bool) -> PlanFlag:
    flags = PlanFlag.NO_NEW_PRIVS
    has_lock = not policy.isolation.nested_userns and bool(namespaces)
    for is_set, flag in (
        (policy.filesystem.root == "tmpfs-ro", PlanFlag.ROOT_READONLY),
        (has_lock, PlanFlag.LOCK_USERNS),
        # who accepts the /proc of an outer container accepts its read-only /proc/sys with it
        (has_lock and policy.filesystem.proc_fallback == "bind-ro", PlanFlag.LOCK_OPTIONAL),
        (policy.network.has_loopback and bool(namespaces & Namespace.NET), PlanFlag.LOOPBACK),
        (policy.process.tty != "raw", PlanFlag.NEW_SESSION),
        (policy.process.on_main_exit == "wait-all", PlanFlag.WAIT_ALL),
        (has_landlock, PlanFlag.LANDLOCK),
        (bool(namespaces & Namespace.TIME), PlanFlag.ZERO_CLOCKS),
    ):
        if is_set:
            flags |= flag
    return flags


@record
class _Walls:
    """What Landlock will handle."""

    fs: int
    net: int
    scoped: int
    min_abi: int

    @property
    def is_on(self) -> bool:
        """Whether there is a ruleset at all."""
        return bool(self.fs or self.net or self.scoped)


def _landlock(policy: Policy, host: Host, effective: list[Effective]) -> _Walls:
    isolation = policy.isolation
    abi = min(host.landlock_abi, landlock.ABI_KNOWN)
    no_net = None
    if policy.syscalls.socket_families & _INET or policy.network.mode == "host":
        no_net = "the policy admits internet sockets, which it would refuse"
    is_fs = _has_wall(
        policy, host, effective, "fs", isolation.landlock_fs, isolation.landlock_min_abi
    )
    is_net = _has_wall(
        policy, host, effective, "net", isolation.landlock_net, landlock.ABI_NET, no_net
    )
    is_scoped = _has_wall(
        policy, host, effective, "scope", isolation.landlock_scope, landlock.ABI_SCOPE
    )
    needs = (
        (is_fs, isolation.landlock_min_abi),
        (is_net, landlock.ABI_NET),
        (is_scoped, landlock.ABI_SCOPE),
    )
    # Rights were cut to the ABI seen here; a kernel with a lower one would refuse them.
    return _Walls(
        fs=landlock.handled_fs(abi) if is_fs else 0,
        net=landlock.NET_BIND_TCP | landlock.NET_CONNECT_TCP if is_net else 0,
        scoped=landlock.SCOPE_ABSTRACT_UNIX_SOCKET | landlock.SCOPE_SIGNAL if is_scoped else 0,
        min_abi=abi if any(is_on for is_on, _ in needs) else 0,
    )


def _has_wall(
    policy: Policy,
    host: Host,
    effective: list[Effective],
    name: str,
    demand: str,
    abi: int,
    obstacle: str | None = None,
) -> bool:
    """Say whether this part of Landlock is used, and report it."""
    key = f"isolation.landlock.{name}"
    if demand == OFF or obstacle is not None:
        effective.append(Effective(key, demand, OFF, "", obstacle))
        return False
    if host.landlock_abi >= abi:
        effective.append(Effective(key, demand, "on", f"Landlock ABI {host.landlock_abi}"))
        return True
    reason = host.reason("landlock") or (
        f"the kernel's Landlock has ABI {host.landlock_abi}, and ABI {abi} is needed"
    )
    if demand == REQUIRE:
        remedy = "Linux 5.13 or newer with landlock among lsm= at boot; or a policy that prefers it"
        raise _missing(policy, key, reason, remedy)
    effective.append(Effective(key, demand, OFF, "", reason, is_gap=True))
    return False


def _filter(policy: Policy, host: Host, effective: list[Effective]) -> CompiledFilter | None:
    key = "isolation.seccomp"
    demand = policy.isolation.seccomp
    if demand == OFF:
        effective.append(Effective(key, OFF, OFF, ""))
        return None
    if "seccomp" not in host.features:
        reason = host.reason("seccomp") or "the kernel has no seccomp filters"
        if demand == REQUIRE:
            raise _missing(policy, key, reason, "a kernel with CONFIG_SECCOMP_FILTER=y")
        effective.append(Effective(key, demand, OFF, "", reason, is_gap=True))
        return None
    from sandbox.policy.syscalls import compile_filter  # a policy may do without a filter

    compiled = compile_filter(policy.syscalls, host.arch)
    effective.append(Effective(key, demand, "on", f"seccomp, {len(compiled.code) // 8} steps"))
    return compiled


def _simple(policy: Policy) -> list[Effective]:
    """Report what needs nothing of the host that the spawn does not prove."""
    isolation = policy.isolation
    nested = OFF if isolation.nested_userns else REQUIRE
    note = None
    lock = "the filter"
    if isolation.namespace("user") != OFF:
        lock = "max_user_namespaces = 0, and the filter"
    kept = policy.process.capabilities
    caps = f"kept in its own user namespace: {' '.join(kept)}" if kept else _NO_CAPS
    if isolation.nested_userns:
        note = f"allowed by {policy.origin('isolation.nested_userns')}"
    locked = Effective(
        "isolation.nested_userns",
        nested,
        OFF if isolation.nested_userns else "on",
        "" if isolation.nested_userns else lock,
        note,
    )
    raw = f"the command holds the caller's terminal ({policy.origin('process.tty')})"
    terminal = Effective("process.tty", OFF, OFF, "", raw)
    return [
        *([terminal] if policy.process.tty == "raw" else []),
        Effective("isolation.no_new_privs", isolation.no_new_privs, "on", "PR_SET_NO_NEW_PRIVS"),
        Effective("process.capabilities", REQUIRE, "on", caps),
        locked,
    ]


def _env(policy: Policy, namespaces: Namespace) -> tuple[EnvRule, ...]:
    """Return the rules in the order in which they decide: the first value for a name counts.

    A value of the command line comes before the caller's own, which comes before the policy's.
    """
    rules = [
        EnvRule(EnvKind.SET, name.encode("utf-8", "surrogateescape"), value)
        for name, value in policy.env.forced
    ]
    rules += [
        EnvRule(EnvKind.ALLOW, name.encode("utf-8", "surrogateescape"), SlotPath(b""))
        for name in policy.env.allow
    ]
    rules += [
        EnvRule(EnvKind.SET, name.encode("utf-8", "surrogateescape"), value)
        for name, value in policy.env.set
    ]
    if not namespaces:
        from sandbox.policy.confined import private_environment  # few runs have it

        rules += private_environment()
    return tuple(rules)


def _notes(
    policy: Policy,
    host: Host,
    effective: list[Effective],
    view: View,
    bounds: Bounds,
    compiled: CompiledFilter | None,
) -> bytes:
    gaps = [item for item in effective if item.is_gap]
    texts = [f"{item.name}: {item.note}" for item in gaps]
    outside = host.reason("outside-id")
    if outside is not None:
        texts.append(f"the command runs as the caller's own id {host.outside_uid}: {outside}")
    walls = [item for item in gaps if item.name.startswith("isolation.")]
    tier = CONFINED if policy.filesystem.root == "host" else REDUCED if walls else FULL
    data: dict[str, Any] = {
        "policy": {
            "name": policy.name,
            "sha256": policy.sha256,
            "files": [{"path": path, "sha256": digest} for path, digest in policy.files],
            "removed": [to_data(item) for item in policy.removed],
        },
        "tier": tier,
        "effective": {
            item.name: {"wanted": item.wanted, "got": item.got, "by": item.by, "note": item.note}
            for item in effective
        },
        "limits": {
            item.name: {
                "requested": item.requested,
                "enforced_by": item.enforced_by,
                "scope": item.scope,
            }
            for item in bounds.notes
        },
        "overrides": [
            {"key": item.key, "value": item.value, "was": item.was, "origin": item.origin}
            for item in policy.overrides
        ],
        "calls": _calls(policy, compiled),
        "network": policy.network.mode,
        "groups": list(policy.filesystem.groups),
        "notes": [*texts, *_removals(policy), *policy.notes, *view.notes, *bounds.texts],
    }
    return dump_json(data)


def _calls(policy: Policy, compiled: CompiledFilter | None) -> dict[str, Any]:
    return {
        "allowed": len(compiled.allowed) if compiled else 0,
        "known": compiled.known if compiled else 0,
        "unknown": str(policy.syscalls.unknown),
        "denied": str(policy.syscalls.denied),
        "foreign_abi": str(policy.syscalls.foreign_abi),
    }


def _removals(policy: Policy) -> list[str]:
    return [
        f"{item.key}[{item.member}] is removed ({item.origin}): {item.reason}"
        for item in policy.removed
    ]
