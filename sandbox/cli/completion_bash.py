"""The completion script for bash; it needs nothing but bash itself."""

from __future__ import annotations

from sandbox.cli.completion import DIRECTORIES, FILES, KINDS, NAMES, VARIABLES, argument_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.cli.completion import Node
    from sandbox.cli.options import Option

_OFFERS = {
    FILES: "_sandbox_files -f",
    DIRECTORIES: "_sandbox_files -d",
    NAMES: "_sandbox_policies",
    VARIABLES: '_sandbox_words "$(compgen -e)"',
}
_SCRIPT = """\
# bash completion for sandbox; made by `sandbox completion bash`

_sandbox_words() {
    local IFS=$' \\t\\n'
    COMPREPLY=($(compgen -W "$1" -- "$cur"))
}

_sandbox_files() {
    local IFS=$'\\n'
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen "$1" -- "$cur"))
}

# names, and files for what has a slash
_sandbox_policies() {
    case $cur in
    */* | .*) _sandbox_files -f ;;
    *) _sandbox_words "$("$sandbox" completion policies 2>/dev/null)" ;;
    esac
}

# Offer values of option $2 of the command $1; fail where it takes none.
_sandbox_value() {
    case "$1 $2" in
@VALUES@
    *) return 1 ;;
    esac
    return 0 # also where nothing matches
}

# Offer what can follow the command $1: options, verbs, arguments.
_sandbox_next() {
    case "$1" in
@NEXT@
    esac
}

# The command line of another program, from word $1 on.
_sandbox_other() {
    if declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif ((COMP_CWORD == $1)) && [[ $cur != */* ]]; then
        COMPREPLY=($(compgen -c -- "$cur"))
    else
        _sandbox_files -f
    fi
}

_sandbox() {
    local cur=${COMP_WORDS[COMP_CWORD]} sandbox=${COMP_WORDS[0]} at= option= word i
    COMPREPLY=()
    [[ $cur == = ]] && cur=
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $option ]]; then
            [[ $word == = ]] || option=
        elif [[ $word == -- && $at == exec ]]; then
            _sandbox_other $((i + 1))
            return 0
        elif [[ $word == -* ]]; then
            _sandbox_value "$at" "$word" && option=$word
            COMPREPLY=()
        else
            case "$at $word" in
@ENTER@
            exec\\ *)
                _sandbox_other $i
                return 0
                ;;
            esac
        fi
    done
    if [[ -n $option ]]; then
        _sandbox_value "$at" "$option"
    else
        _sandbox_next "$at"
    fi
    [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}

complete -F _sandbox sandbox
"""


def script(nodes: tuple[Node, ...]) -> str:
    """Return the script for the commands `nodes`."""
    flat = [node for command in nodes for node in (command, *command.verbs)]
    values = [
        f'    "{" ".join(node.words)} --{option.name}") {_value(option)} ;;'
        for node in flat
        for option in node.options
        if option.metavar
    ]
    names = " ".join(node.words[0] for node in nodes)
    top = [f'    "") _sandbox_words "{names} --help --version" ;;']
    enter = []
    for node in flat:
        *above, word = node.words
        enter.append(f'            "{" ".join(above)} {word}") at="{" ".join(node.words)}" ;;')
    return (
        _SCRIPT.replace("@VALUES@", "\n".join(values))
        .replace("@NEXT@", "\n".join(top + [_next(node) for node in flat]))
        .replace("@ENTER@", "\n".join(enter))
    )


def _value(option: Option) -> str:
    kind = KINDS.get(option.metavar)
    if kind is None:
        return "COMPREPLY=()"
    return f'_sandbox_words "{" ".join(kind)}"' if isinstance(kind, tuple) else _OFFERS[kind]


def _next(node: Node) -> str:
    options = [f"--{option.name}" for option in node.options]
    options += [f"-{option.short}" for option in node.options if option.short]
    verbs = [verb.words[-1] for verb in node.verbs]
    kind = argument_kind(node)
    other = f'_sandbox_words "{" ".join(verbs)}"'
    if node.arguments == "COMMAND":
        other = "_sandbox_other $COMP_CWORD"
    elif isinstance(kind, tuple):
        other = f'_sandbox_words "{" ".join(kind)}"'
    elif kind is not None:
        other = _OFFERS[kind]
    return (
        f'    "{" ".join(node.words)}")\n'
        f'        if [[ $cur == -* ]]; then _sandbox_words "{" ".join(options)}"\n'
        f"        else {other}; fi ;;"
    )
