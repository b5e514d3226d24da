"""settle: a plan meets the values of its slots."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.host.facts import Host
from sandbox.plan.model import MountKind, Plan, ProtectKind, Slot, SlotPath
from sandbox.policy.compile import compile_plan
from sandbox.policy.load import load_policy
from sandbox.policy.model import MountRule, Policy
from sandbox.policy.settle import arrange, cwd_obstacle, guards, host_path
from sandbox.record import replace

pytestmark = pytest.mark.usefixtures("fake_filter")


def slots(cwd: bytes = b"/home/u/work", home: bytes = b"/home/u") -> tuple[bytes, ...]:
    """Return slot values."""
    values = [b""] * len(Slot)
    values[Slot.CWD], values[Slot.HOME], values[Slot.TMP] = cwd, home, b"/tmp"
    return tuple(values)


def plan_of(host: Host, *rules: MountRule, name: str = "default") -> Plan:
    """Compile a shipped policy with more mounts."""
    policy = load_policy(name)
    mounts = (*policy.filesystem.mounts, *rules)
    policy = replace(policy, filesystem=replace(policy.filesystem, mounts=mounts))
    return compile_plan(policy, host)


def home(path: str, mode: str, target: bytes | None = None) -> MountRule:
    """Return a rule for a path of the home."""
    source = SlotPath(path.encode(), Slot.HOME)
    if target is None:
        return MountRule(source, mode)
    return MountRule(SlotPath(target), mode, source)


@pytest.mark.parametrize(
    ("cwd", "reason"),
    [
        (b"/", "the root"),
        (b"/home", "holds your home"),
        (b"/home/u", "is your home"),
        (b"/proc/1", "belongs to the system"),
        (b"/run/user/1000", "belongs to the system"),
        (b"/dev", "belongs to the system"),
        (b"/usr", "its own entry"),
        (b"/tmp", "its own entry"),
        (b"/etc", "makes its own"),
        (b"/home/u/work", None),
        (b"/usr/local/src", None),
        (b"/home/u2", None),
        (b"/tmp/x", None),
    ],
)
def test_some_directories_are_not_mounted(host: Host, cwd: bytes, reason: str | None) -> None:
    """${CWD} names a working tree, never the home, the system or what the policy mounts itself."""
    found = cwd_obstacle(plan_of(host), slots(cwd))
    assert found is None if reason is None else reason in str(found)


def test_empty_slots_are_dropped(host: Host) -> None:
    """Mounts and rights below a slot without a value go; the rest stays as it is."""
    plan = plan_of(host)
    settled = arrange(plan, slots(cwd=b""))
    assert Slot.CWD not in {op.target.slot for op in settled.mounts}
    assert Slot.CWD not in {rule.path.slot for rule in settled.landlock if rule.path}
    assert len(plan.mounts) - 1 == len(settled.mounts)


@pytest.mark.parametrize("name", ["strict", "default"])
def test_usual_plan_is_untouched(host: Host, name: str) -> None:
    """In a usual working directory the plan is the very same object."""
    plan = plan_of(host, name=name)
    assert arrange(plan, slots()) is plan


def test_fixed_path_below_the_working_directory_comes_after_it(host: Host) -> None:
    """A mount or mask by its full path is not covered by the working directory's."""
    rule = MountRule(SlotPath(b"/home/u/work/sub"), "tmpfs")
    plan = arrange(plan_of(host, rule), slots())
    targets = [op.target for op in plan.mounts]
    assert targets.index(rule.path) > targets.index(SlotPath(b"", Slot.CWD))


def test_host_path_is_that_of_the_deepest_mount(host: Host) -> None:
    """What is seen at a path comes from the last mount over it."""
    plan = plan_of(host, home("/data", "ro", b"/data"), MountRule(SlotPath(b"/data/t"), "tmpfs"))
    found = host_path(plan, slots(), b"/data/x/y")
    assert found is not None
    assert found[0] == b"/home/u/data/x/y"
    assert host_path(plan, slots(), b"/data/t/x") is None
    assert host_path(plan, slots(), b"/nowhere") is None


def test_hooks_of_the_working_tree_are_guarded(host: Host) -> None:
    """The frozen paths of the working directory, and no path of the home that is not shown."""
    found = {guard.inside: guard for guard in guards(plan_of(host), slots())}
    hook = found[b"/home/u/work/.git/hooks"]
    assert (hook.kind, hook.root, hook.is_lasting) == (ProtectKind.READONLY, b"/home/u/work", True)
    assert b"/home/u/.ssh" not in found
    assert b"/home/u/.netrc" not in found


def test_credentials_are_hidden_where_the_home_is_shown(host: Host) -> None:
    """Read-only, at its own place or at another: ~/.ssh is covered."""
    for target in (b"/home/u", b"/mnt/home"):
        plan = plan_of(host, home("", "ro", target))
        found = {guard.inside: guard for guard in guards(plan, slots())}
        guard = found[target + b"/.ssh"]
        assert (
            guard.kind,
            guard.host,
            guard.is_lasting,
        ) == (ProtectKind.HIDDEN, b"/home/u/.ssh", False)
        assert target + b"/.local/bin" not in found


def test_writable_home_freezes_what_a_login_starts(host: Host) -> None:
    """`--rw ~`: start-up files are read-only, keys hidden."""
    found = {guard.inside: guard.kind for guard in guards(plan_of(host, home("", "rw")), slots())}
    assert ProtectKind.READONLY is found[b"/home/u/.bashrc"]
    assert ProtectKind.READONLY is found[b"/home/u/.config/systemd/user"]
    assert ProtectKind.HIDDEN is found[b"/home/u/.ssh"]


def test_path_that_was_asked_for_by_name_is_shown(host: Host) -> None:
    """`--ro ~/.ssh` means it; the other credentials stay hidden."""
    found = {g.inside for g in guards(plan_of(host, home("", "ro"), home("/.ssh", "ro")), slots())}
    assert b"/home/u/.ssh" not in found
    assert b"/home/u/.gnupg" in found


def test_bound_tree_is_guarded_at_its_own_source(host: Host) -> None:
    """`--bind ~/p:/work`: the hooks are those of ~/p, seen at /work."""
    found = {g.inside: g for g in guards(plan_of(host, home("/p", "rw", b"/work")), slots())}
    assert found[b"/work/.git/hooks"].host == b"/home/u/p/.git/hooks"


def test_hidden_tree_needs_no_guard(host: Host, policy_of: Callable[..., Policy]) -> None:
    """Below a mask there is nothing to protect."""
    text = """
    [filesystem]
    mounts = [{ path = "${HOME}", mode = "ro" }]
    hide = ["${HOME}/.config"]
    """
    plan = compile_plan(policy_of(text, extends="strict"), host)
    found = {guard.inside for guard in guards(plan, slots())}
    assert b"/home/u/.config/gh" not in found
    assert b"/home/u/.ssh" in found


def test_masks_among_toolchains_stay_in_place(host: Host) -> None:
    """Sorting for a caller keeps each mask behind the mount that it covers."""
    plan = arrange(plan_of(host), slots(cwd=b"/home/u/go"))
    targets = [op.target.resolve(slots(cwd=b"/home/u/go")) for op in plan.mounts]
    kinds = [op.kind for op in plan.mounts]
    mask = targets.index(b"/home/u/.cargo/credentials.toml")
    assert MountKind.MASK is kinds[mask]
    assert mask > targets.index(b"/home/u/.cargo")
