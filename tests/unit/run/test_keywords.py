"""The keywords of the Python API stand for options of the command line."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import Any

import pytest

from sandbox.errors import UsageError
from sandbox.run.keywords import ask


def flags(**options: Any) -> list[tuple[str, str]]:
    """Return key and value of the flags that the keywords stand for."""
    return [(flag.key, flag.value) for flag in ask(["true"], options).request.flags]  # type: ignore[arg-type]  # any keyword


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"limits": {"memory": "1G", "pids": 7, "wall": None}},
         [("limit", "memory=1G"), ("limit", "pids=7"), ("limit", "wall=none")]),
        ({"limits": {"cpu": 1.5}}, [("limit", "cpu=1500ms")]),
        ({"mounts": {"/a": "ro", "/b": "hide", "/c": "tmpfs", "/d": "tmpfs:1M"}},
         [("ro", "/a"), ("hide", "/b"), ("tmpfs", "/c"), ("tmpfs", "/d:1M")]),
        ({"mounts": {"/a": ("/src", "ro"), Path("/b"): (Path("/s"), "rw")}},
         [("bind", "/src:/a:ro"), ("bind", "/s:/b:rw")]),
        ({"env": {"A": "1", "B": None}}, [("env", "A="), ("env", "B")]),
        ({"network": "host", "hostname": "h"}, [("net", "host"), ("hostname", "h")]),
        ({"chdir": "/x", "rootfs": b"/r"}, [("chdir", "/x"), ("rootfs", "/r")]),
        ({"allow_syscalls": ["bpf"], "deny_syscalls": ["@clock"]},
         [("allow-syscall", "bpf"), ("deny-syscall", "@clock")]),
    ],
)  # fmt: skip
def test_keywords_are_flags(options: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Each keyword makes the flag of the option that it stands for."""
    assert flags(**options) == expected


def test_what_changes_with_each_call_is_no_part_of_the_request() -> None:
    """The command, the time limit and the values of variables leave the Request as it is."""
    one = ask(["a"], {"timeout": 1.5, "env": {"N": "secret"}})
    two = ask(["b", "c"], {"timeout": None, "env": {"N": b"other"}})
    assert one.request == two.request
    assert (one.argv, one.timeout_ms, one.env) == ((b"a",), 1500, ((b"N", b"secret"),))
    assert "secret" not in repr(one.request)


def test_policies_are_names_or_paths() -> None:
    """A Path without a slash is a path all the same; several policies keep their order."""
    assert ask(["a"], {}).request.policy == "default"
    assert ask(["a"], {"policy": PurePath("p.toml")}).request.policy == "./p.toml"
    request = ask(["a"], {"policy": ["strict", "./x.toml"], "tighten": "offline"}).request
    assert (request.policy, request.more_policies) == ("strict", ("./x.toml",))
    assert request.tighten == ("offline",)


def test_words_of_every_kind_are_bytes() -> None:
    """str, bytes and paths may stand side by side; surrogates become their bytes."""
    asked = ask(["a", b"\xff", Path("/p"), os.fsdecode(b"\xfe")], {})
    assert asked.argv == (b"a", b"\xff", b"/p", b"\xfe")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"mounts": {"/a": "tmpfs:"}}, UsageError),
        ({"mounts": {"/a": ("/s:t", "ro")}}, UsageError),
        ({"mounts": {"/a": ("", "ro")}}, UsageError),
        ({"mounts": {"/a": 3}}, TypeError),
        ({"limits": {"pids": 1.5}}, TypeError),
        ({"timeout": -1}, UsageError),
        ({"timeout": float("nan")}, UsageError),
        ({"policy": []}, UsageError),
        ({"policy": ""}, UsageError),
        ({"cwd": "/no/such"}, UsageError),
        ({"env": {"": "x"}}, UsageError),
        ({"bogus": 1}, TypeError),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    """A value that no option could have is an error of the caller's."""
    with pytest.raises(error):
        flags(**options)
