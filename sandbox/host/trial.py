"""The set-up steps, each tried for real. Runs alone: `python3 -I -S -c SOURCE STEP [UID]`.

This file is read as text and given to a fresh interpreter, because what it does cannot be undone
in a process and must not be done in one with threads; it imports nothing of the package, since the
user that it runs as may not be able to read that. A step that fails prints the name of the call
and the errno; a step never compares kernel versions.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

_LIBC = ctypes.CDLL(None, use_errno=True)
_IS_ARM = os.uname().machine == "aarch64"
_SYS_SECCOMP = 277 if _IS_ARM else 317
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 428, 429, 430, 431, 432
_SYS_OPENAT2, _SYS_MOUNT_SETATTR, _SYS_LANDLOCK_CREATE = 437, 442, 444
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_NEWUSER, _NEWNS, _NEWPID, _NEWNET = 0x10000000, 0x20000, 0x20000000, 0x40000000
_NAMESPACES = {
    "mount": _NEWNS,
    "pid": _NEWPID,
    "net": _NEWNET,
    "ipc": 0x8000000,
    "uts": 0x4000000,
    "cgroup": 0x2000000,
    "time": 0x80,
}
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_IDMAP_ATTR, _RDONLY_ATTR = 0x100000, 0x1
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 4, 38, 1
_NEW_LISTENER = 0x8
_ALLOW = 0x7FFF0000
_SCRATCH = "/tmp"  # noqa: S108 - a mount point: what others have there is covered, never used


class Refused(Exception):
    """A call of a step was refused."""

    def __init__(self, stage: str, number: int) -> None:
        super().__init__(stage, number)
        self.stage = stage
        self.number = number


def call(stage: str, result: int) -> int:
    """Return the result of a C call, or raise Refused with its errno."""
    if result < 0:
        raise Refused(stage, ctypes.get_errno())
    return result


def syscall(stage: str, number: int, *args: int | bytes | None) -> int:
    """Call the kernel by number; the C library may be older than the call."""
    words = [ctypes.c_long(arg) if isinstance(arg, int) else ctypes.c_char_p(arg) for arg in args]
    return call(stage, _LIBC.syscall(ctypes.c_long(number), *words))


def write(stage: str, path: str, text: str) -> None:
    """Write a file of /proc."""
    try:
        number = os.open(path, os.O_WRONLY)
        try:
            os.write(number, text.encode())
        finally:
            os.close(number)
    except OSError as error:
        raise Refused(stage, error.errno or 0) from error


def mount(stage: str, source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Mount a file system by the old call, which says less but exists everywhere."""
    ctypes.set_errno(0)
    call(
        stage,
        _LIBC.mount(
            source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()
        ),
    )


def enter(*names: str) -> None:
    """Make a user namespace, map the caller to 0, then make the named namespaces in it."""
    uid, gid = os.getuid(), os.getgid()
    call("unshare(CLONE_NEWUSER)", _LIBC.unshare(_NEWUSER))
    write("setgroups", "/proc/self/setgroups", "deny")
    write("uid_map", "/proc/self/uid_map", f"0 {uid} 1\n")
    write("gid_map", "/proc/self/gid_map", f"0 {gid} 1\n")
    for name in names:
        call(f"unshare({name})", _LIBC.unshare(_NAMESPACES[name]))
    if "mount" in names:
        mount("make / private", "none", "/", "", _MS_REC | _MS_PRIVATE)


def scratch() -> str:
    """Mount a tmpfs in the own mount namespace and return its path."""
    mount("mount(tmpfs)", "tmpfs", _SCRATCH, "tmpfs", 0, "size=1m")
    return _SCRATCH


def in_child(action: object) -> None:
    """Run `action` in a child, as the first process of a new pid namespace."""
    reader, writer = os.pipe()
    pid = os.fork()  # this process has one thread
    if pid == 0:
        try:
            action()  # type: ignore[operator]  # a function without arguments
        except Refused as refused:
            os.write(writer, f"{refused.number} {refused.stage}".encode())
            os._exit(1)
        os._exit(0)
    os.close(writer)
    report = os.read(reader, 4096).decode()
    os.waitpid(pid, 0)
    if report:
        number, _, stage = report.partition(" ")
        raise Refused(stage, int(number))


def try_user() -> str:
    """A user namespace."""
    call("unshare(CLONE_NEWUSER)", _LIBC.unshare(_NEWUSER))
    return ""


def try_maps() -> str:
    """A user namespace with the caller's id mapped, and a capability used in it."""
    enter("mount")
    return f"uid {os.getuid()} inside"


def try_namespace(name: str) -> str:
    """One further namespace, made in an own user namespace."""
    enter(*(("mount", name) if name != "mount" else (name,)))
    return ""


def try_mounts() -> str:
    """The mount calls of Linux 5.2 to 5.12, and openat2."""
    enter("mount")
    context = syscall("fsopen", _SYS_FSOPEN, b"tmpfs", 1)
    syscall("fsconfig", _SYS_FSCONFIG, context, 6, None, None, 0)
    tree = syscall("fsmount", _SYS_FSMOUNT, context, 1, 0)
    attr = struct.pack("=QQQQ", _RDONLY_ATTR, 0, 0, 0)
    syscall("mount_setattr", _SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attr, len(attr))
    syscall("move_mount", _SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, _SCRATCH.encode(), 0x4)
    syscall("open_tree", _SYS_OPEN_TREE, _AT_FDCWD, b"/usr", 1 | os.O_CLOEXEC | _AT_RECURSIVE)
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, 0x10 | 0x02)
    syscall("openat2", _SYS_OPENAT2, tree, b"/", how, len(how))
    return ""


