"""The control group of one run: made below the caller's, limited, joined, read, removed.

One leaf in each hierarchy that holds something, named sandbox-RUNID. pid 1 of the sandbox is moved
in while it waits, so everything below it is counted from its first moment. A journal in the runtime
directory names the leaves, so that the next run collects those of a supervisor that was killed.
"""

from __future__ import annotations

import errno
import os
import time

from sandbox.errors import HostError, SetupError
from sandbox.host.cgroup import CPU, FILES, MEMORY, PIDS, QUOTA, SHARE, SWAP
from sandbox.host.paths import runtime_dir
from sandbox.plan.model import Stage, Supervise
from sandbox.run.journal import is_alive, locked, process_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from sandbox.host.cgroup import Hierarchy
    from sandbox.plan.entry import GroupStep

_FOLDER = "groups"
_REMOVE_S = 2.0  # the kernel lets go of a killed process a moment after its namespace is gone
_PEAKS = {1: "memory.max_usage_in_bytes", 2: "memory.peak"}
_PERIOD_US = 100_000  # of a quota: the kernel's own default
_OOM = {1: "memory.oom_control", 2: "memory.events"}

# A file that older kernels lack; what it would do is also done otherwise.
_ABSENT = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP})
# v1 takes no quota above that of a group further up, which then holds all of it.
_WITHIN = frozenset({errno.EINVAL})
_NONE: frozenset[int] = frozenset()


def settings(
    hierarchy: Hierarchy, limits: dict[Supervise, int]
) -> list[tuple[str, str, frozenset[int]]]:
    """Return file and value of each limit, in the kernel's order, and errnos that do not matter."""
    version, resources = hierarchy.version, hierarchy.resources
    memory = limits.get(Supervise.GROUP_MEMORY_BYTES, 0)
    swap = limits.get(Supervise.GROUP_SWAP_BYTES, 0)
    if version == 1:
        swap += memory  # v1 bounds the sum of both
    quota_us = limits.get(Supervise.GROUP_CPU_PERCENT, 0) * _PERIOD_US // 100
    values = {MEMORY: memory, SWAP: swap, PIDS: limits.get(Supervise.GROUP_PIDS, 0)}
    found = [
        (FILES[version, resource], str(values[resource]), _NONE)
        for resource in (MEMORY, SWAP, PIDS)
        if resource in resources
    ]
    if version == 2 and MEMORY in resources:
        found.append(("memory.oom.group", "1", _ABSENT))
    if QUOTA in resources and version == 2:
        found.append((FILES[version, QUOTA], f"{quota_us} {_PERIOD_US}", _NONE))
    elif QUOTA in resources:
        found.append(("cpu.cfs_period_us", str(_PERIOD_US), _NONE))
        found.append((FILES[version, QUOTA], str(quota_us), _WITHIN))
    return found


def group_steps(
    hierarchies: tuple[Hierarchy, ...], limits: tuple[tuple[Supervise, int], ...]
) -> tuple[GroupStep, ...]:
    """Return what RunGroup does as steps of a cache entry, for the launcher to do.

    Errors: StateError where the directory of journals cannot be made.
    """
    from sandbox.plan.entry import GroupLeafFlag, GroupStep, GroupStepKind, GroupWriteFlag

    if not hierarchies:
        return ()
    of_resource = {
        MEMORY: GroupLeafFlag.MEMORY,
        PIDS: GroupLeafFlag.PIDS,
        CPU: GroupLeafFlag.CPU,
        QUOTA: GroupLeafFlag.QUOTA,
    }
    of_errnos = {
        _NONE: 0,
        _ABSENT: int(GroupWriteFlag.OPTIONAL),
        _WITHIN: int(GroupWriteFlag.WITHIN),
    }
    steps = [GroupStep(GroupStepKind.FOLDER, os.fsencode(runtime_dir(_FOLDER)))]
    for item in hierarchies:
        flags = GroupLeafFlag.V2 if item.version == 2 else GroupLeafFlag(0)
        for resource in item.resources:
            flags |= of_resource.get(resource, GroupLeafFlag(0))
        if item.resources == {SHARE}:
            flags |= GroupLeafFlag.SHARE_ONLY
        steps.append(GroupStep(GroupStepKind.LEAF, os.fsencode(item.place), flags=int(flags)))
        for name, value, tolerated in settings(item, dict(limits)):
            write = (name.encode(), value.encode(), of_errnos[tolerated])
            steps.append(GroupStep(GroupStepKind.WRITE, *write))
    return tuple(steps)


