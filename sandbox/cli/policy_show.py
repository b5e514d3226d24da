"""`sandbox policy list`, `show` and `schema`."""

from __future__ import annotations

from sandbox.cli.policy import show_json
from sandbox.cli.policy_load import found_in_tree, load, note_tree
from sandbox.cli.streams import show
from sandbox.errors import SandboxError
from sandbox.record import to_data
from sandbox.text import duration_text, escape, quote, size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.cli.options import Parsed
    from sandbox.policy.resolved import Value

_ORIGIN_COLUMN = 72


def run_list(parsed: Parsed) -> int:
    """Print the policies that have a name."""
    from sandbox.policy.find import find_policy, policy_names
    from sandbox.policy.load import load_policy

    rows: list[dict[str, Any]] = []
    for name in policy_names():
        row: dict[str, Any] = {"name": name, "kind": None, "path": None, "summary": None}
        try:
            source = find_policy(name)
            row.update(kind=source.kind, path=source.path)
            row["summary"] = load_policy(name, is_base=False).summary
        except SandboxError as error:  # one broken file does not hide the others
            row["error"] = error.message
        rows.append(row)
    if parsed.has("json"):
        show_json({"policies": rows})
        return 0
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        text = row["summary"] if "error" not in row else f"cannot be used: {row['error']}"
        kind = "" if row["kind"] in (None, "shipped") else f" ({row['path']})"
        show(f"{escape(row['name']):<{width}}  {escape(str(text))}{escape(kind)}\n")
    return 0


def run_show(parsed: Parsed) -> int:
    """Print every value of a policy with its place."""
    from sandbox.policy.resolved import resolved_values

    note_tree(parsed)
    policy = load(parsed.rest[0], parsed)
    values = resolved_values(policy)
    if parsed.has("json"):
        show_json(
            {
                "policy": policy_data(policy),
                "tree": found_in_tree(parsed),
                "values": [
                    {
                        "key": value.key,
                        "member": value.member or None,
                        "value": value.value,
                        "origin": value.origin,
                    }
                    for value in values
                ],
            }
        )
        return 0
    lines = [f"# {escape(policy.name)}: {escape(policy.summary)}"]
    lines += [f"# {escape(path)}  sha256 {digest[:16]}…" for path, digest in policy.files]
    lines += [f"# note: {escape(note)}" for note in policy.notes]
    lines += [
        f"# removed: {escape(one.key)}[{escape(one.member)}]: {escape(one.reason)}"
        f"  ({escape(one.origin)})"
        for one in policy.removed
    ]
    section = ""
    for value in values:
        table, _, rest = value.key.partition(".")
        if table != section:
            section = table
            lines += ["", f"[{table}]"]
        text = _line(rest, value)
        lines.append(f"{text:<{_ORIGIN_COLUMN}}  # {escape(value.origin)}")
    show("\n".join(lines) + "\n")
    return 0


def policy_data(policy: Any) -> dict[str, Any]:
    """Return what names a policy: its name, summary, path, hash and files."""
    return {
        "name": policy.name,
        "summary": policy.summary,
        "path": policy.path,
        "sha256": policy.sha256,
        "removed": to_data(policy.removed),
        "notes": list(policy.notes),
        "files": [{"path": path, "sha256": digest} for path, digest in policy.files],
    }


def _line(key: str, value: Value) -> str:
    name = f"{key}[{escape(value.member)}]" if value.member else key
    if value.member and value.value is True:
        return name
    return f"{name} = {_text(value.key, value.value)}"


def _text(key: str, value: Any) -> str:
    from sandbox.policy.schema import SCHEMA

    kind = SCHEMA[key].kind
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if kind == "size" and isinstance(value, int):
        return size_text(value)
    if kind == "duration" and isinstance(value, int):
        return duration_text(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(quote(str(item)) for item in value) + "]"
    if isinstance(value, dict):
        parts = []
        for name, item in value.items():
            is_size = name == "size_bytes"
            word = name.removeprefix("is_").removesuffix("_bytes")
            if item is False or item == 0:
                continue
            parts.append(f"{word} = {size_text(item) if is_size else _text(key, item)}")
        return "{ " + ", ".join(parts) + " }"
    return quote(str(value))


def run_schema(_parsed: Parsed) -> int:
    """Print the JSON Schema of policy files; `--json` changes nothing, as it is JSON."""
    import json

    from sandbox.policy.json_schema import policy_schema

    show(json.dumps(policy_schema(), indent=2) + "\n")
    return 0
