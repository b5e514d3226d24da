"""Wording of `{stage, op, errno, detail}`, the record by which the C core reports a failure.

C knows numbers; the words are made here, from the same Plan and Invocation that were executed, so
that a message names the path, the place in the policy and the next step. Every stage has a
sentence of its own and a hint for any errno; the likely errnos have better ones.
"""

from __future__ import annotations

import errno as errnos

from sandbox.errors import ProgramError, SetupError
from sandbox.host.userns import find_obstacles
from sandbox.plan.model import Stage
from sandbox.text import errno_text, escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.model import Invocation, Plan

    Words = tuple[str, str]

_REPORT = "this is a defect of sandbox: please report it with the output of `sandbox doctor`"
_DOCTOR = "`sandbox doctor` tries each set-up step on this host and names the remedy"
MAPS_GROUP_NAMESPACE = 2  # enum sbx_maps_detail
_RLIMITS = (
    *("cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks"),
    *("sigpending", "msgqueue", "nice", "rtprio", "rttime"),
)  # the order of RLIMIT_* in asm-generic/resource.h

# What failed, and what to do where the errno says nothing better. {why} is the errno in words,
# {errno} its name.
_STAGES: dict[Stage, Words] = {
    Stage.NONE: ("the sandbox could not be set up: {why}", _DOCTOR),
    Stage.CHECK: ("the plan is malformed at byte {op}: {why}", _REPORT),
    Stage.SOURCES: ("a source of a mount cannot be opened: {why}", _DOCTOR),
    Stage.CLONE: ("the namespaces cannot be made: {why}", _DOCTOR),
    Stage.MAPS: ("the user id cannot be mapped into the user namespace: {why}", _DOCTOR),
    Stage.USERNS_LOCK: (
        "nested user namespaces cannot be switched off (/proc/sys/user/max_user_namespaces): {why}",
        _DOCTOR,
    ),
    Stage.HOSTNAME: ("the host name {hostname} cannot be set: {why}", _DOCTOR),
    Stage.LOOPBACK: (
        "the loopback interface cannot be brought up: {why}",
        "the policy can do without it: network.loopback = false",
    ),
    Stage.MOUNTS: ("the view of the file system cannot be built: {why}", _DOCTOR),
    Stage.PIVOT: ("the new root cannot be entered (pivot_root): {why}", _DOCTOR),
    Stage.TIMENS: (
        "the time namespace cannot be set up: {why}",
        'it needs Linux 5.6; the policy can do without it: isolation.namespaces.time = "off"',
    ),
    Stage.INIT: (
        "pid 1 of the sandbox cannot be started: {why}",
        "the caller's process limit may be used up: see `ulimit -u`",
    ),
    Stage.TERMINAL: (
        "the command's own terminal cannot be opened: {why}",
        'it needs Linux 4.13; the policy can do without it: process.tty = "setsid"',
    ),
    Stage.SESSION: ("the command's session cannot be made (setsid): {why}", _DOCTOR),
    Stage.CHDIR: (
        "the working directory {cwd} cannot be entered inside: {why}",
        "name one that is in the view: --chdir DIR, or show this one: --ro {cwd}",
    ),
    Stage.RLIMITS: (
        "the limit RLIMIT_{rlimit} cannot be set: {why}",
        (
            "the caller's own hard limit may be lower: see `ulimit -H -a`, or lower the limit with"
            " --limit"
        ),
    ),
    Stage.CAPS: ("the capabilities cannot be dropped: {why}", _DOCTOR),
    Stage.NO_NEW_PRIVS: ("no_new_privs cannot be set: {why}", "it needs Linux 3.5 or later"),
    Stage.FDS: (
        "a file descriptor of the command cannot be arranged: {why}",
        "check that the descriptors named for the command are open, and `ulimit -n`",
    ),
    Stage.LANDLOCK: ("the Landlock rules cannot be enforced: {why}", _DOCTOR),
    Stage.SECCOMP: ("the system-call filter cannot be loaded: {why}", _DOCTOR),
    Stage.EXEC: ("{program} cannot be executed: {why}", "check that it runs outside the sandbox"),
}

