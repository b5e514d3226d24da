"""What a policy says about a path, with the line that says it; on no particular host.

The rights are those of order_paths.py, which compares policies; this adds words and places. A path
below `${CWD}` is compared with entries below `${CWD}`: where the working directory lies shows only
when a command runs (`explain --path` asks the plan of this host instead).
"""

from __future__ import annotations

from sandbox.plan.model import ProtectKind, SlotPath
from sandbox.policy.files import effective_rules, is_below
from sandbox.policy.groups import below, protections
from sandbox.policy.lattice import EXEC, PERSIST, SEE
from sandbox.policy.model import BUILT_IN, HideRule, MountRule
from sandbox.policy.order_paths import Paths
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.model import Policy

WITNESS = "any-other-name"  # stands for every name below an entry that no other entry names


@record
class Sight:
    """What is at a path: in words, the rights, the caller's path that it shows, the place."""

    words: str
    rights: frozenset[str]
    source: SlotPath | None
    origin: str


class View:
    """The paths of one policy, ready to be asked."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._paths = Paths(policy)
        filesystem = policy.filesystem
        self._rules = effective_rules(filesystem.mounts, filesystem.hide)
        roots = [rule.path for rule in filesystem.mounts if rule.mode == "rw"]
        self.guards = [
            (group, entry.kind, entry.path)
            for group in filesystem.protect
            for entry in protections((group,), roots, {})
        ]

    def places(self) -> frozenset[SlotPath]:
        """Return the paths that the policy is about, and one below each mount."""
        mounted = [rule.path for rule in self._rules if isinstance(rule, MountRule)]
        return frozenset(self._paths.places() | {below(path, WITNESS) for path in mounted})

    def at(self, path: SlotPath) -> Sight:
        """Return what the command finds at `path`."""
        rights, source = self._paths.rights(path)
        rule = next((one for one in reversed(self._rules) if _holds(one.path, path)), None)
        guard = next(
            ((group, kind) for group, kind, where in self.guards if _holds(where, path)), None
        )
        if guard is not None and rule is not None and (not rights or PERSIST not in rights):
            origin = self._policy.origin(f"filesystem.protect[{guard[0]}]")
            if guard[1] is ProtectKind.HIDDEN and not rights:
                return Sight(f"hidden by {guard[0]}", rights, source, origin)
            if isinstance(rule, MountRule) and rule.mode == "rw" and rights:
                return Sight(f"read-only by {guard[0]}", rights, source, origin)
        if isinstance(rule, HideRule):
            return Sight("hidden", rights, source, rule.origin)
        if rule is None:
            return self._without_rule(rights, source)
        return Sight(_words(rule, path, rights), rights, source, rule.origin)

    def _without_rule(self, rights: frozenset[str], source: SlotPath | None) -> Sight:
        if source is not None:
            origin = self._policy.origin("filesystem.groups[@toolchains]")
            return Sight("ro where present", rights, source, origin)
        return Sight("private" if rights else "not shown", rights, None, BUILT_IN)


def _holds(entry: SlotPath, path: SlotPath) -> bool:
    return entry == path or is_below(path, entry)


def _words(rule: MountRule, path: SlotPath, rights: frozenset[str]) -> str:
    if not rights:
        return "not shown"
    if rule.only and path == rule.path:
        return "only named entries, ro"
    size = f" of {rule.size_bytes} bytes" if rule.size_bytes and path == rule.path else ""
    noexec = "" if EXEC in rights or SEE not in rights else " noexec"
    commit = getattr(rule, "commit", "discard")
    lasting = f" (commit {commit})" if commit not in (None, "", "discard") else ""
    return f"{rule.mode}{noexec}{size}{lasting}"
