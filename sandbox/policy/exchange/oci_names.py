"""The words of the OCI runtime specification ("Seccomp" in config-linux.md) and our meaning."""

from __future__ import annotations

from sandbox.policy.exchange.report import ALIKE, TIGHTER
from sandbox.policy.syscall_model import ALLOW, KILL, Action

EPERM, ENOSYS = 1, 38

# action → (ours, effect and reason where it is not the same)
ACTIONS: dict[str, tuple[Action, tuple[str, str] | None]] = {
    "SCMP_ACT_ALLOW": (ALLOW, None),
    "SCMP_ACT_ERRNO": (Action("errno", EPERM), None),
    "SCMP_ACT_KILL_PROCESS": (KILL, None),
    "SCMP_ACT_KILL": (KILL, (TIGHTER, "ends the whole process, not one thread")),
    "SCMP_ACT_KILL_THREAD": (KILL, (TIGHTER, "ends the whole process, not one thread")),
    "SCMP_ACT_TRAP": (Action("trap"), None),
    "SCMP_ACT_TRACE": (Action("errno", ENOSYS), (TIGHTER, "no tracer: ENOSYS, as without one")),
    "SCMP_ACT_NOTIFY": (Action("errno", ENOSYS), (TIGHTER, "no listener: ENOSYS")),
    "SCMP_ACT_LOG": (ALLOW, (ALIKE, "passes as it did, without the record")),
}
WITH_ERRNO = frozenset({"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"})
OF_KIND = {"allow": "SCMP_ACT_ALLOW", "kill": "SCMP_ACT_KILL_PROCESS", "trap": "SCMP_ACT_TRAP",
           "errno": "SCMP_ACT_ERRNO"}  # fmt: skip

# op → the condition on argument {0}, value {1}, second value {2}; libseccomp compares 64 bits
OPERATORS = {
    "SCMP_CMP_NE": "arg{0} != {1:#x}",
    "SCMP_CMP_LT": "arg{0} < {1:#x}",
    "SCMP_CMP_LE": "arg{0} <= {1:#x}",
    "SCMP_CMP_EQ": "arg{0} == {1:#x}",
    "SCMP_CMP_GE": "arg{0} >= {1:#x}",
    "SCMP_CMP_GT": "arg{0} > {1:#x}",
    "SCMP_CMP_MASKED_EQ": "arg{0} & {1:#x} == {2:#x}",
}

ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
# moby's short names, in includes and excludes
MOBY_ARCHES = {"x86_64": frozenset({"amd64", "x86_64"}), "aarch64": frozenset({"arm64", "aarch64"})}

PROFILE_KEYS = frozenset(
    {"defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "flags",
     "listenerPath", "listenerMetadata", "syscalls"}
)  # fmt: skip
ENTRY_KEYS = frozenset(
    {"names", "name", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes"}
)
ARG_KEYS = frozenset({"index", "value", "valueTwo", "op"})
# What each flag changes; ours sets none of them.
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": (ALIKE, "there is one thread when the filter is loaded"),
    "SECCOMP_FILTER_FLAG_LOG": (ALIKE, "refusals are not logged by the kernel"),
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": (TIGHTER, "speculation stays limited"),
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": (ALIKE, "there is no listener"),
}
# capabilities(7), without CAP_
CAPABILITIES = (
    *("AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE"),
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER"),
    *("KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN"),
    *("NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP"),
    *("SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE"),
    *("SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG"),
    "WAKE_ALARM",
)
