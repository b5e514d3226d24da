"""`sandbox policy`: exit codes that CI can gate on, text for people, JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sandbox.cli import policy
from sandbox.cli.main import main

POLICY = """\
schema = 1
extends = ["strict"]
[syscalls]
allow = ["acct"]
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """The path of a policy that is wider than strict by one call."""
    path = tmp_path / "mine.toml"
    path.write_text(POLICY)
    return str(path)


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code and standard output of `sandbox policy WORDS`."""
    code = main(["policy", *words])
    return code, capfd.readouterr().out


def answer(capfd: pytest.CaptureFixture[str], *words: str) -> Any:
    """The JSON that `sandbox policy WORDS --json` prints."""
    return json.loads(run(capfd, *words, "--json")[1])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("list",), 0),
        (("show", "strict"), 0),
        (("explain", "default"), 0),
        (("explain", "strict", "--syscall", "read"), 0),
        (("explain", "strict", "--syscall", "mount"), 1),
        (("explain", "strict", "--host", "example.org:443"), 1),
        (("explain", "strict", "--host", "localhost"), 1),
        (("explain", "default", "--host", "localhost:80"), 0),
        (("lint", "strict", "default", "tiny"), 0),
        (("diff", "strict", "strict"), 0),
        (("diff", "strict", "tiny"), 1),
        (("tighter", "default", "strict"), 0),
        (("tighter", "strict", "default"), 1),
        (("simulate", "strict", "read", "write"), 0),
        (("simulate", "strict", "read", "mount"), 1),
        (("export", "strict", "--to", "docker"), 0),
        (("export", "strict", "--to", "systemd"), 1),
        (("schema",), 0),
        (("--help",), 0),
        ((), 2),
        (("shwo", "strict"), 2),
        (("show",), 2),
        (("show", "strict", "tiny"), 2),
        (("diff", "strict"), 2),
        (("simulate", "strict", "raed"), 2),
        (("score", "strict"), 2),
        (("export", "strict", "--to", "podman"), 2),
        (("explain", "strict", "--path", "/", "--host", "x"), 2),
        (("explain", "strict", "--arch", "vax"), 2),
        (("show", "no-such-policy"), 125),
        (("import", "--from", "docker", "/nonexistent"), 125),
    ],
)
def test_exit_code_is_the_answer(
    capfd: pytest.CaptureFixture[str], words: tuple[str, ...], expected: int
) -> None:
    """0 is yes or done, 1 is no, 2 is wrong usage, 125 what cannot be read."""
    assert run(capfd, *words)[0] == expected


@pytest.mark.parametrize("verb", [verb.name for verb in policy.VERBS])
def test_every_verb_has_help(capfd: pytest.CaptureFixture[str], verb: str) -> None:
    """`--help` after a verb shows its usage and options."""
    code, text = run(capfd, verb, "--help")
    assert (code, text.startswith(f"usage: sandbox policy {verb}")) == (0, True)


def test_help_fits_one_screen() -> None:
    """The summary has at most 24 lines of 80 columns … wide lines would wrap."""
    lines = policy.usage().splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 90


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("show", "strict"),
        ("explain", "strict"),
        ("explain", "strict", "--syscall", "ioctl:0:TIOCSTI"),
        ("explain", "strict", "--host", "x"),
        ("lint", "strict"),
        ("diff", "strict", "default"),
        ("tighter", "strict", "default"),
        ("simulate", "strict", "read"),
        ("export", "tiny", "--to", "oci"),
    ],
)
def test_json_has_its_schema_number(
    capfd: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Every answer is one JSON object."""
    assert answer(capfd, *words)["schema"] == 1


def test_options_may_follow_arguments(capfd: pytest.CaptureFixture[str], mine: str) -> None:
    """`diff A B --json` and `diff --json A B` are the same; after -- all are arguments."""
    assert run(capfd, "diff", "strict", mine, "--json") == run(
        capfd, "diff", "--json", "strict", "--", mine
    )


