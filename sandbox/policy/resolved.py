"""A resolved policy as a list: every value with its key and the place that it comes from.

`show`, `diff` and `explain` read this list, so they cannot disagree about what a policy says.
"""

from __future__ import annotations

from sandbox.policy.members import name_of
from sandbox.policy.model import BUILT_IN
from sandbox.policy.schema import COLLECTIONS, COMPOSITION, SCHEMA
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.policy.model import Policy

# These describe the file, not what it allows.
ABOUT_THE_FILE = frozenset({"schema", "summary", *COMPOSITION})
_FORMS = ("{}", "{}_ms", "{}_bytes", "{}_percent", "has_{}", "is_{}")


@record
class Value:
    """One value of a resolved policy.

    Shape: `member` names the entry of a collection and is empty elsewhere; `value` is JSON data
           (bytes and milliseconds as integers, None for no bound).
    """

    key: str
    member: str
    value: Any
    origin: str

    @property
    def name(self) -> str:
        """The key as origins write it: `env.allow[LANG]`."""
        return f"{self.key}[{self.member}]" if self.member else self.key


def resolved_values(policy: Policy) -> tuple[Value, ...]:
    """Return every value that holds under `policy`, in the order of the format.

    Shape: rules of the base set stand among the policy's own, with their place in syscalls.toml.
    """
    found: list[Value] = []
    for key, spec in SCHEMA.items():
        if key in ABOUT_THE_FILE:
            continue
        content = _content(policy, key)
        if key == "syscalls.rules":
            from sandbox.policy.call_sets import effective_rules  # reads a file of 15 KB

            content = effective_rules(policy.syscalls)
        if spec.kind not in COLLECTIONS:
            found.append(Value(key, "", _data(content), policy.origin(key)))
            continue
        members = [_member(item) for item in content or ()]
        for member, value, place in sorted(members, key=lambda entry: entry[0]):
            origin = policy.origin(f"{key}[{member}]")
            found.append(Value(key, member, value, place if origin == BUILT_IN else origin))
    return tuple(found)


def origin_below(policy: Policy, key: str) -> str:
    """Return the place of `key`, or of its first member, or "built in"."""
    for known, place in policy.origins:
        if known == key or known.startswith(f"{key}["):
            return place
    return BUILT_IN


def _content(policy: Policy, key: str) -> Any:
    """Return the field that holds `key`; names differ only by a unit or by how claims read."""
    section, _, rest = key.partition(".")
    holder = getattr(policy, section)
    if rest.startswith("namespaces."):
        return holder.namespace(rest.partition(".")[2])
    for form in _FORMS:
        name = form.format(rest.replace(".", "_"))
        if hasattr(holder, name):
            return getattr(holder, name)
    raise KeyError(key)


def _member(item: Any) -> tuple[str, Any, str]:
    """Return name, value and place of one entry of a collection."""
    if isinstance(item, (str, frozenset)):
        return name_of(item), True, BUILT_IN
    if isinstance(item, tuple):
        return item[0], _data(item[1]), BUILT_IN
    name = getattr(item, "name", None)
    if name is None:
        name = _data(item.path)
    value = {
        field: _data(getattr(item, field))
        for field in type(item).__record_fields__
        if field not in ("name", "path", "origin") and getattr(item, field) not in (None, (), "")
    }
    return name, value or True, getattr(item, "origin", BUILT_IN)


def _data(value: Any) -> Any:
    if hasattr(value, "slot"):
        return value.text()
    if isinstance(value, (tuple, list)):
        return [_data(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(_data(item) for item in value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)  # an Action
