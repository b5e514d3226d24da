"""policies/syscalls.toml: call groups, rules on arguments, and the versioned sets.

Read only where a filter is compiled or explained; a run whose filter is cached never opens it.
"""

from __future__ import annotations

import os

from sandbox.errors import PolicyError
from sandbox.policy import calltable
from sandbox.policy.find import shipped_dir
from sandbox.policy.syscall_model import SyscallPolicy, SyscallRule, parse_action
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_FILE = "syscalls.toml"


@record
class CallSet:
    """A versioned set: its calls with the reason of each, and the names of its rules."""

    why: str
    reasons: tuple[tuple[str, str], ...]  # (call, why), what it includes first
    rules: tuple[str, ...]


@record
class CallSets:
    """The whole file; names of groups and sets start with @."""

    groups: tuple[tuple[str, tuple[str, ...]], ...]
    rules: tuple[SyscallRule, ...]
    sets: tuple[tuple[str, CallSet], ...]


_loaded: dict[tuple[str, int, int], CallSets] = {}  # a memo of one file's content


def sets_path() -> str:
    """Return the path of the shipped syscalls.toml."""
    return os.path.join(shipped_dir(), _FILE)


def load_sets() -> CallSets:
    """Return the shipped groups, rules and sets.

    Errors: PolicyError(policy.syntax) where the file is missing or broken: the installation is.
    """
    path = sets_path()
    try:
        info = os.stat(path)
        key = (path, info.st_mtime_ns, info.st_size)
        if key not in _loaded:
            with open(path, "rb") as file:
                _loaded[key] = parse_sets(file.read().decode())
        return _loaded[key]
    except (OSError, ValueError, KeyError) as error:
        raise PolicyError(
            f"{path} cannot be used: {error}",
            hint="install the package again",
            code="policy.syntax",
            path=path,
        ) from error


def parse_sets(text: str) -> CallSets:
    """Return the groups, rules and sets that the TOML `text` states.

    Errors: ValueError or KeyError; load_sets words them.
    """
    import tomllib  # 17 ms, paid only on the way to a compilation

    data = tomllib.loads(text)
    groups = {name: tuple(calls.split()) for name, calls in data["groups"].items()}
    lines = _rule_lines(text)
    rules = {
        name: SyscallRule(
            name=name,
            names=tuple(rule["names"].split()),
            when=rule.get("when", ""),
            action=parse_action(rule["action"]),
            why=rule["why"],
            origin=f"{_FILE}:{lines.get(name, 0)}",
        )
        for name, rule in data["rules"].items()
    }
    sets: dict[str, CallSet] = {}
    for name, entry in data["sets"].items():  # a set includes only sets above it: no cycles
        sets[name] = _set(entry, sets)
    return CallSets(tuple(groups.items()), tuple(rules.values()), tuple(sets.items()))


def _set(entry: dict[str, Any], above: dict[str, CallSet]) -> CallSet:
    reasons = dict(above[entry["include"]].reasons) if "include" in entry else {}
    for calls, why in entry["calls"]:
        reasons.update(dict.fromkeys(calls.split(), why))
    return CallSet(entry["why"], tuple(reasons.items()), tuple(entry["rules"].split()))


def _rule_lines(text: str) -> dict[str, int]:
    """Return the line that each `[rules.NAME]` stands on; tomllib does not keep it."""
    return {
        line[len("[rules.") : -1]: number
        for number, line in enumerate(text.splitlines(), 1)
        if line.startswith("[rules.") and line.endswith("]")
    }


def find_set(sets: CallSets, name: str) -> CallSet:
    """Return the set `name`, such as "@strict-2026.11".

    Errors: PolicyError(policy.value) with the nearest set.
    """
    found = dict(sets.sets).get(name)
    if found is None:
        known = tuple(one for one, _ in sets.sets)
        raise PolicyError(
            f"no call set is called {name!r}",
            hint=_nearest(name, known, f"sets are {', '.join(known)}"),
            code="policy.value",
            key="syscalls.base",
            value=name,
        )
    return found


def expand(sets: CallSets, names: Iterable[str], *, place: str) -> frozenset[str]:
    """Return the calls that `names` (calls and @groups) stand for, on any architecture.

    Errors: PolicyError(policy.value) with `place` (a key or rule) and the nearest name.
    """
    groups = dict(sets.groups)
    known = dict(sets.sets)
    calls: set[str] = set()
    pending = list(names)
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in groups:
            pending.extend(groups[name])
        elif name in known:
            calls.update(call for call, _ in known[name].reasons)
        elif calltable.is_call_name(name):
            calls.add(name)
        else:
            _raise_unknown(name, (*groups, *known), place)
    return frozenset(calls)


def _raise_unknown(name: str, groups: tuple[str, ...], place: str) -> None:
    if name.startswith("@"):
        hint = _nearest(name, groups, "groups are named as in systemd: @mount, @keyring …")
    else:
        calls = tuple(call for arch in calltable.ARCHES for call in calltable.call_numbers(arch))
        hint = _nearest(name, calls, "man 2 syscalls lists them; groups start with @")
    raise PolicyError(
        f"{place}: no {'group' if name.startswith('@') else 'system call'} is called {name!r}",
        hint=hint,
        code="policy.value",
        value=name,
    )


def _nearest(name: str, known: tuple[str, ...], otherwise: str) -> str:
    import difflib  # only on the way to an error

    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else otherwise


def effective_rules(policy: SyscallPolicy, sets: CallSets | None = None) -> tuple[SyscallRule, ...]:
    """Return the rules that hold under `policy`: its own, then those of its set by other names."""
    sets = sets or load_sets()
    own = {rule.name: rule for rule in policy.rules}
    if policy.base:
        shipped = {rule.name: rule for rule in sets.rules}
        for name in find_set(sets, policy.base).rules:
            own.setdefault(name, shipped[name])
    return tuple(own.values())
