"""A root directory of a distribution's packages alone, copied from this machine.

As a minimal installation has it: a Python, a shell, coreutils, the C library; no compiler, nothing
of the checkout. A command gets it as the root of a mount namespace of its own: in a chroot the
kernel makes no user namespaces.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from support.need import need_program

MERGED = ("bin", "sbin", "lib", "lib64")
EMPTY = ("proc", "sys", "dev", "tmp", "run", "var", "etc", "srv", "old")
UNREAD = re.compile(r"^/usr/share/(doc|man|locale|info|lintian|bug|zoneinfo)/")
# The new root is a mount, its /proc the caller's own with all that covers it.
ENTER = """
mount --make-rprivate / && mount --bind "$1" "$1" || exit 77
for name in proc sys dev; do mount --rbind "/$name" "$1/$name" || exit 77; done
cd "$1" && pivot_root . old && umount -l /old || exit 77
shift; exec "$@"
"""


def closure(*wanted: str) -> list[str]:
    """Return the packages `wanted` and all that they depend on, of those that are installed."""
    found: dict[str, None] = {}
    pending = list(wanted)
    while pending:
        name = pending.pop()
        if name in found:
            continue
        words = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Pre-Depends}, ${Depends}\n", name]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        if not done.stdout.startswith("installed "):
            continue  # another alternative is
        found[name] = None
        fields = done.stdout.partition(" ")[2].splitlines()[0]
        pending += re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9.+-]+)", fields)
    return list(found)


def make_bare_root(root: Path, *packages: str) -> Path:
    """Make the root of `packages` and what they need; return it.

    Skips where this is no distribution of dpkg's.
    """
    need_program("dpkg-query")
    (root / "usr").mkdir(parents=True)
    for name in MERGED:
        (root / "usr" / name).mkdir()
        (root / name).symlink_to(f"usr/{name}")
    for name in EMPTY:
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    for package in closure(*packages):
        listed = subprocess.run(
            ["dpkg-query", "-L", package], capture_output=True, text=True, timeout=30, check=True
        )
        for line in listed.stdout.splitlines():
            if line.startswith("/") and not UNREAD.match(line):
                _copy(Path(line), root)
    subprocess.run(["/sbin/ldconfig", "-r", str(root)], timeout=60, check=True)
    return root


def _copy(path: Path, root: Path) -> None:
    target = root / path.relative_to("/")
    if path.is_dir() and not path.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
    elif (path.exists() or path.is_symlink()) and not os.path.lexists(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)


def inside(root: Path, *argv: str, uid: int = 0) -> list[str]:
    """Return the words that run `argv` with `root` as the root directory, as `uid`."""
    enter = ["unshare", "--mount", "sh", "-c", ENTER, "sh", str(root)]
    setpriv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    env = ["env", "-i", "PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/srv/home", "LANG=C.UTF-8"]
    return [*enter, *(setpriv if uid else ()), *env, *argv]
