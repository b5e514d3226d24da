"""`sandbox log`: the recent runs, how they ended, and which of their calls were refused."""

from __future__ import annotations

import os
import sys

from sandbox.cli.options import Option, options_help, parse
from sandbox.cli.streams import show
from sandbox.errors import SandboxError, UsageError
from sandbox.text import duration_text, escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.policy.model import Policy
    from sandbox.run.runlog import Run

COMMAND = "sandbox log"


def _check_number(value: str) -> str | None:
    is_count = value.isascii() and value.isdigit() and 0 < len(value) <= 9 and int(value) > 0
    return None if is_count else "a number above 0 is wanted"


OPTIONS = (
    Option("json", "one JSON object a run, the oldest first"),
    Option("number", "the last N runs (default: 20)", "N", short="n", check=_check_number),
    Option("denied", "only runs with refused calls"),
    Option("run", "only the run ID", "ID"),
    Option("lines", "only what a run says on stderr of its refused calls"),
    Option("help", "show this help", short="h"),
)
USAGE = """\
usage: sandbox log [--json | --lines] [-n N] [--denied] [--run ID]

Show the recent runs: policy, command, how it ended, how long it took, and each
refused call with the line that refused it and the change that would let it pass.

"""
_DEFAULT = 20


def run(words: tuple[str, ...], missing: tuple[str, ...] = ()) -> int:
    """Run `sandbox log WORDS`; return 0."""
    del missing
    parsed = parse(words, OPTIONS, COMMAND)
    if parsed.has("help"):
        show(USAGE + options_help(OPTIONS))
        return 0
    if parsed.rest:
        raise UsageError(
            "log takes no arguments", hint=f"see `{COMMAND} --help`", code="usage.argument"
        )
    from sandbox.run.runlog import read_log

    runs = [one for one in read_log() if one.denials or not parsed.has("denied")]
    wanted = parsed.last("run")
    if wanted is not None:
        runs = [one for one in runs if one.run_id == wanted]
    shown = runs[-int(parsed.last("number") or _DEFAULT) :]
    if parsed.has("lines"):
        for one in shown:
            _print_lines(run_data(one))
        return 0
    _print([run_data(one) for one in shown], as_json=parsed.has("json"))
    return 0


def _print_lines(entry: dict[str, Any]) -> None:
    from sandbox.run.denied import denial_lines

    for line in denial_lines(entry["denials"], entry["denials_lost"]):
        show(f"sandbox: {line}\n")


def run_data(one: Run) -> dict[str, Any]:
    """Return a run of the log as JSON data; the shape stands in sandbox-log(1)."""
    from sandbox.launch.result import utc_text
    from sandbox.run.denied import denial_data

    has_setup = one.reason == "setup"
    return {
        "run_id": one.run_id,
        "started": utc_text(one.started_us / 1e6),
        "policy": one.policy,
        "options": list(one.options),
        "cwd": _text(one.cwd),
        "command": [_text(word) for word in one.argv],
        "command_cut": one.is_cut,
        "reason": one.reason,
        "exit_code": None if has_setup or one.is_signaled else one.value,
        "signal": one.value if one.is_signaled else None,
        "wall_ms": one.wall_us // 1000,
        "denials": list(denial_data(one.denials, _policy_of(one), os.uname().machine))
        if one.denials
        else [],
        "denials_lost": one.denials_lost,
    }


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _policy_of(one: Run) -> Policy | None:
    """Return the policy of a run as it is now; None where it cannot be made any more."""
    from sandbox.cli.exec_options import FLAG_KEYS
    from sandbox.cli.exec_options import OPTIONS as EXEC_OPTIONS
    from sandbox.policy.compose import Flag, apply_flags
    from sandbox.policy.load import load_policy

    try:
        parsed = parse(one.options, EXEC_OPTIONS, "sandbox exec")
        policies = parsed.all("policy") or ("default",)
        policy = load_policy(
            policies[0],
            *policies[1:],
            tighten=parsed.all("tighten"),
            tree=os.fsdecode(one.cwd) or "/",
        )
        flags = (
            Flag(given.name, given.value, given.text)
            for given in parsed.options
            if given.name in FLAG_KEYS
        )
        return apply_flags(policy, tuple(flags))
    except (SandboxError, OSError):
        return None  # it was removed, or does not hold any more


def _print(runs: list[dict[str, Any]], *, as_json: bool) -> None:
    """Write the runs as events: structlog renders them, as those of `--log-level`."""
    import structlog

    if as_json:
        render = structlog.processors.JSONRenderer(sort_keys=False)
        for entry in runs:
            show(f"{_rendered(render(None, '', entry))}\n")
        return
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    has_colors = is_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    console = structlog.dev.ConsoleRenderer(colors=has_colors, sort_keys=False, pad_event_to=0)
    for entry in runs:
        for event in _events(entry):
            show(f"{console(None, '', event)}\n")


def _rendered(line: str | bytes) -> str:
    return line if isinstance(line, str) else _text(line)


def _events(entry: dict[str, Any]) -> list[dict[str, Any]]:
    from sandbox.run.denied import denial_line

    command = " ".join(escape(word) for word in entry["command"])
    event = {
        "timestamp": entry["started"],
        "level": "info" if entry["reason"] == "exited" else "warning",
        "event": "run.finished" if entry["reason"] != "setup" else "run.failed",
        "policy": escape(entry["policy"]),
        "command": command + (" …" if entry["command_cut"] else ""),
        "ended": _ending(entry),
        "duration": duration_text(entry["wall_ms"]),
    }
    events = [event]
    for denial in entry["denials"]:
        refused = {"level": "warning", "event": f"  refused: {denial_line(denial)}"}
        events.append(refused)
    if entry["denials_lost"]:
        lost = f"  refused: {entry['denials_lost']} more calls without a record"
        events.append({"level": "warning", "event": lost})
    return events


def _ending(entry: dict[str, Any]) -> str:
    if entry["reason"] == "setup":
        return "not started"
    how = f"signal {entry['signal']}" if entry["signal"] else f"exit {entry['exit_code']}"
    return how if entry["reason"] in ("exited", "signaled") else f"{how} ({entry['reason']})"
