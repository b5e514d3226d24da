"""The keys of a unit that become mounts of a policy."""

from __future__ import annotations

from sandbox.policy import values
from sandbox.policy.exchange import systemd_names as names
from sandbox.policy.exchange.report import ALIKE, TIGHTER, Report
from sandbox.policy.read_entries import refused_target
from sandbox.policy.schema import DEVICES
from sandbox.text import escape, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.policy.exchange.systemd_unit import Unit

_LINKS = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}
# What a command needs to start; a service sees all of the system, this much is shown here.
_SYSTEM = ("/usr", "/etc", "/opt")
_PRIVATE = ("/tmp", "/var/tmp")  # noqa: S108 - paths inside
_LISTS = {
    "ReadOnlyPaths": "ro",
    "ReadWritePaths": "rw",
    "BindReadOnlyPaths": "ro",
    "BindPaths": "rw",
    "InaccessiblePaths": "hide",
    "TemporaryFileSystem": "tmpfs",
    "NoExecPaths": "noexec",
}


class Files:
    """Collects what a unit says about files."""

    def __init__(self, unit: Unit, report: Report) -> None:
        self._unit = unit
        self._report = report
        self._mounts: dict[str, dict[str, Any]] = {
            path: {"path": path, "mode": "ro", "optional": True} for path in _SYSTEM
        }
        self._hide: dict[str, None] = {}
        self._noexec: dict[str, None] = {}
        self._subset = "all"

    def take(self, line: int, key: str, value: str) -> bool:
        """Take the key if it is about files."""
        if key in _LISTS:
            for word in value.split():
                self._path(line, key, word.lstrip("-+"))
        elif key in ("ProtectSystem", "ProtectHome"):
            self._protect(key, value)
        elif key == "PrivateTmp":
            if value == "disconnected" or names.truth(value):
                for path in _PRIVATE:
                    self._mounts[path] = {"path": path, "mode": "tmpfs"}
        elif key == "PrivateDevices":
            self._report.add("PrivateDevices", ALIKE, f"devices are {', '.join(DEVICES)}")
        elif key == "ProcSubset":
            self._subset = "pid" if value == "pid" else "all"
        else:
            return False
        return True

    def _protect(self, key: str, value: str) -> None:
        why = "what the unit leaves is not shown unless a line names it"
        self._report.add(f"{key}={escape(value)[:40]}", TIGHTER, why)

    def _path(self, line: int, key: str, word: str) -> None:
        source, colon, rest = word.partition(":")
        target = source
        size = None
        is_noexec = False
        if key.startswith("Bind") and colon:
            target = rest.partition(":")[0]
        elif key == "TemporaryFileSystem" and colon:
            options = dict(item.partition("=")[::2] for item in rest.split(","))
            size = names.size_bytes(options.get("size", ""))
            is_noexec = "noexec" in options
        source, target = (text.replace("%h", "${HOME}", 1) for text in (source, target))
        where = values.parse_path(target)
        if where is None or values.parse_path(source) is None:
            if "%" in word:
                self._report.add(f"{key}={escape(word)[:60]}", TIGHTER, "a specifier; not shown")
                return
            raise self._unit.error(line, f"{key}: not an absolute path: {quote(word[:60])}")
        if target == "/" or where.text() in ("", "/"):
            self._report.add(f"{key}=/", TIGHTER, "nothing of / is shown but what is named")
        elif (refusal := refused_target(where)) is not None:
            self._report.add(f"{key}={escape(word)[:60]}", TIGHTER, refusal)
        else:
            body: dict[str, Any] = {"size": size} if size else {}
            if source != target:
                body["source"] = source
            self._enter(_LISTS[key], where.text(), body, is_noexec=is_noexec)

    def _enter(self, mode: str, path: str, body: dict[str, Any], *, is_noexec: bool) -> None:
        if mode == "hide":
            self._hide[path] = None
            self._mounts.pop(path, None)
            return
        if mode == "noexec":
            self._noexec[path] = None
            return
        entry: dict[str, Any] = {"path": path, "mode": mode, **body}
        if mode != "tmpfs":
            entry["optional"] = True
        if is_noexec:
            entry["noexec"] = True
        self._mounts[path] = entry
        self._hide.pop(path, None)

    def table(self) -> dict[str, Any]:
        """Return `[filesystem]`."""
        for path in self._noexec:
            if path in self._mounts:
                self._mounts[path]["noexec"] = True
            else:
                why = "no line shows it, so nothing of it runs"
                self._report.add(f"NoExecPaths={escape(path)}", ALIKE, why)
        return {
            "mounts": [self._mounts[path] for path in sorted(self._mounts)],
            "symlinks": _LINKS,
            "hide": sorted(self._hide),
            "proc.subset": self._subset,
            "dev": list(DEVICES),
        }
