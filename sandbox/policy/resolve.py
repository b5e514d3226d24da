"""A merged layer → Policy: unstated keys get their defaults, every stated one its origin."""

from __future__ import annotations

from sandbox.errors import PolicyError
from sandbox.policy.canonical import canonical_json
from sandbox.policy.members import name_of
from sandbox.policy.model import (
    BUILT_IN,
    Audit,
    Env,
    Filesystem,
    Isolation,
    Limits,
    Network,
    Policy,
    Process,
)
from sandbox.policy.schema import COLLECTIONS, NAMESPACES, REMOVED, SCHEMA
from sandbox.policy.syscall_model import SyscallPolicy, SyscallRule, parse_action
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sandbox.policy.find import Source
    from sandbox.policy.reader import Layer


class _Layer:
    """Reads values of a merged layer, or the schema's defaults."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def one(self, key: str) -> Any:
        """Return the single value of `key`."""
        if key in self._layer:
            return self._layer[key][0]
        default = SCHEMA[key].default
        return parse_action(default) if SCHEMA[key].kind == "action" else default

    def many(self, key: str) -> tuple[Any, ...]:
        """Return the members of the collection `key`, sorted by their name or path."""
        members = self._layer.get(key, {})
        return tuple(members[name][0] for name in sorted(members, key=_order))

    def pairs(self, key: str) -> tuple[tuple[str, Any], ...]:
        """Return (name, value) of the map `key`, sorted."""
        members = self._layer.get(key, {})
        return tuple((name, members[name][0]) for name in sorted(members))

    def origins(self) -> tuple[tuple[str, str], ...]:
        """Return (key, place) of everything stated; members read `key[member]`."""
        found = []
        for key, value in self._layer.items():
            if key == REMOVED:
                continue
            if SCHEMA[key].kind in COLLECTIONS:
                found += [(f"{key}[{name_of(name)}]", entry[1]) for name, entry in value.items()]
            else:
                found.append((key, value[1]))
        return tuple(sorted(found))


def _order(member: Any) -> Any:
    if isinstance(member, frozenset):
        return sorted(member)
    return member if isinstance(member, str) else (member.slot, member.path)


def resolve(
    merged: Layer,
    source: Source,
    files: tuple[tuple[str, str], ...],
    notes: Sequence[str] = (),
    *,
    is_base: bool = True,
) -> Policy:
    """Return the policy that `merged` states; `files` pairs each file with its SHA-256.

    Shape:  without `is_base` it may be a part of a policy, under which nothing could run.
    Errors: PolicyError(policy.conflict) for values that contradict each other,
            (policy.value) where the filter has no base set.
    """
    import hashlib  # the filter's cache has imported it on every run that gets here

    layer = _Layer(merged)
    origins = layer.origins()
    canonical = canonical_json(merged)
    policy = Policy(
        name=source.name,
        summary=layer.one("summary"),
        path=source.path,
        sha256=hashlib.sha256(canonical).hexdigest(),
        files=files,
        isolation=_isolation(layer),
        process=_process(layer),
        env=Env(layer.many("env.allow"), layer.pairs("env.set")),
        filesystem=_filesystem(layer),
        network=Network(layer.one("network.mode"), layer.one("network.loopback")),
        syscalls=_syscalls(layer, origins),
        limits=_limits(layer),
        audit=Audit(layer.one("audit.trace"), layer.one("audit.denials")),
        origins=origins,
        canonical=canonical,
        removed=tuple(layer.many(REMOVED)),
        notes=tuple(notes),
    )
    if is_base:
        check_consistent(policy)
    return policy


def _isolation(layer: _Layer) -> Isolation:
    return Isolation(
        namespaces=tuple((name, layer.one(f"isolation.namespaces.{name}")) for name in NAMESPACES),
        nested_userns=layer.one("isolation.nested_userns"),
        no_new_privs=layer.one("isolation.no_new_privs"),
        seccomp=layer.one("isolation.seccomp"),
        landlock_fs=layer.one("isolation.landlock.fs"),
        landlock_net=layer.one("isolation.landlock.net"),
        landlock_scope=layer.one("isolation.landlock.scope"),
        landlock_min_abi=layer.one("isolation.landlock.min_abi"),
    )


def _process(layer: _Layer) -> Process:
    return Process(
        hostname=layer.one("process.hostname"),
        uid=layer.one("process.uid"),
        gid=layer.one("process.gid"),
        tty=layer.one("process.tty"),
        id_map=layer.one("process.id_map"),
        on_main_exit=layer.one("process.on_main_exit"),
        term_grace_ms=layer.one("process.term_grace"),
        capabilities=layer.many("process.capabilities"),
    )


def _filesystem(layer: _Layer) -> Filesystem:
    return Filesystem(
        root=layer.one("filesystem.root"),
        mounts=layer.many("filesystem.mounts"),
        symlinks=layer.many("filesystem.symlinks"),
        hide=layer.many("filesystem.hide"),
        protect=layer.many("filesystem.protect"),
        groups=layer.many("filesystem.groups"),
        proc_mode=layer.one("filesystem.proc.mode"),
        proc_subset=layer.one("filesystem.proc.subset"),
        proc_fallback=layer.one("filesystem.proc.fallback"),
        dev=layer.many("filesystem.dev"),
    )


def _syscalls(layer: _Layer, origins: tuple[tuple[str, str], ...]) -> SyscallPolicy:
    prefix = "syscalls."
    return SyscallPolicy(
        base=layer.one("syscalls.base"),
        allow=frozenset(layer.many("syscalls.allow")),
        deny=frozenset(layer.many("syscalls.deny")),
        unknown=layer.one("syscalls.unknown"),
        denied=layer.one("syscalls.denied"),
        foreign_abi=layer.one("syscalls.foreign_abi"),
        socket_families=frozenset(layer.many("syscalls.socket_families")),
        rules=layer.many("syscalls.rules"),
        origins=tuple((key, place) for key, place in origins if key.startswith(prefix)),
        within=layer.many("syscalls.within"),
    )


def _limits(layer: _Layer) -> Limits:
    return Limits(
        wall_ms=layer.one("limits.wall"),
        cpu_ms=layer.one("limits.cpu"),
        memory_bytes=layer.one("limits.memory"),
        swap_bytes=layer.one("limits.swap"),
        pids=layer.one("limits.pids"),
        open_files=layer.one("limits.open_files"),
        file_size_bytes=layer.one("limits.file_size"),
        output_bytes=layer.one("limits.output"),
        core_bytes=layer.one("limits.core"),
        enforce=layer.pairs("limits.enforce"),
        address_space_bytes=layer.one("limits.address_space"),
        cpu_quota_percent=layer.one("limits.cpu_quota"),
    )


def check_consistent(policy: Policy) -> None:
    """Refuse values that contradict each other.

    Errors: PolicyError with the places of both.
    """
    isolation = policy.isolation
    has_view = isolation.namespace("mount") != "off"  # without one the filter refuses the sockets
    if has_view and policy.network.mode == "none" and isolation.namespace("net") == "off":
        raise PolicyError(
            f"{_place(policy, 'isolation.namespaces.net')}: without a network namespace the"
            " network cannot be none",
            hint='set network.mode = "host" to share the network of the host',
            code="policy.conflict",
        )
    if isolation.seccomp != "off" and not policy.syscalls.base and not policy.syscalls.allow:
        raise PolicyError(
            f"{policy.path}: the policy allows no system call: syscalls.base is missing",
            hint='base = "@strict-2026.11" names a set, extends = ["strict"] a whole policy;'
            " a layer that only restricts goes with one: --tighten FILE",
            code="policy.value",
            key="syscalls.base",
        )

    _check_rules(policy)


def _check_rules(policy: Policy) -> None:
    """Refuse two rules that answer the same use of the same call differently."""
    seen: dict[tuple[str, str], SyscallRule] = {}
    for rule in policy.syscalls.rules:
        if "#" in rule.name:
            continue  # added by a layer: the stricter answer wins
        for call in rule.names:
            other = seen.setdefault((call, rule.when), rule)
            if other.action != rule.action:
                raise PolicyError(
                    f"{other.origin} and {rule.origin}: the rules {escape(other.name)} and"
                    f" {escape(rule.name)} contradict each other: the same use of {escape(call)}"
                    f" is answered by {other.action} and by {rule.action}",
                    hint="remove one of them, or give them different conditions",
                    code="policy.conflict",
                    key=f"syscalls.rules.{rule.name}",
                )


def _place(policy: Policy, key: str) -> str:
    origin = policy.origin(key)
    return policy.path if origin == BUILT_IN else origin
