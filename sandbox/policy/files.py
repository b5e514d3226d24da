"""File rules → the mounts of the view and their Landlock rules.

The most specific path wins; at an equal path hidden beats ro beats rw, tmpfs and overlay. The
order of rules in a file has no meaning: ancestors are mounted before what lies below them.
"""

from __future__ import annotations

import os

from sandbox.errors import PolicyError
from sandbox.host import observe
from sandbox.plan.model import (
    LandlockKind,
    LandlockRule,
    MountAttr,
    MountFlag,
    MountKind,
    MountOp,
    Protect,
    RootKind,
    Slot,
    SlotPath,
)
from sandbox.policy import landlock, system
from sandbox.policy.groups import below, protections, toolchain_mounts
from sandbox.policy.lattice import SIZES_BYTES
from sandbox.policy.model import COMMAND_LINE, HideRule, MountRule
from sandbox.record import record, replace
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.host.facts import Host
    from sandbox.policy.model import Policy

# One inode for half a page of content: plenty, and a bound on the kernel's own memory.
_BYTES_PER_INODE = 2048
_INODES_MIN = 1024
_ALWAYS = MountAttr.NOSUID | MountAttr.NODEV
_STICKY = (b"/tmp", b"/var/tmp", b"/dev/shm")  # paths inside


@record
class View:
    """What the command will see, and what Landlock lets it do there."""

    mounts: tuple[MountOp, ...]
    landlock: tuple[LandlockRule, ...]
    protect: tuple[Protect, ...]
    notes: tuple[str, ...]


@record
class Root:
    """The root of a plan: its kind, source and upper directory, and what is to be known of it."""

    kind: RootKind
    source: SlotPath | None = None
    upper: SlotPath | None = None
    size_bytes: int = 0
    notes: tuple[str, ...] = ()


def order_key(path: SlotPath) -> tuple[int, int, bytes]:
    """Sort ancestors before descendants; fixed paths before those of the caller's slots.

    Where a fixed path lies below a slot's value shows only when that is known: `settle.py`.
    """
    rank = (Slot.NONE, Slot.STATE, Slot.RUNTIME, Slot.TMP, Slot.HOME, Slot.CWD).index(path.slot)
    return rank, path.path.count(b"/"), path.path


def is_below(path: SlotPath, ancestor: SlotPath) -> bool:
    """Say whether `path` lies below `ancestor` (not at it), as far as the slots tell."""
    base = b"" if ancestor.path == b"/" else ancestor.path
    return path.slot is ancestor.slot and path.path.startswith(base + b"/") and path != ancestor


def effective_rules(
    mounts: tuple[MountRule, ...], hides: tuple[HideRule, ...]
) -> list[MountRule | HideRule]:
    """Return one rule for each path, in mount order: the strictest where two name the same."""
    winners: dict[SlotPath, MountRule | HideRule] = {rule.path: rule for rule in mounts}
    winners.update({rule.path: rule for rule in hides})
    return [winners[path] for path in sorted(winners, key=order_key)]


def compile_view(policy: Policy, host: Host) -> View:
    """Return the mounts and Landlock rules of `policy` on this host.

    Errors: PolicyError(policy.path) for a source that does not exist, with its place.
    """
    filesystem = policy.filesystem
    rules = effective_rules(filesystem.mounts, filesystem.hide)
    builder = _Builder(host, rules)
    for rule in rules:
        if isinstance(rule, HideRule):
            builder.hide(rule)
        elif rule.only:
            builder.children(rule)
        else:
            builder.mount(rule)
    if "@toolchains" in filesystem.groups:
        builder.toolchains(policy.origin("filesystem.groups[@toolchains]"))
    own = system.system_mounts(policy, frozenset(builder.targets))
    origins = {name: policy.origin(f"filesystem.protect[{name}]") for name in filesystem.protect}
    protect = protections(filesystem.protect, builder.writable_roots, origins)
    access = system.system_access(policy, own) | builder.access
    return View(
        mounts=tuple(sorted([*own, *builder.ops], key=lambda op: order_key(op.target))),
        landlock=_landlock_rules(access, host.landlock_abi),
        protect=tuple(protect),
        notes=tuple(builder.notes),
    )


