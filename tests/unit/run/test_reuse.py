"""A prepared request is used again by the same process while nothing has changed."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from sandbox.plan.entry import Fact, FactKind, Probe
from sandbox.record import replace
from sandbox.run import keep, reuse
from sandbox.run.execute import prepare
from sandbox.run.request import Request
from sandbox.run.reuse import prepared_cache

POLICY = 'schema = 1\nextends = ["strict"]\n'


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Every request that was really prepared, in a tree of its own."""
    done: list[Request] = []

    def counting(request: Request) -> Any:
        done.append(request)
        return prepare(request)

    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    tree = tmp_path / "tree"
    tree.mkdir()
    monkeypatch.chdir(tree)
    (tree / "own.toml").write_text(POLICY)
    monkeypatch.setattr(keep, "SETTLED_NS", 0)
    monkeypatch.setattr(reuse, "prepare", counting)
    # where root's control groups are tried, no fact holds what came out
    monkeypatch.setattr("sandbox.host.cgroup.find_hierarchies", lambda _need: ((), "none here"))
    monkeypatch.setattr(reuse, "_kept", {})
    return done


def own(*argv: bytes) -> Request:
    """Return a request under the policy of the tree."""
    return Request(argv or (b"true",), "./own.toml")


def test_the_second_request_is_not_prepared(
    counted: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what prepare() returns, with its own command, environment and program paths."""
    monkeypatch.setenv("LANG", "C")
    prepared_cache(own(b"true"))
    monkeypatch.setenv("LANG", "C.UTF-8")
    again = prepared_cache(own(b"ls", b"-l"))
    assert len(counted) == 1
    assert again == prepare(own(b"ls", b"-l"))
    assert b"LANG=C.UTF-8" in again.invocation.env


@pytest.mark.parametrize(
    "change",
    [
        "echo '# more' >> own.toml",
        "printf 'schema = 1\\n' > .sandbox.toml",
        "mkdir .git",
        "mkdir -p ../.config/sandbox/policies; cp own.toml ../.config/sandbox/policies/x.toml",
    ],
)
def test_a_change_is_noticed_at_once(change: str, counted: list[Request]) -> None:
    """Each use looks."""
    prepared_cache(own())
    assert os.system(change) == 0
    prepared_cache(own())
    assert len(counted) == (1 if "cp own" in change else 2)
    prepared_cache(own())
    assert len(counted) == (1 if "cp own" in change else 2)


@pytest.mark.parametrize("name", ["HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"])
def test_another_environment_is_another_request(
    name: str, counted: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same variables count as for the launcher."""
    prepared_cache(own())
    monkeypatch.setenv(name, str(tmp_path / "tree"))
    prepared_cache(own())
    assert len(counted) == 2


def test_another_directory_or_policy_is_another_request(
    counted: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each is found again."""
    for _ in range(2):
        prepared_cache(own())
        prepared_cache(replace(own(), policy="strict"))
        monkeypatch.chdir(tmp_path)
        prepared_cache(replace(own(), policy="strict"))
        monkeypatch.chdir(tmp_path / "tree")
    assert len(counted) == 3


def test_what_cannot_be_held_is_prepared_each_time(
    counted: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that has only just changed, or a gap."""
    monkeypatch.setattr(keep, "SETTLED_NS", 1 << 62)
    prepared_cache(own())
    prepared_cache(own())
    assert len(counted) == 2
    monkeypatch.setattr(keep, "SETTLED_NS", 0)
    monkeypatch.delenv("HOME")
    prepared_cache(own())
    prepared_cache(own())
    assert len(counted) == 4


def test_many_requests_do_not_grow_without_end(counted: list[Request]) -> None:
    """Old ones go when there are too many."""
    for index in range(reuse.KEPT_MAX + 5):
        prepared_cache(replace(own(), tighten=(), policy="tiny", flags=flags(index)))
    assert len(reuse._kept) <= reuse.KEPT_MAX
    assert counted


def flags(index: int) -> Any:
    """Return a flag that makes a request of its own."""
    from sandbox.policy.compose import Flag

    return (Flag("hostname", f"h{index}", f"--hostname h{index}"),)


def test_threads_share_what_is_kept(counted: list[Request]) -> None:
    """Each gets a whole answer, while the file changes under them."""
    expected = prepare(own())
    failures: list[BaseException] = []

    def use() -> None:
        try:
            for _ in range(30):
                found = prepared_cache(own())
                assert found.plan.mounts == expected.plan.mounts
        except BaseException as error:  # noqa: BLE001  # shown below, whatever it is
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        os.utime("own.toml")
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(counted) < 4 * 30


def test_a_late_look_is_for_what_no_run_changes(
    counted: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be asked notices a change, and what is forgotten is prepared anew."""
    made, check = reuse.template_to_check(own())
    assert check is None
    again, check = reuse.template_to_check(own())
    assert again is made
    assert check is not None
    assert check()
    assert os.system("echo '# more' >> own.toml") == 0
    assert not check()
    reuse.forget(made)
    other, check = reuse.template_to_check(own())
    assert check is None
    assert other is not made
    assert len(counted) == 2
    monkeypatch.setattr(reuse, "_changes_nothing", lambda _prepared: False)
    reuse.forget(other)
    reuse.template_to_check(own())
    assert reuse.template_to_check(own())[1] is None
    assert os.system("echo '# more' >> own.toml") == 0
    reuse.template_to_check(own())
    assert len(counted) == 4


def test_placeholders_and_directories_are_looked_at_before(counted: list[Request]) -> None:
    """A run makes them, and may change by that what is looked at."""
    plain = prepare(own())
    assert reuse._changes_nothing(plain)
    assert not reuse._changes_nothing(replace(plain, placeholders=((b"/a", b"/b"),)))
    assert not reuse._changes_nothing(replace(plain, plan=replace(plain.plan, namespaces=0)))
    assert counted == []


def test_only_what_can_change_is_looked_at_again() -> None:
    """Not the modules of this program, not what its kernel can do; its limits and files are."""
    package = os.fsencode(Path(reuse.__file__).parents[1])
    stays = (
        Fact(FactKind.FILE, package + b"/policy/bpf.py", (1,) * 6),
        Fact(FactKind.PROBE, b"", (Probe.LANDLOCK, 0, 5)),
        Fact(FactKind.PROBE, b"", (Probe.SECCOMP, 0, 0)),
    )
    changes = (
        Fact(FactKind.FILE, package + b"/policies/strict.toml", (1,) * 6),
        Fact(FactKind.FILE, b"/elsewhere/x.py", (1,) * 6),
        Fact(FactKind.PROBE, b"", (Probe.RLIMIT, 7, 1024)),
        Fact(FactKind.PROBE, b"", (Probe.PRIVILEGED, 0, 0)),
        Fact(FactKind.ABSENT, package + b"/policy/new.py"),
    )
    assert reuse.changing(stays + changes) == list(changes)
