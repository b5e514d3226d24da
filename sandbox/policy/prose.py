"""A policy in words: what it shows, what it refuses, and which line says so.

Made from the resolved policy alone, so the same everywhere; what a particular host makes of it is
said by `sandbox exec --explain`.
"""

from __future__ import annotations

from sandbox.policy.judge import Court
from sandbox.policy.model import LIMIT_FIELDS, OFF, PREFER, REQUIRE
from sandbox.policy.resolved import origin_below
from sandbox.policy.schema import LIMITS
from sandbox.text import duration_text, size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.model import MountRule, Policy

_MODES = {
    "ro": "can be read",
    "rw": "can be read and written, and writes last",
    "tmpfs": "is private memory, gone afterwards",
    "overlay": "can be read; writes are private",
}
_SLOT_WORDS = {"${CWD}": "the working directory", "${HOME}": "the caller's home"}


def policy_prose(court: Court) -> list[tuple[str, list[str]]]:
    """Return (heading, sentences); a sentence ends with its place in brackets."""
    policy = court.policy
    return [
        ("files", [*_files(policy), *_guards(policy)]),
        ("network", _network(policy)),
        ("system calls", _calls(court)),
        ("environment", _environment(policy)),
        ("limits", _limits(policy)),
        ("isolation", _isolation(policy)),
    ]


def _at(origin: str) -> str:
    return f"   [{origin}]"


def _files(policy: Policy) -> list[str]:
    rows = [_mount(rule) for rule in policy.filesystem.mounts]
    rows += [f"{rule.path.text()} is hidden{_at(rule.origin)}" for rule in policy.filesystem.hide]
    if "@toolchains" in policy.filesystem.groups:
        origin = policy.origin("filesystem.groups[@toolchains]")
        text = "installed toolchains (pyenv, nvm, cargo, go, /opt …) can be read where present"
        rows.append(f"{text}, credentials among them hidden{_at(origin)}")
    if "@gitconfig" in policy.filesystem.groups:
        origin = policy.origin("filesystem.groups[@gitconfig]")
        rows.append(f"git's configuration can be read, without its credentials{_at(origin)}")
    writable = "takes no writes" if policy.filesystem.root == "tmpfs-ro" else "is private memory"
    origin = policy.origin("filesystem.root")
    rows.append(f"nothing else exists; / itself {writable}{_at(origin)}")
    return rows


def _mount(rule: MountRule) -> str:
    name = _SLOT_WORDS.get(rule.path.text(), rule.path.text())
    if rule.only:
        shown = ", ".join(rule.only[:4]) + (
            f" and {len(rule.only) - 4} more" if rule.only[4:] else ""
        )
        return f"of {name} only {shown} can be read{_at(rule.origin)}"
    text = f"{name} {_MODES[rule.mode]}"
    if rule.size_bytes:
        text += f", {size_text(rule.size_bytes)}"
    if rule.is_noexec:
        text += ", no programs run from it"
    if rule.source is not None:
        text += f" (it is {rule.source.text()} outside)"
    if rule.is_optional:
        text += ", where it exists"
    return text + _at(rule.origin)


def _guards(policy: Policy) -> list[str]:
    rows = []
    words = {
        "@credentials": "keys, tokens and browser profiles are hidden wherever a mount shows them",
        "@git-hooks": "git hooks and .git/config take no lasting writes",
        "@shell-rc": "shell start-up files take no lasting writes",
        "@agent-config": "configuration of editors and agents takes no lasting writes",
    }
    for group in policy.filesystem.protect:
        origin = policy.origin(f"filesystem.protect[{group}]")
        rows.append(f"{words.get(group, group)}{_at(origin)}")
    return rows


def _network(policy: Policy) -> list[str]:
    origin = policy.origin("network.mode")
    if policy.network.mode == "host":
        return [f"the host's network, every interface and port of it{_at(origin)}"]
    if policy.network.mode == "none":
        state = "up, so a test suite can talk to itself" if policy.network.has_loopback else "down"
        place = policy.origin("network.loopback")
        return [
            f"none: an own network without interfaces{_at(origin)}",
            f"loopback is {state}{_at(place)}",
        ]
    return [f"{policy.network.mode}{_at(origin)}"]


