"""The completion script for fish."""

from __future__ import annotations

from sandbox.cli.completion import DIRECTORIES, FILES, KINDS, NAMES, VARIABLES, argument_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.cli.completion import Node
    from sandbox.cli.options import Option

_HEAD = """\
# fish completion for sandbox; made by `sandbox completion fish`
complete -c sandbox -f
complete -c sandbox -n __fish_use_subcommand -s h -l help -d 'show this help'
complete -c sandbox -n __fish_use_subcommand -l version -d 'the version'
"""
_VALUES = {
    FILES: "-r -F",
    DIRECTORIES: "-x -a '(__fish_complete_directories)'",
    NAMES: "-r -F -a '(sandbox completion policies)'",
    VARIABLES: "-x -a '(set -nx)'",
}


def script(nodes: tuple[Node, ...]) -> str:
    """Return the script for the commands `nodes`."""
    lines = []
    for node in nodes:
        name = node.words[0]
        lines.append(
            f"complete -c sandbox -n __fish_use_subcommand -a {name} -d {_quoted(node.help)}"
        )
        seen = f"__fish_seen_subcommand_from {name}"
        verbs = " ".join(verb.words[-1] for verb in node.verbs)
        for verb in node.verbs:
            word = verb.words[-1]
            head = f"complete -c sandbox -n {_quoted(seen)}"
            lines.append(
                f"complete -c sandbox -n '{seen}; and not __fish_seen_subcommand_from {verbs}'"
                f" -a {word} -d {_quoted(verb.help)}"
            )
            head = f"complete -c sandbox -n '{seen}; and __fish_seen_subcommand_from {word}'"
            lines += _node_lines(head, verb)
        lines += _node_lines(f"complete -c sandbox -n {_quoted(seen)}", node)
    return _HEAD + "\n".join(lines) + "\n"


def _node_lines(head: str, node: Node) -> list[str]:
    lines = [f"{head} {_option(option)}" for option in node.options]
    kind = argument_kind(node)
    if node.arguments == "COMMAND":
        lines.append(f"{head} -x -a '(__fish_complete_subcommand --fcs-skip=2)'")
    elif kind is not None:
        lines.append(f"{head} {_value(kind)}")
    return lines


def _option(option: Option) -> str:
    short = f"-s {option.short} " if option.short else ""
    value = f"{_value(KINDS.get(option.metavar))} " if option.metavar else ""
    return f"{short}-l {option.name} {value}-d {_quoted(option.help)}"


def _value(kind: str | tuple[str, ...] | None) -> str:
    if kind is None:
        return "-x"
    return f"-x -a {_quoted(' '.join(kind))}" if isinstance(kind, tuple) else _VALUES[kind]


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
