"""The keys of a unit that become system calls of a policy."""

from __future__ import annotations

from sandbox.policy import calltable
from sandbox.policy.call_sets import expand, load_sets
from sandbox.policy.condition_names import SOCKET_FAMILIES
from sandbox.policy.exchange import systemd_names as names
from sandbox.policy.exchange.report import ALIKE, TIGHTER, Report
from sandbox.policy.syscall_model import parse_action
from sandbox.text import escape, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.policy.exchange.systemd_unit import Unit

_NEEDED = ("execve", "exit_group", "write")
# key → the calls that it takes away, as systemd does
_DENYING = {
    "ProtectClock": ("@clock",),
    "ProtectKernelModules": ("@module",),
    "ProtectKernelLogs": ("syslog",),
    "ProtectHostname": ("sethostname", "setdomainname"),
}
# key → shipped rules (syscalls.toml) that say the same
_BY_RULE = {
    "LockPersonality": ("personality",),
    "RestrictSUIDSGID": (
        "setuid-bits",
        "setuid-bits-at",
        "setuid-bits-mknod",
        "setuid-bits-mknodat",
        "setuid-bits-open",
        "setuid-bits-openat",
        "openat2",
    ),
}
_RULES: dict[str, dict[str, tuple[list[str], str]]] = {
    "RestrictRealtime": {
        "realtime": (["sched_setscheduler"], "u32(arg1) in {1, 2, 6}"),
        "realtime-attr": (["sched_setattr"], ""),
    },
    "MemoryDenyWriteExecute": {
        "write-execute-mmap": (["mmap"], "arg2 & 0x6 == 0x6"),
        "write-execute-mprotect": (["mprotect", "pkey_mprotect"], "arg2 & 0x4 == 0x4"),
        "write-execute-shmat": (["shmat"], "arg2 & 0x8000 == 0x8000"),
    },
}


