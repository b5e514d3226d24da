"""Plan (the walls) and Invocation (what runs now): immutable, printable, hashable.

Everything above makes these values, everything below executes them; `encode.py` packs them and
`csrc/abi.h` names the same fields. A path is a slot's value plus a suffix, so that one plan serves
every working directory and every home.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from sandbox.record import record


class Slot(IntEnum):
    """What a path starts with; the values are given by the Invocation (enum sbx_slot)."""

    NONE = 0
    CWD = 1
    HOME = 2
    TMP = 3
    RUNTIME = 4
    STATE = 5


class MountKind(IntEnum):
    """enum sbx_mount_kind."""

    BIND = 1
    SELF = 2
    TMPFS = 3
    PROC = 4
    DEV = 5
    DEVPTS = 6
    OVERLAY = 7
    MKDIR = 8
    FILE = 9
    SYMLINK = 10
    MASK = 11
    MQUEUE = 12


class MountFlag(IntFlag):
    """SBX_MOUNT_*."""

    OPTIONAL = 0x1
    RECURSIVE = 0x2
    IDMAP = 0x4
    FALLBACK_BIND = 0x8
    FOLLOW = 0x10


class MountAttr(IntFlag):
    """MOUNT_ATTR_* of mount_setattr(2)."""

    RDONLY = 0x1
    NOSUID = 0x2
    NODEV = 0x4
    NOEXEC = 0x8
    NOATIME = 0x10
    NOSYMFOLLOW = 0x200000


class PlanFlag(IntFlag):
    """SBX_PLAN_*."""

    ROOT_READONLY = 0x1
    LOCK_USERNS = 0x2
    LOOPBACK = 0x4
    NO_NEW_PRIVS = 0x8
    NEW_SESSION = 0x10
    WAIT_ALL = 0x20
    LANDLOCK = 0x40
    ZERO_CLOCKS = 0x80
    LOCK_OPTIONAL = 0x400
    LOW_PRIORITY = 0x800


class Namespace(IntFlag):
    """CLONE_NEW* of clone(2)."""

    TIME = 0x80
    MOUNT = 0x20000
    CGROUP = 0x2000000
    UTS = 0x4000000
    IPC = 0x8000000
    USER = 0x10000000
    PID = 0x20000000
    NET = 0x40000000


class RootKind(IntEnum):
    """enum sbx_root_kind."""

    TMPFS = 0
    BIND = 1
    OVERLAY = 2


class IdKind(IntEnum):
    """enum sbx_id_kind."""

    UID = 0
    GID = 1


class LandlockKind(IntEnum):
    """enum sbx_landlock_kind."""

    PATH = 1
    PORT = 2


class EnvKind(IntEnum):
    """enum sbx_env_kind."""

    ALLOW = 1
    SET = 2


class ProtectKind(IntEnum):
    """enum sbx_protect_kind; PRESENT is READONLY without a placeholder where it is absent."""

    READONLY = 1
    HIDDEN = 2
    PRESENT = 3


class Supervise(IntEnum):
    """enum sbx_supervise_key: limits that the supervisor keeps."""

    WALL_MS = 1
    OUTPUT_BYTES = 2
    TERM_GRACE_MS = 3
    MEMORY_BYTES = 4
    GROUP_MEMORY_BYTES = 5  # these five: of the run's own cgroup
    GROUP_SWAP_BYTES = 6
    GROUP_PIDS = 7
    GROUP_CPU_MS = 8
    GROUP_CPU_PERCENT = 9  # of one processor


class Stage(IntEnum):
    """enum sbx_stage: where a set-up failed, in the order of execution."""

    NONE = 0
    CHECK = 1
    SOURCES = 2
    CLONE = 3
    MAPS = 4
    USERNS_LOCK = 5
    TIMENS = 6
    HOSTNAME = 7
    LOOPBACK = 8
    MOUNTS = 9
    PIVOT = 10
    TERMINAL = 11
    INIT = 12
    SESSION = 13
    CHDIR = 14
    RLIMITS = 15
    CAPS = 16
    NO_NEW_PRIVS = 17
    FDS = 18
    LANDLOCK = 19
    SECCOMP = 20
    EXEC = 21

    @property
    def label(self) -> str:
        """The name as people read it, e.g. `userns-lock`."""
        return self.name.lower().replace("_", "-")


@record
class SlotPath:
    """A path: the value of `slot`, then `path` (absolute where slot is NONE, else "" or "/x")."""

    path: bytes
    slot: Slot = Slot.NONE

    def __repr__(self) -> str:
        return f"SlotPath({self.text()!r})"

    def text(self) -> str:
        """The path as a policy writes it, e.g. `${CWD}/.git`."""
        suffix = self.path.decode("utf-8", "surrogateescape")
        if self.slot is Slot.NONE:
            return suffix
        name = "RUNTIME_DIR" if self.slot is Slot.RUNTIME else self.slot.name
        return f"${{{name}}}{suffix}"

    def resolve(self, slots: tuple[bytes, ...]) -> bytes:
        """Return the path with the slot's value from `slots` (Invocation.slots) put in."""
        return self.path if self.slot is Slot.NONE else slots[self.slot] + self.path


@record
class IdMap:
    """`count` ids from `inside` are host ids from `outside` (user_namespaces(7))."""

    kind: IdKind
    inside: int
    outside: int
    count: int = 1


