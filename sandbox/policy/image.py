"""A directory as the root: `filesystem.root = "image"` with `--rootfs DIR`.

The directory lies below an overlay, so that writes stay private to the run. Its files were written
by somebody else: nothing in it is followed, and what it says is read as data with a bound.
"""

from __future__ import annotations

import os
import stat

from sandbox.errors import PolicyError
from sandbox.host import observe
from sandbox.plan.model import RootKind, Slot, SlotPath
from sandbox.policy.files import Root
from sandbox.policy.model import BUILT_IN, COMMAND_LINE
from sandbox.record import replace
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.host.facts import Host
    from sandbox.policy.model import Policy

IMAGE_ROOT = "image"
UPPER_BYTES = 2 << 30
_UPPER = SlotPath(b"/root", Slot.STATE)
# Filesystems of the kernel are mounted here.
_MOUNT_POINTS = ("dev", "proc", "sys")
_PASSWD_MAX_BYTES = 1 << 16
_DEFAULT_HOME = b"/root"
# capabilities(7): the numbers of those that a policy can keep.
CAPABILITIES = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "NET_RAW": 13,
    "SYS_CHROOT": 18,
    "MKNOD": 27,
    "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}


def capability_bits(names: tuple[str, ...]) -> int:
    """Return the capability set that `names` mean."""
    bits = 0
    for name in names:
        bits |= 1 << CAPABILITIES[name]
    return bits


def compile_root(policy: Policy, host: Host) -> Root:
    """Return the root directory of an image policy, below a private overlay.

    Errors: PolicyError(policy.path) where it is not given or not fit to be a root.
    """
    rootfs = policy.filesystem.rootfs
    if rootfs is None:
        place = policy.origin("filesystem.root")
        raise PolicyError(
            f"{escape(policy.path) if place == BUILT_IN else place}: the policy {policy.name} needs"
            " a root directory",
            hint="name it: --rootfs DIR",
            code="policy.path",
        )
    check_root(os.fsdecode(rootfs.path))
    _check_bits(policy)
    if "overlay-tmpfs-upper" in host.features:
        return Root(RootKind.OVERLAY, rootfs, None, UPPER_BYTES)
    reason = host.reason("overlay-tmpfs-upper") or "no tmpfs upper"
    note = f"writes go to the state directory, where their size is not bounded: {reason}"
    return Root(RootKind.OVERLAY, rootfs, _UPPER, UPPER_BYTES, (note,))


def _check_bits(policy: Policy) -> None:
    """Refuse writable mounts of the host where set-user-id bits may be set: they would stay."""
    lifted = [
        rule
        for rule in policy.syscalls.rules
        if rule.name.startswith("setuid-bits") and rule.action.kind == "allow"
    ]
    for mount in policy.filesystem.mounts:
        if mount.mode == "rw" and lifted:
            raise PolicyError(
                f"{mount.origin}: writes to {escape(mount.path.text())} reach the host, and files"
                f" with set-user-id bits may be made ({lifted[0].origin})",
                hint="use --overlay or --ro for it, or --policy image",
                code="policy.conflict",
            )


def check_root(path: str) -> None:
    """Refuse a directory whose /dev, /proc or /sys is anything but a directory.

    Shape: for the words; csrc/root.c looks again at what is really mounted.
    """
    for name in _MOUNT_POINTS:
        try:
            kind = observe.kind_of(os.path.join(path, name))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _unfit(path, f"/{name} cannot be looked at: {error.strerror}") from error
        if kind == stat.S_IFLNK:
            raise _unfit(path, f"its /{name} is a symbolic link, over which nothing is mounted")
        if kind != stat.S_IFDIR:
            raise _unfit(path, f"its /{name} is not a directory")


def _unfit(path: str, problem: str) -> PolicyError:
    return PolicyError(
        f"{escape(path)} cannot be a root: {problem}",
        hint="an image has empty directories at /dev, /proc and /sys, or nothing",
        code="policy.path",
        path=path,
    )


def with_home(policy: Policy) -> Policy:
    """Return the policy with HOME as the image's own user list gives it, unless it is set."""
    rootfs = policy.filesystem.rootfs
    if rootfs is None or any(name == "HOME" for name, _value in policy.env.set):
        return policy
    home = _home_of(os.fsdecode(rootfs.path), policy.process.uid) or _DEFAULT_HOME
    pairs = (*policy.env.set, ("HOME", SlotPath(home)))
    return replace(
        policy, env=replace(policy.env, set=tuple(sorted(pairs, key=lambda row: row[0])))
    )


def _home_of(root: str, uid: int) -> bytes | None:
    """Return the home that the image's /etc/passwd has for `uid`; no link is followed."""
    body = _read_inside(root, "etc", "passwd")
    for line in body.split(b"\n"):
        fields = line.split(b":")
        if len(fields) >= 6 and fields[2] == b"%d" % uid:
            home = os.path.normpath(fields[5])
            is_plain = home.startswith(b"/") and not home.startswith(b"//") and b"\0" not in home
            return home if is_plain and len(home) < 1024 else None
    return None


def _read_inside(root: str, folder: str, name: str) -> bytes:
    """Return the first bytes of a regular file two levels below `root`, b"" if there is none."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    opened: list[int] = []
    path = os.path.join(root, folder, name)
    if not observe.lexists(os.path.join(root, folder)) or not observe.lexists(path):
        return b""
    try:
        opened.append(os.open(root, flags | os.O_DIRECTORY))
        opened.append(os.open(folder, flags | os.O_DIRECTORY, dir_fd=opened[-1]))
        opened.append(os.open(name, flags, dir_fd=opened[-1]))
        info = os.fstat(opened[-1])
        observe.saw_file(path, info)
        if not stat.S_ISREG(info.st_mode):
            return b""
        return os.read(opened[-1], _PASSWD_MAX_BYTES)
    except OSError as error:
        observe.miss(f"{path} cannot be read: {error.strerror}")
        return b""  # a link, or not readable: the default stands
    finally:
        for fd in opened:
            os.close(fd)


def refuse_other_roots(policy: Policy) -> None:
    """Refuse `--rootfs` for a policy whose root is its own.

    Errors: PolicyError(policy.conflict).
    """
    if policy.filesystem.root != IMAGE_ROOT and policy.filesystem.rootfs is not None:
        place = policy.origin("filesystem.root")
        raise PolicyError(
            f"{COMMAND_LINE}: --rootfs goes with a policy whose root is an image, and the root of"
            f" {policy.name} is {policy.filesystem.root} ({place})",
            hint="--policy image, or --policy image-build for the steps of a build",
            code="policy.conflict",
        )
