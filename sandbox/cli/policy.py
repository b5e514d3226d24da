"""`sandbox policy`: questions about policies, answered without running anything."""

from __future__ import annotations

from importlib import import_module

from sandbox.cli.options import Option, Parsed, nearest, parse
from sandbox.cli.streams import show
from sandbox.errors import UsageError
from sandbox.record import record
from sandbox.text import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = "sandbox policy"
SCHEMA = 1
EXIT_NO = 1  # the question was answered, and the answer is no

_JSON = Option("json", "print the answer as JSON")
_HELP = Option("help", "show this help", short="h")
_TIGHTEN = Option("tighten", "with the layer in FILE on top", "FILE", is_list=True)
_ARCH = Option("arch", "judge calls for x86_64 or aarch64, not for this machine", "ARCH")


@record
class Verb:
    """A verb: its name, its module below sandbox.cli, its arguments, its help, its options."""

    name: str
    module: str
    arguments: str
    help: str
    options: tuple[Option, ...] = ()

    @property
    def least(self) -> int:
        """How many arguments there must be."""
        return sum(not word.startswith("[") for word in self.arguments.split())


_FROM = Option("from", "the format: docker, oci, kubernetes or systemd", "FORMAT")
_TO = Option("to", "the format: docker, oci, kubernetes or systemd", "FORMAT")
_CAPS = Option(
    "caps", "a profile's container has this capability; docker: its usual 14", "CAP", is_list=True
)
_KERNEL = Option("kernel", "a profile for this kernel, such as 6.1, not for this one", "VERSION")
_NO_TREE = Option("no-tree", "without the layers (.sandbox.toml) of the working tree")
_TREE = Option("tree", "both within the layers (.sandbox.toml) of the working tree")
_COMPARED = (_TREE, _CAPS, _KERNEL)
VERBS = (
    Verb("list", "policy_show", "", "the policies that have a name"),
    Verb(
        "show",
        "policy_show",
        "P",
        "every value, and the line that it comes from",
        (_TIGHTEN, _NO_TREE),
    ),
    Verb(
        "explain",
        "policy_explain",
        "P",
        "what it lets a command do, in words; or one question",
        (
            Option("path", "what is at this path inside, and why", "PATH"),
            Option("host", "can this host be reached", "HOST[:PORT]"),
            Option("syscall", "does this call pass, and by which rule", "CALL[:ARG]..."),
            _TIGHTEN,
            _NO_TREE,
            _ARCH,
        ),
    ),
    Verb(
        "lint",
        "policy_compare",
        "P...",
        "contradictions, dead lines and weak spots",
        (Option("strict", "warnings count as errors"), _NO_TREE),
    ),
    Verb(
        "diff",
        "policy_compare",
        "A B",
        "what takes effect in one and not in the other, as named",
        (*_COMPARED, _ARCH),
    ),
    Verb(
        "tighter",
        "policy_compare",
        "A B",
        "is B at most what A allows, as named; else each way",
        _COMPARED,
    ),
    Verb(
        "simulate",
        "policy_explain",
        "P CALL[:ARG]...",
        "calls through the compiled filter",
        (_TIGHTEN, _NO_TREE, _ARCH),
    ),
    Verb(
        "score",
        "policy_score",
        "P",
        "known kernel bugs that are out of reach",
        (
            Option("data", "the list of bugs, a JSON file", "FILE"),
            Option("at-least", "fail below N out of reach: kernelctf=77", "LIST=N", is_list=True),
            Option("all", "name every bug and what holds it"),
            _TIGHTEN,
            _NO_TREE,
            _ARCH,
        ),
    ),
    Verb(
        "import",
        "policy_exchange",
        "FILE",
        "a policy from another tool's rules",
        (_FROM, _CAPS, _KERNEL, _ARCH),
    ),
    Verb(
        "export",
        "policy_exchange",
        "P",
        "another tool's rules from a policy",
        (_TO, _TIGHTEN, _NO_TREE, _ARCH),
    ),
    Verb("schema", "policy_show", "", "the JSON Schema of policy files, for editors"),
)
OPTIONS = tuple(
    {option.name: option for verb in VERBS for option in (*verb.options, _JSON, _HELP)}.values()
)


