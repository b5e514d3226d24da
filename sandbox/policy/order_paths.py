"""The order of views: which rights to which path one policy gives and one does not.

Both policies are asked about every path that either of them names, the paths above it, and one
below it; between these the answer does not change, because the most specific entry decides. Rights
are those of the lattice (see, read, write, persist, exec), after protected groups, which take away
what would last. Where the same path shows another file of the host, that is a widening too. What no
entry covers lies on the root's own memory, if anywhere, and is judged by `filesystem.root`.
"""

from __future__ import annotations

from sandbox.plan.model import ProtectKind, SlotPath
from sandbox.policy.files import matches_name
from sandbox.policy.groups import below, protections
from sandbox.policy.lattice import (
    EXEC,
    NOTHING,
    PERSIST,
    READ,
    RIGHTS,
    SEE,
    SIZES_BYTES,
    WRITE,
    rights_of,
)
from sandbox.policy.meet_paths import toolchain_entries, upwards
from sandbox.policy.model import HideRule, MountRule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.model import Policy

Item = tuple[str, str, str, str]
Rights = frozenset[str]

_SAMPLE = "any-other-name"
_ORDER = (SEE, READ, WRITE, PERSIST, EXEC)


class Paths:
    """The view of one policy, as a function from paths to rights."""

    def __init__(self, policy: Policy) -> None:
        filesystem = policy.filesystem
        self._entries: dict[SlotPath, MountRule | HideRule] = {}
        if "@toolchains" in filesystem.groups:
            self._entries.update(toolchain_entries())
        named = {rule.path: rule for rule in filesystem.mounts}
        self._entries.update(named)
        self._entries.update({rule.path: rule for rule in filesystem.hide})
        roots = [rule.path for rule in filesystem.mounts if rule.mode == "rw"]
        self._protected = {
            item.path: item.kind
            for item in protections(filesystem.protect, roots, {})
            if item.path not in named
        }

    def places(self) -> set[SlotPath]:
        """Return every path that the policy names, and each child that a mount is cut down to."""
        found = {*self._entries, *self._protected}
        for rule in self._entries.values():
            if isinstance(rule, MountRule):
                found |= {below(rule.path, name.replace("*", "x")) for name in rule.only}
        return found

    def rights(self, path: SlotPath) -> tuple[Rights, SlotPath | None]:
        """Return the rights to `path`, and the host's path that is seen there (None: none)."""
        protected: ProtectKind | None = None
        for place in upwards(path):
            kind = self._protected.get(place)
            if kind is not None and protected is not ProtectKind.HIDDEN:
                protected = kind
            rule = self._entries.get(place)
            if rule is not None:
                return self._at(rule, path, protected)
        return NOTHING, None

    def _at(
        self, rule: MountRule | HideRule, path: SlotPath, protected: ProtectKind | None
    ) -> tuple[Rights, SlotPath | None]:
        if isinstance(rule, HideRule) or protected is ProtectKind.HIDDEN:
            return NOTHING, None
        rest = path.path[len(rule.path.path.rstrip(b"/")) :]
        if rule.only and rest:
            name = rest[1:].partition(b"/")[0].decode("utf-8", "surrogateescape")
            if not any(matches_name(name, pattern) for pattern in rule.only):
                return NOTHING, None
        rights = rights_of(rule.mode, is_noexec=rule.is_noexec)
        if protected is not None:
            rights -= {PERSIST}
        if rule.mode == "tmpfs":
            return rights, None
        source = rule.source or rule.path
        return rights, SlotPath(source.path.rstrip(b"/") + rest, source.slot)

    def size_bytes(self, path: SlotPath) -> int | None:
        """Return the bound on what can be written in memory at the mount `path`, if it is one."""
        rule = self._entries.get(path)
        if not isinstance(rule, MountRule) or rule.mode not in SIZES_BYTES:
            return None
        return rule.size_bytes or SIZES_BYTES[rule.mode]


def corpus(*views: Paths) -> list[SlotPath]:
    """Return the paths between which no view changes its answer, sorted."""
    named = {path for view in views for path in view.places()}
    found = {place for path in named for place in upwards(path)}
    found |= {below(path, _SAMPLE) for path in tuple(found)}
    return sorted(found, key=lambda path: (path.slot, path.path))


def path_widenings(base: Policy, other: Policy) -> list[Item]:
    """Return (key, witness, base, other) for each path that `other` gives more of.

    Shape: of a path and the one below it that differ alike, the upper one alone.
    """
    if base.filesystem == other.filesystem:
        return []
    one, two = Paths(base), Paths(other)
    found: list[Item] = []
    told: dict[SlotPath, tuple[str, str]] = {}
    for path in corpus(one, two):
        had, has = one.rights(path), two.rights(path)
        if has[0] <= had[0] and not _shows_another(had, has):
            continue
        is_sourced = _shows_another(had, has)
        upper = next((told[place] for place in upwards(path) if place in told), None)
        told[path] = (_text(had[0]), _text(has[0]))
        if upper != told[path]:
            texts = _text(*had, is_sourced=is_sourced), _text(*has, is_sourced=is_sourced)
            found.append(("filesystem.mounts", path.text(), *texts))
    for path in sorted(one.places() & two.places(), key=SlotPath.text):
        size, size_now = one.size_bytes(path), two.size_bytes(path)
        if size is not None and size_now is not None and size_now > size:
            key = f"filesystem.mounts[{path.text()}].size"
            found.append((key, path.text(), str(size), str(size_now)))
    return found


def _shows_another(
    had: tuple[Rights, SlotPath | None], has: tuple[Rights, SlotPath | None]
) -> bool:
    return READ in has[0] and has[1] is not None and had[1] is not None and had[1] != has[1]


def _text(rights: Rights, host: SlotPath | None = None, *, is_sourced: bool = False) -> str:
    """Return the rights as people read them: a mode where one has just these."""
    if not rights:
        return "not shown"
    source = f" of {host.text()}" if is_sourced and host is not None else ""
    for mode, known in RIGHTS.items():
        if rights - {EXEC} == known:
            return mode + source + ("" if EXEC in rights else " noexec")
    return " ".join(right for right in _ORDER if right in rights) + source