def _landlock_rules(access: dict[SlotPath, int], abi: int) -> tuple[LandlockRule, ...]:
    handled = landlock.handled_fs(min(abi, landlock.ABI_KNOWN))
    rules = []
    for path in sorted(access, key=order_key):
        rights = access[path] & handled
        if rights:
            # Absent paths get no grant: an optional mount, a slot without a value.
            rules.append(LandlockRule(LandlockKind.PATH, rights, path, is_optional=True))
    return tuple(rules)


def _mounts_by_ancestor(
    rules: list[MountRule | HideRule],
) -> dict[tuple[Slot, bytes], list[SlotPath]]:
    """Return the mounts below each path that has any: one pass, where asking each would be n²."""
    found: dict[tuple[Slot, bytes], list[SlotPath]] = {}
    for rule in rules:
        if isinstance(rule, MountRule):
            above = rule.path.path.rstrip(b"/")
            while above:
                above = above.rpartition(b"/")[0]
                found.setdefault((rule.path.slot, above), []).append(rule.path)
    return found


class _Builder:
    """Collects operations, rights and what must be known about them."""

    def __init__(self, host: Host, rules: list[MountRule | HideRule]) -> None:
        self.ops: list[MountOp] = []
        self.access: dict[SlotPath, int] = {}
        self.notes: list[str] = []
        self.writable_roots: list[SlotPath] = []
        self.targets: set[SlotPath] = set()
        self._host = host
        self._rules = rules
        self._shown_below = _mounts_by_ancestor(rules)
        self._overlays = 0

    def mount(self, rule: MountRule) -> None:
        """Add one rule of the policy."""
        attrs = _ALWAYS
        if rule.is_noexec:
            attrs |= MountAttr.NOEXEC
        if rule.mode == "ro":
            attrs |= MountAttr.RDONLY
        if rule.mode == "tmpfs":
            op = self._tmpfs(rule, attrs)
        else:
            source = self._source(rule)
            if source is None:
                return
            op = MountOp(
                MountKind.BIND, rule.path, source, self._flags(rule), attrs, origin=rule.origin
            )
            if rule.mode == "overlay":
                op = self._overlay(rule, op)
        if rule.mode == "rw":
            self.writable_roots.append(rule.path)
        self._add(op, landlock.rights_of(rule.mode, is_noexec=rule.is_noexec))

    def children(self, rule: MountRule) -> None:
        """Add the named children of a directory; those that the host lacks are left out."""
        source = self._source(rule)
        if source is None:
            return
        parent = os.fsdecode(source.path)
        flags = MountFlag.RECURSIVE
        attrs = _ALWAYS | MountAttr.RDONLY
        if rule.is_noexec:
            attrs |= MountAttr.NOEXEC
        for name in matching_names(parent, rule.only):
            real = observe.realpath(os.path.join(parent, name))
            where = below(rule.path, name)
            if observe.exists(real):
                self.ops.append(
                    MountOp(
                        MountKind.BIND,
                        where,
                        SlotPath(os.fsencode(real)),
                        flags,
                        attrs,
                        origin=rule.origin,
                    )
                )
                self.targets.add(where)
        self.access[rule.path] = landlock.rights_of("ro", is_noexec=rule.is_noexec)

    def hide(self, rule: HideRule) -> None:
        """Cover a path. Where something below it is shown, the cover has room for just that."""
        shown = self._shown_below.get((rule.path.slot, rule.path.path.rstrip(b"/")))
        if not shown:
            op = MountOp(MountKind.MASK, rule.path, flags=MountFlag.OPTIONAL, origin=rule.origin)
            self.ops.append(op)
            return
        depth = len(rule.path.path.rstrip(b"/"))
        places = {
            path.path[:end]
            for path in shown
            for end in range(depth + 1, len(path.path) + 1)
            if path.path[end : end + 1] in (b"/", b"")
        }
        self.ops.append(
            MountOp(
                MountKind.TMPFS,
                rule.path,
                attrs=_ALWAYS | MountAttr.NOEXEC,
                size_bytes=4096,
                inodes=len(places) + 1,
                mode_octal=0o755,
                origin=rule.origin,
            )
        )

    def toolchains(self, origin: str) -> None:
        """Add @toolchains; a mount that the policy names itself wins at its path."""
        named = {rule.path for rule in self._rules}
        for op in toolchain_mounts(origin):
            if op.target in named:
                continue
            is_bind = op.kind is MountKind.BIND
            if is_bind:
                self._add(op, landlock.rights_of("ro", is_noexec=False))
            else:
                self.ops.append(op)

    def _add(self, op: MountOp, rights: int) -> None:
        self.ops.append(op)
        self.targets.add(op.target)
        self.access[op.target] = rights

    def _flags(self, rule: MountRule) -> MountFlag:
        flags = MountFlag.RECURSIVE
        if rule.is_optional:
            flags |= MountFlag.OPTIONAL
        source = rule.source or rule.path
        is_private = source.slot is not Slot.NONE or rule.origin.startswith(COMMAND_LINE)
        if rule.mode != "ro" or is_private:
            # As root the caller's files would otherwise belong to an id that is not mapped.
            flags |= MountFlag.IDMAP
        return flags

    def _source(self, rule: MountRule) -> SlotPath | None:
        """Return the canonical source; None where an optional one is absent."""
        named = rule.source or rule.path
        if named.slot is not Slot.NONE:
            return named  # known when the command runs; a link in it is refused then
        real = observe.realpath(named.path)
        if observe.exists(real):
            if rule.mode == "overlay" and not observe.is_dir(real):
                raise _path_error(rule, "is not a directory, and only those can be overlaid")
            if rule.only and not observe.is_dir(real):
                raise _path_error(rule, "is not a directory, so it has no children")
            return SlotPath(real)
        if rule.is_optional:
            self.notes.append(f"{escape(named.path)} does not exist and is left out")
            return None
        raise _path_error(rule, "does not exist")

    def _tmpfs(self, rule: MountRule, attrs: MountAttr) -> MountOp:
        size = rule.size_bytes or SIZES_BYTES["tmpfs"]
        return MountOp(
            MountKind.TMPFS,
            rule.path,
            attrs=attrs,
            size_bytes=size,
            inodes=_inodes(size),
            mode_octal=0o1777 if rule.path.path in _STICKY else 0o755,
            origin=rule.origin,
        )

    def _overlay(self, rule: MountRule, op: MountOp) -> MountOp:
        size = rule.size_bytes or SIZES_BYTES["overlay"]
        upper = None
        if "overlay-tmpfs-upper" not in self._host.features:
            upper = SlotPath(b"/overlay-%d" % self._overlays, Slot.STATE)
            self._overlays += 1
            self.notes.append(
                f"writes below {rule.path.text()} go to the state directory, where their size"
                f" is not bounded: {self._host.reason('overlay-tmpfs-upper') or 'no tmpfs upper'}"
            )
        return replace(
            op, kind=MountKind.OVERLAY, size_bytes=size, inodes=_inodes(size), upper=upper
        )


