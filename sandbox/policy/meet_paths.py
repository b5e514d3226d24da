"""The meet of two views: path by path, the rights that both give.

At each path that either view names, an entry speaks for itself and for everything below it that has
no entry of its own. The layer is silent about a path where neither the path nor one above it is
named; there the policy's entry stays. Elsewhere the rights of both are intersected, and the widest
mode within them is the result: {see} alone, which no mount gives, is hidden.

Paths that start at different variables cannot be compared before they have values, and are taken
as unrelated. Of two patterns in `only` neither of which is the other, nothing is shown.
"""

from __future__ import annotations

from sandbox.plan.model import Slot, SlotPath
from sandbox.policy.files import matches_name, order_key
from sandbox.policy.groups import unprotected_rights
from sandbox.policy.lattice import EXEC, NOTHING, SIZES_BYTES, mode_of, rights_of
from sandbox.policy.model import HideRule, MountRule
from sandbox.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.policy.reader import Layer

    Entry = MountRule | HideRule
    Entries = dict[SlotPath, Entry]

_MOUNTS, _HIDE, _GROUPS = "filesystem.mounts", "filesystem.hide", "filesystem.groups"
_SHOWN = rights_of("ro", is_noexec=False)  # by @toolchains


@record
class _Seen:
    """What an entry gives at one path: the entry, its rights there, and the children shown."""

    rule: Entry
    rights: frozenset[str]
    only: tuple[str, ...]


def upwards(path: SlotPath) -> Iterator[SlotPath]:
    """Yield `path` and what lies above it, up to the root or the variable itself."""
    text = path.path
    while True:
        yield SlotPath(text, path.slot)
        if text in (b"", b"/"):
            return
        text = text.rpartition(b"/")[0]
        if not text and path.slot is Slot.NONE:
            text = b"/"


def toolchain_entries() -> Entries:
    """Return what @toolchains adds to a view, as entries."""
    from sandbox.policy import groups

    home = SlotPath(b"", Slot.HOME)
    shown = [SlotPath(path.encode()) for path in groups.TOOLCHAINS_FIXED]
    shown += [groups.below(home, name) for name in groups.TOOLCHAINS_HOME]
    hidden = [groups.below(home, name) for name in groups.TOOLCHAIN_SECRETS]
    found: Entries = {path: MountRule(path, "ro", is_optional=True) for path in shown}
    found.update({path: HideRule(path) for path in hidden})
    return found


def meet_views(
    base: Layer, layer: Layer, *, has_toolchains: bool
) -> tuple[Layer, list[tuple[str, str, str, str, str]]]:
    """Return `base` with the meet of both views, and what `layer` states beyond it.

    Shape: the latter as (key, place, stated, base, base's place). `base` has the groups that the
           layer left it; `has_toolchains` says whether @toolchains was among them before.
    """
    own, stated = _entries(base), _entries(layer)
    implied = toolchain_entries()
    had: Entries = {**implied, **own} if has_toolchains else own
    excess = [item for rule in stated.values() if (item := _excess(rule, had)) is not None]
    keeps_toolchains = "@toolchains" in base.get(_GROUPS, {})
    is_leaving = has_toolchains and not keeps_toolchains
    slots = {path.slot for path in stated}  # the others are not touched
    roots = {path for path in implied if is_leaving or path.slot in slots}
    result: Entries = {}
    for path in sorted({*own, *stated, *roots}, key=order_key):
        limit, before = _seen(stated, path), _seen(own, path)
        root = next((place for place in upwards(path) if place in own or place in roots), None)
        if path not in own and root in roots and root not in own:
            is_covered = _seen(own, root) is not None
            if has_toolchains or not is_covered:
                is_gone = is_leaving and is_covered
                is_secret = is_covered and isinstance(implied[root], HideRule)
                rule = _within_toolchains(
                    path, limit, is_gone=(is_gone and path == root) or (is_secret and bool(limit))
                )
                if rule is not None and (path in stated or path == root):
                    result[path] = rule
                continue
        if path in own or (path in stated and before is not None):
            result[path] = own[path] if limit is None else _meet(path, before, limit, own.get(path))
        elif isinstance(stated.get(path), HideRule):
            result[path] = stated[path]  # a variable may lead there
    shown = {path for path, rule in implied.items() if isinstance(rule, MountRule)}
    return _with_view(base, _without_repeats(result, shown if keeps_toolchains else set())), excess


