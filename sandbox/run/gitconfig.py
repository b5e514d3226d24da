"""`@gitconfig`: the caller's git configuration as files inside, without what is secret."""

from __future__ import annotations

import os

from sandbox.host import observe
from sandbox.plan.model import MountKind, MountOp, SlotPath

_MAX_BYTES = 65536
# Sections that hold credentials or point to what is not shown inside.
_DROPPED_SECTIONS = frozenset(
    {b"credential", b"sendemail", b"imap", b"http", b"include", b"includeif"}
)
_SECRET_WORDS = (b"token", b"password", b"passwd", b"secret", b"extraheader", b"cookiefile")
_FILES = (
    (b".gitconfig", b".gitconfig"),
    (b".config/git/config", b".config/git/config"),
    (b".config/git/ignore", b".config/git/ignore"),
    (b".config/git/attributes", b".config/git/attributes"),
)


def without_secrets(text: bytes) -> bytes:
    """Return a git configuration without credential sections, secret keys and URLs with users.

    Source: git-config(1), section "CONFIGURATION FILE"; a value's continuation lines go with it.
    """
    kept = []
    is_dropping = False
    is_continued = False
    for given in text.splitlines():
        line, bare = given, given.strip()
        if is_continued:
            is_continued = bare.endswith(b"\\")
            continue
        if bare.startswith(b"["):
            header = bare[1:].partition(b"]")[0]
            section = header.split(b'"')[0].split(b".")[0].strip().lower()
            is_dropping = section in _DROPPED_SECTIONS or (section == b"url" and b"@" in header)
            rest = bare.partition(b"]")[2]
            if _is_secret(rest):
                line = b"[" + header + b"]"
        elif _is_secret(bare):
            is_continued = bare.endswith(b"\\")
            continue
        if not is_dropping:
            kept.append(line)
        elif bare.endswith(b"\\"):
            is_continued = True
    return b"\n".join(kept) + b"\n" if kept else b""


def _is_secret(line: bytes) -> bool:
    key, _equals, value = line.partition(b"=")
    name = key.strip().lower()
    has_userinfo = b"://" in value and b"@" in value.partition(b"://")[2].partition(b"/")[0]
    return has_userinfo or any(word in name for word in _SECRET_WORDS)


def gitconfig_mounts(home: bytes, inside: bytes) -> tuple[MountOp, ...]:
    """Return FILE operations for what the caller has; none where there is no home."""
    if not home:
        return ()
    found = []
    for source, target in _FILES:
        text = observe.read_file(os.path.join(home, source), _MAX_BYTES + 1)
        if text is None or len(text) > _MAX_BYTES:
            continue  # absent, unreadable or no configuration: git runs with its defaults
        content = without_secrets(text) if target.endswith(b"config") else text
        if content:
            path = SlotPath(inside.rstrip(b"/") + b"/" + target)
            found.append(
                MountOp(MountKind.FILE, path, data=content, mode_octal=0o444, origin="@gitconfig")
            )
    return tuple(found)
