"""files: which rule wins at a path, in which order, with which rights."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import PolicyError
from sandbox.host.facts import Host
from sandbox.plan.model import MountAttr, MountFlag, MountKind, MountOp, Slot, SlotPath
from sandbox.policy import landlock
from sandbox.policy.files import (
    View,
    compile_view,
    effective_rules,
    is_below,
    matching_names,
    order_key,
)
from sandbox.policy.load import load_policy
from sandbox.policy.model import HideRule, MountRule, Policy
from sandbox.record import replace

_SLOTS = st.sampled_from([Slot.NONE, Slot.HOME, Slot.CWD])
_NAMES = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=4)
_PATHS = st.builds(lambda slot, names: SlotPath(b"/" + b"/".join(names), slot), _SLOTS, _NAMES)
_MODES = st.sampled_from(["ro", "rw", "tmpfs", "overlay"])
_MOUNTS = st.lists(st.builds(MountRule, _PATHS, _MODES), unique_by=lambda rule: rule.path)
_HIDES = st.lists(st.builds(HideRule, _PATHS), unique_by=lambda rule: rule.path)


def winner(path: SlotPath, mounts: list[MountRule], hides: list[HideRule]) -> str:
    """Say what holds at `path` by the law: the most specific rule, hidden first at an equal one."""
    best, mode = -1, "absent"
    for rule in mounts:
        if (path == rule.path or is_below(path, rule.path)) and len(rule.path.path) > best:
            best, mode = len(rule.path.path), rule.mode
    for hide in hides:
        if (path == hide.path or is_below(path, hide.path)) and len(hide.path.path) >= best:
            best, mode = len(hide.path.path), "hide"
    return mode


@given(_MOUNTS, _HIDES, _PATHS)
def test_mounting_in_order_gives_the_most_specific_rule(
    mounts: list[MountRule], hides: list[HideRule], path: SlotPath
) -> None:
    """What is mounted last over a path is what the law says, whatever the order in the file."""
    last = "absent"
    for rule in effective_rules(tuple(mounts), tuple(hides)):
        if path == rule.path or is_below(path, rule.path):
            last = "hide" if isinstance(rule, HideRule) else rule.mode
    assert winner(path, mounts, hides) == last


@given(_MOUNTS, _HIDES, st.randoms())
def test_order_in_the_file_has_no_meaning(
    mounts: list[MountRule], hides: list[HideRule], random: object
) -> None:
    """Shuffled rules give the same mounts."""
    before = effective_rules(tuple(mounts), tuple(hides))
    random.shuffle(mounts)  # type: ignore[attr-defined]  # hypothesis gives a Random
    random.shuffle(hides)  # type: ignore[attr-defined]
    assert before == effective_rules(tuple(mounts), tuple(hides))


@given(st.lists(_PATHS))
def test_ancestors_come_first(paths: list[SlotPath]) -> None:
    """Sorted by order_key, no path stands before one of its ancestors."""
    ordered = sorted(paths, key=order_key)
    for index, path in enumerate(ordered):
        assert not any(is_below(path, later) for later in ordered[index + 1 :])


@given(
    st.text(st.sampled_from("abc.*?"), min_size=1, max_size=6),
    st.text(st.sampled_from("abc."), min_size=1, max_size=6),
)
def test_patterns_match_like_the_shell(pattern: str, name: str) -> None:
    """`*` and `?` mean what fnmatch(3) says; a leading dot must be written out."""
    from sandbox.policy.files import matches_name

    expected = fnmatch.fnmatchcase(name, pattern)
    if name.startswith(".") and not pattern.startswith("."):
        expected = False
    assert expected == matches_name(name, pattern)


def test_names_are_found_in_the_directory(tmp_path: Path) -> None:
    """Plain names count where they exist, patterns where they match."""
    for name in ("java-17", "java", "jar", ".java"):
        (tmp_path / name).touch()
    assert matching_names(str(tmp_path), ("java*", "none")) == ["java", "java-17"]


# ------------------------------------------------------------------------------ the view
def op_at(view: View, path: str) -> MountOp:
    """Return the one operation at a path."""
    found = [op for op in view.mounts if op.target.text() == path]
    assert len(found) == 1, (path, found)
    return found[0]


def access_at(view: View, path: str) -> int:
    """Return the Landlock rights of the rule at a path."""
    found = [rule.access for rule in view.landlock if rule.path and rule.path.text() == path]
    assert len(found) == 1, (path, found)
    return found[0]


def view_of(policy: Policy, host: Host) -> View:
    """Compile the view."""
    return compile_view(policy, host)


def test_strict_view(host: Host) -> None:
    """strict shows the system read-only and the working directory through an overlay."""
    view = view_of(load_policy("strict"), host)
    usr = op_at(view, "/usr")
    assert (MountKind.BIND, SlotPath(b"/usr")) == (usr.kind, usr.source)
    assert usr.attrs == MountAttr.RDONLY | MountAttr.NOSUID | MountAttr.NODEV
    assert usr.flags == MountFlag.RECURSIVE
    cwd = op_at(view, "${CWD}")
    assert (cwd.kind, cwd.upper, cwd.size_bytes) == (MountKind.OVERLAY, None, 256 << 20)
    assert cwd.flags & MountFlag.IDMAP
    tmp = op_at(view, "/tmp")
    assert (tmp.kind, tmp.size_bytes, tmp.mode_octal) == (MountKind.TMPFS, 64 << 20, 0o1777)
    assert tmp.attrs & MountAttr.NOEXEC
    assert tmp.inodes > 0


@pytest.mark.parametrize("name", ["strict", "default", "tiny"])
def test_every_bind_is_nosuid_and_nodev(name: str, host: Host) -> None:
    """No file of the host gains anybody anything, whatever the policy."""
    view = view_of(load_policy(name), host)
    for op in view.mounts:
        if op.kind in (MountKind.BIND, MountKind.OVERLAY, MountKind.TMPFS):
            assert op.attrs & MountAttr.NOSUID, op
            assert op.attrs & MountAttr.NODEV, op
        if op.kind is MountKind.DEV:
            assert op.attrs == MountAttr.NOSUID | MountAttr.NOEXEC


@pytest.mark.parametrize("name", ["strict", "default", "tiny"])
def test_every_target_is_mounted_after_its_ancestors(name: str, host: Host) -> None:
    """The order of operations never covers one that was made before."""
    targets = [op.target for op in view_of(load_policy(name), host).mounts]
    for index, target in enumerate(targets):
        assert not any(is_below(earlier, target) for earlier in targets[:index])


def test_overlay_without_tmpfs_upper_goes_to_the_state_directory(host: Host) -> None:
    """Where tmpfs takes no user xattrs, the upper is a directory of the run, and that is noted."""
    poor = replace(
        host,
        features=host.features - {"overlay-tmpfs-upper"},
        reasons=(("overlay-tmpfs-upper", "too old"),),
    )
    view = view_of(load_policy("strict"), poor)
    assert SlotPath(b"/overlay-0", Slot.STATE) == op_at(view, "${CWD}").upper
    assert "too old" in view.notes[0]


def test_etc_shows_named_children_only(tmp_path: Path, host: Host) -> None:
    """`only` binds each child's real file; names that the host lacks are left out."""
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("gone")
    rule = MountRule(
        SlotPath(b"/etc"), "ro", SlotPath(os.fsencode(tmp_path)), only=("li*", "dangling", "none")
    )
    policy = load_policy("strict")
    filesystem = replace(policy.filesystem, mounts=(rule,))
    view = view_of(replace(policy, filesystem=filesystem), host)
    link = op_at(view, "/etc/link")
    assert SlotPath(os.fsencode(tmp_path / "real")) == link.source
    assert link.attrs & MountAttr.RDONLY
    assert not [op for op in view.mounts if op.target.text() in ("/etc/dangling", "/etc/none")]


