"""What systemd's unit keys are called, and the call groups that only systemd has.

Source: systemd.exec(5), systemd.resource-control(5), systemd.service(5) of systemd 257. Groups of
the same name as ours are taken as ours; these are the ones that unit files use beyond them.
"""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """Return the words of `text`."""
    return frozenset(text.split())


# systemd allows these wherever a filter lists what is allowed, said or not (@default).
DEFAULT_CALLS = words(
    """
    arch_prctl brk cacheflush clock_getres clock_gettime clock_nanosleep execve exit
    exit_group futex futex_requeue futex_wait futex_waitv futex_wake get_robust_list
    get_thread_area getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getrandom
    getresgid getresuid getrlimit getsid gettid gettimeofday getuid landlock_add_rule
    landlock_create_ruleset landlock_restrict_self map_shadow_stack membarrier mmap mprotect
    mseal munmap nanosleep pause prlimit64 restart_syscall rseq rt_sigreturn sched_getaffinity
    sched_yield seccomp set_robust_list set_thread_area set_tid_address time uprobe uretprobe
    """
)
SERVICE_GROUPS = words(
    """
    @aio @basic-io @chown @file-system @io-event @ipc @keyring @memlock @network-io @process
    @resources @setuid @signal @sync @timer
    """
)
SERVICE_CALLS = words(
    """
    capget capset copy_file_range fadvise64 flock get_mempolicy getcpu getpriority ioctl
    ioprio_get kcmp madvise mremap name_to_handle_at personality readahead remap_file_pages
    sched_get_priority_max sched_get_priority_min sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sendfile setfsgid setfsuid setns splice sysinfo tee umask uname
    userfaultfd vmsplice
    """
)

NAMESPACE_FLAGS = {
    "cgroup": 0x02000000,
    "ipc": 0x08000000,
    "net": 0x40000000,
    "mnt": 0x00020000,
    "pid": 0x20000000,
    "user": 0x10000000,
    "uts": 0x04000000,
}
ALL_NAMESPACES = 0x7E020000

# Keys that hold here in any case: the sandbox always has them, or more.
ALWAYS = words(
    """
    KeyringMode NoNewPrivileges PrivateBPF PrivateIPC PrivateMounts PrivatePIDs PrivateUsers
    ProtectControlGroups ProtectKernelTunables ProtectProc RemoveIPC RestrictFileSystems
    """
)
# Keys that restrict and have no counterpart: a policy without them allows more.
RESTRICTING = words(
    """
    AllowedCPUs AllowedMemoryNodes AppArmorProfile BPFProgram DeviceAllow
    DevicePolicy ExecPaths ExtensionImages IOReadBandwidthMax IOWriteBandwidthMax
    IPAddressAllow IPAddressDeny IPIngressFilterPath LimitAS LimitDATA LimitLOCKS LimitMEMLOCK
    LimitMSGQUEUE LimitNICE LimitRSS LimitRTPRIO LimitRTTIME LimitSIGPENDING LimitSTACK
    MemoryHigh MemoryZSwapMax MountImages RestrictNetworkInterfaces RootDirectory RootHash
    RootImage SELinuxContext SmackProcessLabel SocketBindAllow SocketBindDeny SystemCallLog
    UMask
    """
)
# Keys that say how a service is run and nothing about what it may do.
ELSEWHERE = words(
    """
    After Alias AmbientCapabilities Before BindsTo CapabilityBoundingSet Conflicts Description
    Documentation DynamicUser Environment EnvironmentFile ExecReload ExecStart ExecStartPost
    ExecStartPre ExecStop ExecStopPost FileDescriptorStoreMax Group KillMode KillSignal
    LogsDirectory Nice NotifyAccess OOMPolicy OOMScoreAdjust PIDFile PartOf PassEnvironment
    RemainAfterExit RequiredBy Requires Restart RestartSec RuntimeDirectory Slice
    StandardError StandardInput StandardOutput StateDirectory SupplementaryGroups
    SyslogIdentifier TimeoutSec TimeoutStartSec Type UnsetEnvironment User WantedBy Wants
    WatchdogSec WorkingDirectory
    """
)

SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SPANS_MS = {
    "ms": 1, "msec": 1, "s": 1000, "sec": 1000, "second": 1000, "seconds": 1000, "": 1000,
    "m": 60_000, "min": 60_000, "minute": 60_000, "minutes": 60_000,
    "h": 3_600_000, "hr": 3_600_000, "hour": 3_600_000, "hours": 3_600_000,
    "d": 86_400_000, "day": 86_400_000, "days": 86_400_000,
    "w": 604_800_000, "week": 604_800_000, "weeks": 604_800_000,
}  # fmt: skip
_TRUE, _FALSE = ("1", "yes", "true", "on", "y", "t"), ("0", "no", "false", "off", "n", "f")


def truth(text: str) -> bool | None:
    """Return what systemd reads as yes or no, else None."""
    word = text.lower()
    return True if word in _TRUE else False if word in _FALSE else None


def size_bytes(text: str) -> int | None:
    """Return the bytes of `64M`, 0 < unit of 1024; None for what is no size."""
    scale = SIZES.get(text[-1:].upper(), 1)
    digits = text[:-1] if scale > 1 else text
    return (
        int(digits) * scale if digits.isascii() and digits.isdigit() and len(digits) < 19 else None
    )


def span_ms(text: str) -> int | None:
    """Return the milliseconds of `1min 30s`; a number alone is in seconds."""
    total = 0
    number, unit = "", ""
    for char in text.replace(" ", "") + "0":
        if char.isdigit() and unit:
            if not number or unit not in SPANS_MS:
                return None
            total += int(number) * SPANS_MS[unit]
            number, unit = "", ""
        if char.isdigit():
            number += char
        else:
            unit += char
    number = number[:-1]
    if len(number) > 12:
        return None
    return total + int(number) * 1000 if number else (total or None)
