from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.cli.streams import Sink, open_sink, say, show
from sandbox.errors import StateError, UsageError


def test_closed_streams_become_dev_null() -> None:
    """0-2 are open afterwards, on /dev/null, and survive exec; what was closed is named."""
    code = (
        "import os; os.close(0); os.close(1)\n"
        "from sandbox.cli.streams import open_missing\n"
        "names = open_missing()\n"
        "null = os.stat('/dev/null').st_rdev\n"
        "assert [os.fstat(n).st_rdev for n in (0, 1)] == [null, null]\n"
        "assert os.get_inheritable(0) and os.get_inheritable(1)\n"
        "os.write(2, ','.join(names).encode())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=True)
    assert done.stderr == b"standard input,standard output"


def test_say_survives_a_full_stderr() -> None:
    """A message that cannot be written is not an error."""
    code = "from sandbox.cli.streams import say; say('x')"
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", code], stderr=full, timeout=30, check=False)
    assert done.returncode == 0


def test_texts_reach_the_streams(capfd: pytest.CaptureFixture[str]) -> None:
    """Messages go to stderr, output to stdout, lone surrogates do not break them."""
    say("note \udcff")
    show("text\n")
    assert capfd.readouterr() == ("text\n", "note \\udcff\n")


def test_result_replaces_the_file(tmp_path: Path) -> None:
    """The old content is gone as a whole, and no draft is left."""
    target = tmp_path / "run.json"
    target.write_bytes(b"old" * 100)
    open_sink(str(target)).write(b"new\n")
    assert target.read_bytes() == b"new\n"
    assert os.listdir(tmp_path) == ["run.json"]


def test_result_is_not_written_through_a_planted_link(tmp_path: Path) -> None:
    """A link that the command left under the name is replaced, its target untouched."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    target = tmp_path / "run.json"
    sink = open_sink(str(target))
    target.symlink_to(victim)
    sink.write(b"new\n")
    assert victim.read_bytes() == b"precious"
    assert not target.is_symlink()
    assert target.read_bytes() == b"new\n"


def test_result_follows_the_users_own_link(tmp_path: Path) -> None:
    """A link that was there before the start is the user's wish."""
    real = tmp_path / "real"
    (tmp_path / "link").symlink_to(real)
    open_sink(str(tmp_path / "link")).write(b"new\n")
    assert real.read_bytes() == b"new\n"


def test_result_stays_in_its_directory(tmp_path: Path) -> None:
    """A directory that is swapped during the run does not redirect the result."""
    folder = tmp_path / "out"
    folder.mkdir()
    sink = open_sink(str(folder / "run.json"))
    folder.rename(tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    sink.write(b"new\n")
    assert (tmp_path / "moved" / "run.json").read_bytes() == b"new\n"
    assert os.listdir(tmp_path / "elsewhere") == []


def test_result_goes_to_a_descriptor() -> None:
    """fd:N is written as it is."""
    reader, writer = os.pipe()
    open_sink(f"fd:{writer}").write(b"new\n")
    os.close(writer)
    assert os.read(reader, 100) == b"new\n"
    os.close(reader)


def test_result_goes_to_a_device() -> None:
    """What is no regular file is opened, not replaced."""
    open_sink("/dev/null").write(b"new\n")
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("target", ["fd:", "fd:x", "fd:-1", "fd:99999", "fd:٣", "fd:9999999999999"])
def test_descriptor_that_is_none_is_refused(target: str) -> None:
    """A wrong descriptor is noticed before the command starts."""
    with pytest.raises(UsageError) as caught:
        open_sink(target)
    assert caught.value.hint


def test_descriptor_for_reading_is_refused() -> None:
    """A descriptor must be open for writing."""
    reader, writer = os.pipe()
    with pytest.raises(UsageError, match="reading only"):
        open_sink(f"fd:{reader}")
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("target", ["/proc/none/run.json", "/proc/new", "/tmp", "/dev/null/x"])
def test_unwritable_file_is_refused(target: str) -> None:
    """A file that cannot be written is noticed before the command starts."""
    with pytest.raises(UsageError) as caught:
        open_sink(target)
    assert caught.value.hint


def test_full_disk_is_an_error_with_a_hint() -> None:
    """The result is the contract: that it could not be written must be known."""
    number = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(StateError, match="ENOSPC"):
        Sink("fd:9", number=number).write(b"x")
    os.close(number)
