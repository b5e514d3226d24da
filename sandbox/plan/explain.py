"""Plan → data, text, and the difference of two plans. Pure: no host is asked, nothing is tried.

The text is made from the data, so that `--explain --json` and `--explain` cannot disagree.
"""

from __future__ import annotations

from sandbox.plan.explain_limits import limit_texts
from sandbox.plan.model import (
    EnvKind,
    IdKind,
    MountAttr,
    MountFlag,
    MountKind,
    Namespace,
    PlanFlag,
    ProtectKind,
    RootKind,
    Slot,
)
from sandbox.plan.protections import protections
from sandbox.text import escape, size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sandbox.plan.model import MountOp, Plan, SlotPath

SCHEMA = 1
_WIDTH = 98
_MANY = 4  # entries of one directory that `sees` counts instead of naming them
_SHORT = 8  # characters of a digest that a person compares
_LANDLOCK_WRITE = 1 << 1  # LANDLOCK_ACCESS_FS_WRITE_FILE
_ROOTS = {RootKind.BIND: "writes reach it", RootKind.OVERLAY: "writes discarded"}
_PROTECTED = {
    ProtectKind.HIDDEN: "hidden",
    ProtectKind.READONLY: "read-only",
    ProtectKind.PRESENT: "read-only where it exists",
}
_SLOT_NAMES = {
    Slot.CWD: "working directory",
    Slot.HOME: "home",
    Slot.TMP: "temporary directory",
    Slot.RUNTIME: "runtime directory",
    Slot.STATE: "directory of this run",
}


def _path_text(path: SlotPath | None) -> str:
    if path is None:
        return "nothing"
    return escape(path.text()) or "/"


def _mode(op: MountOp) -> str:
    return "ro" if op.attrs & MountAttr.RDONLY else "rw"


def _bind_text(op: MountOp) -> str:
    if op.source is None or op.source == op.target:
        return _mode(op)
    return f"{_mode(op)}, from {_path_text(op.source)}"


def _overlay_text(op: MountOp) -> str:
    fate = "writes kept apart" if op.upper is not None else "writes discarded"
    lower = "" if op.source is None or op.source == op.target else f", over {_path_text(op.source)}"
    return f"overlay, {fate}{lower}"


def _size(op: MountOp) -> str:
    return f" {size_text(op.size_bytes)}" if op.size_bytes else ""


# One row for each kind: what `sees` and the mount list say about an operation of that kind.
MOUNT_ROWS: dict[MountKind, Callable[[MountOp], str]] = {
    MountKind.BIND: _bind_text,
    MountKind.SELF: lambda op: f"pinned {_mode(op)}",
    MountKind.TMPFS: lambda op: f"tmpfs{_size(op)}",
    MountKind.PROC: lambda op: "proc, own processes only" if op.data == b"pid" else "proc",
    MountKind.DEV: lambda _op: "device",
    MountKind.DEVPTS: lambda _op: "own terminals",
    MountKind.OVERLAY: _overlay_text,
    MountKind.MKDIR: lambda op: f"directory, mode {op.mode_octal:04o}",
    MountKind.FILE: lambda op: f"file of {len(op.data)} bytes, ro",
    MountKind.SYMLINK: lambda op: f"link to {escape(op.data)}",
    MountKind.MASK: lambda _op: "hidden",
    MountKind.MQUEUE: lambda _op: "own message queues",
}
# What a newcomer asks about, and in which order; the rest stands in the mount list.
_SEEN = {MountKind.BIND: 0, MountKind.OVERLAY: 1, MountKind.TMPFS: 2}


def _mount_data(op: MountOp) -> dict[str, Any]:
    return {
        "kind": op.kind.name.lower(),
        "target": op.target.text(),
        "source": None if op.source is None else op.source.text(),
        "is": MOUNT_ROWS[op.kind](op),
        "flags": _names(op.flags, MountFlag),
        "attrs": _names(op.attrs, MountAttr),
        "size_bytes": op.size_bytes,
        "mode_octal": f"{op.mode_octal:04o}",
        "origin": op.origin,
    }


def _names(value: int, kind: type[MountFlag | MountAttr | Namespace]) -> list[str]:
    return [bit.name.lower() for bit in kind if value & bit and bit.name is not None]


def _notes(plan: Plan) -> dict[str, Any]:
    if not plan.notes:
        return {}
    import json  # 10 ms that only --explain pays

    notes: dict[str, Any] = json.loads(plan.notes.decode("utf-8", "surrogatepass"))
    return notes


def _sees(plan: Plan) -> list[str]:
    """What is shown, a line's worth: entries of one directory that are alike stand together."""
    if not plan.namespaces:
        return _granted(plan)
    groups: dict[tuple[str, str], list[str]] = {}
    for op in sorted(plan.mounts, key=lambda op: _SEEN.get(op.kind, 0)):
        if op.kind not in _SEEN or op.target.path.startswith(b"/dev"):
            continue
        name = _path_text(op.target)
        if op.target.slot is not Slot.NONE and not op.target.path:
            name = _SLOT_NAMES[op.target.slot]
        parent = name.rpartition("/")[0] if op.kind is MountKind.BIND else ""
        folder = parent or name
        groups.setdefault((folder, _seen_as(op)), []).append(name)
    seen = []
    if plan.root_source is not None:
        seen.append(f"/ from {_path_text(plan.root_source)} ({_ROOTS[plan.root_kind]})")
    for (folder, row), names in groups.items():
        if len(names) < _MANY:
            seen += [f"{name} {row}" for name in names]
        else:
            seen.append(f"{len(names)} entries of {folder} {row}")
    if not any(op.target.slot is Slot.HOME and not op.target.path for op in plan.mounts):
        seen.append("no home")
    return seen


