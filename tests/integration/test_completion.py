"""Completion scripts, run by the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from sandbox.cli import completion, exec_options
from support.need import need_program

SHELLS = [shell for shell in completion.SHELLS if shutil.which(shell)]


@pytest.fixture
def complete(
    sandbox_run: Callable[..., CompletedProcess[bytes]],
    as_user: Callable[..., CompletedProcess[bytes]],
    work_dir: Path,
    user_python: Path,
) -> Callable[..., set[str]]:
    """`complete("sandbox", "exec", "--po")`: what bash offers for the last word."""
    need_program("bash")
    made = sandbox_run("completion", "bash")
    assert made.returncode == 0
    (work_dir / "completion.bash").write_bytes(made.stdout)
    (work_dir / "sandbox").write_text(f'#!/bin/sh\nexec {user_python} -I -m sandbox "$@"\n')
    (work_dir / "sandbox").chmod(0o755)
    (work_dir / "tree").mkdir()
    (work_dir / "tree" / "my.toml").write_text("schema = 1\n")
    script = (
        "source ./completion.bash; PATH=$PWD:$PATH\n"
        'COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n'
        'eval "$(complete -p sandbox | sed "s/complete -F \\([^ ]*\\) sandbox/\\1/")" || exit\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )

    def run(*words: str) -> set[str]:
        done = as_user(["bash", "--norc", "-c", script, "bash", *words])
        assert done.returncode == 0, done.stderr
        return set(os.fsdecode(done.stdout).split())

    return run


def test_bash_offers_commands_and_options(complete: Callable[..., set[str]]) -> None:
    """Every command, and every option of a command, and no other."""
    assert complete("sandbox", "") >= {"exec", "shell", "doctor", "completion"}
    options = {f"--{option.name}" for option in exec_options.OPTIONS} | {"-h", "-q"}
    assert complete("sandbox", "exec", "-") == options
    assert complete("sandbox", "exec", "--po") == {"--policy"}
    assert complete("sandbox", "completion", "") == {"bash", "zsh", "fish"}


@pytest.mark.parametrize("words", [("--policy", ""), ("--policy", "="), ("-q", "--policy", "")])
def test_bash_offers_policies(words: tuple[str, ...], complete: Callable[..., set[str]]) -> None:
    """Names of policies, after a space and after an equals sign."""
    assert complete("sandbox", "exec", *words) >= {"default", "strict", "tiny"}


def test_bash_offers_values(complete: Callable[..., set[str]]) -> None:
    """Modes, limits, variables, files, and a policy file by its path."""
    assert complete("sandbox", "exec", "--net", "") == {"none", "host"}
    assert complete("sandbox", "exec", "--limit", "m") == {"memory="}
    assert complete("sandbox", "shell", "--env", "HOM") == {"HOME"}
    assert complete("sandbox", "exec", "--ro", "tr") == {"tree"}
    assert complete("sandbox", "exec", "--policy", "./tree/m") == {"./tree/my.toml"}
    assert complete("sandbox", "exec", "--hostname", "") == set()


def test_bash_completes_the_command_itself(complete: Callable[..., set[str]]) -> None:
    """A program first, its arguments as files, and no option of ours after it."""
    assert "bash" in complete("sandbox", "exec", "--ro", "tree", "bas")
    assert "bash" in complete("sandbox", "exec", "--", "bas")
    assert complete("sandbox", "exec", "cat", "tre") == {"tree"}
    assert complete("sandbox", "exec", "cat", "--po") == set()


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_well_formed(
    shell: str, sandbox_run: Callable[..., CompletedProcess[bytes]], tmp_path: Path
) -> None:
    """Each shell that is installed reads its script without a complaint."""
    made = sandbox_run("completion", shell)
    assert made.returncode == 0
    script = tmp_path / "script"
    script.write_bytes(made.stdout)
    flag = "--no-execute" if shell == "fish" else "-n"
    done = subprocess.run([shell, flag, str(script)], capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