def test_source_is_canonical(tmp_path: Path, host: Host, policy_of: Callable[..., Policy]) -> None:
    """A link on the host is mounted from its real path, at the path that the policy names."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    text = f'filesystem.mounts = [{{ path = "{tmp_path}/link", mode = "ro" }}]'
    op = op_at(view_of(policy_of(text), host), f"{tmp_path}/link")
    assert SlotPath(os.fsencode(tmp_path / "real")) == op.source


def test_missing_path_has_its_place(host: Host, policy_of: Callable[..., Policy]) -> None:
    """A path that does not exist is an error where it is written …"""
    text = 'filesystem.mounts = [{ path = "/no/such", mode = "ro" }]'
    with pytest.raises(PolicyError, match=r"test\.toml:3: /no/such does not exist") as info:
        view_of(policy_of(text), host)
    assert "optional = true" in str(info.value.hint)


def test_optional_path_may_be_missing(host: Host, policy_of: Callable[..., Policy]) -> None:
    """… and a note where it is optional."""
    text = """filesystem.mounts = [
      { path = "/no/such", mode = "ro", optional = true },
      { path = "${HOME}/x", mode = "rw", optional = true },
    ]"""
    view = view_of(policy_of(text), host)
    assert view.notes == ("/no/such does not exist and is left out",)
    assert op_at(view, "${HOME}/x").flags & MountFlag.OPTIONAL


def test_hidden_beats_a_mount_at_its_path(host: Host, policy_of: Callable[..., Policy]) -> None:
    """At an equal path the stricter rule stands alone."""
    text = """
    [filesystem]
    mounts = [{ path = "/usr", mode = "ro" }]
    hide = ["/usr", "/usr/share"]
    """
    view = view_of(policy_of(text), host)
    assert MountKind.MASK is op_at(view, "/usr").kind
    assert not [rule for rule in view.landlock if rule.path == SlotPath(b"/usr")]


def test_mount_below_a_hidden_path_is_shown(host: Host, policy_of: Callable[..., Policy]) -> None:
    """The most specific rule wins: the cover has room for the deeper mount and nothing else."""
    text = """
    [filesystem]
    mounts = [{ path = "/usr", mode = "ro" }, { path = "/usr/share/doc", mode = "ro" }]
    hide = ["/usr/share"]
    """
    view = view_of(policy_of(text), host)
    cover = op_at(view, "/usr/share")
    assert (cover.kind, cover.inodes) == (MountKind.TMPFS, 2)
    assert MountKind.BIND is op_at(view, "/usr/share/doc").kind


def test_idmap_is_asked_for_what_is_the_callers(
    tmp_path: Path, host: Host, policy_of: Callable[..., Policy]
) -> None:
    """Writable mounts and the caller's own files are idmapped where root calls; /usr is not."""
    text = f"""filesystem.mounts = [
      {{ path = "/usr", mode = "ro" }},
      {{ path = "{tmp_path}", mode = "rw" }},
      {{ path = "${{HOME}}/ro", mode = "ro" }},
    ]"""
    view = view_of(policy_of(text), host)
    assert not op_at(view, "/usr").flags & MountFlag.IDMAP
    assert op_at(view, str(tmp_path)).flags & MountFlag.IDMAP
    assert op_at(view, "${HOME}/ro").flags & MountFlag.IDMAP


