"""Composition seen from the command line: layers, several policies, calls allowed and denied."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from support.need import need_user_namespaces
from support.user import User

Run = Callable[..., CompletedProcess[bytes]]


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_user_namespaces()


@pytest.fixture
def write(user: User, work_dir: Path) -> Callable[[str, str], None]:
    """`write(name, text)`: a file of the user in the working directory."""

    def make(name: str, text: str) -> None:
        path = work_dir / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
        user.own(work_dir)

    return make


def result_of(done: CompletedProcess[bytes]) -> dict[str, Any]:
    """Return the result that --json printed."""
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def test_a_found_layer_holds(sandbox_run: Run, write: Callable[[str, str], None]) -> None:
    """`.sandbox.toml` of the tree hides a path and bounds the run, and is in the result."""
    write("secrets/key", "s3cret")
    layer = 'schema = 1\n[filesystem]\nhide = ["${CWD}/secrets"]\n[limits]\nwall = "50s"\n'
    write(".sandbox.toml", layer)
    result = result_of(sandbox_run("exec", "--json", "--", "sh", "-c", "ls secrets; cat secrets/*"
                                   " 2>/dev/null; true"))  # fmt: skip
    assert result["stdout"] == ""
    assert result["limits"]["wall"]["requested"] == 50_000
    assert [Path(item["path"]).name for item in result["policy"]["files"]][-1] == ".sandbox.toml"


def test_a_named_layer_that_widens_is_refused(
    sandbox_run: Run, write: Callable[[str, str], None]
) -> None:
    """Nothing is started; file and line are named."""
    write("wide.toml", 'schema = 1\n[network]\nmode = "host"\n')
    done = sandbox_run("exec", "--tighten", "./wide.toml", "--", "true")
    assert done.returncode == 125
    assert b"./wide.toml:3: network.mode: host is more than the policy: none" in done.stderr


def test_a_removal_stands_in_the_result(
    sandbox_run: Run, write: Callable[[str, str], None]
) -> None:
    """The denial that was taken out is listed with its reason."""
    text = 'schema = 1\nextends = ["default"]\n[remove]\nreason = "we debug"\n'
    write("mine.toml", text + 'syscalls.deny = ["@debug"]\n')
    write("more.toml", 'schema = 1\nenv.allow = ["MORE"]\n')
    done = sandbox_run(
        "exec", "--policy", "./mine.toml", "--policy", "./more.toml", "--json", "true"
    )
    policy = result_of(done)["policy"]
    assert policy["name"] == "mine + more"
    assert policy["removed"] == [
        {
            "key": "syscalls.deny",
            "member": "@debug",
            "reason": "we debug",
            "origin": "./mine.toml:5",
        }
    ]


def test_calls_are_allowed_and_denied_by_flag(sandbox_run: Run) -> None:
    """Both are overrides in the result, and both hold."""
    done = sandbox_run("exec", "--json", "--allow-syscall", "kcmp", "--deny-syscall", "mkdir",
                       "--deny-syscall", "mkdirat", "--", "sh", "-c", "mkdir x; true")  # fmt: skip
    result = result_of(done)
    assert "not permitted" in result["stderr"]
    assert [item["key"] for item in result["overrides"]] == [
        "syscalls.allow[kcmp]",
        "syscalls.deny[mkdir]",
        "syscalls.deny[mkdirat]",
    ]


def test_the_canonical_form_runs_as_a_policy(
    sandbox_run: Run, write: Callable[[str, str], None]
) -> None:
    """A resolved policy as JSON is a policy file of the same hash."""
    from sandbox.policy.load import load_policy

    strict = load_policy("strict")
    write("mine.json", strict.canonical.decode())
    result = result_of(sandbox_run("exec", "--policy", "./mine.json", "--json", "--", "echo", "hi"))
    assert result["stdout"] == "hi\n"
    assert result["policy"]["sha256"] == strict.sha256
