"""The ordinary user as whom the sandbox is tested.

Not root: that is the caller. Root: an id that no passwd entry owns, because it can have no
processes, files or privileges beforehand, and because a sandbox must not need a user name.
setpriv(1) changes to it without a login, a session or a password database.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT_TIMEOUT_S = 30.0
# The search starts above the ids that distributions give to people and below 65534 (nobody).
FIRST_ID = 41000
LAST_ID = 41999
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def free_id() -> int:
    """Return the first id from FIRST_ID that no passwd entry owns."""
    for candidate in range(FIRST_ID, LAST_ID):
        try:
            pwd.getpwuid(candidate)
        except KeyError:
            return candidate
    raise LookupError(f"every id from {FIRST_ID} to {LAST_ID} has a passwd entry")


def remove_tree(path: Path) -> None:
    """Remove `path`, also where a test left directories without permissions.

    An overlay's work directory is left at mode 000.
    """
    for parent, names, _files in os.walk(path):
        for name in names:
            directory = os.path.join(parent, name)
            if not os.path.islink(directory):
                os.chmod(directory, 0o700)
    shutil.rmtree(path)


@dataclass(frozen=True)
class User:
    """Who runs the commands of a test, and where.

    Shape: `prefix` is the argv that changes to the user (empty for the caller itself); `base` is
    a directory of the session that the user may enter; `home` belongs to the user.
    """

    uid: int
    gid: int
    base: Path
    home: Path
    prefix: tuple[str, ...]

    def environ(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return a small, fixed environment, so that results do not depend on the caller's."""
        fixed = {"PATH": PATH, "HOME": str(self.home), "LANG": "C.UTF-8", "TERM": "dumb"}
        return {**fixed, **(extra or {})}

    def make_dir(self, prefix: str = "work-") -> Path:
        """Return a new empty directory that belongs to the user."""
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=self.base))
        self.own(path)
        return path

    def own(self, path: Path) -> Path:
        """Give `path` and everything below it to the user; return it."""
        if os.geteuid() == 0:
            for parent, _names, files in os.walk(path):
                os.chown(parent, self.uid, self.gid)
                for name in files:
                    os.chown(os.path.join(parent, name), self.uid, self.gid, follow_symlinks=False)
        return path

    def run(
        self,
        argv: Sequence[str | bytes | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `argv` as the user and return what came out; never checks the exit code."""
        return subprocess.run(
            [*self.prefix, *argv],
            cwd=cwd or self.home,
            env=self.environ(env),
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def start(
        self,
        argv: Sequence[str | bytes | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start `argv` as the user with its output in pipes; the caller waits for it."""
        return subprocess.Popen(
            [*self.prefix, *argv],
            cwd=cwd or self.home,
            env=self.environ(env),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
        )


def ordinary_user(base: Path) -> User:
    """Return the ordinary user, with a new home below `base`."""
    home = base / "home"
    home.mkdir(mode=0o700)
    if os.geteuid() != 0:
        return User(os.getuid(), os.getgid(), base, home, ())
    base.chmod(0o755)
    uid = int(os.environ.get("SANDBOX_TESTS_UID", "0")) or free_id()
    os.chown(home, uid, uid)
    setpriv = shutil.which("setpriv") or "setpriv"
    # setpriv keeps root's capabilities until its own exec, which would reach programs in root's
    # home; env is there to be executed with them, and executes the command without.
    prefix = (setpriv, f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--", "env")
    return User(uid, uid, base, home, prefix)


def root_user(base: Path) -> User:
    """Return root itself, with a home of its own below `base`."""
    home = base / "root-home"
    home.mkdir(mode=0o700)
    return User(0, 0, base, home, ())