def _fresh_proc(data: str) -> str:
    enter("mount", "pid")

    def first() -> None:
        mount("mount(proc)", "proc", "/proc", "proc", 0, data)

    in_child(first)
    return ""


def try_proc() -> str:
    """A fresh /proc in an own pid namespace."""
    return _fresh_proc("")


def try_proc_pid() -> str:
    """A fresh /proc that shows processes only."""
    return _fresh_proc("subset=pid")


def _overlay() -> str:
    enter("mount")
    base = scratch()
    for name in ("lower", "lower/d", "upper", "work", "merged"):
        os.mkdir(f"{base}/{name}")
    layers = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work,userxattr"
    mount("mount(overlay)", "overlay", f"{base}/merged", "overlay", 0, layers)
    return f"{base}/merged"


def try_overlay() -> str:
    """An overlay in a user namespace."""
    _overlay()
    return ""


def try_overlay_tmpfs() -> str:
    """An overlay whose upper directory lies on a tmpfs and holds every kind of change."""
    merged = _overlay()
    try:
        # This marks the new directory opaque with a user.* xattr, which tmpfs has since 6.6.
        os.rmdir(f"{merged}/d")
        os.mkdir(f"{merged}/d")
    except OSError as error:
        raise Refused("rmdir and mkdir over a lower directory", error.errno or 0) from error
    return ""


def try_lock() -> str:
    """The limit of nested user namespaces, written in the own one, and then felt."""
    enter("mount")
    write("max_user_namespaces", "/proc/sys/user/max_user_namespaces", "0")
    if _LIBC.unshare(_NEWUSER) == 0:
        raise Refused("unshare(CLONE_NEWUSER) after the lock", 0)
    return ""


def try_no_new_privs() -> str:
    """no_new_privs."""
    call("prctl(PR_SET_NO_NEW_PRIVS)", _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    return ""


def _load_filter(stage: str, flags: int) -> int:
    try_no_new_privs()
    code = struct.pack("=HBBI", 0x06, 0, 0, _ALLOW)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a length, padding, a pointer
    program = ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(buffer)))
    return call(
        stage,
        _LIBC.syscall(
            ctypes.c_long(_SYS_SECCOMP),
            ctypes.c_long(_SECCOMP_MODE_FILTER),
            ctypes.c_long(flags),
            ctypes.byref(program),
        ),
    )


def try_seccomp() -> str:
    """A system-call filter."""
    _load_filter("seccomp(SET_MODE_FILTER)", 0)
    return ""


def try_notify() -> str:
    """A filter with a listener; one that an outer sandbox has makes this EBUSY."""
    _load_filter("seccomp(NEW_LISTENER)", _NEW_LISTENER)
    return ""


def try_landlock() -> str:
    """The Landlock ABI."""
    return f"ABI {syscall('landlock_create_ruleset', _SYS_LANDLOCK_CREATE, None, 0, 1)}"


def try_idmap() -> str:
    """An idmapped bind mount of the working directory's file system; root's only."""
    reader, writer = os.pipe()
    waiting, holding = os.pipe()
    pid = os.fork()  # this process has one thread
    if pid == 0:
        os.close(holding)
        _LIBC.unshare(_NEWUSER)
        os.write(writer, b"r")
        os.read(waiting, 1)  # end of file when the parent is done, or killed
        os._exit(0)
    try:
        os.read(reader, 1)
        write("uid_map", f"/proc/{pid}/uid_map", "0 65534 1\n")
        write("gid_map", f"/proc/{pid}/gid_map", "0 65534 1\n")
        namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
        call("unshare(mount)", _LIBC.unshare(_NEWNS))
        flags = 1 | os.O_CLOEXEC
        tree = syscall("open_tree", _SYS_OPEN_TREE, _AT_FDCWD, os.getcwdb(), flags)
        attr = struct.pack("=QQQQ", _IDMAP_ATTR, 0, 0, namespace)
        stage = "mount_setattr(MOUNT_ATTR_IDMAP)"
        syscall(stage, _SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attr, len(attr))
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return ""


STEPS = {
    "user-namespace": try_user,
    "id-maps": try_maps,
    "mount-calls": try_mounts,
    "proc": try_proc,
    "proc-subset": try_proc_pid,
    "overlay": try_overlay,
    "overlay-tmpfs": try_overlay_tmpfs,
    "idmapped-mounts": try_idmap,
    "nested-lock": try_lock,
    "no-new-privs": try_no_new_privs,
    "seccomp-filter": try_seccomp,
    "seccomp-notify": try_notify,
    "landlock": try_landlock,
}


def become(uid: int) -> None:
    """Give up root for the ordinary id `uid`, which cannot read this interpreter perhaps."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    # A change of id makes /proc/self root's, and the maps could not be written.
    call("prctl(PR_SET_DUMPABLE)", _LIBC.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0))


def main(step: str, uid: int | None = None) -> int:
    """Try `step`, as the user `uid` if given; print `ok DETAIL` or `refused ERRNO STAGE`."""
    try:
        if uid is not None:
            become(uid)
        action = STEPS.get(step)
        name = step.removesuffix("-namespace")
        report = f"ok {action() if action is not None else try_namespace(name)}"
    except Refused as refused:
        report = f"refused {refused.number} {refused.stage}"
    except OSError as error:
        report = f"refused {error.errno or errno.EIO} a file operation"
    sys.stdout.write(f"{report}\n")
    return 0 if report.startswith("ok") else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
