"""Policy: what is allowed, fully resolved. Every value keeps its origin.

The format, the keys and the laws of composition: docs/policies.md; what each key accepts stands in
`schema.py`. Paths are the plan's SlotPath, so that one resolved policy serves every directory.
"""

from __future__ import annotations

from sandbox.plan.model import SlotPath
from sandbox.policy.syscall_model import SyscallPolicy
from sandbox.record import record

COMMAND_LINE = "command line"  # the origin of a value that a flag gave
BUILT_IN = "built in"  # the origin of a value that no file states

# Protections are demanded in one of these ways (`require` refuses to start without).
REQUIRE = "require"
PREFER = "prefer"
OFF = "off"


@record
class Isolation:
    """What separates the command from the host; each value is require, prefer or off."""

    namespaces: tuple[tuple[str, str], ...]
    nested_userns: bool
    no_new_privs: str
    seccomp: str
    landlock_fs: str
    landlock_net: str
    landlock_scope: str
    landlock_min_abi: int

    def namespace(self, name: str) -> str:
        """Return what is demanded of the namespace `name` (user, mount, pid, net, …)."""
        return dict(self.namespaces)[name]


@record
class Process:
    """The command's identity and end.

    Shape: `tty` is relay, setsid or raw; `on_main_exit` is kill-tree or wait-all; `chdir` is the
           absolute directory to start in, None for the caller's; `id_map` is single (only the
           command's ids exist inside) or multi (the caller's subordinate ids too); `capabilities`
           are kept in the sandbox's own user namespace.
    """

    hostname: str
    uid: int
    gid: int
    tty: str
    on_main_exit: str
    term_grace_ms: int
    chdir: bytes | None = None
    id_map: str = "single"
    capabilities: tuple[str, ...] = ()


@record
class Env:
    """The environment, which starts empty.

    Shape: `allow` names pass from the caller (a final `*` matches the rest); `set` gives a value
           where the caller's does not pass; `forced` (command line) wins over both.
    """

    allow: tuple[str, ...]
    set: tuple[tuple[str, SlotPath], ...]
    forced: tuple[tuple[str, SlotPath], ...] = ()


@record
class MountRule:
    """One path of the view.

    Shape: `mode` is ro, rw, tmpfs or overlay; `source` defaults to `path`; `only` names the
           children that are shown (`*` and `?` match at start); `size_bytes` bounds tmpfs and
           overlay, 0 for the built-in bound.
    """

    path: SlotPath
    mode: str
    source: SlotPath | None = None
    size_bytes: int = 0
    is_noexec: bool = False
    is_optional: bool = False
    only: tuple[str, ...] = ()
    origin: str = BUILT_IN


@record
class HideRule:
    """A path whose content is not shown."""

    path: SlotPath
    origin: str = BUILT_IN


@record
class Symlink:
    """A symbolic link of the view: `path` points to `target`."""

    path: str
    target: str
    origin: str = BUILT_IN


@record
class Filesystem:
    """The view. `root` is tmpfs-ro, tmpfs, image or host; `rootfs` is the image's directory.

    Shape: `protect` and `groups` name groups of `groups.py`; `host` has no view at all.
    """

    root: str
    mounts: tuple[MountRule, ...]
    symlinks: tuple[Symlink, ...]
    hide: tuple[HideRule, ...]
    protect: tuple[str, ...]
    groups: tuple[str, ...]
    proc_mode: str
    proc_subset: str
    proc_fallback: str
    dev: tuple[str, ...]
    rootfs: SlotPath | None = None


@record
class Network:
    """`mode` is none (an own, empty network) or host (the host's); `has_loopback`: lo is up."""

    mode: str
    has_loopback: bool


@record
class Limits:
    """Bounds; None is no bound. `enforce` pairs a limit, `default` or `tree` with its demand.

    Shape: `swap_bytes` and the demand `tree` need a cgroup; the rest is held by resource limits or
           by the supervisor where there is none.
    """

    wall_ms: int | None
    cpu_ms: int | None
    memory_bytes: int | None
    swap_bytes: int | None
    pids: int | None
    open_files: int | None
    file_size_bytes: int | None
    output_bytes: int | None
    core_bytes: int | None
    enforce: tuple[tuple[str, str], ...]
    address_space_bytes: int | None = None

    def demand(self, name: str) -> str:
        """Return what is demanded of the limit `name`: require, prefer or off."""
        demands = dict(self.enforce)
        return demands.get(name, demands.get("default", PREFER))


@record
class Audit:
    """What is recorded: `denials` are refused calls (require, prefer or off)."""

    trace: str
    denials: str


@record
class Flag:
    """One flag of the command line: its key (ro, rw, net, limit …), its value, and as typed."""

    key: str
    value: str
    text: str


@record
class Override:
    """A value that a flag replaced: its key, the new and the old value as text."""

    key: str
    value: str
    was: str
    origin: str = COMMAND_LINE


@record
class Removal:
    """A denial that a policy takes out of what it extends, and the reason that it gives."""

    key: str
    member: str
    reason: str
    origin: str


@record
class Policy:
    """A resolved policy.

    Shape: `sha256` is the hash of `canonical`, the policy as JSON (canonical.py), both without the
           command line's flags; `files` pairs each file that went in with its SHA-256, the named
           one first; `origins` pairs each stated key with its place; `notes` are lines about
           statements that had no effect.
    """

    name: str
    summary: str
    path: str
    sha256: str
    files: tuple[tuple[str, str], ...]
    isolation: Isolation
    process: Process
    env: Env
    filesystem: Filesystem
    network: Network
    syscalls: SyscallPolicy
    limits: Limits
    audit: Audit
    origins: tuple[tuple[str, str], ...]
    overrides: tuple[Override, ...] = ()
    canonical: bytes = b""
    removed: tuple[Removal, ...] = ()
    notes: tuple[str, ...] = ()

    def origin(self, key: str) -> str:
        """Return the place that gave `key` its value: `file:line`, command line, or built in."""
        for known, place in self.origins:
            if known == key:
                return place
        return BUILT_IN
