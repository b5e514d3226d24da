"""Inside real engines: podman and Docker, with their default profiles, as root starts them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engines import assert_declared, make_base, options
from support.need import need_program
from support.user import User, remove_tree

pytestmark = [pytest.mark.as_root, pytest.mark.time_limit(180)]

# Podman refuses a hybrid cgroup tree, so it runs in a mount namespace with cgroup2 alone.
ONLY_CGROUP2 = (
    "mount --make-rprivate / && umount -R /sys/fs/cgroup;"
    'mount -t cgroup2 none /sys/fs/cgroup || exit 77; exec "$@"'
)


def remove_patiently(base: Path) -> None:
    """Remove an engine's directories; its clean-up goes on in the background for a moment."""
    for _try in range(50):
        try:
            remove_tree(base)
        except OSError:
            time.sleep(0.1)
        else:
            return
    remove_tree(base)


@pytest.fixture
def engine_dir(session_dir: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory for one engine's store, removed afterwards."""
    base = session_dir / request.node.name
    base.mkdir()
    yield base
    remove_patiently(base)


def test_inside_podman(
    root: User, user: User, user_python: Path, engine_dir: Path, work_dir: Path
) -> None:
    """In podman's default container: a result with a declared tier, or a refusal with a reason."""
    need_program("podman")
    need_program("unshare")
    podman = [
        *("podman", "--root", str(engine_dir / "store"), "--runroot", str(engine_dir / "run")),
        *("--cgroup-manager=cgroupfs", "--events-backend=none", "--storage-driver=vfs", "run"),
        *("--cgroups=disabled", "--ulimit=nofile=1000:1000", "--ulimit=nproc=1000:1000"),
        *options(user, user_python, work_dir),
    ]
    base = make_base(engine_dir / "root", user)
    outer = ["unshare", "--mount", "sh", "-c", ONLY_CGROUP2, "sh", *podman, "--rootfs", str(base)]
    started = root.run([*outer, "true"], timeout=90)
    if started.returncode != 0:
        pytest.skip(f"podman does not run here: {started.stderr.decode(errors='replace')[-300:]}")
    assert_declared(root, outer, user_python, work_dir)


# The daemon writes a key to /etc/docker and directories to /run: here to its own copies of both.
OWN_ETC_AND_RUN = (
    "mount --make-rprivate / && mount -t tmpfs none /run && mkdir /run/up /run/work || exit 77;"
    "mount -t overlay -o lowerdir=/etc,upperdir=/run/up,workdir=/run/work none /etc || exit 77;"
    'exec "$@"'
)

IMAGE = "sandbox-tests:1"


class Docker:
    """A Docker daemon of the test's own: no network, its groups below one name, its own socket."""

    def __init__(self, base: Path) -> None:
        self.group = f"sandbox-tests-docker-{os.getpid()}"
        self.client = ["docker", "-H", f"unix://{base}/sock"]
        self._log = (base / "log").open("wb")
        self._daemon = subprocess.Popen(
            [
                *("unshare", "--mount", "sh", "-c", OWN_ETC_AND_RUN, "sh"),
                *("dockerd", "--data-root", f"{base}/data", "--exec-root", f"{base}/exec"),
                *("--pidfile", f"{base}/pid", "--host", f"unix://{base}/sock"),
                *("--iptables=false", "--ip6tables=false", "--bridge=none"),
                *("--storage-driver=vfs", "--cgroup-parent", f"/{self.group}"),
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def is_ready(self, root: User) -> bool:
        """Wait until the daemon answers; say whether it does."""
        for _try in range(100):
            if root.run([*self.client, "version"], timeout=20).returncode == 0:
                return True
            if self._daemon.poll() is not None:
                return False
            time.sleep(0.2)
        return False

    def close(self) -> None:
        """End the daemon, and remove the groups that it made."""
        self._daemon.terminate()
        self._daemon.wait(30)
        self._log.close()
        for path in Path("/sys/fs/cgroup").glob(f"*/{self.group}"):
            path.rmdir()


@pytest.fixture
def docker(root: User, user: User, engine_dir: Path) -> Iterator[Docker]:
    """A daemon that answers, with an image of a bare root."""
    need_program("dockerd")
    daemon = Docker(engine_dir)
    try:
        if not daemon.is_ready(root):
            text = (engine_dir / "log").read_text(errors="replace")[-300:]
            pytest.skip(f"dockerd does not run here: {text}")
        base = make_base(engine_dir / "root", user)
        script = 'tar -C "$1" -c . | "$2" "$3" "$4" import - "$5"'
        made = root.run(["sh", "-c", script, "sh", str(base), *daemon.client, IMAGE], timeout=60)
        assert made.returncode == 0, made.stderr
        yield daemon
    finally:
        daemon.close()


def test_inside_docker(
    root: User, user: User, user_python: Path, docker: Docker, work_dir: Path
) -> None:
    """In Docker's default container: a result with a declared tier, or a refusal with a reason."""
    outer = [*docker.client, "run", *options(user, user_python, work_dir), IMAGE]
    assert_declared(root, outer, user_python, work_dir)


def test_docker_profile(root: User, user_python: Path, docker: Docker, engine_dir: Path) -> None:
    """dockerd has its default profile as code; a running container has it written out."""
    options = ["--rm", "--detach", "--network=none", "-v", "/usr:/usr:ro"]
    started = root.run([*docker.client, "run", *options, IMAGE, "sleep", "60"], timeout=60)
    assert started.returncode == 0, started.stderr
    name = started.stdout.decode().strip()
    (config,) = (engine_dir / "exec").rglob(f"{name}/config.json")
    try:
        words = ["policy", "tighter", "strict", f"oci:{config}", "--json"]
        done = root.run([str(user_python), "-I", "-m", "sandbox", *words], timeout=60)
    finally:
        root.run([*docker.client, "kill", name], timeout=60)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["areas"] == ["calls"]
    witnesses = {one["witness"].partition(":")[0] for one in found["widenings"]}
    assert witnesses >= {"ptrace", "modify_ldt", "io_setup", "socket", "ioctl", "personality"}
    assert not witnesses & {"mount", "bpf", "init_module", "kexec_load", "keyctl", "reboot"}
