"""The standard streams and the result's destination, guarded before anything can go wrong."""

from __future__ import annotations

import errno
import os
import stat
import sys

from sandbox.errors import StateError, UsageError
from sandbox.record import record
from sandbox.text import errno_text, escape, quote

_NAMES = ("standard input", "standard output", "standard error")
_WRITE = os.O_WRONLY | os.O_CLOEXEC


def open_missing() -> tuple[str, ...]:
    """Open /dev/null on each of descriptors 0-2 that is closed; return the names of those.

    A closed one would be taken by the next file that is opened (a policy, a cache file, the error
    pipe), and then the command would read it as its input, or messages would be written into it.
    """
    missing = []
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            # The lowest free number is `number`, since all below it are open. Unlike every other
            # descriptor of ours it must survive exec.
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
            missing.append(name)
    return tuple(missing)


def write_all(number: int, content: bytes) -> None:
    """Write all of `content` to the descriptor `number`."""
    while content:
        content = content[os.write(number, content) :]


def say(text: str) -> None:
    """Write `text` and a newline to stderr; one that is closed or full is not an error of ours."""
    try:
        write_all(2, text.encode("utf-8", "backslashreplace") + b"\n")
    except OSError:
        return  # there is nobody left to tell; the exit code still says how it ended


def show(text: str) -> None:
    """Write `text` to stdout."""
    if sys.stdout is not None:
        sys.stdout.flush()
    write_all(1, text.encode("utf-8", "backslashreplace"))


@record
class Sink:
    """Where the result goes.

    Shape: either the descriptor `number` is written (emptied before where it `is_file` that we
           opened), or a new file in the directory `directory` is renamed to `name`.
    """

    label: str
    number: int = -1
    is_file: bool = False
    directory: int = -1
    name: bytes = b""

    def write(self, content: bytes) -> None:
        """Write the result.

        Errors: StateError(state.result) with the reason.
        """
        try:
            if self.directory >= 0:
                self._replace(content)
            else:
                if self.is_file:
                    os.ftruncate(self.number, 0)
                write_all(self.number, content)
        except OSError as error:
            raise StateError(
                f"the result cannot be written to {escape(self.label)}:"
                f" {errno_text(error.errno or 0)}",
                hint="free some space or name another place: --result FILE|fd:N",
                code="state.result",
                errno=error.errno,
            ) from error

    def _replace(self, content: bytes) -> None:
        # The command may have been able to write this directory: what it left under the name, be
        # it a link or its own version of a result, is replaced as a whole, never written through.
        draft = b".%b.%b" % (self.name[:200], os.urandom(8).hex().encode())
        flags = _WRITE | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        number = os.open(draft, flags, 0o666, dir_fd=self.directory)
        try:
            try:
                write_all(number, content)
            finally:
                os.close(number)
            os.rename(draft, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        except OSError:
            os.unlink(draft, dir_fd=self.directory)
            raise


def open_sink(target: str) -> Sink:
    """Return the destination that `--result TARGET` names, proven writable before the run.

    Errors: UsageError(usage.result).
    """
    if target.startswith("fd:"):
        return _open_descriptor(target)
    path = os.fsencode(target)
    try:
        return _open_file(target, path)
    except OSError as error:
        raise UsageError(
            f"the result cannot be written to {quote(target)}: {errno_text(error.errno or 0)}",
            hint="name a file in a directory that you may write, or an open descriptor: fd:N",
            code="usage.result",
            errno=error.errno,
        ) from error


def _open_descriptor(target: str) -> Sink:
    digits = target.removeprefix("fd:")
    problem = None
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        problem = "the descriptor is not a number"
    else:
        import fcntl  # only --result pays for it

        try:
            mode = fcntl.fcntl(int(digits), fcntl.F_GETFL) & os.O_ACCMODE
        except OSError as error:
            problem = f"the descriptor is not open: {errno_text(error.errno or 0)}"
        else:
            if mode == os.O_RDONLY:
                problem = "the descriptor is open for reading only"
    if problem is not None:
        raise UsageError(
            f"--result {quote(target)}: {problem}",
            hint="open it for the sandbox, e.g. sandbox exec --result fd:3 … 3>result.json",
            code="usage.result",
        )
    return Sink(target, number=int(digits))


def _open_file(target: str, path: bytes) -> Sink:
    path = os.path.abspath(path)
    try:
        is_regular = stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        is_regular = True
    # /dev/stdout and the like name what is open already: replacing them would miss their point.
    if is_regular and not path.startswith((b"/dev/", b"/proc/")):
        real = os.path.realpath(path)
        parent, name = os.path.split(real)
        if os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
            number = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            return Sink(target, directory=number, name=name)
    number = os.open(path, _WRITE | os.O_CREAT | os.O_NOCTTY, 0o666)
    return Sink(target, number=number, is_file=stat.S_ISREG(os.fstat(number).st_mode))
