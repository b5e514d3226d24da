"""Questions about what holds a run here are within the layers of the working tree, as runs are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.cli.main import main

LAYER = """\
schema = 1
[syscalls]
deny = ["getpid"]
[limits]
pids = 7
"""
BUGS = '{"l": {"rows": [{"cve": "C", "syscalls": ["getpid"]}]}}'


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a layer at its root; the working directory is below it."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".sandbox.toml").write_text(LAYER)
    (tmp_path / "bugs.json").write_text(BUGS)
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path / "src")
    return tmp_path


def answer(capfd: pytest.CaptureFixture[str], *words: str) -> Any:
    """The JSON that `sandbox policy WORDS --json` prints."""
    main(["policy", *words, "--json"])
    return json.loads(capfd.readouterr().out)


def test_simulate_answers_as_the_run_here_would(
    capfd: pytest.CaptureFixture[str], tree: Path
) -> None:
    """The call that the layer denies is denied, with its line, unless asked without."""
    found = answer(capfd, "simulate", "strict", "getpid")
    assert found["calls"][0]["verdict"] == "errno:EPERM"
    assert found["calls"][0]["origin"] == f"{tree}/.sandbox.toml:3"
    assert found["tree"] == [f"{tree}/.sandbox.toml"]
    without = answer(capfd, "simulate", "strict", "getpid", "--no-tree")
    assert (without["calls"][0]["verdict"], without["tree"]) == ("allow", [])


@pytest.mark.parametrize(
    "words",
    [
        ("show", "strict"),
        ("explain", "strict"),
        ("explain", "strict", "--syscall", "getpid"),
        ("explain", "strict", "--host", "localhost"),
        ("explain", "strict", "--path", "/usr"),
        ("lint", "strict"),
        ("score", "strict", "--data", "../bugs.json"),
        ("export", "strict", "--to", "docker"),
    ],
)
def test_found_layer_counts_and_is_said(
    capfd: pytest.CaptureFixture[str], tree: Path, words: tuple[str, ...]
) -> None:
    """A note on stderr, a list in the JSON; neither with --no-tree."""
    assert answer(capfd, *words)["tree"] == [f"{tree}/.sandbox.toml"]
    assert answer(capfd, *words, "--no-tree")["tree"] == []
    main(["policy", *words])
    out, err = capfd.readouterr()
    assert "sandbox: note: with ../.sandbox.toml\n" in err
    main(["policy", *words, "--no-tree"])
    other = capfd.readouterr()
    assert "with ../.sandbox.toml" not in other.err
    if words[-1] not in ("localhost", "/usr") and words[0] != "lint":
        assert out != other.out, "the layer changes the answer"


def test_note_names_the_layer_beside(
    capfd: pytest.CaptureFixture[str], tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own directory it is ./.sandbox.toml, as a path is typed."""
    monkeypatch.chdir(tree)
    main(["policy", "simulate", "strict", "read"])
    assert "sandbox: note: with ./.sandbox.toml\n" in capfd.readouterr().err


@pytest.mark.usefixtures("tree")
def test_comparisons_take_what_was_named(capfd: pytest.CaptureFixture[str]) -> None:
    """Their answer depends on the directory only where that is asked for."""
    named = answer(capfd, "diff", "strict", "tiny")
    assert named["tree"] == []
    assert answer(capfd, "tighter", "strict", "default")["tree"] == []
    within = answer(capfd, "diff", "strict", "tiny", "--tree")
    assert len(within["tree"]) == 1
    name = {one["name"] for one in named["changes"]} - {one["name"] for one in within["changes"]}
    assert "limits.pids" in name  # 7 in both


def test_layer_itself_is_asked_about_as_it_is(
    capfd: pytest.CaptureFixture[str], tree: Path
) -> None:
    """A layer is not within itself; another tool's file is not either."""
    found = answer(capfd, "show", "../.sandbox.toml")
    assert found["tree"] == []
    profile = tree / "profile.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    found = answer(capfd, "simulate", f"docker:{profile}", "getpid")
    assert (found["tree"], found["calls"][0]["verdict"]) == ([], "allow")


def test_widening_of_a_found_layer_is_a_note(capfd: pytest.CaptureFixture[str], tree: Path) -> None:
    """What asks for more has no effect, here as in a run."""
    (tree / ".sandbox.toml").write_text("schema = 1\nlimits.pids = 5000\n")
    found = answer(capfd, "show", "strict")
    assert any("has no effect" in note for note in found["policy"]["notes"])
    pids = [one["value"] for one in found["values"] if one["key"] == "limits.pids"]
    assert pids == [64]