def test_one_more_call_is_seen_by_every_verb(capfd: pytest.CaptureFixture[str], mine: str) -> None:
    """diff, tighter, show and simulate agree about one line, and name it."""
    place = f"{mine}:4"
    changes = answer(capfd, "diff", "strict", mine)["changes"]
    assert [(one["name"], one["b"], one["b_origin"]) for one in changes] == [
        ("acct", "allow", place)
    ]
    widenings = answer(capfd, "tighter", "strict", mine)["widenings"]
    assert [one["witness"] for one in widenings] == ["acct"]
    values = answer(capfd, "show", mine)["values"]
    assert {"key": "syscalls.allow", "member": "acct", "value": True, "origin": place} in values
    calls = answer(capfd, "simulate", mine, "acct")["calls"]
    assert (calls[0]["verdict"], calls[0]["origin"]) == ("allow", place)


def test_layer_takes_it_back(capfd: pytest.CaptureFixture[str], mine: str, tmp_path: Path) -> None:
    """--tighten is part of the policy that is asked about."""
    layer = tmp_path / "layer.toml"
    layer.write_text('schema = 1\n[syscalls]\ndeny = ["acct"]\n')
    assert run(capfd, "simulate", mine, "acct")[0] == 0
    assert run(capfd, "simulate", mine, "acct", "--tighten", str(layer))[0] == 1


def test_broken_policy_does_not_hide_the_others(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """list names a policy that cannot be used, and says why."""
    (tmp_path / "sandbox" / "policies").mkdir(parents=True)
    (tmp_path / "sandbox" / "policies" / "broken.toml").write_text("schema = 2\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    rows = {row["name"]: row for row in answer(capfd, "list")["policies"]}
    assert "expected 1" in rows["broken"]["error"]
    assert rows["strict"]["summary"]


def test_import_and_export_report_on_stderr(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The text on standard output is the result and nothing else; it can be read again."""
    assert main(["policy", "export", "strict", "--to", "docker"]) == 0
    out, err = capfd.readouterr()
    path = tmp_path / "profile.json"
    path.write_text(out)
    assert "alike: syscalls.unknown" in err
    assert main(["policy", "import", "--from", "docker", str(path)]) == 0
    out, err = capfd.readouterr()
    (tmp_path / "back.toml").write_text(out)
    assert "tighter: files, network, limits" in err
    assert run(capfd, "simulate", str(tmp_path / "back.toml"), "socket:AF_UNIX:1")[0] == 0


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("tighter", "strict", "docker:x", "--caps", "SYS_ADMN"), "SYS_ADMIN"),
        (("tighter", "strict", "docker:x", "--kernel", "six"), "6.1"),
        (("simulate", "docker:x", "read", "--tighten", "y"), "import --from docker"),
        (("explain", "docker:x", "--path", "/"), "--syscall"),
    ],
)
def test_wrong_question_about_another_tools_file(
    capfd: pytest.CaptureFixture[str], words: tuple[str, ...], hint: str
) -> None:
    """What a profile cannot answer, or no container can have, is named before it is read."""
    assert main(["policy", *words]) == 2
    assert hint in capfd.readouterr().err


def test_score_gates(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--at-least makes a number a promise."""
    path = tmp_path / "bugs.json"
    path.write_text('{"l": {"rows": [{"cve": "C", "syscalls": ["bpf"]}]}}')
    base = ("score", "strict", "--data", str(path))
    assert run(capfd, *base, "--at-least", "l=1")[0] == 0
    assert run(capfd, *base, "--at-least", "l=2")[0] == 1
    assert run(capfd, *base, "--at-least", "m=1")[0] == 2
    found = answer(capfd, *base)["lists"]["l"]
    assert (found["out_of_reach"], found["without"]["filter"]) == (1, 0)


def test_printed_schema_is_a_schema(capfd: pytest.CaptureFixture[str]) -> None:
    """Editors get valid JSON Schema."""
    jsonschema.Draft202012Validator.check_schema(json.loads(run(capfd, "schema")[1]))
