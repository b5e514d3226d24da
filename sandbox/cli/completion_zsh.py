"""The completion script for zsh, an autoloaded function."""

from __future__ import annotations

from sandbox.cli.completion import DIRECTORIES, FILES, KINDS, NAMES, VARIABLES, argument_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.cli.completion import Node
    from sandbox.cli.options import Option

_ACTIONS = {
    FILES: "_files",
    DIRECTORIES: "_files -/",
    NAMES: "_sandbox_policies",
    VARIABLES: "_parameters -g *export*",
}
_SCRIPT = """\
#compdef sandbox
# made by `sandbox completion zsh`

_sandbox_policies() {
    local -a names
    names=(${(f)"$(_call_program policies sandbox completion policies)"})
    _describe -t policies policy names || _files
}

_sandbox() {
    local curcontext=$curcontext state line
    local -a commands
    _arguments -C '(-)'{-h,--help}'[show this help]' '(-)--version[the version]' \\
        '1:command:->command' '*::argument:->argument'
    case $state in
    command)
        commands=(
@COMMANDS@
        )
        _describe -t commands command commands
        ;;
    argument)
        case $words[1] in
@CASES@
        esac
        ;;
    esac
}

_sandbox "$@"
"""


def script(nodes: tuple[Node, ...]) -> str:
    """Return the script for the commands `nodes`."""
    return _SCRIPT.replace("@COMMANDS@", _described(nodes)).replace(
        "@CASES@", "\n".join(_case(node) for node in nodes)
    )


def _described(nodes: tuple[Node, ...]) -> str:
    return "\n".join(
        f"            {_quoted(node.words[-1] + ':' + node.help.replace(':', chr(92) + ':'))}"
        for node in nodes
    )


def _case(node: Node) -> str:
    name = node.words[-1]
    if not node.verbs:
        return f"        {name})\n            {_arguments(node)}\n            ;;"
    inner = "\n".join(f"            {verb.words[-1]}) {_arguments(verb)} ;;" for verb in node.verbs)
    return (
        f"        {name})\n"
        "            if (( CURRENT == 2 )); then\n"
        f"                commands=(\n{_described(node.verbs)}\n                )\n"
        "                _describe -t commands verb commands\n"
        "                return\n"
        "            fi\n"
        "            shift words\n"
        "            (( CURRENT-- ))\n"
        f"            case $words[1] in\n{inner}\n            esac\n"
        "            ;;"
    )


def _arguments(node: Node) -> str:
    parts = [_option(option) for option in node.options]
    kind = argument_kind(node)
    if node.arguments == "COMMAND":
        parts += ["'(-)1:command:_command_names -e'", "'*::argument:_normal'"]
    elif kind is not None:
        parts.append(_quoted(f"*:argument:{_action(kind)}"))
    return "_arguments -S " + " \\\n                ".join(parts)


def _option(option: Option) -> str:
    text = option.help
    for character in "[]:":
        text = text.replace(character, "\\" + character)
    value = ""
    if option.metavar:
        kind = KINDS.get(option.metavar)
        label = option.metavar.replace(":", "\\:")
        value = f":{label}:{_action(kind)}"
    repeat = "*" if option.is_list else ""
    long = _quoted(f"{repeat}--{option.name}[{text}]{value}")
    return f"{long} {_quoted(f'-{option.short}[{text}]')}" if option.short else long


def _action(kind: str | tuple[str, ...] | None) -> str:
    if kind is None:
        return " "
    return f"({' '.join(kind)})" if isinstance(kind, tuple) else _ACTIONS[kind]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