# ------------------------------------------------------------------------------ Landlock
def test_rights_follow_the_mode(host: Host) -> None:
    """Read-only mounts grant reading and executing, noexec ones no execution, / only names."""
    view = view_of(load_policy("strict"), host)
    assert access_at(view, "/") == landlock.READ_DIR
    assert access_at(view, "/usr") == landlock.READ | landlock.EXECUTE
    assert access_at(view, "/tmp") == landlock.READ | landlock.WRITE
    assert access_at(view, "${CWD}") == landlock.READ | landlock.WRITE | landlock.EXECUTE
    assert access_at(view, "/dev/pts") & landlock.IOCTL_DEV
    assert not access_at(view, "${CWD}") & landlock.IOCTL_DEV


@pytest.mark.parametrize("abi", range(8))
def test_rights_are_cut_to_the_abi(abi: int, host: Host) -> None:
    """No rule holds a right that the kernel would refuse with EINVAL."""
    handled = landlock.handled_fs(abi)
    view = view_of(load_policy("strict"), replace(host, landlock_abi=abi))
    assert all(rule.access and not rule.access & ~handled for rule in view.landlock)
    assert [0, 0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF][abi] == handled


def test_newer_kernels_get_the_rights_that_are_known(host: Host) -> None:
    """An ABI that this version does not know changes nothing."""
    old = view_of(load_policy("strict"), host)
    assert old == view_of(load_policy("strict"), replace(host, landlock_abi=12))


# ------------------------------------------------------------------------ what all views have
def test_own_files_name_the_one_id(host: Host) -> None:
    """passwd and group answer for the mapped id, root and the unmapped ones."""
    policy = load_policy("strict")
    view = view_of(replace(policy, process=replace(policy.process, uid=77, gid=78)), host)
    passwd = op_at(view, "/etc/passwd")
    assert (passwd.kind, passwd.mode_octal) == (MountKind.FILE, 0o444)
    assert b"sandbox:x:77:78:sandbox:/home/sandbox:/bin/sh\n" in passwd.data
    assert b"\nnobody:x:65534:" in passwd.data
    assert b"sandbox:x:78:" in op_at(view, "/etc/group").data
    assert b"127.0.0.1 localhost\n" in op_at(view, "/etc/hosts").data


def test_root_inside_is_called_root(host: Host) -> None:
    """With uid 0 there is one row for it."""
    policy = load_policy("strict")
    view = view_of(replace(policy, process=replace(policy.process, uid=0, gid=0)), host)
    rows = op_at(view, "/etc/passwd").data.splitlines()
    assert [row.split(b":")[2] for row in rows] == [b"0", b"65534"]
    assert [row.split(b":")[0] for row in op_at(view, "/etc/group").data.splitlines()] == [
        b"root",
        b"nogroup",
    ]


