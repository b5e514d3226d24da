"""The launcher's control groups in C: the same steps, journals and answers as RunGroup's.

A small program of the tests stands for the supervisor; its groups are real, delegated by root.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.host.cgroup import CPU, MEMORY, PIDS, QUOTA, SHARE, SWAP, Hierarchy
from sandbox.host.paths import runtime_dir
from sandbox.plan.entry import Entry, Fact, FactKind, encode_entry, is_sound, template_of
from sandbox.plan.model import Supervise
from sandbox.run.cgroup import RunGroup, group_steps
from support import bombs, plans
from support.groups import V1, delegated_v1, delegated_v2, leaves, own_place
from support.need import need_program
from support.user import User

pytestmark = [pytest.mark.as_root, pytest.mark.leaks_nothing]

CSRC = Path(__file__).parents[2] / "csrc"
DRIVER = Path(__file__).parents[1] / "unit" / "csrc" / "group_run.c"
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
RUN_ID = "00c0ffee00c0ffee"
MEMORY_HIT, PIDS_HIT, QUOTA_HIT = 1, 2, 4
BY_MEMORY, BY_CPU = 2, 3
HELD = {
    "memory": frozenset({MEMORY, SWAP}),
    "pids": frozenset({PIDS}),
    "cpuacct": frozenset({CPU}),
    "cpu": frozenset({SHARE}),
}

Start = Callable[..., "subprocess.Popen[str]"]
Limits = tuple[tuple[Supervise, int], ...]
NOTHING: Limits = (
    (Supervise.GROUP_MEMORY_BYTES, 1 << 30),
    (Supervise.GROUP_SWAP_BYTES, 0),
    (Supervise.GROUP_PIDS, 64),
)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built with the sanitizers."""
    need_program("gcc")
    program = tmp_path_factory.mktemp("driver") / "group_run"
    launcher = CSRC / "launcher"
    sources = [*CSRC.glob("*.c"), *launcher.glob("group*.c"), launcher / "journal.c", DRIVER]
    names = [str(path) for path in sources]
    argv = ["gcc", *FLAGS, *SANITIZE, f"-I{CSRC}", "-o", str(program), *names]
    subprocess.run(argv, check=True, timeout=55)
    return program


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of journals, in a runtime directory of the test's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return Path(runtime_dir("groups"))


@pytest.fixture
def groups(user: User) -> Iterator[list[str]]:
    """A delegated group in each v1 hierarchy."""
    missing = [name for name in V1 if own_place(name) is None]
    if missing:
        pytest.skip(f"needs cgroup v1: no hierarchy with {', '.join(missing)}")
    with delegated_v1(user) as made:
        yield made
        assert leaves(made) == []


@pytest.fixture
def start(driver: Path, tmp_path: Path, folder: Path) -> Start:
    """`start(hierarchies, limits, command …)`: the running program."""

    def run(
        hierarchies: tuple[Hierarchy, ...], limits: Limits, *command: str, mode: int = 0o700
    ) -> subprocess.Popen[str]:
        steps = group_steps(hierarchies, limits)
        plan, template = template_of(plans.full_plan(), plans.made_invocations()["full"])
        fact = Fact(FactKind.ABSENT, b"/nowhere")
        blob = encode_entry(Entry(b"k", 0, 0, 0, "1", "p", (fact,), plan, template, groups=steps))
        assert is_sound(blob)
        path = tmp_path / "entry"
        path.write_bytes(blob)
        folder.chmod(mode)
        limit_ms = dict(limits).get(Supervise.GROUP_CPU_MS, 0)
        argv = [str(driver), str(path), RUN_ID, str(limit_ms), *command]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    return run


def v1(groups: list[str], cpu: frozenset[str] = HELD["cpu"]) -> tuple[Hierarchy, ...]:
    """The delegated groups as hierarchies."""
    held = {**HELD, "cpu": cpu}
    return tuple(Hierarchy(1, place, held[name]) for name, place in zip(V1, groups, strict=True))


def answers(running: subprocess.Popen[str]) -> tuple[int, int, int, int, int]:
    """Cause, hits, whether a peak is known, the peak, and what the end returned."""
    output, _ = running.communicate(timeout=40)
    assert running.returncode == 0, output
    cause, hits, is_known, peak, err = map(int, output.splitlines()[-1].split())
    return cause, hits, is_known, peak, err


def test_a_run_is_in_every_group_and_leaves_none(
    start: Start, groups: list[str], folder: Path
) -> None:
    """The command's own /proc says where it is; nothing is hit, the peak of memory is known."""
    running = start(v1(groups), NOTHING, "cat", "/proc/self/cgroup")
    output, _ = running.communicate(timeout=40)
    rows = [line for line in output.splitlines() if line.endswith(f"/sandbox-{RUN_ID}")]
    assert len(rows) == len(groups)
    cause, hits, is_known, peak, err = map(int, output.splitlines()[-1].split())
    assert (cause, hits, is_known, err) == (0, 0, 1, 0)
    assert 0 < peak < 1 << 28
    assert os.listdir(folder) == ["lock"]