def run(words: tuple[str, ...], missing: tuple[str, ...] = ()) -> int:
    """Run `sandbox policy WORDS`; 0 is yes or done, 1 is no."""
    del missing
    if not words or words[0] in ("-h", "--help"):
        show(usage())
        return 0 if words else 2
    verb = _find(words[0])
    command = f"{COMMAND} {verb.name}"
    parsed = parse_mixed(words[1:], (*verb.options, _JSON, _HELP), command)
    if parsed.has("help"):
        show(verb_usage(verb))
        return 0
    _check_count(verb, parsed.rest, command)
    module = import_module(f"sandbox.cli.{verb.module}")
    code: int = getattr(module, f"run_{verb.name}")(parsed)
    return code


def parse_mixed(words: tuple[str, ...], table: tuple[Option, ...], command: str) -> Parsed:
    """Return options and arguments of `words`, in whatever order; after `--` all are arguments."""
    options: list[Any] = []
    arguments: list[str] = []
    while True:
        parsed = parse(words, table, command)
        options += parsed.options
        consumed = words[: len(words) - len(parsed.rest)]
        if "--" in consumed[-1:]:
            arguments += parsed.rest
            break
        if not parsed.rest:
            break
        arguments.append(parsed.rest[0])
        words = parsed.rest[1:]
    return Parsed(tuple(options), tuple(arguments))


def _find(name: str) -> Verb:
    for verb in VERBS:
        if verb.name == name:
            return verb
    near = nearest(name, tuple(verb.name for verb in VERBS))
    raise UsageError(
        f"policy has no verb {quote(name)}",
        hint=f"did you mean {near}?" if near else f"see `{COMMAND} --help`",
        code="usage.command",
    )


def _check_count(verb: Verb, given: tuple[str, ...], command: str) -> None:
    most = verb.least if "..." not in verb.arguments else len(given)
    if verb.least <= len(given) <= most:
        return
    form = f"{command} {verb.arguments}".rstrip()
    problem = "an argument is missing" if len(given) < verb.least else "one argument too many"
    raise UsageError(f"{problem}: {form}", hint=f"see `{command} --help`", code="usage.argument")


def usage() -> str:
    """Return what `sandbox policy --help` prints."""
    heads = [f"{verb.name} {verb.arguments}".rstrip() for verb in VERBS]
    width = max(map(len, heads))
    rows = "".join(
        f"  {head:<{width}}  {verb.help}\n" for head, verb in zip(heads, VERBS, strict=True)
    )
    return (
        "usage: sandbox policy VERB [OPTION]... [ARGUMENT]...\n\n"
        "Ask about policies, by name or path; nothing is run.\n\n"
        f"{rows}\n"
        "  sandbox policy explain default --path ~/.ssh      what a command would find there\n"
        "  sandbox policy tighter strict ./mine.toml         for CI: exit 1 if mine allows more\n\n"
        "Exit status: 0 yes or done, 1 no, 2 wrong usage, 125 a policy that cannot be read.\n"
        f"`{COMMAND} VERB --help` shows a verb's options.\n"
    )


def verb_usage(verb: Verb) -> str:
    """Return what `sandbox policy VERB --help` prints."""
    from sandbox.cli.options import options_help

    head = f"usage: {COMMAND} {verb.name} [OPTION]... {verb.arguments}".rstrip()
    return f"{head}\n\n{verb.help}\n\n" + options_help((*verb.options, _JSON, _HELP))


def show_json(data: dict[str, Any]) -> None:
    """Print an answer as JSON; its `schema` says which form of it."""
    import json  # 10 ms that only --json pays

    show(json.dumps({"schema": SCHEMA, **data}, indent=2) + "\n")


def arch_of(parsed: Parsed) -> str:
    """Return the architecture that calls are judged for.

    Errors: UsageError(usage.option) for one that filters cannot be made for.
    """
    from sandbox.policy.calltable import ARCHES

    given = parsed.last("arch")
    if given is None:
        from sandbox.policy.judge import machine_arch

        return machine_arch()
    if given not in ARCHES:
        raise UsageError(
            f"--arch {quote(given)}: filters cannot be made for it",
            hint=f"architectures are {', '.join(ARCHES)}",
            code="usage.option",
        )
    return given
