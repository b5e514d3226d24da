"""A policy → the lines of a systemd service.

systemd filters calls by name and a few arguments by keys of their own, so most rules on arguments
have no counterpart: each such call passes as a whole, and the report names it as looser.
"""

from __future__ import annotations

from sandbox.plan.model import Slot
from sandbox.policy.exchange import systemd_names as names
from sandbox.policy.exchange.report import ALIKE, LOOSER, TIGHTER, Report
from sandbox.policy.syscalls import resolve_calls
from sandbox.policy.verdicts import FAMILIES_RULE
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.model import SlotPath
    from sandbox.policy.model import MountRule, Policy
    from sandbox.policy.verdicts import Verdict

# shipped rule → the key that says the same
_BY_KEY = {
    "new-namespaces": "RestrictNamespaces=yes",
    "personality": "LockPersonality=yes",
    **dict.fromkeys(
        (
            "setuid-bits",
            "setuid-bits-at",
            "setuid-bits-mknod",
            "setuid-bits-mknodat",
            "setuid-bits-open",
            "setuid-bits-openat",
        ),
        "RestrictSUIDSGID=yes",
    ),
}
_LIMITS = (
    ("MemoryMax", "memory_bytes"),
    ("MemorySwapMax", "swap_bytes"),
    ("TasksMax", "pids"),
    ("LimitNOFILE", "open_files"),
    ("LimitFSIZE", "file_size_bytes"),
    ("LimitCORE", "core_bytes"),
)
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def write_unit(policy: Policy, arch: str, report: Report) -> list[str]:
    """Return the lines of a `[Service]` section.

    Errors: PolicyError as resolve_calls.
    """
    return [
        "[Service]",
        *_isolation(policy, report),
        *_files(policy, report),
        *_calls(policy, arch, report),
        *_limits(policy, report),
        *_environment(policy, report),
    ]


def _isolation(policy: Policy, report: Report) -> list[str]:
    lines = [
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "PrivateUsers=yes",
        "PrivateIPC=yes",
        "PrivatePIDs=yes",
        "ProtectHostname=yes",
        "ProtectControlGroups=yes",
        "ProtectKernelTunables=yes",
        "KeyringMode=private",
        "StandardInput=null",
        "KillMode=control-group",
        f"TimeoutStopSec={policy.process.term_grace_ms}ms",
    ]
    report.add("PrivatePIDs=", LOOSER, "systemd before 257 ignores the line")
    report.add("process.uid", ALIKE, "the service has an id that systemd chooses")
    report.add("process.hostname", ALIKE, "the service sees the host's name")
    if policy.isolation.landlock_fs != "off":
        report.add("isolation.landlock", ALIKE, "the second wall behind the mounts is not there")
    if policy.network.mode == "host":
        return lines
    if policy.network.mode != "none":
        report.add("network.mode", TIGHTER, f"{policy.network.mode} becomes no network at all")
    if not policy.network.has_loopback:
        report.add("network.loopback", LOOSER, "PrivateNetwork=yes has a loopback that is up")
    return [*lines, "PrivateNetwork=yes"]


def _files(policy: Policy, report: Report) -> list[str]:
    filesystem = policy.filesystem
    root = "/:ro" if filesystem.root == "tmpfs-ro" else "/"
    lines = ["MountAPIVFS=yes", f"TemporaryFileSystem={root}"]
    for rule in filesystem.mounts:
        lines += _mount(rule, report)
    for link in filesystem.symlinks:
        lines.append(f"BindReadOnlyPaths=-{_escaped(link.path)}")  # the link's target, in its place
    for hidden in filesystem.hide:
        where = _path(hidden.path, report)
        if where is not None:
            lines.append(f"InaccessiblePaths=-{where}")
    for group in (*filesystem.groups, *filesystem.protect):
        why = "its members are not shown" if group in filesystem.groups else "only mounts count"
        report.add(f"filesystem {group}", TIGHTER if group in filesystem.groups else ALIKE, why)
    lines.append("PrivateDevices=yes")
    more = sorted(set(_DEVICES) - set(filesystem.dev))
    if more:
        report.add("filesystem.dev", LOOSER, f"PrivateDevices=yes shows {', '.join(more)} too")
    lines += ["ProtectProc=invisible"]
    if filesystem.proc_mode == "none":
        report.add("filesystem.proc", LOOSER, "a service always has a /proc")
    if filesystem.proc_mode == "none" or filesystem.proc_subset == "pid":
        lines.append("ProcSubset=pid")
    return lines


def _mount(rule: MountRule, report: Report) -> list[str]:
    where = _path(rule.path, report)
    if where is None:
        return []
    if rule.mode == "tmpfs":
        options = [f"size={rule.size_bytes}"] if rule.size_bytes else []
        options += ["nosuid", "nodev", *(["noexec"] if rule.is_noexec else [])]
        return [f"TemporaryFileSystem={where}:{','.join(options)}"]
    key = "BindPaths" if rule.mode == "rw" else "BindReadOnlyPaths"
    if rule.mode == "overlay":
        why = "private writes have no counterpart: it is read-only"
        report.add(f"filesystem.mounts[{where}]", TIGHTER, why)
    if rule.only:
        wild = [name for name in rule.only if set(name) & set("*?")]
        if wild:
            why = f"patterns have no counterpart: {', '.join(wild)} not shown"
            report.add(f"filesystem.mounts[{where}]", TIGHTER, why)
        plain = [name for name in rule.only if name not in wild]
        return [f"BindReadOnlyPaths=-{where}/{_escaped(name)}" for name in plain]
    source = where if rule.source is None else _path(rule.source, report)
    if source is None:
        return []
    text = where if source == where else f"{source}:{where}"
    lines = [f"{key}={'-' if rule.is_optional else ''}{text}"]
    return [*lines, f"NoExecPaths=-{where}"] if rule.is_noexec else lines


