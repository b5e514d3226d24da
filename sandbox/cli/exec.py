"""`sandbox exec`: arguments → Request → Prepared → Result, and the exit code."""

from __future__ import annotations

import os
import time

from sandbox.cli.exec_options import EXAMPLES, FLAG_KEYS, OPTIONS
from sandbox.cli.options import options_help, parse
from sandbox.cli.streams import open_sink, say, show, write_all
from sandbox.errors import EXIT_SANDBOX, SandboxError, UsageError
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.cli.options import Parsed
    from sandbox.cli.streams import Sink
    from sandbox.launch.result import Result
    from sandbox.log import EventLog
    from sandbox.run.execute import Prepared, Request

COMMAND = "sandbox exec"
_ALWAYS_HERE = ("json", "result", "log-level", "log-json")  # the launcher leaves these to us
_LISTS = frozenset(option.name for option in OPTIONS if option.is_list)


def run(words: tuple[str, ...], missing: tuple[str, ...] = ()) -> int:
    """Run `sandbox exec WORDS`; return the exit code.

    Shape:  `missing` names the standard streams that were closed at the start.
    Errors: SandboxError; a UsageError has exit code 125 where a command would have run.
    """
    try:
        parsed = parse(words, OPTIONS, COMMAND)
        if parsed.has("help"):
            show(EXAMPLES + options_help(OPTIONS))
            return 0
        if not parsed.rest and not parsed.has("explain"):
            raise UsageError(
                "no command was given",
                hint=f"for example: {COMMAND} make test; more with `{COMMAND} --help`",
                code="usage.command",
            )
        return run_parsed(parsed, missing, words=_option_words(words, parsed))
    except UsageError as error:
        # A script that tests for the command's own codes must not take ours for one of them.
        has_command = error.code != "usage.command" and "--explain" not in words
        error.exit_code = EXIT_SANDBOX if has_command else error.exit_code
        raise


def _option_words(words: tuple[str, ...], parsed: Parsed) -> tuple[str, ...]:
    """Return the words in front of the command, without the `--` that ends them."""
    given = words[: len(words) - len(parsed.rest)]
    return given[:-1] if given[-1:] == ("--",) else given


def run_parsed(
    parsed: Parsed,
    missing: tuple[str, ...],
    adapt: Callable[[Prepared], Prepared] | None = None,
    words: tuple[str, ...] | None = None,
) -> int:
    """Explain or run what was parsed.

    Shape: `adapt` may change the request before it runs; `words` are the options of a command line
           that the launcher may be given again, so that what they became is kept for it.
    """
    if parsed.has("explain"):
        return _explain(parsed)
    return _run_command(parsed, missing, adapt, words)


def _request(parsed: Parsed) -> Request:
    from sandbox.policy.compose import Flag
    from sandbox.run.execute import Request

    last = {given.name: given for given in parsed.options}
    flags = tuple(
        Flag(given.name, given.value, given.text)
        for given in parsed.options
        if given.name in FLAG_KEYS and (given.name in _LISTS or last[given.name] is given)
    )
    policies = parsed.all("policy") or ("default",)
    return Request(
        argv=tuple(word.encode("utf-8", "surrogateescape") for word in parsed.rest),
        policy=policies[0],
        flags=flags,
        more_policies=policies[1:],
        tighten=parsed.all("tighten"),
    )


def _explain(parsed: Parsed) -> int:
    from sandbox.plan.encode import plan_digest
    from sandbox.plan.explain import explain_data, explain_text
    from sandbox.run.execute import prepare

    prepared = prepare(_request(parsed))
    facts, notes = (prepared.plan, plan_digest(prepared.plan)), prepared.notes
    if parsed.has("json"):
        import json

        show(json.dumps(explain_data(*facts, notes=notes), indent=2) + "\n")
    else:
        show(explain_text(*facts, notes=notes))
    return 0


def _open_log(parsed: Parsed) -> EventLog | None:
    """The log that was asked for; without one, stderr has the messages and structlog no work."""
    as_json = parsed.has("log-json")
    level = parsed.last("log-level", "info" if as_json else None)
    if level is None:
        return None
    from sandbox.log import EventLog

    return EventLog(level, as_json=as_json)


