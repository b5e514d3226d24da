"""Looking at the host: the answers of the plain calls, and a fact for each."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest

from sandbox.host import observe
from sandbox.host.observe import Facts, recording
from sandbox.plan.entry import FactKind, Probe, encode_facts, first_broken


def hold(facts: Facts) -> bool:
    """Say whether all facts hold now."""
    buffer, start, count = encode_facts(facts.listed())
    return first_broken(buffer, start, count) == count


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with links of each kind."""
    (tmp_path / "dir" / "sub").mkdir(parents=True)
    (tmp_path / "dir" / "file").write_text("x")
    for name, target in (
        ("to-dir", "dir"),
        ("to-file", "dir/file"),
        ("absolute", str(tmp_path / "dir")),
        ("up", "dir/sub/../.."),
        ("dangling", "nowhere/at/all"),
        ("loop", "loop"),
        ("a", "b"),
        ("b", "a"),
        ("chain", "to-dir/sub"),
        ("dir/sub/back", "../../to-dir"),
    ):
        (tmp_path / name).symlink_to(target)
    return tmp_path


PARTS = [
    "dir",
    "sub",
    "file",
    "to-dir",
    "to-file",
    "absolute",
    "up",
    "dangling",
    "loop",
    "a",
    "chain",
    "back",
    ".",
    "..",
    "no",
]


