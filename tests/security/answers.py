"""Runs the native probe and reads its answer; an answer that does not come is an error."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 40.0
EXIT_OK = 0
EXIT_REFUSED = 1
OK = "OK"


class NoVerdictError(AssertionError):
    """The probe crashed, hung or could not be prepared: there is no fourth outcome."""


@dataclass(frozen=True)
class Answer:
    """What one run of a probe found.

    Shape: `parts` maps each attempt to its outcome, `works` each thing that has to work.
    """

    id: str
    is_ok: bool
    parts: Mapping[str, str]
    works: Mapping[str, str]
    detail: str

    def reached(self) -> frozenset[str]:
        """Return the attempts that went through."""
        return frozenset(name for name, outcome in self.parts.items() if outcome == OK)


def ask(
    argv: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str],
    pass_fds: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
    timeout: float = TIMEOUT_S,
) -> Answer:
    """Run `argv`, which ends in a call of the probe, and return its answer.

    Errors: NoVerdictError with everything that came out.
    """
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=stdin,
            capture_output=True,
            pass_fds=pass_fds,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NoVerdictError(f"no answer within {timeout:g} s: {_text(argv)}") from error
    return parse(argv, done.returncode, done.stdout, done.stderr)


def parse(argv: Sequence[str | Path], code: int, stdout: bytes, stderr: bytes) -> Answer:
    """Return the answer in `stdout`.

    Errors: NoVerdictError if there is none, or if the probe says that it could not be prepared.
    """
    said = f"{_text(argv)}\nexit {code}\nstdout: {_tail(stdout)}\nstderr: {_tail(stderr)}"
    lines = [line for line in stdout.splitlines() if line.startswith(b'{"id"')]
    if code not in (EXIT_OK, EXIT_REFUSED) or len(lines) != 1:
        raise NoVerdictError(f"no verdict: {said}")
    data = json.loads(lines[0])
    answer = Answer(data["id"], data["ok"], data["parts"], data["works"], data["detail"])
    if answer.is_ok is not (code == EXIT_OK):
        raise NoVerdictError(f"answer and exit code disagree: {said}")
    return answer


def _text(argv: Sequence[str | Path]) -> str:
    return " ".join(str(word) for word in argv)


def _tail(output: bytes) -> str:
    return output[-2000:].decode("utf-8", "backslashreplace")
