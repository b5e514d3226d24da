"""`sandbox doctor`: shows what each set-up step did on this host."""

from __future__ import annotations

import os

from sandbox.cli.options import Option, options_help, parse
from sandbox.cli.streams import show
from sandbox.errors import SandboxError, UsageError
from sandbox.record import fields_of
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.host.doctor import Check

COMMAND = "sandbox doctor"
SCHEMA = 1
OPTIONS = (
    Option("json", "print the checks as JSON"),
    Option("print-delegation", "print the commands that delegate control groups to a user"),
    Option("help", "show this help", short="h"),
)
USAGE = """\
usage: sandbox doctor [--json]
       sandbox doctor --print-delegation [USER]

Try each set-up step of a sandbox on this host, each in a child of its own, and say
what works, what does not, why, and what to do. Changes nothing.

Exit status: 0 if the policy `strict` can run here, 1 otherwise.

"""
_INDENT = " " * 35


def run(words: tuple[str, ...], missing: tuple[str, ...] = ()) -> int:
    """Run `sandbox doctor WORDS`; return 0 if `strict` can run here, 1 otherwise."""
    del missing
    parsed = parse(words, OPTIONS, COMMAND)
    if parsed.has("help"):
        show(USAGE + options_help(OPTIONS))
        return 0
    if parsed.has("print-delegation"):
        show(_delegation(parsed.rest))
        return 0
    if parsed.rest:
        raise UsageError(
            "doctor takes no arguments", hint=f"see `{COMMAND} --help`", code="usage.argument"
        )
    from sandbox.host.doctor import examine, is_able

    checks = (*examine(), check_strict())
    if parsed.has("json"):
        import json

        show(json.dumps(doctor_data(checks), indent=2) + "\n")
    else:
        show(doctor_text(checks))
    return 0 if is_able(checks) else 1


def _delegation(words: tuple[str, ...]) -> str:
    """Return the commands for the named user: by default the one behind sudo, or the caller."""
    from sandbox.host.delegation import delegation_commands, nearest_process_of

    uid, gid = _user(words)
    if uid == 0:
        return (
            "# root needs no delegation: its runs use groups below its own\n"
            "# for somebody else: sandbox doctor --print-delegation USER\n"
        )
    return delegation_commands(uid, gid, nearest_process_of(uid))


def _user(words: tuple[str, ...]) -> tuple[int, int]:
    import pwd

    if len(words) > 1:
        raise UsageError(
            "--print-delegation takes one user",
            hint=f"see `{COMMAND} --help`",
            code="usage.argument",
        )
    if words:
        try:
            name = words[0]
            entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        except (KeyError, ValueError, OverflowError):
            raise UsageError(
                f"there is no user {escape(words[0])}",
                hint="a name or a user id: sandbox doctor --print-delegation USER",
                code="usage.argument",
            ) from None
        return entry.pw_uid, entry.pw_gid
    behind, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and behind.isdecimal() and group.isdecimal():
        return int(behind), int(group)
    return os.getuid(), os.getgid()


def check_strict() -> Check:
    """Run /bin/true under `strict`, the whole way: the proof of the steps together."""
    from sandbox.host.doctor import Check

    title = "`strict` as a whole"
    try:
        from sandbox.run.execute import Request, execute, prepare

        result = execute(prepare(Request(argv=(b"true",), policy="strict")))
    except SandboxError as error:
        return Check(
            "strict",
            title,
            False,
            True,
            stage=str(error.fields.get("stage", error.code)),
            errno=error.fields.get("errno") or None,
            cause=error.message,
            remedy=error.hint,
        )
    if result.setup is not None:
        return Check(
            "strict",
            title,
            False,
            True,
            stage=result.setup.stage,
            errno=result.setup.errno,
            cause=result.setup.cause,
            remedy=result.setup.remedy,
        )
    if result.exit_code != 0:
        return Check(
            "strict",
            title,
            False,
            True,
            stage="command",
            cause=f"`true` ended with {result.shell_exit_code()} ({result.reason})",
            remedy="try `sandbox exec --policy strict true`",
        )
    return Check("strict", title, True, True)


def doctor_data(checks: tuple[Check, ...]) -> dict[str, Any]:
    """Return the checks as JSON data; the shape stands in sandbox-doctor(1)."""
    from sandbox.host.doctor import is_able, needs_profile
    from sandbox.host.userns import apparmor_profile

    system = os.uname()
    return {
        "schema": SCHEMA,
        "kernel": system.release,
        "arch": system.machine,
        "uid": os.getuid(),
        "strict": is_able(checks),
        "steps": [
            {name: getattr(check, name) for name in fields_of(check) if name != "title"}
            for check in checks
        ],
        "apparmor_profile": apparmor_profile() if needs_profile(checks) else None,
    }


def _line(check: Check) -> list[str]:
    word = "ok" if check.ok else ("NO" if check.is_required else "no")
    text = check.detail if check.ok else (check.cause or "")
    lines = [f"{check.title:<28} {word:<5} {escape(text)}".rstrip()]
    if not check.ok and check.detail:
        lines.append(f"{_INDENT}{escape(check.detail)}")
    if not check.ok and check.remedy:
        lines.append(f"{_INDENT}remedy: {escape(check.remedy)}")
    return lines


def doctor_text(checks: tuple[Check, ...]) -> str:
    """Return the checks as people read them; NO marks a step that `strict` cannot do without."""
    from sandbox.host.doctor import CALLER, ORDINARY_ID, is_able, needs_profile
    from sandbox.host.userns import apparmor_profile

    lines = []
    for check in checks:
        if check.subject == CALLER:
            lines += _line(check)
    others = [check for check in checks if check.subject != CALLER]
    if others:
        lines += ["", f"the same as an ordinary user (uid {ORDINARY_ID}):"]
        for check in others:
            lines += _line(check)
    if needs_profile(checks):
        lines += ["", "a profile that allows this program to make user namespaces:", ""]
        lines += apparmor_profile().splitlines()
    lines += ["", "strict can run here" if is_able(checks) else "strict cannot run here"]
    return "\n".join(lines) + "\n"
