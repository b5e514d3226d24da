"""The keys of a policy file: what each accepts, how it composes, and what it is when unstated.

One table serves reading, composition, error messages and documentation. Unstated keys take the
strictest value that is of use; the filter's base set alone has no default, so a policy must say
what may be called.
"""

from __future__ import annotations

from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT_VERSION = 1
DEMANDS = ("require", "prefer", "off")
NAMESPACES = ("user", "mount", "pid", "net", "ipc", "uts", "cgroup", "time")
MOUNT_MODES = ("ro", "rw", "tmpfs", "overlay")
MOUNT_KEYS = ("path", "source", "mode", "size", "noexec", "optional", "only", "commit")
RULE_KEYS = ("names", "when", "action", "why")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
PROTECT_GROUPS = ("@credentials", "@git-hooks", "@shell-rc", "@agent-config")
MOUNT_GROUPS = ("@toolchains", "@gitconfig")
SOCKET_FAMILIES = ("unix", "inet", "inet6", "netlink")  # the usual ones; the rest is looked up
LIMITS = (
    *("wall", "cpu", "memory", "swap", "pids", "open_files", "file_size", "output", "core"),
    "address_space",
)
# Those that count for files, ids and ports of the sandbox itself; none reaches the host.
CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("NET_BIND_SERVICE", "NET_RAW", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP"),
)
ENFORCE = ("default", "tree", *LIMITS)


@record
class Key:
    """What one key accepts.

    Shape: `kind` is demand, bool, int, text, choice, action, size, duration or count (one value:
           the child's wins); names, paths, sets (they unite); env, symlinks, demands, rules (maps:
           by name); mounts (by path); layers and remove (how the file composes). `choices` are the
           values or members; `later` are values that the format has and this version does not;
           `low` and `high` bound an int.
    """

    kind: str
    default: Any = None
    choices: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    low: int = 0
    high: int = 0
    may_be_none: bool = False


def _demand(default: str) -> Key:
    return Key("demand", default, DEMANDS)


def _namespaces() -> dict[str, Key]:
    keys = {f"isolation.namespaces.{name}": _demand("require") for name in NAMESPACES}
    keys["isolation.namespaces.time"] = _demand("off")
    # These three come together, or all are off, which a policy has to say: `confined`.
    for name in ("user", "mount", "pid"):
        keys[f"isolation.namespaces.{name}"] = Key(
            "demand", "require", ("require", "off"), ("prefer",)
        )
    return keys


# Removals with their reasons travel with a layer under this name; a file cannot state it.
REMOVED = "removed"

SCHEMA: dict[str, Key] = {
    "schema": Key("int", FORMAT_VERSION, low=FORMAT_VERSION, high=FORMAT_VERSION),
    "summary": Key("text", ""),
    "extends": Key("layers", ()),
    "tighten": Key("layers", ()),
    "remove": Key("remove", ()),
    **_namespaces(),
    "isolation.nested_userns": Key("bool", False),
    "isolation.no_new_privs": Key("demand", "require", ("require",), ("prefer", "off")),
    "isolation.seccomp": _demand("require"),
    "isolation.landlock.fs": _demand("prefer"),
    "isolation.landlock.net": _demand("prefer"),
    "isolation.landlock.scope": _demand("prefer"),
    "isolation.landlock.min_abi": Key("int", 1, low=1, high=64),
    "process.hostname": Key("text", "sandbox"),
    "process.uid": Key("int", 1000, low=0, high=(1 << 32) - 2),
    "process.gid": Key("int", 1000, low=0, high=(1 << 32) - 2),
    "process.id_map": Key("choice", "single", ("single", "multi")),
    "process.tty": Key("choice", "relay", ("relay", "setsid", "raw")),
    "process.on_main_exit": Key("choice", "kill-tree", ("kill-tree", "wait-all")),
    "process.term_grace": Key("duration", 2000),
    "process.capabilities": Key("names", (), CAPABILITIES),
    "env.allow": Key("names", ()),
    "env.set": Key("env", ()),
    "filesystem.root": Key(
        "choice", "tmpfs-ro", ("tmpfs-ro", "tmpfs", "image", "host"), ("host-ro",)
    ),
    "filesystem.mounts": Key("mounts", ()),
    "filesystem.symlinks": Key("symlinks", ()),
    "filesystem.hide": Key("paths", ()),
    "filesystem.protect": Key("names", (), PROTECT_GROUPS),
    "filesystem.groups": Key("names", (), MOUNT_GROUPS),
    "filesystem.proc.mode": Key("choice", "fresh", ("fresh", "none")),
    "filesystem.proc.subset": Key("choice", "pid", ("pid", "all")),
    "filesystem.proc.fallback": Key("choice", "refuse", ("refuse", "bind-ro"), ("none",)),
    "filesystem.dev": Key("names", (), DEVICES),
    "network.mode": Key("choice", "none", ("none", "host"), ("proxy", "nat")),
    "network.loopback": Key("bool", False),
    "syscalls.base": Key("text", ""),
    "syscalls.allow": Key("names", ()),
    "syscalls.deny": Key("names", ()),
    "syscalls.within": Key("sets", ()),
    "syscalls.unknown": Key("action", "errno:ENOSYS"),
    "syscalls.denied": Key("action", "errno:EPERM"),
    "syscalls.foreign_abi": Key("action", "kill"),
    "syscalls.socket_families": Key("names", (), SOCKET_FAMILIES),
    "syscalls.rules": Key("rules", ()),
    "limits.wall": Key("duration", None, may_be_none=True),
    "limits.cpu": Key("duration", None, may_be_none=True),
    "limits.memory": Key("size", None, may_be_none=True),
    "limits.swap": Key("size", None, may_be_none=True),
    "limits.pids": Key("count", None, low=1, may_be_none=True),
    "limits.open_files": Key("count", None, low=8, may_be_none=True),
    "limits.file_size": Key("size", None, may_be_none=True),
    "limits.output": Key("size", None, may_be_none=True),
    "limits.core": Key("size", 0, may_be_none=True),
    "limits.address_space": Key("size", None, may_be_none=True),
    "limits.enforce": Key("demands", (), ENFORCE),
    "audit.trace": Key("choice", "off", ("off",), ("auto", "notify", "ptrace", "core", "bcc")),
    "audit.denials": _demand("off"),
}

# Keys of the format whose machinery this version does not have: refused, never ignored.
LATER_KEYS = frozenset(
    {
        "process.pass_fds",
        "filesystem.sockets",
        "network.transparent",
        "network.allow",
        "network.deny",
        "network.deny_addresses",
        "network.deny_reasons",
        "audit.record",
    }
)

# Kinds whose values are collections, kept as {member: (value, origin)} while layers merge.
COLLECTIONS = frozenset(
    {"names", "paths", "env", "symlinks", "demands", "rules", "mounts", "sets", "removed"}
)
# What a file says about how it composes; no part of the resolved policy.
COMPOSITION = ("extends", "tighten", "remove")
# Sets that refuse: the meet unites them, and taking something out of them needs a reason.
DENIALS = frozenset(
    {"filesystem.hide", "filesystem.protect", "syscalls.deny", "syscalls.rules", "syscalls.within"}
)

TABLES = frozenset(
    ".".join(key.split(".")[:depth]) for key in SCHEMA for depth in range(1, key.count(".") + 1)
)
