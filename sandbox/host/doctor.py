"""Each set-up step tried in a child: what works here, what does not, why, and what to do.

Returns values; `sandbox/cli/doctor.py` shows them.
"""

from __future__ import annotations

import errno as errnos
import os
import sys

from sandbox.host.delegation import cgroup_limits
from sandbox.host.userns import find_obstacle
from sandbox.record import record
from sandbox.text import errno_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_S = 20
CALLER = "caller"
ORDINARY_USER = "ordinary-user"
# As root the steps are tried a second time as this id, which owns no files (nobody, in general).
ORDINARY_ID = 65534
_CONTAINER = (
    "start the outer container with --security-opt seccomp=unconfined --security-opt"
    " systempaths=unconfined, or run outside of it"
)


@record
class Step:
    """A step: its name, its name for people, whether `strict` needs it, and the usual remedy."""

    name: str
    title: str
    is_required: bool
    cause: str
    remedy: str
    is_ordinary: bool = False  # tried as an ordinary user as well when the caller is root
    is_root_only: bool = False


@record
class Check:
    """How a step ended.

    Shape: `stage` and `errno` name the call that was refused and its error; `cause` and `remedy`
           are None where the step works; `detail` is what else is known, or "".
    """

    step: str
    title: str
    ok: bool
    is_required: bool
    subject: str = CALLER
    stage: str | None = None
    errno: int | None = None
    cause: str | None = None
    remedy: str | None = None
    detail: str = ""


def _namespace(name: str, since: str, *, is_required: bool = True) -> Step:
    return Step(
        f"{name}-namespace",
        f"{name} namespace",
        is_required,
        f"the kernel has no {name} namespaces, or their limit is used up",
        f"it needs Linux {since}; see /proc/sys/user/max_{name}_namespaces",
    )


STEPS = (
    Step(
        "user-namespace",
        "user namespace",
        True,
        "an ordinary user may not make a user namespace here",
        _CONTAINER,
        is_ordinary=True,
    ),
    Step(
        "id-maps",
        "id maps, rights inside",
        True,
        "the namespace can be made, but it gives no rights inside",
        "a security module restricts user namespaces: see `dmesg` and its policy",
        is_ordinary=True,
    ),
    _namespace("mount", "2.4"),
    _namespace("pid", "3.8"),
    _namespace("net", "3.0"),
    _namespace("ipc", "3.0"),
    _namespace("uts", "3.0"),
    _namespace("cgroup", "4.6"),
    _namespace("time", "5.6", is_required=False),
    Step(
        "mount-calls",
        "mount calls",
        True,
        "the kernel or an outer sandbox lacks a mount call of Linux 5.2 to 5.12",
        "use Linux 5.12 or later; an outer container must let these calls pass",
    ),
    Step(
        "proc",
        "fresh /proc",
        False,
        "an outer container masks parts of /proc, so that the kernel refuses a fresh one",
        'start it with --security-opt systempaths=unconfined, or set proc.fallback = "bind-ro"',
        is_ordinary=True,
    ),
    Step(
        "proc-subset",
        "fresh /proc, processes only",
        True,
        "an outer container masks parts of /proc, so that the kernel refuses a fresh one",
        "start it with --security-opt systempaths=unconfined; subset=pid needs Linux 5.8",
        is_ordinary=True,
    ),
    Step(
        "overlay",
        "overlay",
        True,
        "an overlay cannot be mounted in a user namespace",
        "it needs Linux 5.11 and the module overlay; use a policy that mounts read-only or tmpfs",
        is_ordinary=True,
    ),
    Step(
        "overlay-tmpfs",
        "overlay kept in memory",
        False,
        "tmpfs has no user.* attributes, which removing a directory over an overlay needs",
        "none needed: writes are kept in the state directory until the end; it needs Linux 6.6",
    ),
    Step(
        "idmapped-mounts",
        "idmapped mounts",
        False,
        "the file system of this directory cannot be idmapped",
        "runs by root can write to ext4, xfs, btrfs (Linux 5.12 to 5.15) or tmpfs (6.3) only",
        is_root_only=True,
    ),
    Step(
        "nested-lock",
        "nested namespaces off",
        True,
        "/proc/sys/user/max_user_namespaces cannot be written inside",
        "an outer container mounts /proc/sys read-only: start it with --security-opt"
        " systempaths=unconfined, or set isolation.nested_userns = true",
        is_ordinary=True,
    ),
    Step(
        "no-new-privs",
        "no new privileges",
        True,
        "the kernel has no PR_SET_NO_NEW_PRIVS",
        "it needs Linux 3.5",
    ),
    Step(
        "seccomp-filter",
        "seccomp filter",
        True,
        "the kernel loads no system-call filter",
        "it needs CONFIG_SECCOMP_FILTER; an outer sandbox must allow seccomp(2)",
    ),
    Step(
        "seccomp-notify",
        "seccomp notification",
        False,
        "no listener can be had: an outer sandbox has one, or the kernel is older than 5.0",
        "none needed: denials are then answered without being recorded",
    ),
    Step(
        "landlock",
        "Landlock",
        True,
        "the kernel has no Landlock, or it is not switched on",
        "it needs Linux 5.13 with `landlock` in the boot parameter lsm= (see"
        " /sys/kernel/security/lsm)",
    ),
)