def _calls(court: Court) -> list[str]:
    policy = court.policy
    calls = policy.syscalls
    if court.program is None:
        origin = policy.origin("isolation.seccomp")
        return [f"no filter: every call of the kernel{_at(origin)}"]
    verdicts = court.verdicts.values()
    plain = sum(one.default.kind == "allow" and not one.clauses for one in verdicts)
    some = sum(
        bool(one.clauses)
        and "allow" in (one.default.kind, *(clause.action.kind for clause in one.clauses))
        for one in verdicts
    )
    families = ", ".join(sorted(calls.socket_families)) or "none"
    place = origin_below(policy, "syscalls.socket_families")
    return [
        f"{plain} of {len(court.verdicts)} calls pass, {some} more with some arguments only"
        f"{_at(policy.origin('syscalls.base'))}",
        f"sockets of the families {families}{_at(place)}",
        f"a known call that is refused answers {calls.denied}"
        f"{_at(policy.origin('syscalls.denied'))}",
        f"a call newer than the table answers {calls.unknown}"
        f"{_at(policy.origin('syscalls.unknown'))}",
        f"32-bit and x32 calls: {calls.foreign_abi}{_at(policy.origin('syscalls.foreign_abi'))}",
    ]


def _environment(policy: Policy) -> list[str]:
    names = policy.env.allow
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if names[8:] else "")
    rows = [f"passes from the caller: {shown or 'nothing'}{_at(origin_below(policy, 'env.allow'))}"]
    if policy.env.set:
        text = ", ".join(f"{name}={value.text()}" for name, value in policy.env.set[:4])
        more = f" and {len(policy.env.set) - 4} more" if policy.env.set[4:] else ""
        rows.append(f"set: {text}{more}{_at(origin_below(policy, 'env.set'))}")
    return rows


def _limits(policy: Policy) -> list[str]:
    rows = []
    for name in LIMITS:
        value = getattr(policy.limits, LIMIT_FIELDS[name])
        origin = policy.origin(f"limits.{name}")
        if value is None:
            continue
        if name in ("wall", "cpu"):
            text = duration_text(value)
        elif name in ("pids", "open_files"):
            text = str(value)
        elif name == "cpu_quota":
            text = f"{value}% of one processor"
        else:
            text = size_text(value)
        demand = policy.limits.demand(name)
        words = {REQUIRE: "required", PREFER: "where it can be held", OFF: "not held"}
        rows.append(f"{name.replace('_', ' ')} {text}, {words[demand]}{_at(origin)}")
    unbound = [
        name.replace("_", " ")
        for name in LIMITS
        if getattr(policy.limits, LIMIT_FIELDS[name]) is None
    ]
    if unbound:
        rows.append(f"no bound on {', '.join(unbound)}")
    return rows


def _isolation(policy: Policy) -> list[str]:
    isolation = policy.isolation
    rows = []
    for demand, words in ((REQUIRE, "refuses to start without"), (PREFER, "uses where it can")):
        names = [name for name, value in isolation.namespaces if value == demand]
        if names:
            place = policy.origin(f"isolation.namespaces.{names[0]}")
            rows.append(f"{words} own namespaces: {', '.join(names)}{_at(place)}")
        walls = [
            (key, f"isolation.{key}")
            for key, value in (
                ("seccomp", isolation.seccomp),
                ("landlock.fs", isolation.landlock_fs),
                ("landlock.net", isolation.landlock_net),
                ("landlock.scope", isolation.landlock_scope),
            )
            if value == demand
        ]
        if walls:
            listed = ", ".join(name for name, _ in walls)
            rows.append(f"{words} {listed}{_at(policy.origin(walls[0][1]))}")
    nested = "may be made inside" if isolation.nested_userns else "cannot be made inside"
    rows.append(f"user namespaces {nested}{_at(policy.origin('isolation.nested_userns'))}")
    return rows
