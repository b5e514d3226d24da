"""Other ways to shut a program in: each runs `true` on the host's /usr, as fairly as it can.

Everyone gets no network, its own processes and a root of its own where it can make one. Where a
program comes with a filter it is on, as its makers ship it. Root's only where it refuses others.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support.engines import make_base
from support.user import PATH, User

TIMEOUT_S = 90
# A hybrid cgroup tree is refused by crun and podman: they see cgroup2 alone, in a mount namespace.
ONLY_CGROUP2 = (
    "mount --make-rprivate / && umount -R /sys/fs/cgroup;"
    'mount -t cgroup2 none /sys/fs/cgroup || exit 77; exec "$@"'
)
LINKS = ("bin", "sbin", "lib", "lib64")


@dataclass
class Peer:
    """One peer.

    Shape:  `argv` is made for each run, with its number; `needs_root` where only root can start
            it here; `absent` says why it cannot be measured.
    """

    name: str
    argv: Callable[[int], list[str]]
    version: list[str]
    what: str
    needs_root: bool = False
    absent: str = ""

    def version_text(self) -> str:
        """Return the first line that its version option prints."""
        done = subprocess.run(
            self.version, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        return (done.stdout or done.stderr).strip().split("\n")[0]


def _which(name: str) -> str:
    return shutil.which(name, path=PATH) or ""


def _unshare() -> list[str]:
    kinds = ("user", "mount", "pid", "net", "ipc", "uts", "cgroup")
    return [_which("unshare"), *(f"--{kind}" for kind in kinds), "--map-root-user", "--fork"]


def _bubblewrap() -> list[str]:
    links = (word for name in LINKS for word in ("--symlink", f"usr/{name}", f"/{name}"))
    argv = [_which("bwrap"), "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    argv += ["--ro-bind", "/usr", "/usr", *links, "--proc", "/proc", "--dev", "/dev"]
    return [*argv, "--tmpfs", "/tmp", "--cap-drop", "ALL", "/bin/true"]


def _firejail() -> Peer:
    argv = [_which("firejail"), "--quiet", "--noprofile", "--net=none", "--caps.drop=all"]
    argv += ["--seccomp", "--nonewprivs", "--private", "--private-dev", "/bin/true"]
    what = "its default filter, as root: it serves named users alone"
    return Peer("firejail", lambda _n: argv, [argv[0], "--version"], what, needs_root=True)


def _bundle(folder: Path, user: User, *, is_rootless: bool) -> Path:
    """Write a bundle of the OCI runtime specification that shows the host's /usr."""
    folder.mkdir()
    make_base(folder / "rootfs", user)
    kinds = ["pid", "network", "ipc", "uts", "mount"] + (["user"] if is_rootless else [])
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"]},
    ]
    linux: dict[str, object] = {"namespaces": [{"type": kind} for kind in kinds]}
    if is_rootless:
        linux["uidMappings"] = [{"containerID": 0, "hostID": user.uid, "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": user.gid, "size": 1}]
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "bench",
        "mounts": mounts,
        "linux": linux,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def _runtime(name: str, base: Path, user: User, *, needs_root: bool) -> Peer:
    who = "root" if needs_root else "user"
    bundle = _bundle(base / f"{name}-{who}", user, is_rootless=not needs_root)
    state = base / f"{name}-{who}-state"
    outer = ["unshare", "--mount", "sh", "-c", ONLY_CGROUP2, "sh"] if needs_root else []
    if not needs_root:
        user.own(bundle)
        state.mkdir()
        user.own(state)
    extra = ["--cgroup-manager=disabled"] if name == "crun" else []

    def argv(number: int) -> list[str]:
        words = [_which(name), "--root", str(state), *extra, "run", "--bundle", str(bundle)]
        return [*outer, *words, f"bench-{name}-{os.getpid()}-{number}"]

    what = "an OCI bundle without a filter, as root" if needs_root else "an OCI bundle, no filter"
    return Peer(name, argv, [_which(name), "--version"], what, needs_root)


def _podman(base: Path, user: User) -> Peer:
    root = make_base(base / "podman-root", user)
    store = ("--root", f"{base}/podman-store", "--runroot", f"{base}/podman-run")
    argv = ["unshare", "--mount", "sh", "-c", ONLY_CGROUP2, "sh", _which("podman"), *store]
    argv += ["--cgroup-manager=cgroupfs", "--events-backend=none", "--storage-driver=vfs", "run"]
    argv += ["--rm", "--network=none", "--cgroups=disabled", "-v", "/usr:/usr:ro"]
    argv += ["--ulimit=nofile=1000:1000", "--ulimit=nproc=1000:1000", "--rootfs", str(root)]
    what = "its default filter, as root: an ordinary user needs subordinate ids"
    version = [_which("podman"), "--version"]
    return Peer("podman", lambda _n: [*argv, "/bin/true"], version, what, needs_root=True)


def _nspawn(base: Path, user: User) -> Peer:
    root = make_base(base / "nspawn-root", user)
    (root / "etc" / "os-release").write_text("ID=bench\n", encoding="utf-8")
    argv = [_which("systemd-nspawn"), "--quiet", "--register=no", "--keep-unit", "--as-pid2"]
    argv += ["--private-network", "--bind-ro=/usr", "--resolv-conf=off", "--timezone=off"]
    argv += ["--console=pipe", "-D", str(root), "/bin/true"]
    version = [_which("systemd-nspawn"), "--version"]
    what = "its default filter; root's only"
    return Peer("systemd-nspawn", lambda _n: argv, version, what, needs_root=True)


def _missing(name: str, reason: str) -> Peer:
    return Peer(name, lambda _n: [], [], "", absent=reason)


def find_peers(base: Path, user: User) -> list[Peer]:
    """Return every peer, those that are absent too, in the order of their weight."""
    found: list[Peer] = []

    def add(program: str, package: str, make: Callable[[], Peer]) -> None:
        if _which(program):
            found.append(make())
        else:
            found.append(_missing(program, f"not installed; apt has it in {package}"))

    def simple(name: str, argv: Callable[[], list[str]], what: str) -> Callable[[], Peer]:
        words = argv()
        return lambda: Peer(name, lambda _n: words, [words[0], "--version"], what)

    true = [*_unshare(), "/bin/true"]
    add("unshare", "util-linux", simple("unshare", lambda: true, "namespaces alone"))
    add("bwrap", "bubblewrap", simple("bubblewrap", _bubblewrap, "all namespaces, no filter"))
    add("firejail", "firejail", _firejail)
    for name in ("crun", "runc"):
        for needs_root in (False, True):
            make = _runtime_maker(name, base, user, needs_root=needs_root)
            if needs_root is (os.geteuid() == 0):
                add(name, name, make)
    add("podman", "podman", lambda: _podman(base, user))
    add("systemd-nspawn", "systemd-container", lambda: _nspawn(base, user))
    absent = "not installed; the distribution has no package of it"
    found += [_missing(name, absent) for name in ("nsjail", "minijail0") if not _which(name)]
    return found


def _runtime_maker(name: str, base: Path, user: User, *, needs_root: bool) -> Callable[[], Peer]:
    return lambda: _runtime(name, base, user, needs_root=needs_root)
