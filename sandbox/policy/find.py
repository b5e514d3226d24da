"""Policy files: where a name leads, and whether the file may be trusted."""

from __future__ import annotations

import os
import stat

from sandbox.errors import PolicyError
from sandbox.host import observe, paths
from sandbox.policy import parsed_cache
from sandbox.policy.groups import FOUND_LAYER
from sandbox.policy.parsed_cache import Parsed
from sandbox.record import record
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tomllib import TOMLDecodeError
    from typing import Any

SYSTEM_DIR = "/etc/sandbox/policies"
SIZE_MAX_BYTES = 1 << 20
_SUFFIX = ".toml"
_SUFFIXES = (_SUFFIX, ".json")  # the same data in either form
_NOT_POLICIES = frozenset({"syscalls.toml"})  # the filter's groups lie beside the shipped policies
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@record
class Source:
    """A policy file: its name, path, the short form that places use, and whose word it is.

    Shape: `kind` is shipped, system, user, named (a path that the user gave) or found (in the
           working tree; it can only tighten).
    """

    name: str
    path: str
    label: str
    kind: str


def shipped_dir() -> str:
    """Return the directory of the shipped policies.

    It lies in the package when installed and beside it in a source tree; `importlib.resources`
    would find it as well, for 15 ms more.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    inside = os.path.join(package, "policies")
    return inside if os.path.isdir(inside) else os.path.join(os.path.dirname(package), "policies")


def is_source_tree() -> bool:
    """Say whether the package runs from its sources, which are edited file by file."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return not shipped_dir().startswith(package + "/")


def _directories() -> tuple[tuple[str, str], ...]:
    return (
        ("shipped", shipped_dir()),
        ("system", SYSTEM_DIR),
        ("user", os.path.join(paths.config_dir(), "policies")),
    )


def policy_names() -> list[str]:
    """Return the names of all policies that can be named, sorted."""
    names: set[str] = set()
    for _, directory in _directories():
        try:
            entries = os.listdir(directory)
        except OSError:
            continue
        names.update(
            os.path.splitext(entry)[0]
            for entry in entries
            if entry.endswith(_SUFFIXES) and entry not in _NOT_POLICIES
        )
    return sorted(names)


def find_policy(name: str, *, beside: str | None = None, asked: str = "") -> Source:
    """Return the file that `name` means; anything with a slash is a path.

    Shape:  `beside` is the directory that a relative path starts from (None: the working
            directory); `asked` says where the name stands ("strict.toml:3: "), for messages.
    Errors: PolicyError(policy.not-found) with the nearest name; (policy.conflict) for a name that
            stands in two directories.
    """
    if "/" in name:
        path = name if beside is None else os.path.join(beside, name)
        base = os.path.basename(path)
        stem = os.path.splitext(base)[0] if base.endswith(_SUFFIXES) else base
        return Source(stem, path, escape(path), "named")
    found = []
    if name and not set(name) - _NAME_CHARS and name + _SUFFIX not in _NOT_POLICIES:
        for kind, directory in _directories():
            for suffix in _SUFFIXES:
                path = os.path.join(directory, name + suffix)
                if observe.lexists(path):
                    label = name + suffix if kind == "shipped" else path
                    found.append(Source(name, path, escape(label), kind))
    if len(found) > 1:
        raise PolicyError(
            f"{asked}the policy name {name!r} stands for two files:"
            f" {escape(found[0].path)} and {escape(found[1].path)}",
            hint="rename one of them, or name the file by its path",
            code="policy.conflict",
            name=name,
        )
    if not found:
        raise _not_found(name, asked)
    return found[0]


def found_layers(tree: str) -> tuple[Source, ...]:
    """Return the `.sandbox.toml` files from the directory `tree` up to the root of its repository.

    Shape: nearest first; of a directory outside any repository its own alone. A file that neither
           the caller, root nor its directory's owner owns is a stranger's (in /tmp, say) and does
           not count.
    """
    found: list[Source] = []
    here = tree
    while True:
        path = os.path.join(here, FOUND_LAYER)
        if observe.lexists(path) and _is_of_the_tree(path, here):
            found.append(Source(FOUND_LAYER, path, escape(path), "found"))
        if observe.lexists(os.path.join(here, ".git")):
            return tuple(found)
        above = os.path.dirname(here)
        if above == here:
            return tuple(one for one in found if os.path.dirname(one.path) == tree)
        here = above


def _is_of_the_tree(path: str, directory: str) -> bool:
    if observe.is_link(path):
        observe.miss(f"{path} is a link")  # its own owner is no fact, and reading it is refused
        owner = os.lstat(path).st_uid
    else:
        owner = observe.owner(path)
    return owner in (0, os.geteuid(), observe.owner(directory))


def _not_found(name: str, asked: str) -> PolicyError:
    from sandbox.policy.values import nearest  # only on the way to an error

    names = policy_names()
    near = nearest(os.path.splitext(name)[0] if name.endswith(_SUFFIXES) else name, names)
    guess = f"; did you mean {near}?" if near else ""
    hint = f"policies: {', '.join(names)}" if names else "no policy is installed"
    if name.endswith(_SUFFIXES):
        hint = f"a file is named with a slash: ./{escape(name)}"
    return PolicyError(
        f"{asked}no policy named {name!r}{guess}",
        hint=hint,
        code="policy.not-found",
        name=name,
        nearest=near,
    )