def test_policy_may_show_the_hosts_own_names(host: Host, policy_of: Callable[..., Policy]) -> None:
    """A file that the policy names is not replaced; the whole of /etc keeps its hosts."""
    named = 'filesystem.mounts = [{ path = "/etc", mode = "ro", only = ["passwd"] }]'
    assert MountKind.BIND is op_at(view_of(policy_of(named), host), "/etc/passwd").kind
    whole = 'filesystem.mounts = [{ path = "/etc", mode = "ro" }]'
    view = view_of(policy_of(whole), host)
    assert MountKind.FILE is op_at(view, "/etc/passwd").kind
    assert not [op for op in view.mounts if op.target.text() == "/etc/hosts"]


def test_devices_are_few(host: Host) -> None:
    """/dev holds the named nodes, an own devpts and the usual links."""
    view = view_of(load_policy("strict"), host)
    assert MountKind.DEV is op_at(view, "/dev/null").kind
    assert MountKind.DEVPTS is op_at(view, "/dev/pts").kind
    assert op_at(view, "/dev/ptmx").data == b"pts/ptmx"
    assert op_at(view, "/dev/fd").data == b"/proc/self/fd"
    assert not [op for op in view.mounts if op.target.text() == "/dev/kmsg"]


def test_every_view_has_shared_memory(host: Host, policy_of: Callable[..., Policy]) -> None:
    """/dev/shm is a sized tmpfs even where the policy does not name it."""
    shm = op_at(view_of(policy_of(""), host), "/dev/shm")
    assert (shm.kind, shm.size_bytes, shm.mode_octal) == (MountKind.TMPFS, 64 << 20, 0o1777)


def test_full_proc_is_masked(host: Host) -> None:
    """With every file of /proc, the kernel's own are covered and the settings read-only."""
    view = view_of(load_policy("default"), host)
    proc = op_at(view, "/proc")
    assert (proc.kind, proc.data, proc.flags) == (MountKind.PROC, b"", MountFlag.FALLBACK_BIND)
    for name in ("kcore", "keys", "latency_stats", "timer_list", "sched_debug", "scsi", "acpi",
                 "interrupts"):  # fmt: skip
        mask = op_at(view, f"/proc/{name}")
        assert (mask.kind, mask.flags) == (MountKind.MASK, MountFlag.OPTIONAL)
    settings = op_at(view, "/proc/sys")
    assert MountKind.SELF is settings.kind
    assert settings.attrs & MountAttr.RDONLY


def test_proc_of_processes_needs_no_mask(host: Host) -> None:
    """subset=pid has nothing else."""
    view = view_of(load_policy("strict"), host)
    assert op_at(view, "/proc").data == b"pid"
    assert not [op for op in view.mounts if op.target.text().startswith("/proc/")]


def test_policy_without_proc(host: Host) -> None:
    """tiny has no /proc, no terminal, and no links into them."""
    view = view_of(load_policy("tiny"), host)
    texts = {op.target.text() for op in view.mounts}
    assert not texts & {"/proc", "/dev/fd", "/dev/pts", "/dev/ptmx"}


def test_links_are_directories_where_usr_is_not_merged(
    host: Host, policy_of: Callable[..., Policy]
) -> None:
    """A link's path that is a real directory of the host is bound instead."""
    text = 'filesystem.symlinks = { "/bin" = "usr/bin", "/usr/share" = "x" }'
    view = view_of(policy_of(text), host)
    bound = op_at(view, "/usr/share")
    assert (MountKind.BIND, SlotPath(b"/usr/share")) == (bound.kind, bound.source)
    assert access_at(view, "/usr/share") & landlock.EXECUTE


def test_home_exists_inside(host: Host, policy_of: Callable[..., Policy]) -> None:
    """HOME is a directory even where no mount makes it."""
    view = view_of(policy_of('env.set = { HOME = "/nowhere/home" }'), host)
    assert MountKind.MKDIR is op_at(view, "/nowhere/home").kind


def test_host_network_shows_the_resolver(host: Host) -> None:
    """Names resolve where the network is the host's."""
    policy = load_policy("strict")
    policy = replace(policy, network=replace(policy.network, mode="host"))
    if not os.path.isfile("/etc/resolv.conf"):
        pytest.skip("needs /etc/resolv.conf: the host has none")
    op = op_at(view_of(policy, host), "/etc/resolv.conf")
    assert SlotPath(os.fsencode(os.path.realpath("/etc/resolv.conf"))) == op.source
