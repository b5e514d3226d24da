"""Subordinate ids (subuid(5)): which ones the caller has, and maps of several extents made of them.

An ordinary user may map its own id and, through the set-user-id helpers newuidmap(1) and
newgidmap(1), the ranges that /etc/subuid and /etc/subgid give it. Root needs neither.
"""

from __future__ import annotations

import os

from sandbox.errors import SetupError
from sandbox.host import observe
from sandbox.plan.model import IdKind, IdMap
from sandbox.record import record
from sandbox.text import escape

FILES = {IdKind.UID: "/etc/subuid", IdKind.GID: "/etc/subgid"}
_HELPERS = {IdKind.UID: "newuidmap", IdKind.GID: "newgidmap"}
# Fixed places: what a caller's PATH finds need not be the distribution's helper.
_PLACES = ("/usr/bin", "/bin", "/run/wrappers/bin", "/usr/local/bin")
EXTENTS_MAX = 64  # of csrc/abi.h
_ID_LAST = (1 << 32) - 2
_FILE_MAX_BYTES = 1 << 24
_TOTAL_MAX = 1 << 20  # ids inside; more than any distribution gives


@record
class Range:
    """`count` host ids from `first`."""

    first: int
    count: int


@record
class SubIds:
    """The ranges of the caller; `gap` says why there are none, and `remedy` what to do."""

    uids: tuple[Range, ...] = ()
    gids: tuple[Range, ...] = ()
    gap: str = ""
    remedy: str = ""


def read_ranges(path: str, owners: frozenset[str]) -> tuple[Range, ...]:
    """Return the ranges that `path` gives to one of `owners` (a name, or an id as text).

    Shape: a file that is absent gives nothing; a line that is no `owner:first:count` is left out,
           as newuidmap(1) does; ranges that overlap an earlier one are left out.
    """
    content = observe.read_file(path, _FILE_MAX_BYTES)
    lines = (content or b"").decode("utf-8", "surrogateescape").splitlines()
    found: list[Range] = []
    for line in lines:
        owner, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if owner not in owners or not (_is_number(first) and _is_number(count)):
            continue
        new = Range(int(first), int(count))
        is_valid = new.count > 0 and new.first + new.count - 1 <= _ID_LAST
        if is_valid and not any(_overlap(new, old) for old in found):
            found.append(new)
    return tuple(found)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _overlap(one: Range, other: Range) -> bool:
    return one.first < other.first + other.count and other.first < one.first + one.count


def find_subids(files: dict[IdKind, str] | None = None) -> SubIds:
    """Return the subordinate ids of the calling user, and whether the helpers are there."""
    import pwd  # only a policy that asks for several ids pays for the user database

    observe.miss("the user database was asked for the caller's name")
    uid = os.getuid()
    paths = files or FILES
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return SubIds(
            gap=f"uid {uid} has no name in the user database, which {_HELPERS[IdKind.UID]} and"
            f" {paths[IdKind.UID]} go by",
            remedy="give the user a name: useradd(8)",
        )
    who = frozenset({str(uid), name})
    uids, gids = (read_ranges(paths[kind], who) for kind in (IdKind.UID, IdKind.GID))
    for kind, ranges in ((IdKind.UID, uids), (IdKind.GID, gids)):
        if not ranges:
            return SubIds(
                gap=f"{paths[kind]} gives uid {uid} no range of subordinate ids",
                remedy=f"the owner of the host can add one: usermod --add-sub{kind.name.lower()}s"
                f" 100000-165535 {name}",
            )
        if helper(kind) is None:
            return SubIds(
                gap=f"{_HELPERS[kind]} is not installed",
                remedy="install the package that has it (Debian, Ubuntu: uidmap;"
                " Fedora: shadow-utils)",
            )
    return SubIds(uids, gids)


def helper(kind: IdKind) -> str | None:
    """Return the path of newuidmap or newgidmap, or None."""
    for place in _PLACES:
        path = f"{place}/{_HELPERS[kind]}"
        if observe.access(path, os.X_OK):
            return path
    return None


def lay_out(kind: IdKind, inside: int, outside: int, ranges: tuple[Range, ...]) -> list[IdMap]:
    """Return the extents of one kind: `inside` is `outside`, the other ids from 0 are `ranges`.

    Shape: the extent of the command's own id first; at most EXTENTS_MAX, what is over is left out.
           A range that holds `outside` itself loses that one id.
    """
    maps = [IdMap(kind, inside, outside)]
    at = 0
    for piece in _without(ranges, outside):
        first, left = piece.first, min(piece.count, _TOTAL_MAX - at)
        while left > 0 and len(maps) < EXTENTS_MAX:
            at += at == inside
            room = inside - at if at < inside else left
            count = min(left, room)
            maps.append(IdMap(kind, at, first, count))
            at, first, left = at + count, first + count, left - count
    return maps


def _without(ranges: tuple[Range, ...], taken: int) -> list[Range]:
    pieces = []
    for item in ranges:
        end = item.first + item.count
        if item.first <= taken < end:
            halves = (Range(item.first, taken - item.first), Range(taken + 1, end - taken - 1))
            pieces += [half for half in halves if half.count]
        else:
            pieces.append(item)
    return pieces


def map_by_helpers(pid: int, maps: tuple[IdMap, ...]) -> None:
    """Have the maps of the waiting child `pid` written by newgidmap and newuidmap.

    Errors: SetupError(setup.maps) with what the helper said.
    """
    for kind in (IdKind.GID, IdKind.UID):
        path = helper(kind)
        if path is None:
            raise _failed(f"{_HELPERS[kind]} is not installed any more", kind)
        argv = [path, str(pid)]
        for item in maps:
            if item.kind is kind:
                argv += [str(item.inside), str(item.outside), str(item.count)]
        code, said = _run(argv)
        if code != 0:
            raise _failed(f"{path} ended with {code}: {escape(said) or 'it said nothing'}", kind)


def _failed(message: str, kind: IdKind) -> SetupError:
    return SetupError(
        f"the ids cannot be mapped: {message}",
        hint=f"check the ranges in {FILES[kind]} and that the helper is set-user-id root"
        ' (not on a nosuid mount); or process.id_map = "single"',
        code="setup.maps",
        stage="maps",
        op=-1,
    )


def _run(argv: list[str]) -> tuple[int, str]:
    """Run a helper; return its exit code and the end of what it wrote to stderr."""
    reader, writer = os.pipe()
    try:
        pid = os.posix_spawn(
            argv[0],
            argv,
            {"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            file_actions=[(os.POSIX_SPAWN_DUP2, writer, 2)],
            setsigmask=(),
        )
    except OSError as error:
        os.close(reader)
        return 127, error.strerror or str(error)
    finally:
        os.close(writer)
    said = b""
    while chunk := os.read(reader, 4096):
        said = (said + chunk)[-1000:]
    os.close(reader)
    _pid, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), said.decode("utf-8", "replace").strip()
