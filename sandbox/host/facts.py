"""What this machine and this caller can do. A feature is tried, never guessed from a version.

Only what a policy needs is tried, and nothing that the spawn proves by itself (clone, mounts).
"""

from __future__ import annotations

import errno
import os

from sandbox.host import observe
from sandbox.plan.entry import Probe
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.host.cgroup import Hierarchy
    from sandbox.host.idmap import SubIds

# Namespace files of /proc/self/ns: present if the kernel was built with that namespace.
_NAMESPACES = {
    "userns": "user",
    "mountns": "mnt",
    "pidns": "pid",
    "netns": "net",
    "ipcns": "ipc",
    "utsns": "uts",
    "cgroupns": "cgroup",
    "timens": "time_for_children",
}
# When root calls, host id 0 behind the walls would still own /proc/sys and most of the disk, so an
# id that owns nothing stands for the command. systemd's allocation (uids-gids, "Users, Groups,
# UIDs and GIDs on systemd Systems") leaves 1879048192 … 2147483647 unused; this one reads "pSBX".
ROOT_OUTSIDE_ID = 0x70534258
ROOT_SUBIDS = 65535  # the ids after it stand for the others of a multi-id map

_SECCOMP_RET_ERRNO = 0x00050000
_NAME_ALL = frozenset({*_NAMESPACES, "landlock", "seccomp", "overlay-tmpfs-upper", "idmap"})


@record
class Host:
    """Facts about the host and the caller.

    Shape: `landlock_abi` is 0 without Landlock or where it was not asked for; `features` holds
           what was asked for and is there; `reasons` pairs what is missing or unusual with why;
           `outside_uid` and `outside_gid` are the host ids that stand for the command's;
           `hierarchies` are the control groups that hold what was asked for with `group.NAME`;
           `subids` are the caller's subordinate ids, where they were asked for.
    """

    arch: str
    page_size_bytes: int
    uid: int
    gid: int
    is_privileged: bool
    outside_uid: int
    outside_gid: int
    landlock_abi: int
    features: frozenset[str]
    reasons: tuple[tuple[str, str], ...]
    hierarchies: tuple[Hierarchy, ...] = ()
    subids: SubIds | None = None

    def reason(self, name: str) -> str | None:
        """Return why `name` is missing or unusual, or None."""
        return dict(self.reasons).get(name)


def detect(*, need: frozenset[str] = _NAME_ALL) -> Host:
    """Return the facts that a policy asks for with `need` (feature names).

    Shape: unknown names are ignored: whether e.g. "overlay" or "proc" work shows when they are
           mounted, with stage and errno.
    """
    features: set[str] = set()
    reasons: dict[str, str] = {}
    for name in sorted(need & _NAMESPACES.keys()):
        # No fact of its own: the kernel has it or not, and the boot id says which kernel it is.
        if os.path.exists(f"/proc/self/ns/{_NAMESPACES[name]}"):
            features.add(name)
        else:
            reasons[name] = "the kernel is built without it, or /proc is not mounted"
    abi = _landlock_abi(reasons) if "landlock" in need else 0
    if abi:
        features.add("landlock")
    for name, probe in (("seccomp", _seccomp_gap), ("overlay-tmpfs-upper", _tmpfs_upper_gap)):
        if name in need:
            gap = probe()
            features.add(name) if gap is None else reasons.__setitem__(name, gap)
    is_privileged = _is_privileged()
    if is_privileged and "idmap" in need:
        features.add("idmap")  # whether a filesystem supports it shows when it is mounted
    hierarchies = _hierarchies(need, reasons)
    uid, gid = os.geteuid(), os.getegid()
    outside = _outside_ids(uid, gid, is_privileged, reasons)
    return Host(
        arch=_arch(),
        page_size_bytes=os.sysconf("SC_PAGE_SIZE"),
        uid=uid,
        gid=gid,
        is_privileged=is_privileged,
        outside_uid=outside[0],
        outside_gid=outside[1],
        landlock_abi=abi,
        features=frozenset(features),
        reasons=tuple(sorted(reasons.items())),
        hierarchies=hierarchies,
        subids=_subids(need, outside[0] if is_privileged else None),
    )