_LANDLOCK_MISSING: Words = (
    "the kernel has no Landlock: {why}",
    (
        "it needs Linux 5.13 with `landlock` in the boot parameter lsm=; a policy does without it"
        ' where it says isolation.landlock.fs = "prefer"'
    ),
)
_SPECIAL: dict[tuple[Stage, int], Words] = {
    (Stage.CHECK, errnos.E2BIG): (
        "the plan or the command's arguments are too large: {why}",
        "a plan may have 1 MiB: use fewer mounts and patterns; arguments and environment 8 MiB",
    ),
    (Stage.CLONE, errnos.ENOSPC): (
        "the namespaces cannot be made: a limit on namespaces is used up ({errno})",
        "see /proc/sys/user/max_*_namespaces; sandboxes nested more than 32 deep fail as well",
    ),
    (Stage.CLONE, errnos.EUSERS): (
        "the namespaces cannot be made: they are nested too deeply ({errno})",
        "the kernel allows 32 levels of user namespaces",
    ),
    (Stage.CLONE, errnos.EAGAIN): (
        "the namespaces cannot be made: the caller may start no more processes ({errno})",
        "see `ulimit -u` and the pids limit of the caller's cgroup",
    ),
    (Stage.CLONE, errnos.ENOMEM): (
        "the namespaces cannot be made: the kernel is out of memory ({errno})",
        "see `dmesg`, and the memory limit of the caller's cgroup",
    ),
    (Stage.CLONE, errnos.EINVAL): (
        "the namespaces cannot be made: this kernel lacks one of them ({errno})",
        "`sandbox doctor` says which; the policy's isolation.namespaces says which are wanted",
    ),
    (Stage.CLONE, errnos.ENOSYS): (
        "the namespaces cannot be made: the kernel or an outer sandbox has no such call ({errno})",
        "an outer sandbox or container must allow clone with namespaces",
    ),
    (Stage.MAPS, errnos.EINVAL): (
        "the user id cannot be mapped: the id outside is not one of the caller's ({errno})",
        "inside another user namespace only its own ids can be mapped: see /proc/self/uid_map",
    ),
    (Stage.USERNS_LOCK, errnos.EROFS): (
        (
            "nested user namespaces cannot be switched off: /proc/sys is read-only here, as in a"
            " container ({errno})"
        ),
        (
            "start the outer container with a writable /proc/sys (Docker:"
            " --security-opt systempaths=unconfined), or allow nesting in the policy:"
            " isolation.nested_userns = true"
        ),
    ),
    (Stage.USERNS_LOCK, errnos.ENOENT): (
        "nested user namespaces cannot be switched off: /proc/sys/user is not there ({errno})",
        (
            "mount a full /proc in the outer container, or allow nesting in the policy:"
            " isolation.nested_userns = true"
        ),
    ),
    (Stage.HOSTNAME, errnos.EPERM): (
        "the host name {hostname} cannot be set: an outer container refuses the call ({errno})",
        "start the outer container with a filter that allows sethostname and mount (Docker, Podman:"
        " --security-opt seccomp=unconfined), or use --policy confined in it",
    ),
    (Stage.HOSTNAME, errnos.EINVAL): (
        "the host name {hostname} is too long: {why}",
        "a host name has at most 64 bytes: --hostname NAME",
    ),
    (Stage.TERMINAL, errnos.ENOSPC): (
        "the command's own terminal cannot be opened: the host has no more of them ({errno})",
        "see /proc/sys/kernel/pty/max and /proc/sys/kernel/pty/nr",
    ),
    (Stage.CHDIR, errnos.ENOENT): (
        "the working directory {cwd} does not exist inside the sandbox ({errno})",
        "name one that is in the view: --chdir DIR, or show this one: --ro {cwd}",
    ),
    (Stage.CHDIR, errnos.EACCES): (
        "the working directory {cwd} may not be entered by the command ({errno})",
        "check its mode and owner; as root, the command runs under an unprivileged id",
    ),
    (Stage.RLIMITS, errnos.EPERM): (
        "the limit RLIMIT_{rlimit} is above the caller's own hard limit ({errno})",
        "lower it with --limit, or raise the caller's: see `ulimit -H -a`",
    ),
    (Stage.FDS, errnos.EBADF): (
        "a file descriptor for the command is not open ({errno})",
        "open it before the start, or leave it out of the list that is passed",
    ),
    (Stage.FDS, errnos.EMFILE): (
        "the command has more file descriptors than it may open ({errno})",
        "raise the limit: --limit open_files=N",
    ),
    (Stage.LANDLOCK, errnos.ENOSYS): _LANDLOCK_MISSING,
    (Stage.LANDLOCK, errnos.EOPNOTSUPP): _LANDLOCK_MISSING,
    (Stage.LANDLOCK, errnos.E2BIG): (
        "the Landlock rules cannot be enforced: 16 layers of them hold this process ({errno})",
        "the kernel allows no deeper nesting of sandboxes that use Landlock",
    ),
    (Stage.SECCOMP, errnos.EINVAL): (
        "the system-call filter is refused by the kernel: {why}",
        "it needs Linux 3.5 with CONFIG_SECCOMP_FILTER; otherwise " + _REPORT,
    ),
    (Stage.SECCOMP, errnos.ENOMEM): (
        (
            "the system-call filter is refused: the filters of this process are too long together"
            " ({errno})"
        ),
        "an outer sandbox holds this process with a large filter; start outside of it",
    ),
    (Stage.SECCOMP, errnos.EBUSY): (
        (
            "the system-call filter is refused: an outer sandbox already listens to this process"
            " ({errno})"
        ),
        "the kernel allows one listener; start outside of that sandbox",
    ),
}

