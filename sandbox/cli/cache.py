"""`sandbox cache`: what is kept between runs, and its removal."""

from __future__ import annotations

import os

from sandbox.cli.options import Option, nearest, options_help
from sandbox.cli.policy import Verb, parse_mixed, show_json
from sandbox.cli.streams import show
from sandbox.errors import UsageError
from sandbox.host import paths
from sandbox.text import escape, quote, size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.cli.options import Parsed

COMMAND = "sandbox cache"
VERBS = (
    Verb("show", "cache", "", "the prepared runs that are kept, and whether they still hold"),
    Verb("clear", "cache", "", "remove all that is kept"),
)
OPTIONS = (
    Option("json", "print the answer as JSON"),
    Option("help", "show this help", short="h"),
)
USAGE = """\
usage: sandbox cache show|clear [OPTION]...

What is kept so that a run starts fast: prepared runs, compiled filters, parsed
policies. All of it is made again when it is missing, so clearing it is harmless.

  sandbox cache show      each prepared run: does it still hold, and if not, why
  sandbox cache clear     remove all that is kept

"""
# What lies beside the prepared runs, in files that are named after their content.
_OTHERS = ("filters", "policies")
_HOLDS, _CHANGED, _UNUSABLE = "holds", "changed", "unusable"


def run(words: tuple[str, ...], missing: tuple[str, ...] = ()) -> int:
    """Run `sandbox cache WORDS`; return 0."""
    del missing
    parsed = parse_mixed(words, OPTIONS, COMMAND)
    if parsed.has("help"):
        show(USAGE + options_help(OPTIONS))
        return 0
    names = tuple(verb.name for verb in VERBS)
    if len(parsed.rest) != 1:
        raise UsageError(
            "one verb is to be named", hint=f"verbs: {', '.join(names)}", code="usage.argument"
        )
    if parsed.rest[0] not in names:
        near = nearest(parsed.rest[0], names)
        raise UsageError(
            f"cache has no verb {quote(parsed.rest[0])}",
            hint=f"did you mean {near}?" if near else f"verbs: {', '.join(names)}",
            code="usage.command",
        )
    return _show(parsed) if parsed.rest[0] == "show" else _clear(parsed)


def _show(parsed: Parsed) -> int:
    directory = paths.cache_dir("plans")
    rows = [_row(directory, name) for name in sorted(os.listdir(directory))]
    rows.sort(key=lambda row: (row["cwd"], row["policy"], row["options"]))
    others = {name: _sum(paths.cache_dir(name)) for name in _OTHERS}
    if parsed.has("json"):
        show_json({"directory": directory, "runs": rows, **others})
        return 0
    for row in rows:
        show(_line(row))
    total = sum(row["size_bytes"] for row in rows)
    show(f"{len(rows)} prepared runs, {size_text(total)}, in {escape(directory)}\n")
    for name, found in others.items():
        what = {"filters": "compiled filters", "policies": "parsed policies"}[name]
        show(f"{found['files']} {what}, {size_text(found['size_bytes'])}\n")
    return 0


def _line(row: dict[str, Any]) -> str:
    if row["state"] == _UNUSABLE:
        return f"{row['name']}: unusable: {escape(row['reason'])}\n"
    state = row["state"] if row["state"] == _HOLDS else f"changed: {escape(row['reason'])}"
    words = " ".join(quote(word) if " " in word else escape(word) for word in row["options"])
    asked = f"{escape(row['policy'])}" + (f" ({words})" if words else "")
    return f"{escape(row['cwd'])}: {asked}: {state}\n"


def _row(directory: str, name: str) -> dict[str, Any]:
    """Return what is to be known of one file."""
    from sandbox.plan import cache
    from sandbox.plan.entry import KEY_VARIABLES, decode_entry, entry_name

    row: dict[str, Any] = {
        "name": name,
        "state": _UNUSABLE,
        "reason": "",
        "policy": "",
        "cwd": "",
        "options": [],
        "size_bytes": 0,
    }
    blob = cache.load(directory, name)
    if blob is None:
        return {**row, "reason": "no file of yours that is closed to others"}
    row["size_bytes"] = len(blob)
    entry = decode_entry(blob)
    if entry is None:
        return {**row, "reason": "damaged, or of another version"}
    if entry_name(entry.key) != name:
        return {**row, "reason": "it has the name of another run"}
    words = [part.decode("utf-8", "surrogateescape") for part in entry.key.split(b"\0")]
    row |= {"policy": entry.policy, "cwd": words[1], "options": words[2 + len(KEY_VARIABLES) :]}
    reason = _change(entry)
    return {**row, "state": _CHANGED if reason else _HOLDS, "reason": reason}


def _change(entry: Any) -> str:
    """Return what is no longer as it was when the entry was made; "" where all is."""
    import sandbox
    from sandbox.plan.entry import Probe, encode_facts, first_broken

    if (entry.uid, entry.gid) != (os.geteuid(), os.getegid()):
        return "made under other user or group ids"
    if entry.version != sandbox.__version__:
        return f"made by version {entry.version}"
    buffer, start, count = encode_facts(entry.facts)
    at = first_broken(buffer, start, count)
    if at == count:
        return ""
    fact = entry.facts[at]
    if not fact.path:
        return f"the kernel answers otherwise: {Probe(fact.value[0]).name.lower()}"
    return os.fsdecode(fact.path)


def _sum(directory: str) -> dict[str, int]:
    with os.scandir(directory) as entries:
        sizes = [entry.stat(follow_symlinks=False).st_size for entry in entries]
    return {"files": len(sizes), "size_bytes": sum(sizes)}


def _clear(parsed: Parsed) -> int:
    from sandbox.plan.cache import clear

    removed = {name: clear(paths.cache_dir(name)) for name in ("plans", *_OTHERS)}
    if parsed.has("json"):
        show_json({"removed": removed})
    else:
        show(f"removed {sum(removed.values())} files\n")
    return 0
