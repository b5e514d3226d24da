"""The meet: a policy within a layer that may only tighten it.

What the layer states is combined with the policy's own value and the tighter of both stands; what
it is silent about stays. A stated value beyond the policy's own is an `Excess`: whether that is an
error or a note is for the caller, the result is within both either way. Sets intersect, but for
denials, which unite. Applying layers is commutative, associative and idempotent.

Calls: a layer's allow-list (`base` and `allow`) becomes one more member of `syscalls.within`, and
its rules are added under names of their own, because a rule that shares the name of a shipped one
would replace that.
"""

from __future__ import annotations

from sandbox.policy import lattice
from sandbox.policy.members import bare, is_collection, name_of, shown
from sandbox.policy.model import PREFER
from sandbox.policy.schema import COMPOSITION, DENIALS, REMOVED, SCHEMA
from sandbox.policy.syscall_model import parse_action
from sandbox.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.policy.reader import Layer
    from sandbox.policy.syscall_model import SyscallRule

_GROUPS = "filesystem.groups"
_VIEW = ("filesystem.mounts", "filesystem.hide")
_CALLS = ("syscalls.base", "syscalls.allow", "syscalls.rules")
_SKIPPED = frozenset({"schema", "summary", REMOVED, *COMPOSITION})
_ENFORCE = "limits.enforce"


@record
class Excess:
    """A statement of a layer that is beyond the policy, and so has no effect."""

    key: str
    place: str
    stated: str
    base: str
    base_place: str = ""

    def text(self) -> str:
        """Return the statement and what it was held against."""
        at = f" ({self.base_place})" if self.base_place else ""
        return f"{self.place}: {self.key}: {self.stated} is more than the policy: {self.base}{at}"


def tighten(base: Layer, layer: Layer) -> tuple[Layer, tuple[Excess, ...]]:
    """Return the meet of `base` and `layer`, and what `layer` states beyond `base`.

    Errors: PolicyError(policy.value) for calls that do not exist.
    """
    meet = _Meet(base)
    for key in layer:
        if key in _SKIPPED or key in _VIEW or key in _CALLS:
            continue
        if is_collection(key):
            meet.members(key, layer[key])
        else:
            meet.one(key, layer[key])
    if any(key in layer for key in (*_VIEW, _GROUPS)):
        from sandbox.policy.meet_paths import meet_views  # most layers state no paths

        has_toolchains = "@toolchains" in base.get(_GROUPS, {})
        meet.result, found = meet_views(meet.result, layer, has_toolchains=has_toolchains)
        meet.excess += [Excess(*item) for item in found]
    if any(key in layer for key in _CALLS):
        meet.calls(layer)
    return meet.result, tuple(meet.excess)


def tighten_all(
    base: Layer, layers: tuple[Layer, ...], are_found: tuple[bool, ...] = ()
) -> tuple[Layer, tuple[tuple[Excess, ...], ...]]:
    """Return the meet of `base` and all `layers`, and what each of them states beyond `base`.

    Shape: every layer is held against `base` itself, so that the order of layers has no meaning;
           `are_found` says which of them nobody named.
    """
    result = base
    excess = []
    for index, layer in enumerate(layers):
        applied = layer
        if any(are_found[index : index + 1]) and _VIEW[0] in layer:
            from sandbox.policy.meet_paths import without_incomparable

            applied = without_incomparable(base, layer)
        result, found = tighten(result, applied)
        is_known = len(layers) == 1 and applied is layer
        excess.append(found if is_known else tighten(base, layer)[1])
    return result, tuple(excess)


