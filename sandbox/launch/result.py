"""The one JSON result of a run: what ended it, what held it, what it used.

A shell sees one number, which is ambiguous by nature; `Result` is the contract.
docs/result.schema.json is its specification.
"""

from __future__ import annotations

import os
import time

from sandbox.errors import EXIT_SANDBOX, EXIT_TIMEOUT, SandboxError
from sandbox.record import record, to_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEMA = 1
REASONS = frozenset(
    {"exited", "signaled", "timeout", "oom", "limit", "policy", "cancelled", "setup"}
)
ENDERS = frozenset({"command", "sandbox", "user", "kernel"})
ENFORCERS = frozenset({"cgroup-v2", "cgroup-v1", "rlimit", "supervisor", "none"})
SCOPES = frozenset({"tree", "process"})


@record
class Setup:
    """Why the command was not started.

    Shape: `stage` is a stage of the C core (`mounts`, `exec` …), or the code of the error where
    nothing had been started yet (`policy.not-found`). `exit_code` is for the shell, not for JSON.
    """

    stage: str
    cause: str
    remedy: str | None = None
    op: int | None = None
    errno: int | None = None
    exit_code: int = EXIT_SANDBOX

    def to_data(self) -> dict[str, Any]:
        """Return the JSON value."""
        return {
            "stage": self.stage,
            "op": self.op,
            "errno": self.errno,
            "cause": self.cause,
            "remedy": self.remedy,
        }


@record
class Limit:
    """A limit (None: no bound was asked for), who kept it, over what, and whether it was hit."""

    requested: int | None
    enforced_by: str
    scope: str
    hit: bool = False

    def __post_init__(self) -> None:
        if self.enforced_by not in ENFORCERS:
            raise ValueError(f"no enforcer {self.enforced_by!r}")
        if self.scope not in SCOPES:
            raise ValueError(f"no scope {self.scope!r}")


@record
class Usage:
    """What the whole process tree used; None where nothing could measure it."""

    wall_ms: int = 0
    user_ms: int = 0
    sys_ms: int = 0
    max_rss_bytes: int = 0
    memory_peak_bytes: int | None = None
    switches: int = 0
    output_bytes: int | None = None
    output_truncated: bool = False


@record
class Result:
    """How a run ended.

    Shape: `policy`, `overrides`, `effective`, `tier` as in the plan's notes; `limits` are pairs of
    name and Limit; `denials` and `changes` are JSON values in the order of events. `policy` and
    `plan_digest` are None where the run failed before there was a plan. `args`, `stdout` and
    `stderr` are what a caller of the Python API gave and had captured; to_data() leaves them out.
    """

    run_id: str
    started: str
    reason: str
    ended_by: str
    exit_code: int | None = None
    signal: int | None = None
    setup: Setup | None = None
    policy: dict[str, Any] | None = None
    plan_digest: str | None = None
    overrides: tuple[dict[str, Any], ...] = ()
    effective: dict[str, Any] | None = None
    tier: str | None = None
    limits: tuple[tuple[str, Limit], ...] = ()
    usage: Usage = Usage()
    denials: tuple[dict[str, Any], ...] = ()
    denials_lost: int = 0
    changes: tuple[dict[str, Any], ...] = ()
    args: tuple[bytes, ...] = ()
    stdout: bytes = b""
    stderr: bytes = b""

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"no reason {self.reason!r}")
        if self.ended_by not in ENDERS:
            raise ValueError(f"no ender {self.ended_by!r}")
        if (self.setup is not None) != (self.reason == "setup"):
            raise ValueError("`setup` stands exactly where the reason is setup")
        ends = (self.exit_code is not None) + (self.signal is not None)
        if ends != (self.reason != "setup"):
            raise ValueError("a command that ran has either an exit code or a signal")

    def __repr__(self) -> str:
        shown: dict[str, object] = {
            "reason": self.reason,
            "exit_code": self.exit_code,
            "signal": self.signal,
        }
        shown |= {"setup": self.setup} if self.setup is not None else {}
        shown |= {"stdout": _short(self.stdout), "stderr": _short(self.stderr)} if self.args else {}
        return f"Result({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def returncode(self) -> int:
        """The command's exit code; -N where signal N ended it, as subprocess has it."""
        if self.signal is not None:
            return -self.signal
        return self.exit_code if self.exit_code is not None else EXIT_SANDBOX

    @property
    def text(self) -> str:
        """What was captured of standard output, as text; what is no UTF-8 shows as U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    def to_data(self) -> dict[str, Any]:
        """Return the JSON object, keys in the documented order."""
        return {
            "schema": SCHEMA,
            "run_id": self.run_id,
            "started": self.started,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "reason": self.reason,
            "ended_by": self.ended_by,
            "setup": None if self.setup is None else self.setup.to_data(),
            "policy": to_data(self.policy),
            "plan_digest": self.plan_digest,
            "overrides": to_data(self.overrides),
            "effective": to_data(self.effective or {}),
            "tier": self.tier,
            "limits": {name: to_data(limit) for name, limit in self.limits},
            "usage": to_data(self.usage),
            "denials": to_data(self.denials),
            "denials_lost": self.denials_lost,
            "changes": to_data(self.changes),
        }

    def shell_exit_code(self) -> int:
        """Return the number for the shell.

        Shape: the command's own code; 128 + n on signal n; 124 timed out; 125, 126 or 127 where
               the command was not started.
        """
        if self.setup is not None:
            return self.setup.exit_code
        if self.reason == "timeout":
            return EXIT_TIMEOUT
        if self.signal is not None:
            return 128 + self.signal
        return self.exit_code if self.exit_code is not None else EXIT_SANDBOX


def _short(output: bytes) -> bytes:
    return output if len(output) <= 200 else output[:200] + b" ..."


def new_run_id() -> str:
    """Return a new id for a run: 16 hexadecimal digits."""
    return os.urandom(8).hex()


def utc_text(moment_s: float) -> str:
    """Return a time since the epoch as RFC 3339 text in UTC, with milliseconds."""
    whole = int(moment_s)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{stamp}.{int((moment_s - whole) * 1000):03d}Z"


def failed(error: SandboxError, *, run_id: str, started: str, **known: Any) -> Result:
    """Return the Result of a run that `error` ended before the command was started.

    Shape: `known` are further fields of Result, as far as they were known.
    """
    op = error.fields.get("op")
    setup = Setup(
        stage=str(error.fields.get("stage", error.code)),
        op=op if isinstance(op, int) and op >= 0 else None,
        errno=error.fields.get("errno") or None,
        cause=error.message,
        remedy=error.hint,
        exit_code=error.exit_code,
    )
    return Result(
        run_id=run_id, started=started, reason="setup", ended_by="sandbox", setup=setup, **known
    )


def output_data(name: str, content: bytes) -> dict[str, str]:
    """Return captured output as JSON members: `name` where it is UTF-8, else `name`_base64."""
    try:
        return {name: content.decode("utf-8")}
    except UnicodeDecodeError:
        import base64  # binary output is rare, and the import is not free

        return {f"{name}_base64": base64.b64encode(content).decode("ascii")}


def encode_result(result: Result, **extra: Any) -> bytes:
    r"""Return the result as one line of JSON.

    Shape: pure ASCII, lossless: bytes that are not UTF-8 stand as the escapes \udc80 … \udcff
           (surrogateescape), which json.loads() and os.fsencode() turn back.
    """
    import json

    return json.dumps({**result.to_data(), **extra}, ensure_ascii=True).encode("ascii") + b"\n"