@record
class MountOp:
    """One step that builds the view; the fields a kind uses are listed in csrc/abi.h.

    `origin` (file:line, or "command line") is not encoded.
    """

    kind: MountKind
    target: SlotPath
    source: SlotPath | None = None
    flags: MountFlag = MountFlag(0)
    attrs: MountAttr = MountAttr(0)
    size_bytes: int = 0
    inodes: int = 0
    mode_octal: int = 0o755
    data: bytes = b""
    upper: SlotPath | None = None
    origin: str = ""


@record
class Rlimit:
    """setrlimit(2): soft and hard; 2**64-1 is RLIM_INFINITY."""

    resource: int
    soft: int
    hard: int


@record
class LandlockRule:
    """Rights below one path, or for one TCP port (landlock(7))."""

    kind: LandlockKind
    access: int
    path: SlotPath | None = None
    port: int = 0
    is_optional: bool = False


class FilterFlag(IntFlag):
    """SBX_FILTER_*: refusals are put to the supervisor; and set-up fails where none can listen."""

    NOTIFY = 0x8
    NOTIFY_REQUIRED = 0x10000


@record
class Filter:
    """One seccomp program: struct sock_filter records, 8 bytes each, native order."""

    code: bytes
    flags: FilterFlag = FilterFlag(0)

    @property
    def instructions(self) -> int:
        """The number of BPF instructions."""
        return len(self.code) // 8


@record
class EnvRule:
    """ALLOW: the caller's `name` passes (a final `*` matches the rest).
    SET: `name` is `value`, unless it is also allowed and the caller has it."""

    kind: EnvKind
    name: bytes
    value: SlotPath = SlotPath(b"")


@record
class Protect:
    """A path that stays read-only or hidden below writable mounts, even while it is absent."""

    kind: ProtectKind
    path: SlotPath
    origin: str = ""


@record
class Plan:
    """The walls. `notes`, `rules` and `fingerprint` are outside the digest.

    Shape of `notes` (JSON, UTF-8): {"policy": {"name", "sha256", "files": [{"path", "sha256"}]},
    "tier", "effective": {protection: {"wanted", "got", "by", "note"}}, "limits": {name:
    {"requested", "enforced_by", "scope"}}, "overrides": [{"key", "value", "was", "origin"}],
    "calls": {"allowed", "known"}, "network": mode, "notes": [text]}. `rules` (JSON): {rule id:
    {"key", "origin", "fix", "why", "calls" (names, where it has some)}}.
    """

    flags: PlanFlag
    namespaces: Namespace
    id_maps: tuple[IdMap, ...]
    uid: int
    gid: int
    mounts: tuple[MountOp, ...]
    rlimits: tuple[Rlimit, ...] = ()
    hostname: bytes = b""
    root_kind: RootKind = RootKind.TMPFS
    root_source: SlotPath | None = None
    root_upper: SlotPath | None = None
    root_size_bytes: int = 1 << 20
    caps: int = 0
    securebits: int = 0
    umask_octal: int = 0xFFFFFFFF
    landlock_fs: int = 0
    landlock_net: int = 0
    landlock_scoped: int = 0
    landlock_min_abi: int = 0
    landlock: tuple[LandlockRule, ...] = ()
    filters: tuple[Filter, ...] = ()
    proof_nr: int = -1
    proof_errno: int = 0
    env: tuple[EnvRule, ...] = ()
    protect: tuple[Protect, ...] = ()
    supervise: tuple[tuple[Supervise, int], ...] = ()
    notes: bytes = b""
    rules: bytes = b""
    fingerprint: bytes = b""


@record
class FdMap:
    """The command's descriptor `target` is the caller's `source`, or FD_TERMINAL: its own."""

    source: int
    target: int


FD_TERMINAL = -2  # SBX_FD_TERMINAL


@record
class OwnTerminal:
    """The command gets a pseudo-terminal with the modes and the size of the caller's `source`.

    Shape: without `is_foreground`, reading it or changing its modes stops the command first.
    """

    source: int
    is_foreground: bool = True


@record
class Invocation:
    """What runs now behind a Plan. Everything is bytes: names are not text on Linux.

    Shape: `env` are NAME=VALUE; `programs` the paths to try in order; `slots` has one absolute,
    canonical path for each Slot (b"" where the caller has none); `extra_mounts` come after the
    plan's and enter the run digest; `is_held`: the child waits until the caller releases it,
    with `has_outer_maps` also for its id maps; `requests` is the caller's descriptor of the socket
    on which commands come to a sandbox that serves, under `is_once` a single one;
    `is_filter_first`: the plan's filter allows all that a request needs.
    """

    argv: tuple[bytes, ...]
    env: tuple[bytes, ...]
    programs: tuple[bytes, ...]
    cwd: bytes
    slots: tuple[bytes, ...]
    fds: tuple[FdMap, ...] = (FdMap(0, 0), FdMap(1, 1), FdMap(2, 2))
    extra_mounts: tuple[MountOp, ...] = ()
    has_barrier: bool = False
    is_held: bool = False
    has_outer_maps: bool = False
    terminal: OwnTerminal | None = None
    requests: int = 0
    is_once: bool = False
    is_filter_first: bool = False