def _granted(plan: Plan) -> list[str]:
    """What may be opened where there is no view; files of one directory stand together."""
    groups: dict[tuple[str, str], list[str]] = {}
    for rule in plan.landlock:
        if rule.path is None:
            continue
        name = _path_text(rule.path)
        if rule.path.slot in _SLOT_NAMES and not rule.path.path:
            name = _SLOT_NAMES[rule.path.slot]
        row = "rw" if rule.access & _LANDLOCK_WRITE else "ro"
        groups.setdefault((name.rpartition("/")[0] or name, row), []).append(name)
    seen = []
    for (folder, row), names in groups.items():
        if len(names) < _MANY:
            seen += [f"{name} {row}" for name in names]
        else:
            seen.append(f"{len(names)} entries of {folder} {row}")
    return [*seen, "nothing else can be opened"]


def _seen_as(op: MountOp) -> str:
    if op.kind is MountKind.OVERLAY:
        row = "(writes discarded)" if op.upper is None else "(writes kept apart)"
    elif op.kind is MountKind.TMPFS:
        row = size_text(op.size_bytes) if op.size_bytes else "tmpfs"
        row += ", noexec" if op.attrs & MountAttr.NOEXEC else ""
    else:
        row = _mode(op)
    return f"{row} where present" if op.flags & MountFlag.OPTIONAL else row


def _network(plan: Plan, notes: dict[str, Any]) -> str:
    if not plan.namespaces and notes.get("network") == "none":
        return "none: its sockets are refused by the filter; interfaces can be seen"
    if not plan.namespaces & Namespace.NET:
        return "host: every interface and port of the caller"
    state = "up" if plan.flags & PlanFlag.LOOPBACK else "down"
    return f"none: own namespace, loopback {state}"


def _calls(plan: Plan, notes: dict[str, Any]) -> list[str]:
    if not plan.filters:
        return ["no filter: every system call"]
    calls = notes.get("calls", {})
    texts = []
    if "allowed" in calls:
        texts.append(f"{calls['allowed']} of {calls['known']} allowed")
    else:
        texts.append("filtered")
    for key, label in (("unknown", "unknown"), ("denied", "denied")):
        if key in calls:
            texts.append(f"{label} → {str(calls[key]).removeprefix('errno:')}")
    if "foreign_abi" in calls and calls["foreign_abi"] != "allow":
        texts.append("i386, x32 refused")
    texts.append(f"{sum(code.instructions for code in plan.filters)} instructions")
    return texts


def _identity(plan: Plan) -> list[str]:
    caps = f"capabilities {plan.caps:#x}" if plan.caps else "no capabilities"
    outside = [row.outside for row in plan.id_maps if row.inside == plan.uid]
    same = f"uid {plan.uid} inside = {outside[0] if outside else 'nobody'} outside"
    texts = [same if plan.namespaces else f"uid {plan.uid}, the caller's own", caps]
    others = sum(row.count for row in plan.id_maps if row.kind is IdKind.UID) - 1
    if others > 0:
        texts.append(f"{others} more uids")
    if plan.flags & PlanFlag.NO_NEW_PRIVS:
        texts.append("no new privileges")
    if plan.flags & PlanFlag.LOCK_USERNS:
        twice = " (twice)" if plan.filters else ""
        texts.append(f"nested namespaces off{twice}")
    else:
        refused = not plan.namespaces and plan.filters
        texts.append("namespaces refused by the filter" if refused else "nested namespaces allowed")
    if plan.hostname:
        texts.append(f"host name {escape(plan.hostname)}")
    return texts


def _layers(known: dict[str, Any]) -> list[str]:
    """What was wanted and is missing; why stands in the notes."""
    if "effective" not in known:
        return ["the plan does not say what was wanted"]
    weak = [escape(name) for name, entry in known["effective"].items() if _is_weaker(entry)]
    tier = [f"tier {escape(str(known['tier']))}"] if known.get("tier") else []
    if not weak:
        return [*tier, "all wanted layers available on this host"]
    return [*tier, f"wanted but missing: {', '.join(sorted(weak))}"]


def _is_weaker(entry: dict[str, Any]) -> bool:
    got, wanted = entry.get("got"), entry.get("wanted")
    return wanted in ("require", "prefer") and got in ("off", "none", "no", False, None)