# Where a restricted user namespace is felt: at its making, or, under AppArmor, at the first use
# of a capability in it.
_NEED_USERNS = frozenset(
    {Stage.CLONE, Stage.MAPS, Stage.USERNS_LOCK, Stage.HOSTNAME, Stage.LOOPBACK, Stage.MOUNTS}
)


def setup_error(
    stage: int, op: int, errno: int, detail: int, plan: Plan, invocation: Invocation
) -> SetupError | ProgramError:
    """Return the error for a failure that the C core reported, worded, with a hint.

    Shape: `fields` of the error hold stage (its label), op, errno. A command that is not to be
           found or not executable is a ProgramError with exit code 127 or 126.
    """
    known = Stage(stage) if 0 <= stage <= max(Stage) else Stage.NONE
    if known is Stage.EXEC:
        from sandbox.launch.errors_exec import program_error  # only a failed run pays for it

        return program_error(errno, detail, plan, invocation)
    message, hint = _words(known, op, errno, detail, plan, invocation)
    return SetupError(
        message,
        hint=hint,
        code=f"setup.{known.label}",
        stage=known.label,
        op=op,
        errno=errno,
    )


def _words(
    stage: Stage, op: int, errno: int, detail: int, plan: Plan, invocation: Invocation
) -> Words:
    if stage in _NEED_USERNS:
        is_clone = stage is Stage.CLONE
        for obstacle in find_obstacles():
            if not obstacle.explains(errno, is_clone=is_clone):
                continue
            hint = obstacle.remedy
            if is_clone:
                hint += "; without namespaces --policy confined runs, which holds less"
            return f"{obstacle.cause}: {errno_text(errno)}", hint
    if stage in (Stage.MOUNTS, Stage.SOURCES):
        from sandbox.launch.errors_mount import mount_words

        words = mount_words(op, errno, detail, plan, invocation)
        if words is not None:
            return words
    if stage is Stage.MAPS and detail == MAPS_GROUP_NAMESPACE:
        return f"the cgroup namespace cannot be made: {errno_text(errno)}", _DOCTOR
    if stage is Stage.LANDLOCK and 0 <= op < len(plan.landlock):
        path = plan.landlock[op].path
        if path is not None and errno == errnos.ENOENT:
            return (
                (
                    f"the Landlock rule for {escape(path.text())} has no such path inside:"
                    f" {errno_text(errno)}"
                ),
                "the policy names a path that is not in the view: see `sandbox exec --explain`",
            )
    message, hint = _SPECIAL.get((stage, errno), _STAGES[stage])
    names = {
        "why": errno_text(errno),
        "errno": errnos.errorcode.get(errno, f"errno {errno}"),
        "op": str(op),
        "hostname": escape(plan.hostname),
        "cwd": escape(invocation.cwd),
        "rlimit": _rlimit_name(op, plan),
        "program": escape(invocation.argv[0]) if invocation.argv else "the command",
    }
    return _fill(message, names), _fill(hint, names)


def _rlimit_name(op: int, plan: Plan) -> str:
    if not 0 <= op < len(plan.rlimits):
        return "*"
    resource = plan.rlimits[op].resource
    return (_RLIMITS[resource] if 0 <= resource < len(_RLIMITS) else str(resource)).upper()


def _fill(template: str, names: dict[str, str]) -> str:
    # Not str.format(): a host name or a path may hold braces, and is put in only once.
    parts: list[str] = []
    rest = template
    while "{" in rest:
        before, _, tail = rest.partition("{")
        name, _, rest = tail.partition("}")
        parts += [before, names[name]]
    return "".join(parts) + rest