def _run_command(
    parsed: Parsed,
    missing: tuple[str, ...],
    adapt: Callable[[Prepared], Prepared] | None,
    words: tuple[str, ...] | None,
) -> int:
    is_json = parsed.has("json")
    if is_json and "standard output" in missing:
        raise UsageError(
            "standard output is closed, so there is nowhere to print the result",
            hint="open it, or write the result elsewhere: --result FILE|fd:N",
            code="usage.result",
        )
    target = parsed.last("result")
    sink = open_sink(target) if target else None
    started_s = time.time()
    log = _open_log(parsed)
    try:
        prepared = _prepare(parsed, missing, words)
        if adapt is not None:
            prepared = adapt(prepared)
        is_detailed = sink is not None or is_json
        result, output = _hold(prepared, log, is_captured=is_json, is_detailed=is_detailed)
    except SandboxError as error:
        _report_failure(error, started_s, log, sink, parsed)
        raise
    _deliver(result, output, sink, is_json=is_json)
    if result.setup is not None:
        failure = SandboxError(result.setup.cause, hint=result.setup.remedy)
        failure.exit_code = result.setup.exit_code
        raise failure
    if not parsed.has("quiet"):
        _tell(result)
    return result.shell_exit_code()


def _tell(result: Result) -> None:
    """Say on stderr why the command did not end by itself, and which of its calls were refused."""
    ending = ending_text(result)
    if ending:
        say(f"sandbox: {escape(ending)}")
    if result.denials and (result.shell_exit_code() or os.isatty(2)):
        from sandbox.run.denied import denial_lines

        for line in denial_lines(result.denials, result.denials_lost):
            say(f"sandbox: {line}")


def _prepare(parsed: Parsed, missing: tuple[str, ...], words: tuple[str, ...] | None) -> Prepared:
    from sandbox.host.observe import recording
    from sandbox.run.execute import prepare

    with recording() as facts:
        prepared = prepare(_request(parsed))
    if words is not None and not any(parsed.has(name) for name in _ALWAYS_HERE):
        from sandbox.run.keep import keep

        keep(prepared, facts, [word.encode("utf-8", "surrogateescape") for word in words])
    if not parsed.has("quiet"):
        for name in missing:
            say(f"sandbox: note: {name} is closed; the command has /dev/null for it")
        for note in prepared.notes:
            say(f"sandbox: note: {escape(note)}")
    return prepared


def _hold(
    prepared: Prepared, log: EventLog | None, *, is_captured: bool, is_detailed: bool
) -> tuple[Result, dict[str, str]]:
    """Run; return the result and, where it is captured, the output as JSON members."""
    from sandbox.run.execute import execute

    on_event = None if log is None else log.event
    if not is_captured:
        return execute(prepared, on_event=on_event, is_detailed=is_detailed), {}
    from sandbox.cli.capture import Capture
    from sandbox.plan.model import FdMap
    from sandbox.record import replace

    with Capture() as capture:
        stdout, stderr = capture.writers
        fds = (FdMap(0, 0), FdMap(stdout, 1), FdMap(stderr, 2))
        invocation = replace(prepared.invocation, fds=fds)
        result = execute(replace(prepared, invocation=invocation), on_event=on_event)
    usage = replace(
        result.usage,
        output_bytes=capture.total_bytes,
        output_truncated=result.usage.output_truncated or capture.is_truncated,
    )
    return replace(result, usage=usage), capture.data()


def _report_failure(
    error: SandboxError, started_s: float, log: EventLog | None, sink: Sink | None, parsed: Parsed
) -> None:
    """Give the failure to whoever reads results or events; the message follows from main()."""
    from sandbox.launch.result import failed, new_run_id, utc_text

    if isinstance(error, UsageError):
        error.exit_code = EXIT_SANDBOX
    result = failed(error, run_id=new_run_id(), started=utc_text(started_s))
    if log is not None:
        duration_ms = int((time.time() - started_s) * 1000)
        fields = {
            **error.to_data(),
            "run_id": result.run_id,
            "policy": parsed.last("policy", "default"),
            "duration_ms": duration_ms,
        }
        log.event("run.failed", **fields)
    _deliver(result, {}, sink, is_json=parsed.has("json"))


def _deliver(result: Result, output: dict[str, str], sink: Sink | None, *, is_json: bool) -> None:
    if sink is None and not is_json:
        return
    from sandbox.launch.result import encode_result

    if sink is not None:
        sink.write(encode_result(result, **output))
    if is_json:
        write_all(1, encode_result(result, **output))


def ending_text(result: Result) -> str | None:
    """Return why the command did not end by itself, in words; None where it did."""
    hit = ", ".join(name for name, limit in result.limits if limit.hit)
    by_limit = f" (limit {hit})" if hit else ""
    texts = {
        "timeout": f"the command was ended: its time was up{by_limit}",
        "oom": f"the command was ended: it used too much memory{by_limit}",
        "limit": f"the command was ended by a limit{by_limit}",
        "policy": "the command was ended by the system-call filter (SIGSYS)",
    }
    return texts.get(result.reason)
