"""The errors of `sandbox`: one base, a stable `code` for each, message and hint kept apart.

The message says what failed, on what, and why; the hint says what to do next.
Exit codes: architecture section "Errors and exit codes" (ARCHITECTURE.md).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXIT_USAGE = 2
EXIT_TIMEOUT = 124
EXIT_SANDBOX = 125
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127


class SandboxError(Exception):
    """An error that the user can act on.

    Shape: `message` without a final stop; `hint` or None; `fields` are JSON values that say more
    (path, line, key, stage, errno …); `code` is stable across versions.
    """

    code = "error"
    exit_code = EXIT_SANDBOX

    def __init__(
        self, message: str, *, hint: str | None = None, code: str | None = None, **fields: Any
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fields = fields
        if code is not None:
            self.code = code

    def to_data(self) -> dict[str, Any]:
        """Return the error as JSON data: code, message, hint and its fields."""
        return {"code": self.code, "message": self.message, "hint": self.hint, **self.fields}


class UsageError(SandboxError):
    """The command line is wrong; exit 2, or 125 where a payload would have run."""

    code = "usage"
    exit_code = EXIT_USAGE


class PolicyError(SandboxError):
    """A policy cannot be found, read or made into a plan.

    Codes: policy.not-found .syntax .unknown-key .value .conflict .path .filter .too-large.
    """

    code = "policy"


class HostError(SandboxError):
    """The host lacks something that the policy requires. Codes: host.missing .unsupported."""

    code = "host.missing"


class SetupError(SandboxError):
    """A set-up stage failed in the C core before the command was started.

    Shape: `fields` has stage (name), op (index into the plan's mounts, or -1), errno (number).
    """

    code = "setup"


class ProgramError(SandboxError):
    """The walls stand, but the command cannot be executed behind them (exit 126 or 127)."""

    code = "setup.exec"
    exit_code = EXIT_NOT_FOUND


class CommandFailed(SandboxError):
    """A command ran, but did not exit with 0, and its caller asked for that (`check=True`).

    Shape: `result` is the whole sandbox.Result, with what was captured.
    """

    code = "command"

    def __init__(self, result: Any) -> None:
        command = " ".join(os.fsdecode(word) for word in result.args)
        super().__init__(
            f"the command {_how(result)}: {command[:200]}",
            reason=result.reason,
            returncode=result.returncode,
        )
        self.result = result
        self.exit_code = result.shell_exit_code()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.result,)


def _how(result: Any) -> str:
    if result.reason == "exited":
        return f"exited with {result.exit_code}"
    if result.reason == "signaled":
        return f"was ended by signal {result.signal}"
    return f"was ended ({result.reason})"


class StateError(SandboxError):
    """A file of the project's own (cache, journal, result) cannot be used."""

    code = "state"