def test_realpath_is_that_of_the_library(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For existing and absent paths, relative ones, links, loops and dots."""
    monkeypatch.chdir(tree / "dir")
    source = random.Random(1)
    for _ in range(3000):
        path = "/".join(source.choices(PARTS, k=source.randrange(1, 5)))
        if source.random() < 0.5:
            path = f"{tree}/{path}"
        expected = os.path.realpath(path)
        with recording():
            assert observe.realpath(path) == expected, path
            assert observe.realpath(os.fsencode(path)) == os.fsencode(expected), path
        assert observe.realpath(path) == expected


def test_questions_are_answered_as_by_the_library(tree: Path) -> None:
    """While recording and otherwise."""
    source = random.Random(2)
    for _ in range(1000):
        path = f"{tree}/" + "/".join(source.choices(PARTS, k=source.randrange(1, 4)))
        expected = (
            os.path.exists(path),
            os.path.lexists(path),
            os.path.isdir(path),
            os.path.isfile(path),
            os.path.islink(path),
        )

        def answers(path: str = path) -> tuple[bool, ...]:
            return (
                observe.exists(path),
                observe.lexists(path),
                observe.is_dir(path),
                observe.is_file(path),
                observe.is_link(path),
            )

        assert answers() == expected, path
        with recording():
            assert answers() == expected, path


def changes() -> dict[str, tuple[str, str]]:
    """Return Python expressions over `t`, each with a shell command that changes its answer."""
    return {
        "exists": ("observe.exists(t+'/to-file')", "rm dir/file"),
        "absent": ("observe.exists(t+'/no')", "touch no"),
        "absent target": ("observe.exists(t+'/dangling')", "mkdir -p nowhere/at/all"),
        "realpath": ("observe.realpath(t+'/to-dir/sub')", "rm to-dir; ln -s dir/sub to-dir"),
        "directory to link": ("observe.realpath(t+'/dir/sub')", "mv dir d; ln -s d dir"),
        "is_dir": ("observe.is_dir(t+'/dir/sub')", "rm -r dir/sub; touch dir/sub"),
        "is_link": ("observe.is_link(t+'/dir')", "mv dir d; ln -s d dir"),
        "kind_of": ("observe.kind_of(t+'/dir/file')", "rm dir/file; mkdir dir/file"),
        "access": ("observe.access(t+'/dir/file', os.X_OK)", "chmod +x dir/file"),
        "names_in": ("observe.names_in(t+'/dir')", "touch dir/new"),
        "read_file": ("observe.read_file(t+'/to-file', 10)", "echo y > dir/file"),
        "read_file absent": ("observe.read_file(t+'/no', 10)", "echo y > no"),
        "read_file behind": ("observe.read_file(t+'/dangling', 10)", "mkdir nowhere"),
        "readlink": ("observe.readlink(t+'/to-dir')", "ln -sfn di to-dir"),
        "kernel file": ("observe.read_kernel_file(t+'/dir/file')", "echo y > dir/file"),
        "kernel file absent": ("observe.read_kernel_file(t+'/no')", "echo y > no"),
    }


@pytest.mark.parametrize("name", changes())
def test_what_was_seen_holds_until_it_changes(name: str, tree: Path) -> None:
    """Each way to look leaves facts that notice a change of the answer."""
    look, change = changes()[name]
    scope = {"observe": observe, "os": os, "t": str(tree)}
    with recording() as facts:
        eval(look, scope)  # noqa: S307  # the table above
    if name == "absent target":
        facts.gap = ""
    assert facts.gap == ""
    assert facts.listed()
    assert hold(facts)
    assert os.system(f"cd {tree} && {change}") == 0
    assert not hold(facts)


def test_what_no_fact_can_hold_is_a_gap(tree: Path) -> None:
    """The first reason counts."""
    with recording() as facts:
        assert observe.read_file(str(tree / "dir"), 10) is None
        observe.miss("later")
    assert "cannot be read" in facts.gap


def test_a_path_is_looked_at_once(tree: Path) -> None:
    """All of a request rests on one answer, and what comes later breaks the fact."""
    with recording() as facts:
        assert not observe.lexists(str(tree / "no"))
        (tree / "no").touch()
        assert not observe.lexists(str(tree / "no"))
    assert not hold(facts)


def test_what_is_implied_is_left_out(tree: Path) -> None:
    """Less to look at for the same certainty."""
    with recording() as facts:
        observe.lexists(f"{tree}/no")
        observe.lexists(f"{tree}/no/below")
        observe.realpath(f"{tree}/to-dir")
        observe.names_in(f"{tree}/dir")
        observe.lexists(f"{tree}/dir/file")
    found = [(fact.kind, os.path.basename(fact.path)) for fact in facts.listed()]
    assert (FactKind.ABSENT, b"no") in found
    assert (FactKind.ABSENT, b"below") not in found
    assert (FactKind.KIND, b"to-dir") not in found
    assert (FactKind.LINK, b"to-dir") in found
    assert (FactKind.FILE, b"dir") in found
    assert (FactKind.KIND, b"file") not in found


def test_recordings_of_threads_are_apart(tree: Path) -> None:
    """One thread's looks do not stand in another's facts, and the outer recording goes on."""
    other: list[Facts] = []

    def look() -> None:
        with recording() as facts:
            observe.lexists(f"{tree}/other")
        other.append(facts)

    with recording() as facts:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        with recording() as inner:
            observe.lexists(f"{tree}/inner")
        observe.lexists(f"{tree}/outer")
    assert observe.current() is None
    names = [
        [os.path.basename(fact.path) for fact in one.listed()] for one in (*other, inner, facts)
    ]
    assert names == [[b"other"], [b"inner"], [b"outer"]]


def test_probes_are_told_apart_by_their_argument() -> None:
    """Two resources are two facts; a negative answer is a 64-bit word."""
    with recording() as facts:
        assert observe.probed(Probe.RLIMIT, 1024, 7) == 1024
        assert observe.probed(Probe.RLIMIT, 0, 4) == 0
        assert observe.probed(Probe.LANDLOCK, -38) == -38
    assert [fact.value for fact in facts.listed()] == [
        (Probe.RLIMIT, 7, 1024),
        (Probe.RLIMIT, 4, 0),
        (Probe.LANDLOCK, 0, 2**64 - 38),
    ]


def test_the_youngest_file_is_known(tree: Path) -> None:
    """A file that has only just changed is not yet known by its times."""
    with recording() as facts:
        assert facts.newest_ns == 0
        observe.read_file(str(tree / "dir" / "file"), 10)
    assert facts.newest_ns == (tree / "dir" / "file").stat().st_ctime_ns