class _Meet:
    """A policy while a layer is applied to it."""

    def __init__(self, base: Layer) -> None:
        self.base = base
        self.result = dict(base)
        self.excess: list[Excess] = []

    def one(self, key: str, entry: Any) -> None:
        """Keep the tighter of two single values."""
        had = self.base.get(key) or (_default(key), "")
        narrower, is_within = _tighter(key, had[0], entry[0])
        if not is_within:
            self._exceeds(key, entry, shown(had[0]), had[1])
        if narrower != had[0]:
            self.result[key] = (narrower, entry[1])

    def members(self, key: str, entry: dict[Any, Any]) -> None:
        """Unite denials, intersect other sets, compare maps name by name."""
        had = self.base.get(key, {})
        kind = SCHEMA[key].kind
        if key == _ENFORCE:
            self._demands(had, entry)
        elif key in DENIALS:
            self.result[key] = {**entry, **had}
        elif kind == "names":
            self._intersect(key, had, entry)
        else:
            for name, member in entry.items():
                if name not in had or bare(had[name][0]) != bare(member[0]):
                    was = had.get(name, (None, ""))
                    text = "absent" if name not in had else shown(was[0])
                    self._exceeds(f"{key}[{name_of(name)}]", member, text, was[1])

    def _intersect(self, key: str, had: dict[str, Any], entry: dict[str, Any]) -> None:
        is_env = key == "env.allow"
        kept = {}
        for name, member in entry.items():
            if name in had or (is_env and lattice.covers_env(had, name)):
                kept[name] = had.get(name, member)
            else:
                self._exceeds(f"{key}[{name}]", member, "absent", "")
        if is_env:
            kept.update(
                {name: had[name] for name in had if lattice.covers_env(entry, name)},
            )
        self.result[key] = kept

    def _demands(self, had: dict[str, Any], entry: dict[str, Any]) -> None:
        """Keep the stricter demand of each limit; `default` speaks for those that are not named."""
        merged = dict(had)
        for name in sorted({*had, *entry}, key=lambda one: (one != "default", one)):
            stated = entry.get(name) or entry.get("default")
            if stated is None:
                continue
            own = had.get(name) or had.get("default") or (PREFER, "")
            narrower, is_within = _demand(own[0], stated[0])
            if not is_within and name in entry:
                self._exceeds(f"{_ENFORCE}.{name}", stated, own[0], own[1])
            merged[name] = own if narrower == own[0] else stated
        self.result[_ENFORCE] = merged

    def _exceeds(self, key: str, entry: Any, base: str, base_place: str) -> None:
        self.excess.append(Excess(key, entry[1], shown(entry[0]), base, base_place))

    def calls(self, layer: Layer) -> None:
        """Hold the calls within the layer's list, and add its rules."""
        base_entry = layer.get("syscalls.base")
        allow = layer.get("syscalls.allow", {})
        rules = dict(self.base.get("syscalls.rules", {}))
        added: list[SyscallRule] = []
        for name, (rule, place) in layer.get("syscalls.rules", {}).items():
            if rule.action.kind == "allow":
                self._exceeds(f"syscalls.rules.{name}", (rule, place), "a refusal only", "")
            else:
                added.append(rule)
        if base_entry is not None or allow:
            from sandbox.policy import meet_calls  # reads the call table

            place = base_entry[1] if base_entry else min(entry[1] for entry in allow.values())
            names = frozenset(allow) | ({base_entry[0]} if base_entry else frozenset())
            beyond = meet_calls.beyond(self.base, names)
            if beyond:
                text = ", ".join(beyond[:3]) + (f" and {len(beyond) - 3} more" * (len(beyond) > 3))
                self.excess.append(Excess("syscalls.allow", place, text, "refused"))
            within = self.base.get("syscalls.within", {})
            self.result["syscalls.within"] = {names: (names, place), **within}
            if base_entry is not None:
                replaced = frozenset(layer.get("syscalls.rules", ()))
                added += meet_calls.rules_of(self.base, base_entry[0], replaced)
        for rule in added:
            name = stacked_name(rule)
            entry = (replace(rule, name=name), rule.origin)
            known = rules.get(name, entry)
            rules[name] = min(known, entry, key=lambda item: (item[1], item[0].why))
        if added:
            self.result["syscalls.rules"] = rules


def stacked_name(rule: SyscallRule) -> str:
    """Return the name under which a layer's rule is added: its own and a hash of what it says.

    It must not take the place of a rule of that name, which may be another and of the shipped set.
    """
    import hashlib  # only where a layer has rules

    stem, mark, _ = rule.name.partition("#")
    if mark:
        return rule.name  # added by a layer before
    text = "\0".join((" ".join(sorted(rule.names)), rule.when, str(rule.action)))
    return f"{stem}#{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _default(key: str) -> Any:
    default = SCHEMA[key].default
    return parse_action(default) if SCHEMA[key].kind == "action" else default


def _tighter(key: str, base: Any, stated: Any) -> tuple[Any, bool]:
    """Return the tighter value of `key`, and whether `stated` is at most `base`."""
    kind = SCHEMA[key].kind
    if base == stated:
        return base, True
    if kind == "demand":
        return _demand(base, stated)
    if kind == "bool":
        return False, not stated  # every switch of the format permits something
    if kind in ("size", "duration", "count", "percent"):
        if base is None or (stated is not None and stated < base):
            return stated, True
        return base, False
    if kind == "action":
        return _action(base, stated)
    if key in lattice.ORDERS:
        is_within = lattice.choice_rank(key, stated) < lattice.choice_rank(key, base)
        return (stated if is_within else base), is_within
    return base, False  # such values have no order: only the same one is within


def _demand(base: str, stated: str) -> tuple[str, bool]:
    ranks = lattice.DEMANDS
    is_within = ranks.index(stated) <= ranks.index(base)
    return (stated if is_within else base), is_within


def _action(base: Any, stated: Any) -> tuple[Any, bool]:
    one, two = lattice.ACTIONS.index(base.kind), lattice.ACTIONS.index(stated.kind)
    if one == two:  # two errnos refuse alike; the lower number, so that order has no meaning
        return min(base, stated, key=lambda action: action.errno), True
    return (stated if two < one else base), two < one
