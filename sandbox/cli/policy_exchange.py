"""`sandbox policy import` and `export`: the result on stdout, the report on stderr."""

from __future__ import annotations

from sandbox.cli.policy import EXIT_NO, arch_of, load, show_json
from sandbox.cli.streams import say, show
from sandbox.errors import UsageError
from sandbox.text import escape, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.cli.options import Parsed
    from sandbox.policy.exchange.report import Result

_CALLS_SHOWN = 6


def run_import(parsed: Parsed) -> int:
    """Print the policy that another tool's file comes to; 1 if it allows more than the file."""
    from sandbox.policy.exchange.convert import import_file, this_kernel
    from sandbox.policy.exchange.oci_check import kernel_version
    from sandbox.policy.exchange.oci_read import Container

    form = _form(parsed, "from")
    kernel = this_kernel()
    if (given := parsed.last("kernel")) is not None:
        found = kernel_version(given)
        if found is None:
            raise UsageError(
                f"--kernel {quote(given)}: not a version",
                hint="write it as 6.1",
                code="usage.option",
            )
        kernel = found
    caps = frozenset(
        one.value.upper().removeprefix("CAP_") for one in parsed.options if one.name == "caps"
    )
    result = import_file(parsed.rest[0], form, Container(arch_of(parsed), caps, kernel))
    return _shown(parsed, result)


def run_export(parsed: Parsed) -> int:
    """Print another tool's rules from a policy; 1 if they would allow more than the policy."""
    from sandbox.policy.exchange.convert import export_text

    policy = load(parsed.rest[0], parsed)
    return _shown(parsed, export_text(policy, _form(parsed, "to"), arch_of(parsed)))


def _form(parsed: Parsed, option: str) -> str:
    from sandbox.policy.exchange.convert import FORMATS

    form = parsed.last(option)
    if form in FORMATS:
        return str(form)
    problem = "is needed" if form is None else f"{quote(form)}: no such format"
    raise UsageError(
        f"--{option} {problem}",
        hint=f"formats are {', '.join(FORMATS)}",
        code="usage.option",
    )


def _shown(parsed: Parsed, result: Result) -> int:
    from sandbox.policy.exchange.report import losses_data

    if parsed.has("json"):
        report = losses_data(result.losses)
        show_json({"looser": result.is_looser, "text": result.text, "report": report})
        return EXIT_NO if result.is_looser else 0
    show(result.text)
    for loss in result.losses:
        calls = ""
        if loss.calls:
            more = len(loss.calls) - _CALLS_SHOWN
            calls = f" ({', '.join(loss.calls[:_CALLS_SHOWN])}" + (
                f" +{more})" if more > 0 else ")"
            )
        say(f"{loss.effect}: {escape(loss.what)}: {escape(loss.why)}{calls}")
    return EXIT_NO if result.is_looser else 0