def _inodes(size_bytes: int) -> int:
    return min(max(size_bytes // _BYTES_PER_INODE, _INODES_MIN), (1 << 32) - 1)


def _path_error(rule: MountRule, problem: str) -> PolicyError:
    path = (rule.source or rule.path).path
    return PolicyError(
        f"{rule.origin}: {escape(path)} {problem}",
        hint="optional = true lets the policy go without it",
        code="policy.path",
        path=os.fsdecode(path),
    )


def matching_names(parent: str, patterns: tuple[str, ...]) -> list[str]:
    """Return the names in the directory `parent` that one of `patterns` means, sorted.

    Shape: `*` stands for any characters, `?` for one; a leading dot must be written out.
    """
    plain = {pattern for pattern in patterns if not set(pattern) & set("*?")}
    found = {name for name in plain if observe.lexists(os.path.join(parent, name))}
    wild = [pattern for pattern in patterns if pattern not in plain]
    if wild:
        for name in observe.names_in(parent):
            if any(matches_name(name, pattern) for pattern in wild):
                found.add(name)
    return sorted(found)


def matches_name(name: str, pattern: str) -> bool:
    """Match like fnmatch(3) with FNM_PERIOD; the module of that name would import `re`."""
    if name.startswith(".") and not pattern.startswith("."):
        return False
    at = mark = 0
    star = -1
    for_retry = 0
    while at < len(name):
        if mark < len(pattern) and pattern[mark] == "*":
            star, for_retry = mark, at
            mark += 1
        elif mark < len(pattern) and pattern[mark] in ("?", name[at]):
            at += 1
            mark += 1
        elif star >= 0:  # let the last star take one character more
            for_retry += 1
            at, mark = for_retry, star + 1
        else:
            return False
    return all(char == "*" for char in pattern[mark:])
