"""`sandbox shell`: an interactive shell behind the walls; everything else is `sandbox exec`."""

from __future__ import annotations

import os

from sandbox.cli.exec import run_parsed
from sandbox.cli.exec_options import OPTIONS as EXEC_OPTIONS
from sandbox.cli.options import options_help, parse
from sandbox.cli.streams import show
from sandbox.errors import UsageError
from sandbox.record import replace
from sandbox.text import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.run.request import Prepared

COMMAND = "sandbox shell"
# --json captures the output, and a shell whose output is captured is not one to talk to
OPTIONS = tuple(option for option in EXEC_OPTIONS if option.name != "json")
USAGE = """\
usage: sandbox shell [OPTION]...

An interactive shell behind walls: $SHELL if it is visible inside, else bash, else sh.
Its history is in the home inside and ends with it; its prompt says that it is inside.

  sandbox shell                          look around under the policy `default`
  sandbox shell --policy strict          what unknown code would see
  sandbox shell --ro ~/data --net host   with more than the policy gives
  sandbox shell --explain                what holds it; nothing runs

Exit status: the shell's own; otherwise as for `sandbox exec`.

"""
_HISTORY = b".history"


def run(words: tuple[str, ...], missing: tuple[str, ...] = ()) -> int:
    """Run `sandbox shell WORDS`; return the exit code."""
    parsed = parse(words, OPTIONS, COMMAND)
    if parsed.has("help"):
        show(USAGE + options_help(OPTIONS))
        return 0
    if parsed.rest:
        raise UsageError(
            f"shell takes no command, but has {quote(parsed.rest[0])}",
            hint="to run one: sandbox exec [OPTION]... COMMAND",
            code="usage.argument",
        )
    return run_parsed(replace(parsed, rest=("bash",)), missing, with_shell)


def with_shell(prepared: Prepared) -> Prepared:
    """Return the request with the shell that is there, its history and its prompt.

    The programs are tried in order as the kernel finds them, so that a shell which is on the host
    but not in the view, or in an image but not on the host, needs no guess.
    """
    from sandbox.run.environment import DEFAULT_PATH, program_paths

    invocation = prepared.invocation
    environment = dict(pair.split(b"=", 1) for pair in invocation.env)
    path = environment.get(b"PATH", DEFAULT_PATH)
    programs = program_paths(b"bash", path) + program_paths(b"sh", path)
    argv: tuple[bytes, ...] = (b"bash",)
    own = _own_shell(prepared)
    if own:
        programs = (own, *programs)
        name = os.path.basename(own)
        # zsh would ask a new user, which everyone is inside, to configure it first
        argv = (name, b"-f") if name == b"zsh" else (name,)
        environment.setdefault(b"SHELL", own)
    home = environment.get(b"HOME", b"/")
    environment.setdefault(b"HISTFILE", home.rstrip(b"/") + b"/" + _HISTORY)
    for name, value in _prompt(prepared.policy.name).items():
        environment.setdefault(name, value)
    env = tuple(name + b"=" + value for name, value in environment.items())
    return replace(prepared, invocation=replace(invocation, argv=argv, env=env, programs=programs))


def _own_shell(prepared: Prepared) -> bytes | None:
    """The caller's $SHELL by its real path, where a mount of the plan shows that."""
    from sandbox.plan.model import MountKind
    from sandbox.policy.settle import is_within

    shell = os.environb.get(b"SHELL", b"")
    if not shell.startswith(b"/") or not os.access(shell, os.X_OK):
        return None
    real = os.path.realpath(shell)
    slots = prepared.invocation.slots
    is_shown = any(
        op.kind in (MountKind.BIND, MountKind.OVERLAY)
        and (not op.target.slot or slots[op.target.slot])
        and is_within(real, op.target.resolve(slots))
        for op in prepared.plan.mounts
    )
    # by the name that the caller uses: busybox and vim's like go by it
    return os.path.join(os.path.dirname(real), os.path.basename(shell)) if is_shown else None


def _prompt(policy: str) -> dict[bytes, bytes]:
    """Variables that put the policy's name into the prompt.

    PS1 serves sh, zsh, and bash without start-up files; where those set another prompt, bash adds
    the mark before it shows it.
    """
    is_plain = policy.replace("-", "").replace("_", "").isalnum() and policy.isascii()
    mark = f"(sandbox {policy})" if is_plain else "(sandbox)"
    command = f'case $PS1 in "{mark}"*) ;; *) PS1="{mark} $PS1" ;; esac'
    return {b"PS1": f"{mark} $ ".encode(), b"PROMPT_COMMAND": command.encode()}