class Calls:
    """Collects what a unit says about system calls."""

    def __init__(self, unit: Unit, report: Report) -> None:
        self._unit = unit
        self._report = report
        self._is_allow_list: bool | None = None
        self._listed: dict[str, str] = {}  # call → its own answer, "" for the default one
        self._answer = "kill"
        self._families: set[str] | None = None
        self._foreign = "errno:ENOSYS"
        self._rules: dict[str, dict[str, Any]] = {}

    def take(self, line: int, key: str, value: str) -> bool:
        """Take the key if it is about calls."""
        if key == "SystemCallFilter":
            self._filter(line, value)
        elif key == "SystemCallErrorNumber":
            self._answer = self._errno(line, value) if value else "kill"
        elif key == "SystemCallArchitectures":
            self._foreign = "kill"
            if value != "native":
                self._report.add(key, TIGHTER, "programs of other ABIs are refused")
        elif key == "RestrictAddressFamilies":
            self._address_families(line, value)
        elif key == "RestrictNamespaces":
            self._namespaces(line, value)
        elif key in _DENYING or key in _BY_RULE or key in _RULES:
            self._switch(line, key, value)
        else:
            return False
        return True

    def _filter(self, line: int, value: str) -> None:
        if not value:
            self._is_allow_list, self._listed = None, {}
            return
        is_inverted = value.startswith("~")
        if self._is_allow_list is None:
            self._is_allow_list = not is_inverted
        for word in value.removeprefix("~").split():
            name, _, answer = word.partition(":")
            action = self._errno(line, answer) if answer else ""
            for call in self._expand(name):
                if is_inverted != self._is_allow_list:
                    self._listed[call] = action
                else:
                    self._listed.pop(call, None)

    def _expand(self, name: str) -> list[str]:
        if name in ("@default", "@system-service"):
            calls = set(names.DEFAULT_CALLS)
            if name == "@system-service":
                groups = expand(load_sets(), names.SERVICE_GROUPS, place=name)
                calls |= names.SERVICE_CALLS | groups
            return sorted(call for call in calls if calltable.is_call_name(call))
        if name == "@known":
            return sorted({c for arch in calltable.ARCHES for c in calltable.call_numbers(arch)})
        groups_known = dict(load_sets().groups)
        if name in groups_known or calltable.is_call_name(name):
            return sorted(expand(load_sets(), (name,), place="SystemCallFilter"))
        why = "not in the call table: answers errno:ENOSYS"
        self._report.add("calls and groups of no name here", TIGHTER, why, escape(name)[:60])
        return []

    def _errno(self, line: int, value: str) -> str:
        if value == "kill":
            return "kill"
        text = f"errno:{value}"
        try:
            parse_action(text)
        except Exception as error:
            raise self._unit.error(line, f"no errno is called {quote(value[:40])}") from error
        return text

    def _address_families(self, line: int, value: str) -> None:
        if not value:
            self._families = None
            return
        is_inverted = value.startswith("~")
        if self._families is None:
            self._families = set(SOCKET_FAMILIES) if is_inverted else set()
        if value == "none":
            self._families = set()
            return
        for word in value.removeprefix("~").split():
            family = word.removeprefix("AF_").lower()
            family = {"local": "unix", "route": "netlink"}.get(family, family)
            if family not in SOCKET_FAMILIES:
                raise self._unit.error(line, f"no address family is called {quote(word[:40])}")
            (self._families.discard if is_inverted else self._families.add)(family)
        self._report.add(
            "RestrictAddressFamilies", TIGHTER, "holds for socketpair as well", "socketpair"
        )

    def _namespaces(self, line: int, value: str) -> None:
        is_all = names.truth(value)
        if is_all is False or not value:
            return
        denied = names.ALL_NAMESPACES
        if is_all is None:
            listed = 0
            for word in value.removeprefix("~").split():
                if word not in names.NAMESPACE_FLAGS:
                    raise self._unit.error(line, f"no namespace is called {quote(word[:40])}")
                listed |= names.NAMESPACE_FLAGS[word]
            denied = listed if value.startswith("~") else denied & ~listed
        for call, argument in (("clone", "arg0"), ("unshare", "arg0"), ("setns", "arg1")):
            self._rule(f"namespaces-{call}", [call], f"{argument} & {denied:#x} != 0", "EPERM")
        self._rule("namespaces-clone3", ["clone3"], "", "ENOSYS")
        self._rule("namespaces-setns-any", ["setns"], "arg1 == 0", "EPERM")

    def _switch(self, line: int, key: str, value: str) -> None:
        found = names.truth(value)
        if found is None and key == "ProtectHostname" and value.startswith("private"):
            return
        if found is None:
            raise self._unit.error(line, f"{key}: expected yes or no, got {quote(value[:40])}")
        if not found:
            return
        if key in _DENYING:
            self._rule(key.lower(), list(_DENYING[key]), "", "EPERM")
        for name in _BY_RULE.get(key, ()):
            shipped = next(rule for rule in load_sets().rules if rule.name == name)
            answer = str(shipped.action).removeprefix("errno:")
            self._rule(name, list(shipped.names), " ".join(shipped.when.split()), answer)
        for name, (calls, when) in _RULES.get(key, {}).items():
            self._rule(name, calls, when, "EPERM")

    def _rule(self, name: str, calls: list[str], when: str, errno: str) -> None:
        body: dict[str, Any] = {"names": calls}
        if when:
            body["when"] = when
        self._rules[name] = {**body, "action": f"errno:{errno}", "why": "stated by the unit"}

    def table(self) -> dict[str, Any]:
        """Return `[syscalls]`."""
        allowed: set[str] = set(_NEEDED)
        denied = "allow"
        answers: dict[str, list[str]] = {}
        for call, answer in sorted(self._listed.items()):
            if self._is_allow_list and not answer:
                allowed.add(call)
            else:
                answers.setdefault(answer or self._answer, []).append(call)
        if self._is_allow_list:
            denied = self._answer
            allowed |= {name for name in names.DEFAULT_CALLS if calltable.is_call_name(name)}
        for number, (answer, calls) in enumerate(answers.items(), 1):
            rule = {"names": calls, "action": answer, "why": "listed by the unit"}
            self._rules[f"unit-{number}"] = rule
        families = SOCKET_FAMILIES if self._families is None else self._families
        if denied == "allow" and self._is_allow_list is None and not self._rules:
            self._report.add("SystemCallFilter", ALIKE, "none: every known call passes")
        self._report.add("calls newer than the call table", TIGHTER, "answer errno:ENOSYS")
        return {
            "base": "",
            "allow": sorted(allowed),
            "unknown": "errno:ENOSYS",
            "denied": denied,
            "foreign_abi": self._foreign,
            "socket_families": sorted(families),
            "rules": self._rules,
        }