def _within_toolchains(path: SlotPath, limit: _Seen | None, *, is_gone: bool) -> HideRule | None:
    """Return what a layer makes of a path of @toolchains that has no entry of its own.

    Shape: None leaves it to the group, hidden is all that can be said else; whether the group is
           there does not matter, so that another layer may take it out before or after. Where it
           `is_gone` and a mount lies above, that one must not show the path instead.
    """
    is_narrowed = limit is not None and (not limit.rights >= _SHOWN or bool(limit.only))
    if limit is not None and (is_narrowed or is_gone):
        return HideRule(path, limit.rule.origin)
    return HideRule(path) if is_gone else None


def without_incomparable(base: Layer, layer: Layer) -> Layer:
    """Return `layer` without mounts that have no mode in common with what `base` shows there.

    Their meet would hide the path (tmpfs and ro), which a file that was only found did not ask for.
    """
    had: Entries = _entries(base)
    if "@toolchains" in base.get(_GROUPS, {}):
        had = {**toolchain_entries(), **had}
    kept = {}
    for path, entry in layer[_MOUNTS].items():
        before = _seen(had, path)
        rights = rights_of(entry[0].mode, is_noexec=entry[0].is_noexec)
        if before is None or not before.rights or mode_of(rights & before.rights) is not None:
            kept[path] = entry
    return {**layer, _MOUNTS: kept}


def _entries(layer: Layer) -> Entries:
    found: Entries = {path: entry[0] for path, entry in layer.get(_MOUNTS, {}).items()}
    found.update({path: entry[0] for path, entry in layer.get(_HIDE, {}).items()})
    return found


def _seen(entries: Entries, path: SlotPath) -> _Seen | None:
    """Return what the nearest entry at or above `path` gives there, or None."""
    for place in upwards(path):
        rule = entries.get(place)
        if rule is not None:
            break
    else:
        return None
    if isinstance(rule, HideRule):
        return _Seen(rule, NOTHING, ())
    rights = rights_of(rule.mode, is_noexec=rule.is_noexec)
    if rule.only and place != path:
        name = path.path[len(place.path.rstrip(b"/")) + 1 :].partition(b"/")[0]
        text = name.decode("utf-8", "surrogateescape")
        is_shown = any(matches_name(text, pattern) for pattern in rule.only)
        return _Seen(rule, rights if is_shown else NOTHING, ())
    return _Seen(rule, rights, rule.only)


def _excess(rule: Entry, had: Entries) -> tuple[str, str, str, str, str] | None:
    """Return what `rule` states beyond the view, if it does."""
    if isinstance(rule, HideRule):
        return None
    key = f"{_MOUNTS}[{rule.path.text()}]"
    before = _seen(had, rule.path)
    if before is None:
        return key, rule.origin, rule.mode, "not shown", ""
    where = before.rule.origin
    if not rights_of(rule.mode, is_noexec=rule.is_noexec) <= before.rights:
        return key, rule.origin, _text(rule), _text(before.rule), where
    names = rule.only or ("*",)
    if before.only and not all(any(_admits(one, name) for one in before.only) for name in names):
        return key, rule.origin, "all children", ", ".join(before.only), where
    if rule.source is not None and rule.source != _source(before.rule, rule.path):
        return f"{key}.source", rule.origin, rule.source.text(), "another source", where
    size = _size(before.rule)
    if rule.size_bytes and size is not None and rule.size_bytes > size:
        return f"{key}.size", rule.origin, str(rule.size_bytes), str(size), where
    return None