def _path(path: SlotPath, report: Report) -> str | None:
    """Return the path for a unit; the directories of a caller have no meaning there."""
    text = path.path.decode("utf-8", "surrogateescape")
    if not text.isprintable() or any(char in text for char in ' :\\"'):
        report.add(f"filesystem {escape(path.text())}", TIGHTER, "a name that no unit can hold")
        return None
    if path.slot is Slot.NONE:
        return _escaped(text)
    if path.slot is Slot.HOME:
        return f"%h{_escaped(text)}"
    report.add(f"filesystem {path.text()}", TIGHTER, "a service has no such directory: not shown")
    return None


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _calls(policy: Policy, arch: str, report: Report) -> list[str]:
    if policy.isolation.seccomp == "off":
        return []
    calls = policy.syscalls
    verdicts = resolve_calls(calls, arch)
    passing: list[str] = []
    keys: dict[str, None] = {}
    for name, verdict in verdicts.items():
        if _passes(name, verdict, keys, report):
            passing.append(name)
        elif verdict.default != calls.denied:
            why = f"answers {calls.denied}, not {verdict.default}"
            report.add("answers", ALIKE, why, name)
    implied = sorted((names.DEFAULT_CALLS & verdicts.keys()) - set(passing))
    if implied:
        why = "systemd allows them wherever it filters"
        report.add("@default", LOOSER, why, *implied)
    lines = _wrapped("SystemCallFilter", sorted(passing))
    if calls.denied.kind == "errno":
        lines.append(f"SystemCallErrorNumber={str(calls.denied).removeprefix('errno:')}")
    elif calls.denied.kind != "kill":
        report.add("syscalls.denied", TIGHTER, f"kills, rather than {calls.denied}")
    if calls.unknown != calls.denied:
        why = f"calls newer than the table answer as denied ones, not {calls.unknown}"
        report.add("syscalls.unknown", ALIKE, why)
    if str(calls.foreign_abi) != "kill":
        report.add("syscalls.foreign_abi", TIGHTER, "calls of other ABIs kill")
    lines.append("SystemCallArchitectures=native")
    families = " ".join(f"AF_{name.upper()}" for name in sorted(calls.socket_families)) or "none"
    if calls.socket_families != frozenset(_every_family()):
        lines.append(f"RestrictAddressFamilies={families}")
    return [*lines, *keys]


def _every_family() -> tuple[str, ...]:
    from sandbox.policy.condition_names import SOCKET_FAMILIES

    return tuple(SOCKET_FAMILIES)


def _passes(name: str, verdict: Verdict, keys: dict[str, None], report: Report) -> bool:
    """Say whether the call is to be listed, and report what its conditions lose."""
    if verdict.default.kind != "allow":
        if any(clause.action.kind == "allow" for clause in verdict.clauses):
            why = "some uses pass, and systemd knows all or none: none"
            report.add("rules that allow", TIGHTER, why, name)
        return False
    for clause in verdict.clauses:
        if clause.action.kind == "allow":
            continue
        if clause.rule == FAMILIES_RULE:
            if name == "socketpair":
                why = "RestrictAddressFamilies= looks at socket() alone"
                report.add("syscalls.socket_families", LOOSER, why, name)
        elif clause.rule in _BY_KEY:
            keys[_BY_KEY[clause.rule]] = None
        else:
            why = f"{clause.rule} looks at arguments: every use passes"
            report.add(f"syscalls.rules.{clause.rule}", LOOSER, why, name)
    return True


def _wrapped(key: str, words: list[str]) -> list[str]:
    lines = []
    line = f"{key}="
    for word in words:
        if len(line) + len(word) > 96:
            lines.append(line.rstrip())
            line = f"{key}="
        line += f"{word} "
    return [*lines, line.rstrip()]


def _limits(policy: Policy, report: Report) -> list[str]:
    limits = policy.limits
    lines = []
    if limits.wall_ms is not None:
        lines.append(f"RuntimeMaxSec={limits.wall_ms}ms")
    if limits.cpu_ms is not None:
        lines.append(f"LimitCPU={max(limits.cpu_ms // 1000, 1)}")
        if limits.cpu_ms < 1000:
            report.add("limits.cpu", LOOSER, "one second is the least")
    for key, field in _LIMITS:
        value = getattr(limits, field)
        if value is not None:
            lines.append(f"{key}={value}")
    if limits.cpu_quota_percent is not None:
        lines.append(f"CPUQuota={limits.cpu_quota_percent}%")
    if limits.output_bytes is not None:
        report.add("limits.output", LOOSER, "what a service writes is not bounded")
    return lines


def _environment(policy: Policy, report: Report) -> list[str]:
    plain = [name for name in policy.env.allow if not name.endswith("*") and name.isidentifier()]
    other = [escape(name) for name in policy.env.allow if name not in plain]
    if other:
        report.add("env.allow", TIGHTER, f"{', '.join(other)}: a unit passes plain names only")
    lines = _wrapped("PassEnvironment", plain) if plain else []
    for name, value in policy.env.set:
        text = value.text()
        if value.slot or not text.isprintable() or not name.isidentifier():
            why = "depends on the caller, or cannot be written in a unit"
            report.add(f"env.set[{escape(name)}]", TIGHTER, why)
            continue
        quoted = f"{name}={text}".replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
        lines.append(f'Environment="{quoted}"')
    return lines
