"""What the probes are pointed at: files, sockets, a process and IPC objects of the host."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.user import User, remove_tree

PROBE_SOURCES = Path(__file__).parents[2] / "csrc" / "probes"
NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
SERVICES = ("bus", "wayland-0", "ssh-agent", "docker.sock", "host.sock")
SECRETS = (".ssh/id_ed25519", ".aws/credentials", ".docker/config.json", ".config/gh/hosts.yml")
CAP_NET_RAW = 13
ROOT_ONLY = "only root can make files with privileges"

Value = str | tuple[str, ...]


def build_probe(target: Path) -> Path:
    """Compile the static probe program to `target`."""
    flags = ["-static", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
    sources = sorted(str(path) for path in PROBE_SOURCES.glob("*.c"))
    compiler = os.environ.get("CC", "cc")
    done = subprocess.run(
        [compiler, *flags, "-o", str(target), *sources],
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return target


@dataclass(frozen=True)
class Places:
    """The host as the probes see it.

    Shape: `shown` are the directories that every sandbox shows read-only; `values` fills the
    templates of a row's arguments; `missing` says why a value is empty;
    `work` and `root_work` are working directories of the user and of root, `env` and `root_env`
    their environments; `scratch` is where controls run.
    """

    user: User
    probe: Path
    probe_dir: Path
    shown: tuple[Path, Path]
    outside: Path
    work: Path
    root_work: Path
    scratch: Path
    values: Mapping[str, Value]
    missing: Mapping[str, str]
    env: Mapping[str, str]
    root_env: Mapping[str, str]

    def fill(self, templates: Sequence[str], *, is_inside: bool) -> list[str]:
        """Return arguments made from `templates`, for a run inside or outside of a sandbox."""
        scratch = "/dev/shm" if is_inside else str(self.scratch)
        values: dict[str, Value] = {**self.values, "scratch": scratch}
        arguments: list[str] = []
        for template in templates:
            value = values.get(template.strip("{}")) if template.startswith("{") else None
            if isinstance(value, tuple):
                arguments += value
            else:
                arguments.append(template.format_map(values))
        return arguments

    def options(self, policy: str) -> list[str]:
        """Return the words after `sandbox` that every check uses."""
        shown = [word for path in self.shown for word in ("--ro", str(path))]
        return ["exec", "--policy", policy, "-q", *shown]

    def why_missing(self, templates: Sequence[str]) -> str | None:
        """Return why `templates` cannot be filled, or None if they can."""
        for template in templates:
            reason = self.missing.get(template.strip("{}"))
            if reason is not None:
                return reason
        return None


def start_time(pid: int | str) -> str:
    """Return the start time of a process in clock ticks, as proc(5) has it."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()[19]


def _root_field() -> str:
    """The part of its filesystem that is mounted at /: "/", or a subvolume or bound directory."""
    found = "/"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            if fields[4] == "/":
                found = fields[3]  # the last one is on top
    return found


def _host_facts() -> dict[str, Value]:
    root = os.stat("/")
    return {
        "namespaces": tuple(os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES),
        "host_init_start": start_time(1),
        "host_name": os.uname().nodename,
        "root_device": f"{os.major(root.st_dev)}:{os.minor(root.st_dev)}",
        "root_field": _root_field(),
        "root_dev": str(root.st_dev),
        "root_ino": str(root.st_ino),
    }


def _make_files(user: User, base: Path) -> None:
    for name in ("probe", "outside", "runtime", "scratch", "work", "root-work"):
        (base / name).mkdir(parents=True)
    for name in ("root-runtime", "root-home"):
        (base / name).mkdir(mode=0o700)
    (base / "probe" / "empty").touch(mode=0o755)
    (base / "outside" / "secret").write_text("secret\n", encoding="utf-8")
    for name in ("work", "root-work", "scratch"):
        (base / name / "link").symlink_to(base / "outside")
    for name in SECRETS:
        path = base / "home" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret\n", encoding="utf-8")
    for name in ("outside", "runtime", "scratch", "work", "home"):
        user.own(base / name)


def _file_capability(number: int) -> bytes:
    """Return struct vfs_cap_data, revision 2, with one permitted and effective capability."""
    return struct.pack("<5I", 0x02000001, 1 << number, 0, 0, 0)


def _make_privileged(probe: Path, base: Path) -> tuple[str, ...]:
    """Return name=path of copies of the probe that would give their caller something."""
    copies = {name: base / "probe" / name for name in ("setuid", "setgid", "filecaps")}
    for path in copies.values():
        shutil.copyfile(probe, path)
        path.chmod(0o755)
    copies["setuid"].chmod(0o4755)
    copies["setgid"].chmod(0o2755)
    os.setxattr(copies["filecaps"], "security.capability", _file_capability(CAP_NET_RAW))
    return tuple(f"{name}={path}" for name, path in copies.items())


