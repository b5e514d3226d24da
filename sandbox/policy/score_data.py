"""The list of kernel bugs that `score` reads: JSON in the form that sandbox-policy(1) documents."""

from __future__ import annotations

from sandbox.errors import PolicyError
from sandbox.policy.exchange.plain_json import read_json
from sandbox.record import record
from sandbox.text import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SURFACES = ("userns", "io_uring")


@record
class Bug:
    """What one record declares: surface and capabilities (all needed), configuration, calls."""

    cve: str
    attack_surface: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    configuration: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()


@record
class BugList:
    """A named list of bugs, and where it comes from."""

    name: str
    source: str
    bugs: tuple[Bug, ...]


def read_bug_lists(path: str) -> tuple[BugList, ...]:
    """Return the lists of the file that say what a bug needs: rows with calls or a configuration.

    Shape:  lists whose rows say neither (a record of another sandbox) are left out.
    Errors: PolicyError(policy.data) with the place in the file.
    """
    data = read_json(path, code="policy.data")
    if not isinstance(data, dict):
        raise _wrong(path, "$", "an object of lists")
    found = []
    for name, section in data.items():
        if not isinstance(section, dict):
            continue
        rows = section.get("rows")
        if not isinstance(rows, list):
            raise _wrong(path, f"$.{name}.rows", "an array of records")
        bugs = [_bug(path, f"$.{name}.rows[{at}]", row) for at, row in enumerate(rows)]
        known = tuple(bug for bug in bugs if bug is not None)
        if known:
            found.append(BugList(name, str(section.get("source", "")), known))
    if not found:
        raise _wrong(path, "$", "at least one list whose records name calls or a configuration")
    return tuple(found)


def _bug(path: str, place: str, row: Any) -> Bug | None:
    if not isinstance(row, dict) or not isinstance(row.get("cve"), str):
        raise _wrong(path, place, "an object with a cve")
    calls = _texts(path, place, row, "syscalls")
    configuration = _texts(path, place, row, "kernel_config")
    if not calls and not configuration:
        return None
    surface = _texts(path, place, row, "attack_surface")
    unknown = sorted(set(surface) - set(_SURFACES))
    if unknown:
        raise _wrong(
            path, f"{place}.attack_surface", f"userns or io_uring, not {quote(unknown[0])}"
        )
    capabilities = _texts(path, place, row, "capabilities")
    return Bug(row["cve"], surface, capabilities, configuration, calls)


def _texts(path: str, place: str, row: dict[str, Any], key: str) -> tuple[str, ...]:
    value = row.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(path, f"{place}.{key}", "an array of strings")
    return tuple(value)


def _wrong(path: str, place: str, form: str) -> PolicyError:
    return PolicyError(
        f"{path}: {place}: expected {form}",
        hint="sandbox-policy(1) has the form of the file",
        code="policy.data",
        path=path,
        place=place,
    )
