"""confined: what Landlock cannot express is refused with its place, and the notes are honest."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from sandbox.errors import HostError, PolicyError
from sandbox.host.facts import Host
from sandbox.plan.model import EnvKind, EnvRule, Namespace, PlanFlag, Slot, SlotPath
from sandbox.policy import landlock
from sandbox.policy.compile import compile_plan
from sandbox.policy.compose import Flag, apply_flags
from sandbox.policy.confined import check_narrowing
from sandbox.policy.load import load_policy
from sandbox.policy.model import Policy
from sandbox.record import replace

pytestmark = pytest.mark.usefixtures("fake_filter")

INEXPRESSIBLE = [
    "filesystem.mounts = [{ path = '/t', mode = 'tmpfs' }]",
    "filesystem.mounts = [{ path = '${CWD}', mode = 'overlay' }]",
    "filesystem.mounts = [{ path = '/t', source = '/usr', mode = 'ro' }]",
    "filesystem.hide = ['/usr/share']",
    "filesystem.protect = ['@git-hooks']",
    "filesystem.groups = ['@toolchains']",
    "filesystem.proc = { mode = 'fresh' }",
    "filesystem.dev = ['tty']",
    "process.hostname = 'x'",
    "process.uid = 7",
    "network.loopback = true",
    "syscalls.socket_families = ['inet']",
    "isolation.seccomp = 'prefer'",
    "isolation.landlock = { fs = 'prefer' }",
]
MIXED = [
    "isolation.namespaces = { pid = 'off' }",
    "isolation.namespaces = { user = 'off', mount = 'off', pid = 'off' }",
    "filesystem.root = 'host'",
]


def test_the_plan_has_no_namespace_and_no_mount(host: Host) -> None:
    """Landlock, the filter, no_new_privs; the caller's own ids; tier and gaps in the notes."""
    plan = compile_plan(load_policy("confined"), host)
    assert (plan.namespaces, plan.mounts, plan.id_maps) == (Namespace(0), (), ())
    assert (plan.uid, plan.gid, plan.caps, plan.hostname) == (1234, 1234, 0, b"")
    needed = PlanFlag.NO_NEW_PRIVS | PlanFlag.LANDLOCK | PlanFlag.NEW_SESSION
    assert plan.flags == needed
    assert plan.filters
    notes = json.loads(plan.notes)
    assert notes["tier"] == "confined"
    assert any("no namespaces" in text for text in notes["notes"])


def test_grants_are_the_policys(host: Host) -> None:
    """ro grants no write, children are granted alone, the run's own directory is writable."""
    plan = compile_plan(load_policy("confined"), host)
    access = {rule.path: rule.access for rule in plan.landlock}
    usr, cwd = access[SlotPath(b"/usr")], access[SlotPath(b"", Slot.CWD)]
    assert not (usr | cwd) & (landlock.WRITE_FILE | landlock.TRUNCATE | landlock.REFER)
    assert access[SlotPath(b"/tmp", Slot.STATE)] & landlock.WRITE_FILE
    assert SlotPath(b"/etc") not in access
    assert SlotPath(b"/") not in access
    assert EnvRule(EnvKind.SET, b"TMPDIR", SlotPath(b"/tmp", Slot.STATE)) in plan.env


@pytest.mark.parametrize("text", INEXPRESSIBLE)
def test_what_needs_a_mount_is_refused(
    text: str, policy_of: Callable[..., Policy], host: Host
) -> None:
    """The error names file and line, and what cannot be held."""
    with pytest.raises(PolicyError, match=r"^test\.toml:3: ") as info:
        compile_plan(policy_of(text, extends="confined"), host)
    assert info.value.code == "policy.confined"
    assert info.value.hint


@pytest.mark.parametrize("text", MIXED)
def test_namespaces_are_all_or_none(
    text: str, policy_of: Callable[..., Policy], host: Host
) -> None:
    """A policy with some of the basic three is neither."""
    with pytest.raises(PolicyError, match=r"^test\.toml:3: ") as info:
        compile_plan(policy_of(text, extends="strict"), host)
    assert info.value.code == "policy.conflict"


def test_flags_that_need_a_mount_are_refused(host: Host) -> None:
    """--tmpfs, --hide and --uid name the command line."""
    for flag in (
        Flag("tmpfs", "/t", "--tmpfs /t"),
        Flag("hide", "/usr/share", "--hide /usr/share"),
        Flag("uid", "7", "--uid 7"),
    ):
        with pytest.raises(PolicyError, match=r"^command line: "):
            compile_plan(apply_flags(load_policy("confined"), (flag,)), host)


def test_narrowing_is_refused(policy_of: Callable[..., Policy]) -> None:
    """Landlock adds up: ro below rw would be rw, also where only the slots tell."""
    text = (
        "filesystem.mounts = [{ path = '${CWD}', mode = 'rw' }, { path = '/w/sub', mode = 'ro' }]"
    )
    policy = policy_of(text, extends="confined")
    slots = [b""] * 6
    slots[Slot.CWD] = b"/w"
    with pytest.raises(PolicyError, match="/w/sub"):
        check_narrowing(policy, tuple(slots))
    slots[Slot.CWD] = b"/other"
    check_narrowing(policy, tuple(slots))


def test_root_is_refused(host: Host) -> None:
    """Nothing would stand between the command and root's own rights."""
    with pytest.raises(HostError, match="root"):
        compile_plan(load_policy("confined"), replace(host, uid=0, gid=0))


def test_an_old_kernel_is_noted_or_refused(host: Host) -> None:
    """Without scopes and truncate notes say so; without Landlock nothing runs."""
    notes = json.loads(compile_plan(load_policy("confined"), replace(host, landlock_abi=1)).notes)
    text = "\n".join(notes["notes"])
    assert "signalled" in text
    assert "truncated" in text
    with pytest.raises(HostError):
        compile_plan(load_policy("confined"), replace(host, landlock_abi=0, features=frozenset()))
