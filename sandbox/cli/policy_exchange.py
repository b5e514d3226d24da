"""`sandbox policy import` and `export`: the result on stdout, the report on stderr."""

from __future__ import annotations

from sandbox.cli.policy import EXIT_NO, arch_of, show_json
from sandbox.cli.policy_load import container_of, found_in_tree, load, note_tree, report
from sandbox.cli.streams import show
from sandbox.errors import UsageError
from sandbox.text import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.cli.options import Parsed
    from sandbox.policy.exchange.report import Result


def run_import(parsed: Parsed) -> int:
    """Print the policy that another tool's file comes to; 1 if it allows more than the file."""
    from sandbox.policy.exchange.convert import import_file

    result = import_file(parsed.rest[0], _form(parsed, "from"), container_of(parsed))
    return _shown(parsed, result)


def run_export(parsed: Parsed) -> int:
    """Print another tool's rules from a policy; 1 if they would allow more than the policy."""
    from sandbox.policy.exchange.convert import export_text

    note_tree(parsed)
    policy = load(parsed.rest[0], parsed)
    text = export_text(policy, _form(parsed, "to"), arch_of(parsed))
    return _shown(parsed, text, tree=found_in_tree(parsed))


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


def _shown(parsed: Parsed, result: Result, **more: Any) -> int:
    from sandbox.policy.exchange.report import losses_data

    if parsed.has("json"):
        losses = losses_data(result.losses)
        show_json({"looser": result.is_looser, "text": result.text, "report": losses, **more})
        return EXIT_NO if result.is_looser else 0
    show(result.text)
    report(result.losses)
    return EXIT_NO if result.is_looser else 0
