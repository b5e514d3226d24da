from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import PolicyError, ProgramError, SetupError
from sandbox.launch.result import (
    Limit,
    Result,
    Setup,
    Usage,
    encode_result,
    failed,
    new_run_id,
    output_data,
    utc_text,
)
from sandbox.record import replace

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "docs" / "result.schema.json").read_text(encoding="utf-8")
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
EXITED = Result(
    run_id="0123456789abcdef",
    started="2026-01-02T03:04:05.678Z",
    reason="exited",
    ended_by="command",
    exit_code=3,
    policy={"name": "strict", "sha256": "ab", "files": [{"path": "/p.toml", "sha256": "cd"}]},
    plan_digest="0" * 64,
    overrides=({"key": "network.mode", "value": "host", "was": "none", "origin": "command line"},),
    effective={"seccomp": {"wanted": "require", "got": "require", "by": "seccomp", "note": ""}},
    tier="full",
    limits=(("wall", Limit(60_000, "supervisor", "tree")), ("pids", Limit(64, "rlimit", "tree"))),
    usage=Usage(wall_ms=12, user_ms=1, max_rss_bytes=1 << 20),
    denials=(
        {
            "t_ms": 1,
            "layer": "seccomp",
            "call": "socket",
            "target": None,
            "errno": "EAFNOSUPPORT",
            "count": 1,
            "pid": 2,
            "comm": "\udcff",
            "rule": {"key": "syscalls.socket_families", "origin": "strict.toml:5"},
            "fix": None,
        },
    ),
    changes=({"path": "a", "kind": "A", "size_bytes": 1, "protected": False},),
)
SIGNALED = replace(EXITED, reason="signaled", exit_code=None, signal=9, ended_by="kernel")
FAILED = failed(
    SetupError("no userns", hint="allow them", stage="clone", op=-1, errno=1),
    run_id="r",
    started="2026-01-02T03:04:05Z",
)


@pytest.mark.parametrize("result", [EXITED, SIGNALED, FAILED])
def test_result_fits_its_schema(result: Result) -> None:
    """What is written is what docs/result.schema.json promises."""
    VALIDATOR.validate(json.loads(encode_result(result)))


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "bored"},
        {"exit_code": None},
        {"signal": 9},
        {"extra": 1},
        {"plan_digest": "zz"},
        {"setup": {"stage": "exec", "op": None, "errno": 2, "cause": "x", "remedy": None}},
        {"started": "yesterday"},
        {
            "limits": {
                "wall": {"requested": 1, "enforced_by": "hope", "scope": "tree", "hit": False}
            }
        },
    ],
)
def test_schema_refuses_what_no_run_can_be(change: dict[str, object]) -> None:
    """The schema is not so wide that everything fits it."""
    data = {**json.loads(encode_result(EXITED)), **change}
    assert not VALIDATOR.is_valid(data)


def test_keys_stand_in_the_documented_order() -> None:
    """The order of keys is part of the text that people read."""
    assert list(EXITED.to_data()) == [
        *("schema", "run_id", "started", "exit_code", "signal", "reason", "ended_by", "setup"),
        *("policy", "plan_digest", "overrides", "effective", "tier", "limits", "usage"),
        *("denials", "denials_lost", "changes"),
    ]
    assert list(EXITED.to_data()) == SCHEMA["required"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 3),
        ({"reason": "signaled", "exit_code": None, "signal": 15}, 143),
        ({"reason": "timeout", "exit_code": None, "signal": 9}, 124),
        ({"reason": "timeout", "exit_code": 0}, 124),
        ({"reason": "policy", "exit_code": None, "signal": 31}, 159),
        ({"reason": "oom", "exit_code": None, "signal": 9}, 137),
        ({"reason": "cancelled", "exit_code": None, "signal": 2}, 130),
    ],
)
def test_shell_sees_the_code_of_the_end(change: dict[str, object], expected: int) -> None:
    """128 + n on a signal, 124 where time was up, else the command's own code."""
    assert replace(EXITED, **change).shell_exit_code() == expected


def test_failure_keeps_the_code_of_its_error() -> None:
    """125, 126 and 127 are the error's."""
    missing = ProgramError("x is not found", stage="exec", errno=2)
    made = {"run_id": "r", "started": "s"}
    assert failed(missing, **made).shell_exit_code() == 127
    missing.exit_code = 126
    assert failed(missing, **made).shell_exit_code() == 126
    assert FAILED.shell_exit_code() == 125


def test_failure_before_the_core_names_the_error() -> None:
    """Where nothing was started the stage is the error's code."""
    error = PolicyError("no policy", hint="name one", code="policy.not-found")
    setup = failed(error, run_id="r", started="s").to_data()["setup"]
    assert setup == {
        "stage": "policy.not-found",
        "op": None,
        "errno": None,
        "cause": "no policy",
        "remedy": "name one",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "setup"},
        {"setup": Setup("exec", "x")},
        {"exit_code": None},
        {"signal": 9},
        {"reason": "x"},
        {"ended_by": "x"},
    ],
)
def test_result_cannot_contradict_itself(change: dict[str, object]) -> None:
    """One end, one reason."""
    with pytest.raises(ValueError, match=r"."):
        replace(EXITED, **change)


@pytest.mark.parametrize("values", [("hope", "tree"), ("none", "galaxy")])
def test_limit_names_a_known_enforcer(values: tuple[str, str]) -> None:
    """An enforcer or scope that the schema does not know cannot be made."""
    with pytest.raises(ValueError, match="no "):
        Limit(1, *values)


@given(st.binary())
def test_output_is_lossless(content: bytes) -> None:
    """UTF-8 stays text, everything else becomes base64; both can be turned back."""
    members = json.loads(json.dumps(output_data("stdout", content)))
    if "stdout" in members:
        assert members["stdout"].encode() == content
    else:
        assert base64.b64decode(members["stdout_base64"]) == content


@given(st.binary(max_size=40))
def test_json_is_ascii_on_one_line_and_lossless(path: bytes) -> None:
    """No byte of a name can break out of the line or get lost."""
    text = path.decode("utf-8", "surrogateescape")
    change = {"path": text, "kind": "A", "size_bytes": 0, "protected": False}
    encoded = encode_result(replace(EXITED, changes=(change,)))
    assert encoded.endswith(b"}\n")
    assert encoded.count(b"\n") == 1
    encoded.decode("ascii")
    back = json.loads(encoded)["changes"][0]["path"]
    assert back.encode("utf-8", "surrogateescape") == path


def test_run_ids_differ() -> None:
    """An id is 16 hexadecimal digits, new each time."""
    first, second = new_run_id(), new_run_id()
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert first != second


def test_time_is_utc_with_milliseconds() -> None:
    """Times read as RFC 3339."""
    assert utc_text(0.0625) == "1970-01-01T00:00:00.062Z"