def _text(rule: Entry) -> str:
    if isinstance(rule, HideRule):
        return "hidden"
    return rule.mode + (" noexec" if rule.is_noexec else "")


def _source(rule: Entry, path: SlotPath) -> SlotPath | None:
    """Return the host's path that `rule` shows at `path`; None where that is `path` itself."""
    if isinstance(rule, HideRule) or rule.source is None:
        return None
    rest = path.path[len(rule.path.path.rstrip(b"/")) :]
    return SlotPath(rule.source.path.rstrip(b"/") + rest, rule.source.slot)


def _size(rule: Entry) -> int | None:
    """Return the bound of a mount in memory; None where the rule is none."""
    if isinstance(rule, HideRule) or rule.mode not in SIZES_BYTES:
        return None
    return rule.size_bytes or SIZES_BYTES[rule.mode]


def _children(one: tuple[str, ...], two: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names and patterns that both admit, in order."""
    found = [name for name in one if any(_admits(pattern, name) for pattern in two)]
    found += [name for name in two if any(_admits(pattern, name) for pattern in one)]
    return tuple(sorted(set(found)))


def _admits(pattern: str, name: str) -> bool:
    """Say whether `pattern` admits `name`, itself a pattern: then only the same one."""
    return pattern == name or (not set(name) & set("*?") and matches_name(name, pattern))


def _meet(path: SlotPath, before: _Seen | None, limit: _Seen, own: Entry | None) -> Entry:
    """Return the entry for `path` with the rights of both."""
    if before is None:  # the path has no entry, nor one above it
        return HideRule(path, limit.rule.origin)
    rights = before.rights & limit.rights
    source = _source(before.rule, path)
    if own is None:
        # A mount of its own is no longer under the protected groups: they are put into its mode.
        rights &= unprotected_rights(path) & unprotected_rights(source or path)
    mode = mode_of(rights)
    only = before.only or limit.only
    if before.only and limit.only:
        only = _children(before.only, limit.only)
    narrowed = limit.rule.origin
    if mode is None or (not only and before.only and limit.only):
        return own if isinstance(own, HideRule) else HideRule(path, narrowed)
    if not isinstance(before.rule, MountRule) or not isinstance(limit.rule, MountRule):
        return HideRule(path, narrowed)  # a rule that hides leaves no mode
    sizes = [size for size in (_size(before.rule), _size(limit.rule)) if size is not None]
    size = min(sizes) if sizes and mode in SIZES_BYTES else 0
    if size == _size(before.rule):
        size = before.rule.size_bytes  # as it was written
    made = MountRule(
        path=path,
        mode=mode,
        source=None if mode == "tmpfs" else source,
        size_bytes=size,
        is_noexec=EXEC not in rights,
        is_optional=mode != "tmpfs" and (before.rule.is_optional or own is None),
        only=only if mode == "ro" else (),
        origin=narrowed,
    )
    if isinstance(own, MountRule) and _is_same(own, made):
        return own
    return made


def _is_same(own: MountRule, made: MountRule) -> bool:
    parts = [replace(rule, origin="", only=tuple(sorted(rule.only))) for rule in (own, made)]
    return parts[0] == parts[1]


def _without_repeats(result: Entries, shown: set[SlotPath]) -> Entries:
    """Leave out what is hidden below a hidden path, unless a group would show it there."""
    kept: Entries = {}
    for path, rule in result.items():
        upper = next((kept[place] for place in upwards(path) if place in kept), None)
        is_repeat = isinstance(rule, HideRule) and isinstance(upper, HideRule)
        if not is_repeat or path in shown:
            kept[path] = rule
    return kept


def _with_view(base: Layer, entries: Entries) -> Layer:
    mounts = {path: rule for path, rule in entries.items() if isinstance(rule, MountRule)}
    hides = {path: rule for path, rule in entries.items() if isinstance(rule, HideRule)}
    return {
        **base,
        _MOUNTS: {path: (rule, rule.origin) for path, rule in mounts.items()},
        _HIDE: {path: (rule, rule.origin) for path, rule in hides.items()},
    }
