"""Random layers for the laws of composition: made directly, because parsing TOML is slow.

The pools are small on purpose, so that layers meet: the same keys, paths above each other, names
and groups that hold them, patterns that cover names.
"""

from __future__ import annotations

from random import Random
from typing import Any

from sandbox.plan.model import Slot, SlotPath
from sandbox.policy.find import Source
from sandbox.policy.model import HideRule, MountRule, Policy, Symlink
from sandbox.policy.resolve import resolve
from sandbox.policy.syscall_model import SyscallRule, parse_action

PATHS = tuple(
    [SlotPath(path.encode()) for path in ("/usr", "/usr/share", "/usr/share/doc", "/etc", "/srv")]
    + [SlotPath(path.encode(), Slot.CWD) for path in ("", "/a", "/a/b", "/a/b/c", "/.git/hooks")]
    + [SlotPath(path.encode(), Slot.HOME) for path in ("/.cargo", "/.cargo/bin", "/.ssh")]
)
CALLS = ("ptrace", "sendmmsg", "mount", "keyctl", "ioctl", "socket", "@debug", "@mount", "read")
CONDITIONS = (
    "",
    "u32(arg1) == 5",
    "u32(arg1) in {5, 7}",
    "u32(arg1) not in {5, 9}",
    "arg0 & 0x6 != 0",
    "u32(arg1) == 5 and arg2 > 3",
)
DEMANDS = ("require", "prefer", "off")
ACTIONS = ("errno:EPERM", "errno:ENOSYS", "kill", "errno:EACCES")
BASES = ("@tiny-2026.11", "@strict-2026.11", "@default-2026.11")
ENV = ("TERM", "LC_*", "LC_ALL", "L*", "PATH", "CARGO_HOME")
LIMITS = ("wall", "memory", "pids", "output", "open_files", "cpu_quota")

# scalars of every kind: key → values, tightest first where they have an order
SCALARS: dict[str, tuple[Any, ...]] = {
    "isolation.namespaces.net": DEMANDS[:2],
    "isolation.namespaces.ipc": DEMANDS,
    "isolation.seccomp": DEMANDS[:2],
    "isolation.landlock.fs": DEMANDS,
    "isolation.landlock.min_abi": (1, 2),
    "isolation.nested_userns": (False, True),
    "process.hostname": ("one", "two"),
    "process.uid": (0, 1000),
    "process.id_map": ("single", "multi"),
    "process.tty": ("setsid", "raw"),
    "process.on_main_exit": ("kill-tree", "wait-all"),
    "process.term_grace": (1000, 2000, 5000),
    "filesystem.root": ("tmpfs-ro", "tmpfs"),
    "filesystem.proc.mode": ("none", "fresh"),
    "filesystem.proc.subset": ("pid", "all"),
    "network.mode": ("none", "host"),
    "network.loopback": (False, True),
}


class Layers:
    """A stream of layers; `place()` numbers the lines of an imaginary file."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._line = 0

    def place(self) -> str:
        """Return the next line."""
        self._line += 1
        return f"f.toml:{self._line}"

    def is_drawn(self, chance: float) -> bool:
        """Return true with this chance."""
        return self._random.random() < chance

    def some(self, pool: tuple[Any, ...], most: int = 3) -> list[Any]:
        """Return up to `most` members of `pool`."""
        return self._random.sample(pool, self._random.randint(0, min(most, len(pool))))

    def names(self, pool: tuple[str, ...]) -> dict[str, Any]:
        """Return a set's members."""
        return {name: (name, self.place()) for name in self.some(pool)}

    def layer(self, *, is_whole: bool = False, is_refusing: bool = False) -> dict[str, Any]:
        """Return a layer; a whole one has a base set, a refusing one rules that refuse only."""
        layer: dict[str, Any] = {"schema": (1, self.place())}
        for key, values in SCALARS.items():
            if self.is_drawn(0.25):
                layer[key] = (self._random.choice(values), self.place())
        for name in LIMITS:
            if self.is_drawn(0.3):
                layer[f"limits.{name}"] = (self._random.choice((None, 8, 64, 4096)), self.place())
        for key, pool in (
            ("env.allow", ENV),
            ("filesystem.protect", ("@credentials", "@git-hooks", "@shell-rc")),
            ("filesystem.groups", ("@toolchains", "@gitconfig")),
            ("filesystem.dev", ("null", "tty")),
            ("syscalls.allow", CALLS),
            ("syscalls.deny", CALLS[:-1]),
            ("syscalls.socket_families", ("unix", "inet", "netlink")),
        ):
            if self.is_drawn(0.35):
                layer[key] = self.names(pool)
        self._maps(layer, is_refusing=is_refusing)
        if is_whole or self.is_drawn(0.2):
            layer["syscalls.base"] = (self._random.choice(BASES), self.place())
        return layer

    def _maps(self, layer: dict[str, Any], *, is_refusing: bool) -> None:
        if self.is_drawn(0.6):
            rules = [self.mount(path) for path in self.some(PATHS, 5)]
            layer["filesystem.mounts"] = {rule.path: (rule, rule.origin) for rule in rules}
        if self.is_drawn(0.3):
            hides = [HideRule(path, self.place()) for path in self.some(PATHS, 2)]
            layer["filesystem.hide"] = {rule.path: (rule, rule.origin) for rule in hides}
        if self.is_drawn(0.3):
            layer["limits.enforce"] = {
                name: (self._random.choice(DEMANDS), self.place())
                for name in self.some(("default", "tree", "memory", "pids"))
            }
        if self.is_drawn(0.3):
            layer["env.set"] = {
                name: (SlotPath(self._random.choice((b"x", b"y"))), self.place())
                for name in self.some(("HOME", "PATH"))
            }
        if self.is_drawn(0.2):
            place = self.place()
            layer["filesystem.symlinks"] = {"/bin": (Symlink("/bin", "usr/bin", place), place)}
        if self.is_drawn(0.4):
            rules_ = [self.rule(name, is_refusing) for name in self.some(("r", "s", "obsolete"))]
            layer["syscalls.rules"] = {rule.name: (rule, rule.origin) for rule in rules_}

    def mount(self, path: SlotPath) -> MountRule:
        """Return a mount of any mode at `path`."""
        mode = self._random.choice(("ro", "rw", "tmpfs", "overlay"))
        is_memory = mode in ("tmpfs", "overlay")
        only: tuple[str, ...] = ()
        if mode == "ro" and path.slot is Slot.NONE and self.is_drawn(0.3):
            only = tuple(self.some(("share", "doc", "s*"), 2))
        source = SlotPath(b"/opt") if mode == "ro" and self.is_drawn(0.1) else None
        return MountRule(
            path,
            mode,
            source,
            size_bytes=self._random.choice((0, 1 << 20, 1 << 30)) if is_memory else 0,
            is_noexec=self.is_drawn(0.3),
            is_optional=mode != "tmpfs",
            only=only,
            origin=self.place(),
        )

    def rule(self, name: str, is_refusing: bool) -> SyscallRule:
        """Return a rule of the filter."""
        actions = ACTIONS if is_refusing or self.is_drawn(0.7) else ("allow",)
        return SyscallRule(
            name,
            tuple(self.some(("ptrace", "ioctl", "sendmmsg", "kill"), 2)) or ("ioctl",),
            self._random.choice(CONDITIONS[1:]),
            parse_action(self._random.choice(actions)),
            "",
            self.place(),
        )


def policy_of(layer: dict[str, Any]) -> Policy:
    """Return the layer resolved, consistent or not."""
    return resolve(layer, Source("f", "f.toml", "f.toml", "named"), (), is_base=False)