def test_bombs_are_held_and_seen(start: Start, groups: list[str]) -> None:
    """Memory ends the run; a refused fork is told afterwards; so is the sum of time."""
    small = ((Supervise.GROUP_MEMORY_BYTES, 60 << 20), (Supervise.GROUP_SWAP_BYTES, 0))
    pids = (Supervise.GROUP_PIDS, 64)
    script = ("python3", "-c", bombs.MEMORY)
    cause, hits, _known, peak, err = answers(start(v1(groups), (*small, pids), *script))
    assert (cause, hits, err) == (BY_MEMORY, MEMORY_HIT, 0)
    assert peak <= 60 << 20
    few = (*NOTHING[:2], (Supervise.GROUP_PIDS, 6))
    forks = "i=0; while [ $i -lt 9 ]; do sleep 0.2 & i=$((i+1)); done; wait"
    assert answers(start(v1(groups), few, "sh", "-c", forks))[:2] == (0, PIDS_HIT)
    timed = (*NOTHING, (Supervise.GROUP_CPU_MS, 300))
    spin = ("python3", "-c", bombs.SPIN)
    assert answers(start(v1(groups), timed, *spin))[:2] == (BY_CPU, 0)


def test_a_quota_slows_and_is_told(start: Start, groups: list[str]) -> None:
    """20 % of one processor; more than a group further up has is that group's to hold."""
    limits = (*NOTHING, (Supervise.GROUP_CPU_PERCENT, 20))
    hierarchies = v1(groups, frozenset({SHARE, QUOTA}))
    started_s = time.monotonic()
    assert answers(start(hierarchies, limits, "python3", "-c", bombs.SPIN))[:2] == (0, QUOTA_HIT)
    assert time.monotonic() - started_s >= 3 * 0.6
    place = groups[V1.index("cpu")]
    Path(place, "cpu.cfs_quota_us").write_text("30000", encoding="ascii")
    wide = (*NOTHING, (Supervise.GROUP_CPU_PERCENT, 150))
    assert answers(start(hierarchies, wide, "true"))[0] == 0


def test_what_cannot_be_made_leaves_nothing(start: Start, groups: list[str], folder: Path) -> None:
    """A place that is gone: the step fails, the leaves before it and the journal go."""
    hierarchies = (*v1(groups), Hierarchy(1, f"{groups[0]}/gone", frozenset({PIDS})))
    running = start(hierarchies, NOTHING, "true")
    assert running.communicate(timeout=40)[0] == "make: No such file or directory\n"
    assert running.returncode == 2
    assert leaves(groups) == []
    assert os.listdir(folder) == ["lock"]


@pytest.mark.parametrize("is_native_next", [True, False])
def test_either_side_collects_what_the_other_left(
    is_native_next: bool, start: Start, groups: list[str], folder: Path
) -> None:
    """A killed supervisor leaves groups and a journal, which the next run of either removes."""
    if is_native_next:
        _leave(groups)
    else:
        running = start(v1(groups), NOTHING, "sh", "-c", "echo $$; exec sleep 30")
        assert running.stdout is not None
        command = int(running.stdout.readline())
        assert len(leaves(groups)) == len(groups)
        running.kill()
        os.kill(command, signal.SIGKILL)
        running.communicate(timeout=20)
    assert len(leaves(groups)) == len(groups)
    assert len(os.listdir(folder)) == 2
    deadline_s = time.monotonic() + 10
    while any((Path(path) / "cgroup.procs").read_text() for path in leaves(groups)):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    if is_native_next:
        assert answers(start(v1(groups), NOTHING, "true"))[-1] == 0
    else:
        with RunGroup(v1(groups), NOTHING, "d00d"):
            assert len(leaves(groups)) == len(groups)
    assert leaves(groups) == []
    assert os.listdir(folder) == ["lock"]


def _leave(groups: list[str]) -> None:
    """What a process that was killed in RunGroup leaves."""
    pid = os.fork()
    if pid == 0:
        RunGroup(v1(groups), NOTHING, "beef").__enter__()
        os._exit(0)
    os.waitpid(pid, 0)


def test_a_living_run_and_foreign_groups_are_left_alone(
    start: Start, groups: list[str], folder: Path
) -> None:
    """A journal of a living process; one that names a group of another name."""
    pids = groups[V1.index("pids")]
    foreign = Path(pids, "not-ours")
    foreign.mkdir()
    try:
        with RunGroup(v1(groups), NOTHING, "a11ce"):
            (folder / "dead").write_text(f"1 1\n{os.fsencode(foreign).hex()}\n", encoding="ascii")
            (folder / "broken").write_bytes(b"\xff\xfe\n\n0g\n0\n")
            assert answers(start(v1(groups), NOTHING, "true"))[-1] == 0
            assert sorted(os.listdir(folder)) == ["a11ce", "lock"]
            assert Path(pids, "sandbox-a11ce").exists()
        assert foreign.exists()
    finally:
        foreign.rmdir()


def test_a_folder_that_others_can_write_is_refused(start: Start, groups: list[str]) -> None:
    """Whoever can write a journal could have groups removed."""
    running = start(v1(groups), NOTHING, "true", mode=0o777)
    assert running.communicate(timeout=40)[0] == "make: Operation not permitted\n"
    assert leaves(groups) == []


def test_v2_counts_and_is_killed_at_once(start: Start, user: User) -> None:
    """A v2 group with no controllers counts time, and cgroup.kill ends all in it."""
    if own_place("") is None:
        pytest.skip("needs cgroup2: not mounted")
    with delegated_v2(user) as made:
        hierarchies = (Hierarchy(2, made[0], frozenset({CPU})),)
        limits = ((Supervise.GROUP_CPU_MS, 200),)
        spin = "setsid sh -c 'while :; do :; done' & wait"
        assert answers(start(hierarchies, limits, "sh", "-c", spin)) == (BY_CPU, 0, 0, 0, 0)
        assert leaves(made) == []


def test_without_groups_nothing_is_touched(start: Start, folder: Path) -> None:
    """An entry without steps: no group, no journal, not even the lock."""
    assert answers(start((), NOTHING, "true")) == (0, 0, 0, 0, 0)
    assert os.listdir(folder) == []