class RunGroup:
    """The leaves of one run; a context manager. Without hierarchies it does nothing."""

    def __init__(
        self,
        hierarchies: tuple[Hierarchy, ...],
        limits: tuple[tuple[Supervise, int], ...],
        run_id: str,
    ) -> None:
        self._limits = dict(limits)
        self._run_id = run_id
        self._leaves = {
            f"{hierarchy.place}/sandbox-{run_id}": hierarchy for hierarchy in hierarchies
        }
        self._joins: list[int] = []

    def __enter__(self) -> Self:
        if self._leaves:
            folder = runtime_dir(_FOLDER)
            with locked(folder):
                collect(folder)
                _write_journal(folder, self._run_id, tuple(self._leaves))
            try:
                for path, hierarchy in self._leaves.items():
                    self._make(path, hierarchy)
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_exc: object) -> None:
        for fd in self._joins:
            os.close(fd)
        self._joins = []
        if self._leaves and _remove_all(tuple(self._leaves), _REMOVE_S):
            # a leaf that is still busy stays in the journal, for the next run to collect
            folder = runtime_dir(_FOLDER)
            with locked(folder):
                os.unlink(os.path.join(folder, self._run_id))

    def _make(self, path: str, hierarchy: Hierarchy) -> None:
        try:
            os.mkdir(path, 0o755)
            for name, value, tolerated in settings(hierarchy, self._limits):
                _write_tolerant(f"{path}/{name}", value, tolerated)
            self._joins.append(os.open(f"{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
        except OSError as error:
            raise HostError(
                f"the control group {path} cannot be set up: {error.strerror}",
                hint="`sandbox doctor` tries the same; --limit NAME=none does without the limit",
                code="host.group",
                path=path,
            ) from error

    @property
    def is_on(self) -> bool:
        """Whether there is any group."""
        return bool(self._leaves)

    def join(self, pid: int) -> None:
        """Move the waiting child into every leaf.

        Errors: SetupError(setup.maps) where the kernel refuses.
        """
        for fd, (path, hierarchy) in zip(self._joins, self._leaves.items(), strict=True):
            try:
                os.write(fd, b"%d" % pid)
            except OSError as error:
                if hierarchy.resources == {SHARE}:
                    continue  # no limit is lost: e.g. a real-time process cannot be moved
                raise SetupError(
                    f"the sandbox cannot be moved to its control group {path}: {error.strerror}",
                    hint="start it from inside of the delegated groups: `sandbox doctor`",
                    code="setup.maps",
                    stage=Stage.MAPS.label,
                    op=-1,
                    errno=error.errno,
                ) from error

    def _find(self, resource: str) -> tuple[str, int] | None:
        for path, hierarchy in self._leaves.items():
            if resource in hierarchy.resources:
                return path, hierarchy.version
        return None

    def cpu_ms(self) -> int | None:
        """Return the processor time of everything that was ever in the group."""
        found = self._find(CPU)
        if found is None:
            return None
        path, version = found
        text = _read(f"{path}/{FILES[version, CPU]}")
        if version == 1:
            return int(text or 0) // 1_000_000
        return _field(text, "usage_usec") // 1000

    def memory_peak_bytes(self) -> int | None:
        """Return the highest use of memory; None where nothing recorded it."""
        found = self._find(MEMORY)
        text = _read(f"{found[0]}/{_PEAKS[found[1]]}") if found is not None else ""
        return int(text) if text else None

    def oom_kills(self) -> int:
        """Return how many processes the kernel killed because the group's memory was used up."""
        found = self._find(MEMORY)
        return _field(_read(f"{found[0]}/{_OOM[found[1]]}"), "oom_kill") if found is not None else 0

    def hits(self) -> frozenset[str]:
        """Return the limits that the kernel enforced: killed, refused a fork, or held back."""
        found = {"memory"} if self.oom_kills() else set()
        if self._counted(PIDS, "pids.events", "max"):
            found.add("pids")
        if self._counted(QUOTA, "cpu.stat", "nr_throttled"):
            found.add("cpu_quota")
        return frozenset(found)

    def _counted(self, resource: str, file: str, name: str) -> bool:
        found = self._find(resource)
        return found is not None and _field(_read(f"{found[0]}/{file}"), name) > 0

    def kill(self) -> None:
        """Kill every process of the group at once, where the kernel can (v2, Linux 5.14)."""
        for path, hierarchy in self._leaves.items():
            if hierarchy.version == 2:
                _write_tolerant(f"{path}/cgroup.kill", "1", _ABSENT)


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def _write_tolerant(path: str, value: str, tolerated: frozenset[int]) -> None:
    try:
        _write(path, value)
    except OSError as error:
        if error.errno not in tolerated:
            raise


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""  # an older kernel, or a group that is already gone


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _remove_all(paths: tuple[str, ...], patience_s: float) -> bool:
    """Remove the groups; say whether all are gone. Waits for processes that are just ending."""
    deadline_s = time.monotonic() + patience_s
    left = list(paths)
    while True:
        left = [path for path in left if not _remove(path)]
        if not left or time.monotonic() >= deadline_s:
            return not left
        time.sleep(0.005)


def _remove(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # busy for a moment, or no longer ours: the journal keeps its name
    return True


def _write_journal(folder: str, run_id: str, paths: tuple[str, ...]) -> None:
    lines = [process_key(os.getpid()) or "0 0", *(os.fsencode(path).hex() for path in paths)]
    target = os.path.join(folder, run_id)
    with open(f"{target}.new", "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    os.rename(f"{target}.new", target)


def collect(folder: str) -> None:
    """Remove what runs left whose supervisor was killed.

    Only a directory that has the name of a run's group is ever touched; one that still has
    processes (they are just ending: pid 1 saw its supervisor go) stays for the run after this.
    """
    for name in os.listdir(folder):
        if name == "lock":
            continue
        path = os.path.join(folder, name)
        try:
            with open(path, encoding="ascii") as file:
                key, *rows = file.read().splitlines()
            groups = [os.fsdecode(bytes.fromhex(row)) for row in rows]
        except (OSError, ValueError):
            key, groups = "", []
        if is_alive(key):
            continue
        ours = tuple(group for group in groups if os.path.basename(group) == f"sandbox-{name}")
        if _remove_all(ours, 0):
            os.unlink(path)
