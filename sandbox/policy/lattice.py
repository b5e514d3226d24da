"""The orders that composition and comparison share: what is tighter than what, key by key.

Each list runs from the tightest to the widest. A choice that is in no list is comparable with
nothing but itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# key → (section of Policy, field): the choices whose values have an order
CHOICES = {
    "process.id_map": ("process", "id_map"),
    "process.tty": ("process", "tty"),
    "process.on_main_exit": ("process", "on_main_exit"),
    "filesystem.root": ("filesystem", "root"),
    "filesystem.proc.mode": ("filesystem", "proc_mode"),
    "filesystem.proc.subset": ("filesystem", "proc_subset"),
    "filesystem.proc.fallback": ("filesystem", "proc_fallback"),
}
DEMANDS = ("require", "prefer", "off")
ORDERS: dict[str, tuple[str, ...]] = {
    "process.id_map": ("single", "multi"),
    "process.tty": ("setsid", "relay", "raw"),
    "process.on_main_exit": ("kill-tree", "wait-all"),
    "filesystem.root": ("tmpfs-ro", "tmpfs", "image", "host-ro"),
    "filesystem.proc.mode": ("none", "fresh"),
    "filesystem.proc.subset": ("pid", "all"),
    "filesystem.proc.fallback": ("refuse", "none", "bind-ro"),
    "network.mode": ("none", "proxy", "nat", "host"),
}
ACTIONS = ("kill", "trap", "errno", "allow")

SEE, READ, WRITE, PERSIST, EXEC = "see", "read", "write", "persist", "exec"
# Rights of a mode; each has exec as well, unless the mount is noexec.
RIGHTS = {
    "tmpfs": frozenset({SEE, WRITE}),
    "ro": frozenset({SEE, READ}),
    "overlay": frozenset({SEE, READ, WRITE}),
    "rw": frozenset({SEE, READ, WRITE, PERSIST}),
}
# Bounds of what is written in memory, where a mount states none.
SIZES_BYTES = {"tmpfs": 64 << 20, "overlay": 256 << 20}
NOTHING: frozenset[str] = frozenset()


def choice_rank(key: str, value: str) -> int:
    """Return how wide `value` is; a value that the list lacks is wider than all in it."""
    order = ORDERS[key]
    return order.index(value) if value in order else len(order)


def rights_of(mode: str, *, is_noexec: bool) -> frozenset[str]:
    """Return the rights of a mount of this mode."""
    return RIGHTS[mode] if is_noexec else RIGHTS[mode] | {EXEC}


def mode_of(rights: frozenset[str]) -> str | None:
    """Return the widest mode within `rights`; None where only hiding is.

    The meet of tmpfs and ro is {see}, which no mount gives: it is hidden instead.
    """
    for mode in ("rw", "overlay", "ro", "tmpfs"):
        if RIGHTS[mode] <= rights:
            return mode
    return None


def covers_env(patterns: Iterable[str], name: str) -> bool:
    """Say whether `patterns` admit each variable that `name` means (a final * matches the rest)."""
    for pattern in patterns:
        if pattern == name:
            return True
        if pattern.endswith("*") and name.removesuffix("*").startswith(pattern[:-1]):
            return True
    return False
