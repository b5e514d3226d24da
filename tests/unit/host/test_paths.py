"""paths: our directories are ours, or they are not used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.errors import StateError
from sandbox.host import paths

CASES = [
    (paths.cache_dir, "XDG_CACHE_HOME", ".cache/sandbox"),
    (paths.state_dir, "XDG_STATE_HOME", ".local/state/sandbox"),
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any XDG variable."""
    for name in list(os.environ):
        if name.startswith("XDG_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("make", "variable", "below_home"), CASES)
def test_directories_follow_the_specification(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[..., str],
    variable: str,
    below_home: str,
) -> None:
    """The variable counts if absolute, else the default below the home."""
    assert str(home / below_home) == make()
    monkeypatch.setenv(variable, "relative")
    assert str(home / below_home) == make()
    monkeypatch.setenv(variable, str(home / "x"))
    assert str(home / "x/sandbox/a/b") == make("a", "b")


def test_directories_are_private(home: Path) -> None:
    """What is made is 0700, whatever the umask."""
    before = os.umask(0)
    try:
        path = paths.cache_dir("filters")
    finally:
        os.umask(before)
    assert os.stat(path).st_mode & 0o777 == 0o700
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700


def test_made_once_used_again(home: Path) -> None:
    """The second call finds the first one's directory."""
    assert paths.cache_dir("a") == paths.cache_dir("a")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_directory_that_others_may_write_is_refused(home: Path, mode: int) -> None:
    """Where others may write, nothing is trusted."""
    os.chmod(paths.cache_dir(), mode)
    with pytest.raises(StateError, match="others may write it"):
        paths.cache_dir("x")


@pytest.mark.as_root
def test_directory_of_another_user_is_refused(home: Path) -> None:
    """sudo with a kept HOME does not put root's files into the user's hands."""
    os.chown(paths.cache_dir(), 4321, 4321)
    with pytest.raises(StateError, match="it belongs to uid 4321"):
        paths.cache_dir("x")


def test_symlink_is_refused(home: Path) -> None:
    """A link in place of our directory is not followed."""
    (home / ".cache").mkdir()
    (home / "elsewhere").mkdir(mode=0o700)
    (home / ".cache/sandbox").symlink_to("../elsewhere")
    with pytest.raises(StateError, match="it is not a directory"):
        paths.cache_dir("x")


@pytest.mark.parametrize("value", ["/proc/none", "/dev/null/x", "/a\udcff/\udcfe\0"])
def test_impossible_place_is_a_state_error(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A full, read-only or absurd place is reported with the path and a hint."""
    if "\0" in value:
        monkeypatch.setattr(paths, "_base", lambda *_args: value)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    with pytest.raises(StateError) as info:
        paths.cache_dir("x")
    assert info.value.hint


def test_runtime_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below XDG_RUNTIME_DIR if that can be written, else in our own state directory."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    (home / "run").mkdir()
    assert str(home / "run/sandbox/x") == paths.runtime_dir("x")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "absent"))
    assert str(home / ".local/state/sandbox/run/x") == paths.runtime_dir("x")


def test_runtime_directory_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller whose home does not exist gets one of its own in /tmp, and no home is made."""
    monkeypatch.setenv("HOME", str(tmp_path / "absent"))
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 987654321)
    made: list[tuple[str, ...]] = []
    real = paths._make

    def make(base: str, name: str, *parts: str) -> str:
        if base != "/tmp":
            return real(base, name, *parts)
        made.append((name, *parts))
        return ""

    monkeypatch.setattr(paths, "_make", make)
    paths.runtime_dir("x")
    assert made == [("sandbox-987654321", "x")]
    assert not (tmp_path / "absent").exists()


def test_home_without_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user database answers where HOME does not; an unknown id lives in /."""
    import pwd

    monkeypatch.setenv("HOME", "relative")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert pwd.getpwuid(0).pw_dir == paths.home_dir()
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    assert paths.home_dir() == "/"
