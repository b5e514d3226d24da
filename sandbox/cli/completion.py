"""`sandbox completion SHELL`: a completion script, made from the tables that the parser uses."""

from __future__ import annotations

from importlib import import_module

from sandbox.cli.options import Option, nearest, options_help, parse
from sandbox.cli.streams import show
from sandbox.errors import UsageError
from sandbox.log import LEVELS
from sandbox.record import record
from sandbox.text import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = "sandbox completion"
OPTIONS = (Option("help", "show this help", short="h"),)
SHELLS = ("bash", "zsh", "fish")
# Not a shell, but what the scripts ask: policies come and go after a script was made.
POLICIES = "policies"
USAGE = """\
usage: sandbox completion bash|zsh|fish

Print a completion script: commands, options, their values, names of policies.

  bash   sandbox completion bash >~/.local/share/bash-completion/completions/sandbox
  zsh    sandbox completion zsh >~/.zfunc/_sandbox      (a directory in $fpath)
  fish   sandbox completion fish >~/.config/fish/completions/sandbox.fish

`sandbox completion policies` prints the names of all policies, one a line.

"""
# What a value is, by how the help writes it. Where a name is missing there is nothing to offer.
FILES, DIRECTORIES, NAMES, VARIABLES = "files", "directories", "policies", "variables"
_LIMITS = "wall cpu cpu_quota memory swap pids open_files file_size output core"
KINDS: dict[str, str | tuple[str, ...]] = {
    "P": NAMES,
    "PATH": FILES,
    "FILE": FILES,
    "SRC:DST": FILES,
    "DIR": DIRECTORIES,
    "N[=V]": VARIABLES,
    "MODE": ("none", "host"),
    "LEVEL": tuple(LEVELS),
    "N=V": tuple(f"{name}=" for name in _LIMITS.split()),
    "ARCH": ("x86_64", "aarch64"),
    "FORMAT": ("docker", "oci", "kubernetes", "systemd"),
}


@record
class Node:
    """A command, or a verb of one: its words, its help, its options, its verbs, its arguments.

    Shape: `arguments` are as the usage writes them; "COMMAND" is another program's command line.
    """

    words: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    verbs: tuple[Node, ...] = ()
    arguments: str = ""


def run(words: tuple[str, ...], missing: tuple[str, ...] = ()) -> int:
    """Run `sandbox completion WORDS`; return 0."""
    del missing
    parsed = parse(words, OPTIONS, COMMAND)
    if parsed.has("help"):
        show(USAGE + options_help(OPTIONS))
        return 0
    if len(parsed.rest) != 1:
        raise UsageError(
            "one shell is to be named", hint=f"shells: {', '.join(SHELLS)}", code="usage.argument"
        )
    (shell,) = parsed.rest
    if shell == POLICIES:
        from sandbox.policy.find import policy_names

        show("".join(f"{name}\n" for name in policy_names()))
        return 0
    if shell not in SHELLS:
        near = nearest(shell, (*SHELLS, POLICIES))
        hint = f"did you mean {near}? " if near else ""
        raise UsageError(
            f"no completion for {quote(shell)}",
            hint=f"{hint}shells: {', '.join(SHELLS)}",
            code="usage.argument",
        )
    module = import_module(f"sandbox.cli.completion_{shell}")
    script: Callable[[tuple[Node, ...]], str] = module.script
    show(script(nodes()))
    return 0


def nodes() -> tuple[Node, ...]:
    """Return every command with what can follow it."""
    from sandbox.cli.main import COMMANDS

    found = []
    for command in COMMANDS:
        module = import_module(f"sandbox.cli.{command.module}")
        verbs = tuple(
            Node((command.name, verb.name), verb.help, verb.options, arguments=verb.arguments)
            for verb in getattr(module, "VERBS", ())
        )
        arguments = {"exec": "COMMAND", "completion": "SHELL"}.get(command.name, "")
        # with verbs the options belong to them; each has the two that all have
        common = tuple(option for option in module.OPTIONS if option.name in ("json", "help"))
        verbs = tuple(
            Node(verb.words, verb.help, (*verb.options, *common), arguments=verb.arguments)
            for verb in verbs
        )
        options = common[-1:] if verbs else module.OPTIONS
        found.append(Node((command.name,), command.help, options, verbs, arguments))
    return tuple(found)


def argument_kind(node: Node) -> str | tuple[str, ...] | None:
    """What the arguments of a command are; None where there is nothing to offer."""
    first = node.arguments.split(" ")[0].rstrip(".").strip("[]")
    if first == "SHELL":
        return SHELLS
    return NAMES if first in ("A", "B") else KINDS.get(first)