def explain_data(plan: Plan, digest: str = "", *, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the explanation as JSON data.

    Shape: documented in sandbox-exec(1); `mounts` in the order of execution; strings lossless;
           `notes` are further lines for the user, after the plan's own.
    """
    known = _notes(plan)
    kept_env = [rule.name for rule in plan.env if rule.kind is EnvKind.ALLOW]
    return {
        "schema": SCHEMA,
        "policy": known.get("policy"),
        "plan_digest": digest or None,
        "sees": _sees(plan),
        "network": _network(plan, known),
        "calls": _calls(plan, known),
        "identity": _identity(plan),
        "limits": limit_texts(plan),
        "layers": _layers(known),
        "environment": [name.decode("utf-8", "surrogateescape") for name in kept_env],
        "namespaces": _names(plan.namespaces, Namespace),
        "root": {
            "kind": plan.root_kind.name.lower() if plan.namespaces else "host",
            "source": None if plan.root_source is None else plan.root_source.text(),
        },
        "grants": [
            {"path": rule.path.text(), "access": f"{rule.access:#x}"}
            for rule in plan.landlock
            if rule.path is not None and not plan.namespaces
        ],
        "mounts": [_mount_data(op) for op in plan.mounts],
        "protected": [
            {
                "path": entry.path.text(),
                "as": _PROTECTED[entry.kind],
                "origin": entry.origin,
            }
            for entry in plan.protect
        ],
        "protections": [
            {"name": row.name, "stops": row.stops, "since": row.since, "on": row.is_on}
            for row in protections(plan)
        ],
        "overrides": known.get("overrides", []),
        "notes": [*known.get("notes", []), *notes],
    }


def _wrap(label: str, parts: list[str]) -> list[str]:
    """`label` and `parts` joined by a dot, broken between parts only."""
    lines = [f"  {label:<9} "]
    for index, part in enumerate(parts):
        piece = part if index == 0 else f" · {part}"
        if index and len(lines[-1]) + len(piece) > _WIDTH:
            lines[-1] += " ·"
            lines.append(" " * 12 + part)
        else:
            lines[-1] += piece
    return lines


def _head(data: dict[str, Any]) -> str:
    policy = data["policy"] or {}
    files = policy.get("files") or []
    place = f"{escape(str(files[0]['path']))}, " if files else ""
    sha256 = str(policy.get("sha256", ""))[:_SHORT]
    digest = str(data["plan_digest"] or "")[:_SHORT]
    head = escape(str(policy.get("name", "plan")))
    if sha256:
        head += f" ({place}sha256 {sha256}…)"
    return f"{head}   plan {digest}…" if digest else head


def _mount_lines(data: dict[str, Any]) -> list[str]:
    lines = []
    for op in data["mounts"]:
        optional = ", where present" if "optional" in op["flags"] else ""
        origin = f"   [{escape(op['origin'])}]" if op["origin"] else ""
        lines.append(f"    {escape(op['target']) or '/':<31} {op['is']}{optional}{origin}")
    return lines


def _protected_lines(data: dict[str, Any]) -> list[str]:
    """The protected paths, those of one place in the policy together."""
    groups: dict[str, list[str]] = {}
    for entry in data["protected"]:
        origin = f"   [{escape(entry['origin'])}]" if entry["origin"] else ""
        absent = "" if "exists" in entry["as"] else ", also while absent"
        head = f"stays {entry['as']}, where it is shown{absent}{origin}"
        groups.setdefault(head, []).append(escape(entry["path"]))
    lines = []
    for head, paths in groups.items():
        lines += ["", f"  {head}"]
        line = "   "
        for path in paths:
            if len(line) + len(path) + 1 > _WIDTH and line.strip():
                lines.append(line)
                line = "   "
            line += f" {path}"
        lines.append(line)
    return lines


def explain_text(plan: Plan, digest: str = "", *, notes: tuple[str, ...] = ()) -> str:
    """Return the plan in words: a summary, each protection with what it stops, the whole view."""
    data = explain_data(plan, digest, notes=notes)
    lines = [_head(data)]
    for label in ("sees", "network", "calls", "identity", "limits", "layers"):
        parts = data[label]
        lines += _wrap(label, [parts] if isinstance(parts, str) else parts)
    for entry in data["overrides"]:
        was = "" if entry["was"] in (None, "") else f" instead of {escape(str(entry['was']))}"
        text = f"{escape(str(entry['key']))} = {escape(str(entry['value']))}{was}"
        lines.append(f"  override  {text} ({escape(str(entry['origin']))})")
    lines += [f"  note      {escape(str(note))}" for note in data["notes"]]
    lines += ["", "  what holds, and what it stops (since Linux)"]
    for row in data["protections"]:
        if row["on"]:
            lines.append(f"    {row['name']:<22} {row['stops']} ({row['since']})")
    off = [row["name"] for row in data["protections"] if not row["on"]]
    if off:
        lines += ["", *_wrap("not used", off)]
    if data["mounts"]:
        lines += ["", "  the view, in the order in which it is built", *_mount_lines(data)]
    if data["grants"]:
        lines += ["", "  what may be opened (Landlock rights, landlock(7)); nothing is mounted"]
        lines += [f"    {escape(row['path']):<31} {row['access']}" for row in data["grants"]]
    lines += _protected_lines(data)
    return "\n".join(lines) + "\n"
