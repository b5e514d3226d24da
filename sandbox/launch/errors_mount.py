"""Wording of a failed mount operation: which one, which part of it, and what to do."""

from __future__ import annotations

import errno as errnos
import os

from sandbox.plan.model import MountAttr, MountKind
from sandbox.text import errno_text, escape, size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.model import Invocation, MountOp, Plan, SlotPath

    Words = tuple[str, str]

# enum sbx_mount_part; PART_INVOCATION says that `op` counts the invocation's own mounts.
_PART_SOURCE, _PART_TARGET, _PART_CREATE, _PART_ATTRS = 1, 2, 3, 4
_PART_IDMAP, _PART_CONTENT, _PART_ROOT = 6, 7, 8
_PART_MASK, _PART_INVOCATION = 0xFF, 0x100

_DOCTOR = "`sandbox doctor` tries each kind of mount on this host and names the remedy"
_ACTS: dict[MountKind, str] = {
    MountKind.BIND: "{source} cannot be shown{mode} at {target}",
    MountKind.SELF: "{target} cannot be pinned{mode}",
    MountKind.TMPFS: "a tmpfs cannot be mounted at {target}",
    MountKind.PROC: "/proc cannot be mounted at {target}",
    MountKind.DEV: "the device {source} cannot be shown at {target}",
    MountKind.DEVPTS: "the terminals (devpts) cannot be mounted at {target}",
    MountKind.OVERLAY: "{source} cannot be overlaid at {target}",
    MountKind.MKDIR: "the directory {target} cannot be made",
    MountKind.FILE: "the file {target} cannot be made",
    MountKind.SYMLINK: "the symbolic link {target} cannot be made",
    MountKind.MASK: "{target} cannot be hidden",
    MountKind.MQUEUE: "the message queues (mqueue) cannot be mounted at {target}",
}
_SAME = "{source} cannot be shown{mode} inside"

_BY_PART: dict[tuple[int, int], str] = {
    (_PART_SOURCE, errnos.ENOENT): "create {source}, or mark the entry `optional = true` in the"
    " policy",
    (_PART_SOURCE, errnos.ENOTDIR): "a part of {source} is not a directory: check the path",
    (_PART_SOURCE, errnos.ELOOP): "{source} is or contains a symbolic link, which is not followed:"
    " name {real}",
    (_PART_SOURCE, errnos.EACCES): "the caller may not read {source}: check its owner and mode",
    (_PART_SOURCE, errnos.EPERM): "the caller may not use {source}: check its owner and mode",
    (_PART_SOURCE, errnos.EINVAL): "{source} has mounts of another user below it, or is not a"
    " mountable object: name a directory or a file",
    (_PART_TARGET, errnos.ENOENT): "the directory that holds {target} is not in the view: mount"
    " its parent first",
    (_PART_TARGET, errnos.EROFS): "{target} does not exist below a read-only entry: create it"
    " outside, or put it elsewhere with --bind SRC:DST",
    (_PART_TARGET, errnos.ENOTDIR): "a file and a directory meet at {target}: source and target"
    " must be of one kind",
    (_PART_TARGET, errnos.EISDIR): "a file and a directory meet at {target}: source and target"
    " must be of one kind",
    (_PART_TARGET, errnos.ELOOP): "{target} leads over a symbolic link of another mount, which is"
    " not followed",
    (_PART_TARGET, errnos.EXDEV): "{target} leads out of the view: name a path below the root",
    (_PART_TARGET, errnos.EACCES): "the command's user may not write the directory that holds"
    " {target}",
    (_PART_ATTRS, errnos.EINVAL): "it needs mount_setattr(2), Linux 5.12",
    (_PART_ATTRS, errnos.ENOSYS): "it needs mount_setattr(2), Linux 5.12",
}
_IDMAP_HINT = (
    "writable directories of a run by root are idmapped, so that the command is never root outside;"
    " this file system refuses that. Run as an ordinary user, use --overlay or --ro, or a"
    " directory on ext4, xfs, btrfs or tmpfs (Linux 6.3)"
)
_GENERAL: dict[int, str] = {
    errnos.ENOSPC: "a disk or tmpfs is full, or the number of mounts is at"
    " /proc/sys/fs/mount-max: free some space or give the entry a larger size",
    errnos.EDQUOT: "the disk quota of the caller is used up: free some space",
    errnos.ENOMEM: "the kernel is out of memory: see the memory limit of the caller's cgroup",
    errnos.ENOSYS: "the kernel or an outer sandbox lacks the mount calls of Linux 5.2 to 5.12:"
    " `sandbox doctor` says which",
    errnos.ENODEV: "this kernel has no such file system: load its module, or leave the entry out",
    errnos.ENAMETOOLONG: "the path is too long: a name has at most 255 bytes, a path 4095",
    errnos.EMFILE: "the caller may open no more files: see `ulimit -n`",
    errnos.ENFILE: "the host may open no more files: see /proc/sys/fs/file-max",
    errnos.EIO: "the disk reports an error: see `dmesg`",
}
_BY_KIND: dict[tuple[MountKind, int], str] = {
    (MountKind.PROC, errnos.EPERM): "an outer container masks parts of /proc, so the kernel"
    " refuses a fresh one: start it with an unmasked /proc (Docker: --security-opt"
    ' systempaths=unconfined), or choose filesystem.proc.fallback = "bind-ro" in the policy',
    (MountKind.OVERLAY, errnos.EINVAL): "the lower directory is itself an overlay of another"
    " sandbox, or the kernel is older than 5.11: use --ro or --rw for it",
    (MountKind.OVERLAY, errnos.EPERM): "overlays in a user namespace need Linux 5.11: use --ro or"
    " --rw for it",
    (MountKind.OVERLAY, errnos.EXDEV): "the upper and work directories lie on different mounts:"
    " check the state directory ($XDG_STATE_HOME)",
    (MountKind.OVERLAY, errnos.ELOOP): "the overlay would contain itself, or its layers are"
    " stacked more than two deep: use --ro or --rw for it",
    (MountKind.OVERLAY, errnos.ENODEV): "this kernel has no overlay file system: load the module"
    " `overlay`, or use --ro or --rw",
    (MountKind.DEVPTS, errnos.EINVAL): "devpts refuses its options in this user namespace: "
    + _DOCTOR,
}


