"""With its protections taken out of the plan, an attempt goes through: every check can fail.

With one of several taken out it is still refused, with the errno of the one that is left.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from security.answers import OK, Answer, ask
from security.catalogue import BY_ID
from security.places import Places
from security.verdict import BROKEN, judge

RUNNER = Path(__file__).with_name("knockout_run.py")
CAPABLE = ("seccomp", "landlock", "capabilities")
SHOWN = ("landlock",)

# (row, policy, what is taken out, attempts and what they answer then)
Case = tuple[str, str, tuple[str, ...], Mapping[str, str]]


def _all(outcome: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, outcome)


FILTER_ONLY: tuple[Case, ...] = tuple(
    (identifier, "strict", ("seccomp",), _all(OK, *attempts.split()))
    for identifier, attempts in {
        "S01": "int80",
        "S08": "no-fd",
        "S09": "setup enter register",
        "S10": "plain high-half",
        "S12": "plain high-half",
        "S13": "keyctl add_key request_key",
        "S16": "user-mode-only",
        "S17": "traceme seize",
        "S18": "readv writev empty",
        "S19": "kcmp pidfd_getfd",
        "S20": "name_to_handle_at",
        "S24": "read-implies-exec no-randomize bsd",
        "S25": "modify_ldt",
        "S26": "quotactl",
        "S28": "set_mempolicy mbind migrate_pages move_pages",
        "S29": "clock_settime clock_adjtime",
        "S31": "fanotify_init lsm_list_modules",
        "S32": "listmount",
        "S33": "memfd_create execveat-memfd execveat-file",
        "S35": "plain high-half",
        "S36": "unfiltered no-filter",
        "S37": "unfiltered-0 unfiltered-3",
        "S38": "unfiltered-descendant",
        "S41": "setns io_uring",
        "K01": "netlink vsock inet inet6",
        "K03": "mptcp udplite",
        "K04": "route netfilter xfrm generic",
        "K09": "attach-filter attach-bpf bind-to-device",
    }.items()
)

LAYERED: tuple[Case, ...] = (
    # the limit stands behind the filter
    ("S05", "strict", ("seccomp",), {"newuser": "ENOSPC", "plain": OK}),
    ("S05", "strict", ("seccomp", "limit"), {"newuser": OK}),
    ("S06", "strict", ("seccomp",), {"newuser": "ENOSPC", "high-half": "ENOSPC", "newns": "EPERM"}),
    ("S06", "strict", ("limit",), {"newuser": "EPERM"}),
    ("S06", "strict", ("seccomp", "limit"), {"newuser": OK, "high-half": OK}),
    ("S07", "default", ("seccomp",), {"newuser": "ENOSPC", "limit": "absent"}),
    ("S07", "default", ("limit",), {"newuser": "EPERM", "limit": OK}),
    ("S07", "default", ("seccomp", "limit"), {"newuser": OK}),
    # Landlock and the missing capabilities stand behind the filter
    ("S21", "strict", ("seccomp",), {"fsopen": "EPERM", "open_tree": "EPERM"}),
    ("S21", "strict", CAPABLE, _all(OK, "fsopen", "fsconfig", "fsmount", "move_mount")),
    ("S22", "strict", ("seccomp",), {"mount": "EPERM", "pivot_root": "EPERM"}),
    ("S22", "strict", ("seccomp", "capabilities"), {"mount": "EPERM"}),
    ("S22", "strict", CAPABLE, {"mount": OK, "umount2": OK}),
    ("S23", "strict", ("seccomp",), {"chroot": "EPERM"}),
    ("S23", "strict", CAPABLE, {"chroot": OK}),
    ("N06", "strict", CAPABLE, {"root": OK}),
    ("N19", "strict", ("seccomp",), {"mount": "EPERM", "fsopen": "EPERM"}),
    ("N19", "strict", CAPABLE, {"mount": OK, "fsopen": OK}),
    # two walls before files: the mount, then Landlock
    ("F01", "default", ("landlock",), {"create": "EROFS", "create:/usr": "EROFS"}),
    ("F01", "default", ("readonly",), {"create": "EACCES", "mkdir": "EACCES"}),
    ("F01", "default", ("readonly", "landlock"), _all(OK, "create", "mkdir", "unlink", "rename")),
    ("F02", "default", ("readonly",), {"truncate": "EACCES", "open-write": "EACCES"}),
    ("F02", "default", ("readonly", "landlock"), _all(OK, "truncate", "open-write")),
    # two walls before abstract sockets: the network namespace, then the scope
    ("F08", "strict", ("landlock",), {"connect": "ECONNREFUSED"}),
    ("F08", "strict", ("namespace:NET",), {"connect": "EPERM"}),
    ("F08", "strict", ("namespace:NET", "landlock"), {"connect": OK}),
    ("F09", "strict", ("landlock",), {"kill": "ESRCH", "init": OK}),
    ("S37", "strict", ("landlock",), {"signal-init-0": OK, "signal-init-3": OK}),
    ("K05", "strict", ("namespace:NET",), {"host-loopback": "EAFNOSUPPORT", "interfaces": OK}),
    ("K05", "default", ("namespace:NET", "landlock"), _all(OK, "host-loopback", "interfaces")),
)

SINGLE: tuple[Case, ...] = (
    ("N02", "strict", ("capabilities",), _all(OK, "self-CapBnd", "self-CapPrm", "self-CapEff")),
    ("N03", "strict", ("namespace:NET",), {"net": OK, "ipc": "absent"}),
    ("N03", "strict", ("namespace:IPC",), {"ipc": OK, "net": "absent"}),
    ("N03", "strict", ("namespace:UTS",), {"uts": OK, "mnt": "absent"}),
    ("N03", "strict", ("namespace:CGROUP",), {"cgroup": OK, "pid": "absent"}),
    ("N05", "strict", ("view:/:/mnt",), {"host-root": OK}),
    ("N17", "strict", ("nodev",), {"open-node": OK}),
    ("N18", "default", ("namespace:IPC",), {"shmget": OK, "mq_open": "EACCES"}),
    ("N18", "default", ("namespace:IPC", "landlock"), {"shmget": OK, "mq_open": OK}),
    ("F04", "strict", ("landlock",), {"ioctl": OK}),
    ("F07", "strict", ("view:{outside}", *SHOWN), {"tmp": OK, "abs": "ENOENT"}),
    ("F11", "default", ("view:{outside}", *SHOWN), {"read": OK, "create": OK}),
    ("F13", "strict", ("view:{outside}", *SHOWN), {"self/root": OK, "1/root": "EACCES"}),
    ("F14", "strict", ("view:{home}", *SHOWN), {"file:id_ed25519": OK}),
    ("F14", "strict", ("environment",), {"env:SBX_CANARY_TOKEN": OK, "file:id_ed25519": "ENOENT"}),
    ("P02", "default", ("masks", *SHOWN), {"/proc/interrupts": OK}),
    ("P04", "strict", ("view:/sys", *SHOWN), {"/sys/firmware": OK, "/sys/block": OK}),
    ("P05", "strict", ("view:/dev", *SHOWN), {"others": OK}),
    ("P06", "strict", ("view:/sys", *SHOWN), {"tree": OK}),
    ("P07", "strict", ("view:/dev", *SHOWN), {"stat-kmsg": OK, "syslog-size": "EPERM"}),
    ("K08", "strict", ("view:{runtime_dir}", *SHOWN), {"socket:bus": OK, "env:DISPLAY": "absent"}),
    ("K08", "strict", ("environment",), {"env:SSH_AUTH_SOCK": OK, "socket:bus": "ENOENT"}),
    ("X06", "strict", ("rlimits",), {"fork": OK}),
    ("X07", "strict", ("rlimits", "supervision"), {"touch": OK}),
    ("X08", "strict", ("sizes", "rlimits"), {"bytes": OK}),
    ("X09", "strict", ("rlimits",), {"dup": OK}),
    ("X11", "strict", ("rlimits",), {"raise": OK}),
)


def _id_of(case: Case) -> str:
    return f"{case[0]}-{case[1]}-without-{'+'.join(case[2])}"


NEEDS_ROOT = frozenset({"N17"})  # root has to make the node that is opened
CASES = [
    pytest.param(
        *case, id=_id_of(case), marks=[pytest.mark.as_root] if case[0] in NEEDS_ROOT else []
    )
    for case in (*FILTER_ONLY, *LAYERED, *SINGLE)
    if platform.machine() in BY_ID[case[0]].machines
]


@pytest.fixture(scope="module")
def runner(places: Places, user_python: Path) -> Iterator[list[str]]:
    """The argv prefix that runs a command behind a changed plan, as the ordinary user."""
    copy = places.probe_dir.parent / RUNNER.name  # the checkout may be closed to the user
    shutil.copyfile(RUNNER, copy)
    copy.chmod(0o644)
    yield [*places.user.prefix, str(user_python), "-I", str(copy)]
    copy.unlink()


def _ask(
    runner: list[str], places: Places, identifier: str, policy: str, without: tuple[str, ...]
) -> Answer:
    knocks = places.fill(without, is_inside=True)
    order = {
        "policy": policy,
        "flags": [["ro", str(path)] for path in places.shown],
        "without": knocks,
    }
    args = places.fill(BY_ID[identifier].args_for(policy), is_inside=True)
    argv = [*runner, json.dumps(order), str(places.probe), identifier, *args]
    return ask(argv, cwd=places.work, env=places.env)


@pytest.mark.parametrize(("identifier", "policy", "without", "answers"), CASES)
def test_knockout_changes_the_answer(
    identifier: str,
    policy: str,
    without: tuple[str, ...],
    answers: Mapping[str, str],
    runner: list[str],
    places: Places,
) -> None:
    """Without a protection the attempts answer what the layers behind it say."""
    inside = _ask(runner, places, identifier, policy, without)
    assert {name: inside.parts.get(name) for name in answers} == dict(answers)
    if OK in answers.values():
        expected = BY_ID[identifier].expected(policy)
        assert expected is not None
        assert judge(expected, [inside], inside).kind == BROKEN


def test_knockout_of_nothing_changes_nothing(runner: list[str], places: Places) -> None:
    """The runner itself weakens nothing: with nothing taken out the checks hold."""
    for identifier in ("S05", "N02", "F01", "F08", "K01"):
        inside = _ask(runner, places, identifier, "strict", ())
        expected = BY_ID[identifier].expected("strict")
        assert expected is not None
        assert judge(expected, [], inside).kind != BROKEN, identifier
