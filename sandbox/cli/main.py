"""The command table. A command's module is imported when the command is chosen."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from sandbox.cli.streams import open_missing, say, show
from sandbox.errors import EXIT_SANDBOX, EXIT_USAGE, SandboxError, UsageError
from sandbox.record import record
from sandbox.text import errno_text, escape, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

_SIGNAL_BASE = 128
_SIGINT, _SIGPIPE = 2, 13
_COERCED = (b"C.UTF-8", b"C.utf8", b"UTF-8")


@record
class Command:
    """A command: its name, its module below sandbox.cli, its group and its line of help."""

    name: str
    module: str
    group: str
    help: str


COMMANDS = (
    Command("exec", "exec", "Run", "run a command behind walls"),
    Command("shell", "shell", "Run", "an interactive shell behind walls"),
    Command(
        "policy", "policy", "See", "what a policy allows, line by line; compare, import, export"
    ),
    Command("log", "log", "See", "recent runs, and the calls that were refused to them"),
    Command("doctor", "doctor", "See", "try each set-up step here: what works, what to do"),
    Command("cache", "cache", "More", "what is kept between runs; clear it"),
    Command("completion", "completion", "More", "a completion script for bash, zsh or fish"),
)

_HELP_HEAD = """\
usage: sandbox COMMAND [ARGUMENT]...

Run a command behind every wall the kernel offers without root.

"""
_HELP_TAIL = """
  sandbox exec make test                  the default policy, for work on a tree
  sandbox exec --policy strict ./unknown  for code that you do not trust
  sandbox exec --explain ./unknown        what would hold it; runs nothing
  sandbox policy explain strict           what the policy says, in words

  sandbox COMMAND --help    options and examples of a command
  sandbox --version         the version
"""


def help_text() -> str:
    """Return what `sandbox --help` prints: one screen of 24 lines."""
    width = max(len(command.name) for command in COMMANDS)
    rows = "".join(f"{row.group:<6} {row.name:<{width}}  {row.help}\n" for row in COMMANDS)
    return _HELP_HEAD + rows + _HELP_TAIL


def _version() -> str:
    from importlib import metadata  # 30 ms that only --version pays

    try:
        return metadata.version("sandbox")
    except metadata.PackageNotFoundError:
        return "not installed"


def _find(name: str) -> Command:
    for command in COMMANDS:
        if command.name == name:
            return command
    from sandbox.cli.options import nearest

    near = nearest(name, tuple(command.name for command in COMMANDS))
    hint = f"did you mean {near}? " if near else f"to run it: sandbox exec {escape(name)}; "
    raise UsageError(
        f"no command {quote(name)}", hint=f"{hint}see `sandbox --help`", code="usage.command"
    )


def _dispatch(words: tuple[str, ...], missing: tuple[str, ...]) -> int:
    if not words:
        say(help_text().rstrip("\n"))
        return EXIT_USAGE
    if words[0] in ("-h", "--help"):
        show(help_text())
        return 0
    if words[0] == "--version":
        show(f"sandbox {_version()}\n")
        return 0
    if words[0].startswith("-"):
        raise UsageError(
            f"no option {quote(words[0])}",
            hint="options follow the command: sandbox exec [OPTION]... COMMAND",
            code="usage.option",
        )
    command = _find(words[0])
    code: int = import_module(f"sandbox.cli.{command.module}").run(words[1:], missing)
    return code


def print_error(error: SandboxError) -> None:
    """Write the message, and the hint on a line of its own."""
    say(f"sandbox: {escape(error.message)}")
    if error.hint:
        say(f"  hint: {escape(error.hint)}")


def _forget_own_locale() -> None:
    """Take back LC_CTYPE where this interpreter, and not the caller, put it there.

    Source: PEP 538. In the C locale Python sets the variable in its own environment, where it would
    pass for the caller's; /proc/self/environ still has what the process was started with.
    """
    if os.environb.get(b"LC_CTYPE") not in _COERCED:
        return
    with open("/proc/self/environ", "rb") as file:
        given = b"\0" + file.read()
    if b"\0LC_CTYPE=" not in given:
        del os.environb[b"LC_CTYPE"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (by default the process's own) and return the exit code."""
    missing = open_missing()
    given = sys.argv[1:] if argv is None else argv
    # The interpreter decoded the arguments by the locale; these are the same bytes as UTF-8 text
    # with surrogate escapes, whatever the locale is.
    words = tuple(os.fsencode(word).decode("utf-8", "surrogateescape") for word in given)
    try:
        return _dispatch(words, missing)
    except SandboxError as error:
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return _SIGNAL_BASE + _SIGINT
    except BrokenPipeError:
        return _SIGNAL_BASE + _SIGPIPE  # the reader of our own output went away
    except OSError as error:
        # What no room translated: our own output on a full disk, for example.
        place = f"{escape(os.fsdecode(error.filename))}: " if error.filename else ""
        say(f"sandbox: {place}{errno_text(error.errno or 0)}")
        say("  hint: free some space, or see `sandbox doctor`")
        return EXIT_SANDBOX
    except Exception:  # noqa: BLE001 - Python's own exit code, 1, would pass for the command's
        import traceback

        say(traceback.format_exc().rstrip("\n"))
        say("sandbox: a defect of sandbox ended the run")
        say("  hint: please report it with the lines above")
        return EXIT_SANDBOX


def entry() -> NoReturn:
    """Run the process's own command line and end the process.

    The interpreter is not taken down piece by piece: that costs about 8 ms, as much as making and
    ending a sandbox, and everything this program holds ends with the process.
    """
    _forget_own_locale()
    code = main()
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue  # it was closed at the start
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or EXIT_SANDBOX  # nobody takes our last words
    os._exit(code)