def _make_node(base: Path) -> str:
    path = base / "probe" / "null-node"
    os.mknod(path, 0o020666, os.makedev(1, 3))
    path.chmod(0o666)
    return str(path)


def _listen(stack: ExitStack, family: int, address: object) -> socket.socket:
    listener = stack.enter_context(closing(socket.socket(family, socket.SOCK_STREAM)))
    listener.bind(address)  # type: ignore[arg-type]  # tuple or bytes, by family
    # nobody accepts: a connection that waits in the queue is a connection that was made
    listener.listen(128)
    return listener


def _open_services(stack: ExitStack, base: Path) -> dict[str, Value]:
    paths = [base / "runtime" / name for name in SERVICES] + [base / "outside" / "host.sock"]
    for path in paths:
        _listen(stack, socket.AF_UNIX, str(path))
        path.chmod(0o777)
    name = f"sbx-probe-{os.getpid()}"
    _listen(stack, socket.AF_UNIX, b"\0" + name.encode())
    port = _listen(stack, socket.AF_INET, ("127.0.0.1", 0)).getsockname()[1]
    port6 = _listen(stack, socket.AF_INET6, ("::1", 0)).getsockname()[1] if _has_ipv6() else port
    return {"abstract_name": name, "port": str(port), "port6": str(port6)}


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True


@contextmanager
def _running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()  # the holder of IPC objects removes them and ends
            process.wait(10)
        else:
            process.kill()
            process.wait(10)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _start_host_process(stack: ExitStack, user: User) -> dict[str, Value]:
    sleeper = stack.enter_context(_running(user.start(["sleep", "3600"])))
    return {"host_pid": str(sleeper.pid), "host_pid_start": start_time(sleeper.pid)}


def _hold_ipc(stack: ExitStack, user: User, probe: Path) -> dict[str, Value]:
    key, name = str(0x5B000000 + os.getpid() % 0xFFFFFF), f"sbx-probe-{os.getpid()}"
    holder = user.start([probe, "--hold-ipc", key, name], stdin=subprocess.PIPE)
    stack.enter_context(_running(holder))
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return {"ipc_key": key, "ipc_name": name}


def _environment(user: User, base: Path, home: str, state: str) -> dict[str, str]:
    runtime = base / "runtime"
    return user.environ(
        {
            "HOME": str(base / home),
            "XDG_RUNTIME_DIR": str(base / state),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
            "SSH_AUTH_SOCK": f"{runtime}/ssh-agent",
            "WAYLAND_DISPLAY": "wayland-0",
            "DISPLAY": ":0",
            "SBX_CANARY_TOKEN": "canary",
            "AWS_SECRET_ACCESS_KEY": "canary",
        }
    )


@contextmanager
def _far_directory(user: User) -> Iterator[Path]:
    """A directory of the user's that lies below no writable mount of a policy.

    Landlock adds up the rights of all directories above a file, so below /tmp, which is writable
    in every sandbox, it would be no second wall.
    """
    far = Path(tempfile.mkdtemp(prefix="sandbox-tests-", dir="/var/tmp"))
    try:
        far.chmod(0o755)
        (far / "keep").touch()
        yield user.own(far)
    finally:
        remove_tree(far)


@contextmanager
def make_places(user: User, base: Path) -> Iterator[Places]:
    """Make everything below `base`, and remove what does not lie there at the end."""
    _make_files(user, base)
    probe = build_probe(base / "probe" / "sbx-probe")
    values: dict[str, Value] = {
        "probe": str(probe),
        "probe_dir": str(base / "probe"),
        "outside": str(base / "outside"),
        "home": str(base / "home"),
        "runtime_dir": str(base / "runtime"),
        "privileged_copies": (),
        "device_node": (),
        **_host_facts(),
    }
    missing = {"privileged_copies": ROOT_ONLY}
    if os.geteuid() == 0:
        values["privileged_copies"] = _make_privileged(probe, base)
        values["device_node"] = _make_node(base)
        missing = {}
    with ExitStack() as stack:
        far = stack.enter_context(_far_directory(user))
        values["canary_dir"] = str(far)
        values.update(_open_services(stack, base))
        values.update(_start_host_process(stack, user))
        values.update(_hold_ipc(stack, user, probe))
        yield Places(
            user=user,
            probe=probe,
            probe_dir=base / "probe",
            shown=(base / "probe", far),
            outside=base / "outside",
            work=base / "work",
            root_work=base / "root-work",
            scratch=base / "scratch",
            values=values,
            missing=missing,
            env=_environment(user, base, "home", "runtime"),
            root_env=_environment(user, base, "root-home", "root-runtime"),
        )