_ROOT: dict[int, str] = {
    errnos.ELOOP: "its /dev, /proc or /sys, or a part of its path, is a symbolic link, over which"
    " nothing is mounted: replace the link by a directory",
    errnos.ENOTDIR: "it, or its /dev, /proc or /sys, is not a directory",
    errnos.ENOENT: "it is no longer there",
    errnos.EACCES: "the caller may not enter it: check its owner and mode",
    errnos.EPERM: "as root the directory is idmapped, which its file system refuses: run as an"
    " ordinary user, or use a directory on ext4, xfs, btrfs or tmpfs (Linux 6.3)",
    errnos.EINVAL: "it is itself an overlay of another sandbox or on a file system that cannot lie"
    " below one: copy it to an ordinary directory",
}


def mount_words(
    op: int, errno: int, detail: int, plan: Plan, invocation: Invocation
) -> Words | None:
    """Return message and hint for a failed mount operation; None where `op` names none."""
    part = detail & _PART_MASK
    if part == _PART_ROOT:
        if plan.root_source is None:
            return (
                f"the root of the sandbox cannot be made: {errno_text(errno)}",
                _GENERAL.get(errno, _DOCTOR),
            )
        return (
            f"{escape(plan.root_source.text())} cannot be the root: {errno_text(errno)}",
            _ROOT.get(errno) or _GENERAL.get(errno, _DOCTOR),
        )
    mounts = invocation.extra_mounts if detail & _PART_INVOCATION else plan.mounts
    if not 0 <= op < len(mounts):
        return None
    mount = mounts[op]
    names = _names(mount, invocation)
    is_same = mount.kind is MountKind.BIND and names["source"] == names["target"]
    act = _put(_SAME if is_same else _ACTS[mount.kind], names)
    if part == _PART_IDMAP:
        act += " with the ids of the sandbox (idmapped)"
    place = f" ({escape(mount.origin)})" if mount.origin else ""
    return f"{act}{place}: {errno_text(errno)}", _put(_hint(mount, errno, part), names)


def _hint(mount: MountOp, errno: int, part: int) -> str:
    if part == _PART_IDMAP:
        return _IDMAP_HINT
    if mount.kind is MountKind.TMPFS and errno == errnos.EINVAL and part == _PART_CREATE:
        return f"the kernel refuses the size {size_text(mount.size_bytes)}: choose another"
    by_kind = _BY_KIND.get((mount.kind, errno))
    if by_kind is not None and part not in (_PART_SOURCE, _PART_TARGET):
        return by_kind
    if errno == errnos.ENOSPC and part == _PART_CONTENT:
        return "the tmpfs or disk that holds {target} is full: give it a larger size"
    return _BY_PART.get((part, errno)) or _GENERAL.get(errno) or _DOCTOR


def _names(mount: MountOp, invocation: Invocation) -> dict[str, str]:
    source = _path(mount.source, invocation)
    return {
        "source": escape(source) if source else "nothing",
        "target": escape(_path(mount.target, invocation)),
        "real": escape(os.path.realpath(source)) if source else "its target",
        "mode": " read-only" if mount.attrs & MountAttr.RDONLY else "",
    }


def _path(path: SlotPath | None, invocation: Invocation) -> bytes:
    if path is None:
        return b""
    if path.slot >= len(invocation.slots):
        return path.text().encode("utf-8", "surrogateescape")
    return path.resolve(invocation.slots) or b"/"


def _put(template: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        if f"{{{name}}}" in template:
            before, _, after = template.partition(f"{{{name}}}")
            return _put(before, names) + value + _put(after, names)
    return template
