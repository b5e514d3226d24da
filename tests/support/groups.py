"""Control groups for a test, below the suite's own, given to the ordinary user and taken away.

They are made by the very commands that `sandbox doctor --print-delegation` prints for root.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.host.cgroup import own_directory, read_mounts, read_own
from sandbox.host.delegation import delegation_commands
from support.user import User

V1 = ("memory", "pids", "cpuacct", "cpu")
# Moves itself into every group that is named before "--", then becomes the command.
ENTER = (
    'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 99; shift; done; shift; exec "$@"'
)


def own_place(controller: str) -> str | None:
    """Return the directory of the suite's own v1 group of `controller`, or of v2 for ""."""
    own_v2, own_v1 = read_own("/proc/self/cgroup")
    for mount in read_mounts("/proc/self/mountinfo"):
        if controller in mount.controllers or (mount.version == 2 and not controller):
            return own_directory(mount, own_v2 if mount.version == 2 else own_v1.get(controller))
    return None


@contextmanager
def delegated_v1(user: User) -> Iterator[list[str]]:
    """Yield the directories of one delegated group in each v1 hierarchy; all are gone afterwards.

    A group of this session lies between, since another suite may run beside this one; and a process
    sleeps in for the shell that the printed commands move.
    """
    own = read_own("/proc/self/cgroup")[1]
    name = f"sandbox-tests-{os.getpid()}"
    parents = [f"{own_place(controller)}/{name}" for controller in V1]
    made = [f"{parent}/sandbox-{user.uid}" for parent in parents]
    rows = [f"1:{controller}:{own[controller].rstrip('/')}/{name}\n" for controller in V1]
    with tempfile.NamedTemporaryFile("w") as file, subprocess.Popen(["sleep", "60"]) as shell:
        file.write("".join(rows))
        file.flush()
        commands = delegation_commands(user.uid, user.gid, shell.pid, cgroup=file.name)
        try:
            for parent in parents:
                os.mkdir(parent)
            done = subprocess.run(
                ["sh", "-e", "-c", commands], capture_output=True, timeout=20, check=False
            )
            assert done.returncode == 0, done.stderr
            yield made
        finally:
            shell.kill()
            shell.wait()
            _remove([*made, *parents])


@contextmanager
def delegated_v2(user: User) -> Iterator[list[str]]:
    """Yield a v2 group of the user's with whatever controllers the machine has."""
    path = f"{own_place('')}/sandbox-tests-{os.getpid()}"
    os.mkdir(path)
    try:
        os.chown(path, user.uid, user.gid)
        os.chown(f"{path}/cgroup.procs", user.uid, user.gid)
        yield [path]
    finally:
        _remove([path])


def _remove(groups: list[str]) -> None:
    """Remove the groups; a process that was killed leaves its own a moment later."""
    deadline_s = time.monotonic() + 5
    present = [group for group in groups if Path(group).exists()]
    for group in [*leaves(present), *groups]:
        while Path(group).exists():
            try:
                os.rmdir(group)
            except OSError:
                assert time.monotonic() < deadline_s, f"{group}: {os.listdir(group)}"
                time.sleep(0.02)


def leaves(groups: list[str]) -> list[str]:
    """Return what lies below the groups: leaves of runs that are going on or were left."""
    return [entry.path for group in groups for entry in os.scandir(group) if entry.is_dir()]
