"""Wording of a command that could not be executed behind the walls (exit code 126 or 127).

The walls are the likeliest reason, so the messages look outside, where the caller is: a program
that is there but not in the view is named, with the `--ro` that would show it.
"""

from __future__ import annotations

import errno as errnos
import os

from sandbox.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, ProgramError
from sandbox.text import errno_text, escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.model import Invocation, Plan

# enum sbx_exec_detail
_NO_INTERPRETER, _IS_DIRECTORY = 1, 2
_PT_INTERP = 3
_HEAD_BYTES = 4096


def program_error(errno: int, detail: int, plan: Plan, invocation: Invocation) -> ProgramError:
    """Return the error for a failed execve: 127 not found inside, else 126."""
    name = invocation.argv[0] if invocation.argv else b""
    path = _tried(invocation)
    is_missing = errno in (errnos.ENOENT, errnos.ENOTDIR) and detail != _NO_INTERPRETER
    if is_missing:
        message, hint = _not_found(name, invocation)
    elif detail == _NO_INTERPRETER:
        message, hint = _no_interpreter(name, path)
    elif detail == _IS_DIRECTORY or errno == errnos.EISDIR:
        message = f"{_shown(name)} is a directory, not a program"
        hint = "name a program in it"
    else:
        message, hint = _not_executable(name, path, errno)
        if errno == errnos.EACCES and not plan.namespaces:
            hint = f"without a view only what is granted can be executed: {_ro_flags(path)}"
    error = ProgramError(
        message,
        hint=hint,
        stage="exec",
        op=-1,
        errno=errno,
        program=name.decode("utf-8", "surrogateescape"),
    )
    error.exit_code = EXIT_NOT_FOUND if is_missing else EXIT_NOT_EXECUTABLE
    return error


def _shown(name: bytes) -> str:
    return escape(name) if name else "the command (an empty name)"


def _tried(invocation: Invocation) -> bytes:
    """The first of the tried paths that exists outside, or the first one."""
    paths = [os.path.join(invocation.cwd or b"/", path) for path in invocation.programs]
    return next((path for path in paths if os.path.lexists(path)), paths[0] if paths else b"")


def _inside_path(invocation: Invocation) -> list[bytes]:
    value = next((pair[5:] for pair in invocation.env if pair.startswith(b"PATH=")), b"")
    return value.split(b":") if value else []


def _outside(name: bytes, invocation: Invocation) -> bytes | None:
    """The program as the caller would have found it, or None."""
    if b"/" in name:
        candidates = [os.path.abspath(name), os.path.join(invocation.cwd or b"/", name)]
    else:
        places = os.environb.get(b"PATH", os.fsencode(os.defpath)).split(b":")
        candidates = [os.path.join(place or b".", name) for place in places]
    for path in candidates:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return os.path.abspath(path)
    return None


def _ro_flags(path: bytes) -> str:
    """The `--ro` that shows `path`: where it is named and, if that is a link, where it lies."""
    places = [os.path.dirname(path)]
    real = os.path.dirname(os.path.realpath(path))
    if real not in places:
        places.append(real)
    return " ".join(f"--ro {escape(place)}" for place in places)


def _not_found(name: bytes, invocation: Invocation) -> tuple[str, str]:
    outside = _outside(name, invocation)
    if outside is None:
        where = b":".join(_inside_path(invocation))
        searched = f" (PATH inside: {escape(where)})" if where and b"/" not in name else ""
        return (
            f"{_shown(name)} is not found, neither inside{searched} nor outside the sandbox",
            "check the name; a program in the working directory is called as ./NAME",
        )
    message = f"{_shown(name)} is not visible inside the sandbox; outside it is {escape(outside)}"
    hint = f"show it with: {_ro_flags(outside)}"
    if b"/" not in name and os.path.dirname(outside) not in _inside_path(invocation):
        hint += f" and call it by its path, {escape(outside)}"
    return message, hint


def _no_interpreter(name: bytes, path: bytes) -> tuple[str, str]:
    interpreter = _interpreter_of(path)
    if interpreter is None:
        return (
            f"{_shown(name)} is there, but its interpreter or loader is not visible inside",
            "`file` names it; show the directory that holds it with --ro",
        )
    message = f"{_shown(name)} is there, but what runs it, {escape(interpreter)}, is not inside"
    if os.path.exists(interpreter):
        return message, f"show it with: {_ro_flags(interpreter)}"
    return message, "it does not exist outside either: install it, or mend the first line"


def _not_executable(name: bytes, path: bytes, errno: int) -> tuple[str, str]:
    reason = errno_text(errno)
    if errno in (errnos.EACCES, errnos.EPERM):
        if os.path.exists(path) and not os.access(path, os.X_OK):
            hint = f"make it executable: chmod +x {escape(path)}"
        else:
            hint = (
                "it lies where the policy lets nothing be executed (noexec), or the command's"
                " user may not read it: see `sandbox exec --explain`"
            )
        return f"{_shown(name)} may not be executed: {reason}", hint
    if errno == errnos.ENOEXEC:
        return (
            (
                f"{_shown(name)} is neither a binary of this machine nor a script with a #! line:"
                f" {reason}"
            ),
            f"run a script by its interpreter, e.g. sh {_shown(name)}",
        )
    if errno == errnos.E2BIG:
        return (
            f"the arguments and the environment of {_shown(name)} are too long: {reason}",
            "pass long lists in a file or through a pipe (xargs)",
        )
    hints = {
        errnos.ETXTBSY: "somebody has the file open for writing: close it first",
        errnos.ELOOP: "the path is a loop of symbolic links: mend them",
        errnos.ENAMETOOLONG: "a name has at most 255 bytes, a path 4095",
        errnos.ENOMEM: "raise the memory limit: --limit memory=SIZE",
        errnos.EAGAIN: "the process limit is used up: raise it with --limit pids=N",
        errnos.EMFILE: "raise the limit: --limit open_files=N",
    }
    return (
        f"{_shown(name)} cannot be executed: {reason}",
        hints.get(errno, "check that it runs outside the sandbox"),
    )


def _interpreter_of(path: bytes) -> bytes | None:
    """The `#!` interpreter or ELF loader that the file at `path`, outside, names."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
            if head.startswith(b"#!"):
                words = head[2:].split(b"\n", 1)[0].split()
                return words[0] if words else None
            if head.startswith(b"\x7fELF") and len(head) >= 64:
                return _elf_loader(head)
    except OSError:
        return None  # unreadable for the caller: the message goes without the name
    return None


def _elf_loader(head: bytes) -> bytes | None:
    """PT_INTERP of a 64-bit ELF file of this machine's byte order (elf(5))."""
    import sys

    def number(offset: int, size: int) -> int:
        return int.from_bytes(head[offset : offset + size], sys.byteorder)

    if head[4] != 2:  # ELFCLASS64
        return None
    table, entry_size, count = number(32, 8), number(54, 2), number(56, 2)
    for entry in range(table, table + entry_size * min(count, 64), max(entry_size, 1)):
        if number(entry, 4) == _PT_INTERP:
            start, size = number(entry + 8, 8), number(entry + 32, 8)
            return head[start : start + size].rstrip(b"\0") or None
    return None