def trial_source() -> str:
    """Return the program that tries one step."""
    with open(os.path.join(os.path.dirname(__file__), "trial.py"), encoding="utf-8") as file:
        return file.read()


def run_trial(step: str, uid: int | None, source: str) -> tuple[bool, str]:
    """Try one step in a fresh interpreter; return whether it works and what it printed.

    Shape: `ok DETAIL`, or `refused ERRNO STAGE`, or `broken WHY` where the child did not report.
    """
    import subprocess  # 13 ms, which a process that only asks for the list need not pay

    argv = [sys.executable, "-I", "-S", "-c", source, step]
    if uid is not None:
        argv.append(str(uid))
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"broken no answer within {TIMEOUT_S} s"
    except OSError as error:
        return False, f"refused {error.errno or 0} starting {sys.executable}"
    report = done.stdout.decode("utf-8", "replace").strip()
    if report.startswith(("ok", "refused ")):
        return done.returncode == 0, report
    last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return False, f"broken status {done.returncode} {last}".rstrip()


def judge(step: Step, subject: str, *, works: bool, report: str) -> Check:
    """Return the Check for what a trial reported."""
    if works:
        return Check(
            step.name,
            step.title,
            True,
            step.is_required,
            subject,
            detail=report.removeprefix("ok").strip(),
        )
    stage, errno, detail = "child", 0, ""
    word, _, rest = report.partition(" ")
    if word == "refused":
        number, _, stage = rest.partition(" ")
        errno = int(number) if number.isdigit() else 0
        detail = f"{stage}: {errno_text(errno)}"
    else:
        detail = rest
    cause, remedy = step.cause, step.remedy
    obstacle = find_obstacle() if step.is_ordinary else None
    is_clone = step.name in ("user-namespace", "id-maps")
    if obstacle is not None and obstacle.explains(errno, is_clone=is_clone):
        cause, remedy = obstacle.cause, obstacle.remedy
    elif errno == errnos.ENOENT and stage == "max_user_namespaces":
        cause = "/proc/sys/user is not there"
    return Check(
        step.name,
        step.title,
        False,
        step.is_required,
        subject,
        stage,
        errno or None,
        cause,
        remedy,
        detail,
    )


def examine(
    *,
    is_root: bool | None = None,
    trial: Callable[[str, int | None, str], tuple[bool, str]] = run_trial,
) -> tuple[Check, ...]:
    """Try every step on this host, in the order of set-up.

    Shape: as root each step that an ordinary user may be refused is tried for one as well.
    """
    root = os.geteuid() == 0 if is_root is None else is_root
    source = trial_source()
    checks = []
    for step in STEPS:
        if step.is_root_only and not root:
            continue
        works, report = trial(step.name, None, source)
        checks.append(judge(step, CALLER, works=works, report=report))
    limits = cgroup_limits()
    checks.append(
        Check(
            "cgroup-limits",
            "cgroup limits",
            limits.is_delegated,
            False,
            CALLER,
            None if limits.is_delegated else "cgroup",
            None,
            limits.cause,
            limits.remedy,
            limits.detail,
        )
    )
    checks.append(_subordinate_ids())
    checks.append(_launcher())
    if root:
        for step in STEPS:
            if step.is_ordinary:
                works, report = trial(step.name, ORDINARY_ID, source)
                checks.append(judge(step, ORDINARY_USER, works=works, report=report))
    return tuple(checks)


def _subordinate_ids() -> Check:
    """Say whether `process.id_map = "multi"` can be had; root needs no ranges for it."""
    from sandbox.host.facts import detect

    title = "several ids inside"
    ids = detect(need=frozenset({"subids"})).subids
    if ids is None or ids.gap:
        cause, remedy = (ids.gap, ids.remedy) if ids is not None else ("", "")
        return Check("subordinate-ids", title, False, False, CALLER, "subuid", None, cause, remedy)
    total = min(sum(item.count for item in ranges) for ranges in (ids.uids, ids.gids))
    return Check("subordinate-ids", title, True, False, detail=f"{total} besides the own one")


def _launcher() -> Check:
    """Say whether the native launcher was built; without it every start takes Python's time."""
    title = "native launcher"
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if os.access(os.path.join(package, "_native", "sandbox-supervisor"), os.X_OK):
        return Check("launcher", title, True, False)
    return Check(
        "launcher",
        title,
        False,
        False,
        cause="it was not built: the compiler had no static C library",
        remedy="install musl-tools (or libc.a of the C library), then this package again",
    )


def is_able(checks: tuple[Check, ...]) -> bool:
    """Whether the caller has every step that the policy `strict` requires."""
    return all(check.ok for check in checks if check.is_required and check.subject == CALLER)


def needs_profile(checks: tuple[Check, ...]) -> bool:
    """Whether an AppArmor profile would help: a step failed, and AppArmor is why."""
    obstacle = find_obstacle()
    return (
        obstacle is not None
        and obstacle.is_apparmor
        and any(not check.ok and check.cause == obstacle.cause for check in checks)
    )