def _hierarchies(need: frozenset[str], reasons: dict[str, str]) -> tuple[Hierarchy, ...]:
    wanted = frozenset(name[6:] for name in need if name.startswith("group."))
    if not wanted:
        return ()
    from sandbox.host.cgroup import find_hierarchies  # only where a policy limits a sum

    found, reason = find_hierarchies(wanted)
    if reason:
        reasons["group"] = reason
    return found


def _subids(need: frozenset[str], block: int | None) -> SubIds | None:
    """Return the ids beside the own one: from subuid(5), for root the block after its stand-in."""
    if "subids" not in need:
        return None
    from sandbox.host.idmap import Range, SubIds, find_subids

    if block == ROOT_OUTSIDE_ID:
        ranges = (Range(block + 1, ROOT_SUBIDS),)
        return SubIds(ranges, ranges)
    return find_subids()


def _arch() -> str:
    machine = os.uname().machine
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def _landlock_abi(reasons: dict[str, str]) -> int:
    from sandbox import _core  # the compiled core, first used here

    abi = observe.probed(Probe.LANDLOCK, int(_core.lib.sbx_landlock_abi()))
    if abi > 0:
        return abi
    reasons["landlock"] = {
        -errno.ENOSYS: "the kernel is built without Landlock (it came with Linux 5.13)",
        -errno.EOPNOTSUPP: "Landlock is switched off at boot (lsm= lacks landlock)",
        -errno.EPERM: "a filter that already holds this process refuses it (EPERM), as inside a"
        " container or another sandbox",
    }.get(abi, f"the kernel refuses it ({errno.errorcode.get(-abi, str(abi))})")
    return 0


def _seccomp_gap() -> str | None:
    from sandbox import _core

    answer = int(_core.lib.sbx_seccomp_action_avail(_SECCOMP_RET_ERRNO))
    result = observe.probed(Probe.SECCOMP, answer, _SECCOMP_RET_ERRNO)
    if result == 0:
        return None
    return f"the kernel has no seccomp filters ({errno.errorcode.get(-result, str(result))})"


def _is_privileged() -> bool:
    if os.geteuid() != 0:
        return False  # capabilities without uid 0 change nothing here: the own id is used anyway
    from sandbox import _core

    return observe.probed(Probe.PRIVILEGED, int(_core.lib.sbx_is_privileged())) == 1


def _tmpfs_upper_gap() -> str | None:
    """Say why an overlay's upper cannot lie on a tmpfs; None if it can.

    Removing a lower directory leaves a `user.overlay.opaque` mark on the upper, which needs user
    xattrs on tmpfs (Linux 6.6). A memfd lies on the kernel's own tmpfs, so one
    call on it answers that without a mount; trying an overlay itself would cost a fork each time.
    """
    try:
        fd = os.memfd_create("sandbox-probe", os.MFD_CLOEXEC)
    except OSError as error:
        observe.probed(Probe.TMPFS_XATTR, error.errno or errno.EIO)
        return f"no tmpfs file can be made ({error.strerror})"
    try:
        os.setxattr(fd, "user.sandbox", b"1")
        observe.probed(Probe.TMPFS_XATTR, 0)
    except OSError as error:
        observe.probed(Probe.TMPFS_XATTR, error.errno or errno.EIO)
        return f"tmpfs takes no user xattrs ({error.strerror}; Linux 6.6 brought them)"
    finally:
        os.close(fd)
    return None


def _outside_ids(
    uid: int, gid: int, is_privileged: bool, reasons: dict[str, str]
) -> tuple[int, int]:
    """Return the host ids for the command; a surprise is noted under "outside-id"."""
    if uid != 0:
        return uid, gid
    if not is_privileged:
        reasons["outside-id"] = "root without CAP_SYS_ADMIN, SETUID and SETGID can map only itself"
        return uid, gid
    if _is_mapped("/proc/self/uid_map") and _is_mapped("/proc/self/gid_map"):
        return ROOT_OUTSIDE_ID, ROOT_OUTSIDE_ID
    reasons["outside-id"] = f"the id {ROOT_OUTSIDE_ID} does not exist in this user namespace"
    return uid, gid


def _is_mapped(path: str) -> bool:
    content = observe.read_kernel_file(path)
    try:
        rows = [[int(field) for field in line.split()] for line in (content or b"").splitlines()]
    except ValueError:
        return False
    return any(first <= ROOT_OUTSIDE_ID < first + count for first, _outside, count in rows)