def read_policy_file(source: Source) -> Parsed:
    """Return the parsed TOML of `source`.

    Errors: PolicyError(policy.not-found, .untrusted, .syntax), with the place in the text.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    if source.kind in ("system", "user", "found"):
        flags |= os.O_NOFOLLOW
    try:
        fd = os.open(source.path, flags)
    except (OSError, ValueError) as error:
        raise _unreadable(source, error) from error
    try:
        info = os.fstat(fd)
        _check_trust(source, info)
        observe.saw_file(source.path, info)
        kept = parsed_cache.load(info)
        if kept is not None:
            return kept
        body = _read_all(fd)
    except OSError as error:
        raise _unreadable(source, error) from error
    finally:
        os.close(fd)
    parsed = parse(body, source.label)
    parsed_cache.store(info, parsed)
    return parsed


def _read_all(fd: int) -> bytes:
    """Read up to one byte more than a policy may have."""
    body = b""
    while len(body) <= SIZE_MAX_BYTES:
        piece = os.read(fd, SIZE_MAX_BYTES + 1 - len(body))
        if not piece:
            break
        body += piece
    return body


def _unreadable(source: Source, error: OSError | ValueError) -> PolicyError:
    import errno  # only on the way to an error

    reason = getattr(error, "strerror", None) or str(error)
    hint = None
    if getattr(error, "errno", None) == errno.ELOOP:
        reason = "it is a symbolic link"
        hint = "only regular files count here; name the file by its path"
    return PolicyError(
        f"cannot read the policy {source.label}: {reason}",
        hint=hint,
        code="policy.not-found",
        path=source.path,
    )


def _check_trust(source: Source, info: os.stat_result) -> None:
    """Refuse a file that somebody else could have written, and what is no policy by its size."""
    mode = info.st_mode
    own = os.geteuid()
    problem, hint = None, None
    if not stat.S_ISREG(mode):
        problem = "it is not a regular file"
    elif info.st_size > SIZE_MAX_BYTES:
        problem = f"it has {info.st_size} bytes; a policy has at most {SIZE_MAX_BYTES}"
    elif source.kind in ("shipped", "found"):
        return  # who can write these can write the program as well; or: it can only restrict
    elif info.st_uid not in (0, own):
        problem = f"it belongs to uid {info.st_uid}, not to you or root"
        hint = "copy it to a file of yours"
    elif mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not _is_private_group(info)):
        problem = f"others may write it (mode {stat.S_IMODE(mode):04o})"
        hint = f"chmod go-w {source.label}"
    if problem is not None:
        raise PolicyError(
            f"the policy {source.label} is not used: {problem}",
            hint=hint,
            code="policy.untrusted",
            path=source.path,
        )


def _is_private_group(info: os.stat_result) -> bool:
    """Say whether the file's group is the caller's own (user private groups: gid = uid)."""
    return info.st_gid == os.getegid() == os.geteuid() == info.st_uid


def parse(body: bytes, label: str) -> Parsed:
    """Return the text `body` with its places; `label` stands for the file in messages.

    Shape:  JSON where `label` ends in .json, else TOML.
    Errors: PolicyError(policy.syntax) with line and column.
    """
    import hashlib  # with tomllib below: only where nothing is kept for the file
    import tomllib

    from sandbox.policy.toml_places import find_places

    if len(body) > SIZE_MAX_BYTES:  # it grew since it was opened
        raise PolicyError(
            f"the policy {label} is not used: it has more than {SIZE_MAX_BYTES} bytes",
            code="policy.untrusted",
        )
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        column = error.start - (body.rfind(b"\n", 0, error.start) + 1) + 1
        raise _syntax(label, line, column, f"byte {body[error.start]:#04x} is not UTF-8") from error
    if label.endswith(".json"):
        data, places = _parse_json(label, text)
        return Parsed(hashlib.sha256(body).hexdigest(), data, places, is_json=True)
    try:
        data = tomllib.loads(text)
        places = find_places(text)
    except tomllib.TOMLDecodeError as error:
        raise _toml_error(label, text, error) from error
    except RecursionError as error:
        raise _syntax(label, 1, 1, "values are nested too deeply") from error
    return Parsed(hashlib.sha256(body).hexdigest(), data, places)


def _parse_json(label: str, text: str) -> tuple[dict[str, Any], dict[Any, tuple[int, int]]]:
    from sandbox.policy import json_places  # few policies are JSON

    try:
        return json_places.load_json(text)
    except RecursionError as error:
        raise _syntax(label, 1, 1, "values are nested too deeply") from error
    except ValueError as error:
        line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
        problem = getattr(error, "msg", str(error))
        raise _syntax(label, line, column, escape(problem[:1].lower() + problem[1:])) from error


def _syntax(label: str, line: int, column: int, problem: str) -> PolicyError:
    return PolicyError(
        f"{label}:{line}:{column}: {problem}",
        hint="a policy is TOML, or JSON where its name ends in .json, in UTF-8",
        code="policy.syntax",
        line=line,
        column=column,
    )


def _toml_error(label: str, text: str, error: TOMLDecodeError) -> PolicyError:
    """Return the error of `tomllib` in our form; it gives the place only within its message."""
    problem, found, place = str(error).rpartition(" (at ")
    numbers = "".join(char if char.isdigit() else " " for char in place).split()
    if found and len(numbers) == 2:
        line, column = int(numbers[0]), int(numbers[1])
    else:  # "(at end of document)"
        problem = problem or str(error)
        line = text.count("\n") + 1
        column = len(text) - (text.rfind("\n") + 1) + 1
    problem = problem[:1].lower() + problem[1:]
    return _syntax(label, line, column, escape(problem))
