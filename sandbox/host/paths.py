"""Our directories: cache, state, runtime; 0700, made on demand, refused if another user owns them.

Source: XDG Base Directory Specification 0.8. A relative XDG value is ignored, as it demands.
"""

from __future__ import annotations

import errno
import os
import stat

from sandbox.errors import StateError

_NAME = "sandbox"


def home_dir() -> str:
    """Return the caller's home: $HOME if absolute, else the user database's."""
    home = os.environ.get("HOME", "")
    if home.startswith("/"):
        return home
    import pwd  # only where HOME is unset: the database may be a network service

    from sandbox.host import observe

    observe.miss("the user database was asked for the caller's home")

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"


def _base(variable: str, below_home: str) -> str:
    value = os.environ.get(variable, "")
    return value if value.startswith("/") else os.path.join(home_dir(), below_home)


def config_dir() -> str:
    """Return $XDG_CONFIG_HOME/sandbox; it is only read, so never made."""
    return os.path.join(_base("XDG_CONFIG_HOME", ".config"), _NAME)


def own_dirs() -> tuple[str, ...]:
    """Return the directories whose content decides over later runs; nothing is made."""
    bases = (_base("XDG_CACHE_HOME", ".cache"), _base("XDG_STATE_HOME", ".local/state"))
    return (config_dir(), *(os.path.join(base, _NAME) for base in bases))


def cache_dir(*parts: str) -> str:
    """Return the directory `parts` of our cache, made if need be.

    Errors: StateError where it cannot be made or another user owns it.
    """
    return _make(_base("XDG_CACHE_HOME", ".cache"), _NAME, *parts)


def state_dir(*parts: str) -> str:
    """Return the directory `parts` of our lasting state, made if need be.

    Errors: StateError where it cannot be made or another user owns it.
    """
    return _make(_base("XDG_STATE_HOME", ".local/state"), _NAME, *parts)


def runtime_dir(*parts: str) -> str:
    """Return the directory `parts` of what lives as long as a run, made if need be.

    Shape:  below $XDG_RUNTIME_DIR; without it in our state directory, since a fixed name in /tmp
            could be taken by another user first; there only for callers without a home.
    Errors: StateError where it cannot be made or another user owns it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base.startswith("/") and os.access(base, os.W_OK | os.X_OK):
        return _make(base, _NAME, *parts)
    try:
        return state_dir("run", *parts)
    except StateError:
        return _make("/tmp", f"{_NAME}-{os.geteuid()}", *parts)  # noqa: S108  # checked by _check


def _make(base: str, name: str, *parts: str) -> str:
    """Make `base` (if absent) and the private directories below it; check each of ours."""
    path = base
    try:
        if not os.path.isdir(base):
            _make_base(base)
        for part in (name, *parts):
            path = os.path.join(path, part)
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                _check(path)
    except (OSError, ValueError) as error:
        raise StateError(
            f"cannot make the directory {path}: {getattr(error, 'strerror', None) or error}",
            hint="point XDG_CACHE_HOME, XDG_STATE_HOME or XDG_RUNTIME_DIR at a directory of yours",
            path=path,
        ) from error
    return path


def _make_base(base: str) -> None:
    """Make an XDG base directory; a home that does not exist is not made for its sake."""
    home = home_dir()
    if base.startswith(home + "/") and not os.path.isdir(home):
        raise FileNotFoundError(errno.ENOENT, f"the home {home} does not exist")
    os.makedirs(base, mode=0o700, exist_ok=True)


def _check(path: str) -> None:
    info = os.lstat(path)
    if not stat.S_ISDIR(info.st_mode):
        problem = "it is not a directory"
    elif info.st_uid != os.geteuid():
        problem = f"it belongs to uid {info.st_uid}"
    elif info.st_mode & 0o022:
        problem = f"others may write it (mode {stat.S_IMODE(info.st_mode):04o})"
    else:
        return
    raise StateError(
        f"{path} is not used: {problem}",
        hint="remove it, or point the XDG directory at one of yours",
        path=path,
    )
