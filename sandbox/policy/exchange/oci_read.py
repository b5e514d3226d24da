"""Docker, OCI and Kubernetes seccomp JSON → the `[syscalls]` table of a policy.

Entries are read as libseccomp loads them: of those without tests the first decides every use of its
calls, and whatever else names the call has no effect. Where two entries with tests match and differ
the library follows the order of its own tree; here the strictest counts, and the report says so.
Within an entry all tests must hold, but tests of one argument are alternatives, as runc has it.
"""

from __future__ import annotations

import errno as errno_names

from sandbox.errors import PolicyError
from sandbox.policy import calltable
from sandbox.policy.condition_names import SOCKET_FAMILIES
from sandbox.policy.exchange import oci_names as oci
from sandbox.policy.exchange.oci_check import Checker
from sandbox.policy.exchange.report import ALIKE, TIGHTER, Report
from sandbox.policy.syscall_model import ALLOW, Action
from sandbox.record import record, replace
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ERRNO_MAX = 4095
_NEEDED = ("execve", "exit_group", "write")
_SEVERITY = ("kill", "trap", "errno", "allow")


@record
class Container:
    """For whom a profile is read: moby's includes and excludes depend on it."""

    arch: str
    capabilities: frozenset[str]
    kernel: tuple[int, int]


@record
class Entry:
    """One entry: the calls, the condition ("" for always), the answer, the reason given."""

    names: tuple[str, ...]
    when: str
    action: Action
    why: str


def find_profile(check: Checker, data: Any, form: str) -> dict[str, Any]:
    """Return the seccomp object of `data`, which may be a whole config.json (oci).

    Errors: PolicyError(policy.import).
    """
    top = check.table("$", data)
    if form == "oci" and "linux" in top:
        linux = check.table("$.linux", top["linux"])
        if "seccomp" not in linux:
            raise check.error("$.linux", "it has no seccomp: every call is allowed there")
        return check.table("$.linux.seccomp", linux["seccomp"])
    if "defaultAction" not in top:
        raise check.error("$", "it has no defaultAction, so it is no seccomp profile")
    return top


def read_syscalls(
    check: Checker, profile: dict[str, Any], container: Container, report: Report, form: str
) -> dict[str, Any]:
    """Return the keys of `[syscalls]` that the profile comes to.

    Errors: PolicyError(policy.import) with the place in the file.
    """
    for key in sorted(profile.keys() - oci.PROFILE_KEYS):
        report.add(escape(key), ALIKE, "no key of the format; it was not read")
    default = _action(check, "$", profile, report, key="defaultAction")
    entries = []
    listed = check.array("$.syscalls", profile.get("syscalls", []))
    for index, item in enumerate(listed):
        place = f"$.syscalls[{index}]"
        entry = _entry(check, place, check.table(place, item), container, report, form)
        if entry is not None and entry.action != default:
            entries.append(entry)
    _surroundings(check, profile, report)
    return _table(entries, default, _foreign(check, profile, container, report), report)


def _action(
    check: Checker, place: str, item: dict[str, Any], report: Report, *, key: str = "action"
) -> Action:
    word = check.text(f"{place}.{key}", item.get(key))
    if word not in oci.ACTIONS:
        raise check.error(f"{place}.{key}", f"no action is called {escape(word)[:60]}")
    action, note = oci.ACTIONS[word]
    if note is not None:
        report.add(word, *note)
    number_key = "defaultErrnoRet" if key == "defaultAction" else "errnoRet"
    if item.get(number_key) is None:
        number_key = "defaultErrno" if key == "defaultAction" else "errno"
    if not item.get(number_key) and item.get(number_key) != 0:
        return action
    number = _errno(check, f"{place}.{number_key}", item[number_key])
    if word not in oci.WITH_ERRNO:
        report.add(f"{place}.{number_key}", ALIKE, f"has no meaning with {word}")
        return action
    if word == "SCMP_ACT_ERRNO" and number == 0:
        # The call does nothing and reports success: no action of ours, so it fails instead.
        report.add(f"{place}.{number_key}", ALIKE, "errno 0 (a feigned success) becomes EPERM")
        return action
    return Action("errno", number) if word == "SCMP_ACT_ERRNO" else action


def _errno(check: Checker, place: str, value: Any) -> int:
    """Return an errno given as a number, or by its name (podman's own files have both)."""
    if not isinstance(value, str):
        return check.number(place, value, _ERRNO_MAX)
    number = getattr(errno_names, value, None) if value.startswith("E") else None
    if not isinstance(number, int):
        raise check.error(place, f"no errno is called {escape(value)[:60]}")
    return number


def _entry(
    check: Checker,
    place: str,
    item: dict[str, Any],
    container: Container,
    report: Report,
    form: str,
) -> Entry | None:
    for key in sorted(item.keys() - oci.ENTRY_KEYS):
        report.add(f"{place}.{escape(key)}", ALIKE, "no key of the format; it was not read")
    names = check.texts(f"{place}.names", item.get("names") or [])
    if item.get("name"):
        names = [*names, check.text(f"{place}.name", item["name"])]
    if not names:
        raise check.error(f"{place}.names", "an entry without a call")
    action = _action(check, place, item, report)
    if not _applies(check, place, item, container, report, form):
        return None
    known = [name for name in dict.fromkeys(names) if calltable.is_call_name(name)]
    unknown = [name for name in names if name not in known]
    if unknown:
        why = "not in the call table: they answer errno:ENOSYS"
        calls = [escape(name)[:60] for name in unknown]
        report.add("calls of other machines or kernels", TIGHTER, why, *calls)
    when = _condition(check, place, check.array(f"{place}.args", item.get("args") or []))
    comment = item.get("comment")
    why = check.text(f"{place}.comment", comment) if comment else ""
    return Entry(tuple(known), when, action, why) if known else None


def _applies(
    check: Checker,
    place: str,
    item: dict[str, Any],
    container: Container,
    report: Report,
    form: str,
) -> bool:
    """Say whether moby's includes and excludes leave the entry in."""
    met = {}
    for key in ("includes", "excludes"):
        found = check.table(f"{place}.{key}", item.get(key) or {})
        if found and form != "docker":
            report.add(f"{place}.{key}", ALIKE, "only Docker reads it; it was heeded all the same")
        tests = []
        if found.get("caps"):
            caps = check.texts(f"{place}.{key}.caps", found["caps"])
            given = [name.removeprefix("CAP_") in container.capabilities for name in caps]
            tests.append(all(given) if key == "includes" else any(given))
        if found.get("arches"):
            arches = check.texts(f"{place}.{key}.arches", found["arches"])
            tests.append(bool(set(arches) & oci.MOBY_ARCHES[container.arch]))
        if found.get("minKernel"):
            least = check.version(f"{place}.{key}.minKernel", found["minKernel"])
            tests.append(container.kernel >= least)
        met[key] = tests
    is_in = all(met["includes"]) and not any(met["excludes"])
    if met["includes"] or met["excludes"]:
        names = check.texts(f"{place}.names", item.get("names") or [])
        what = "includes and excludes"
        side = "taken in" if is_in else "left out"
        report.add(what, ALIKE, f"{side} for this container and kernel", *names)
    return is_in


def _condition(check: Checker, place: str, args: list[Any]) -> str:
    """Return the condition of an entry in our language."""
    tests: list[tuple[int, str]] = []
    for at, item in enumerate(args):
        here = f"{place}.args[{at}]"
        test = check.table(here, item)
        index = check.number(f"{here}.index", test.get("index"), 5)
        value = check.number(f"{here}.value", test.get("value"), (1 << 64) - 1)
        second = check.number(f"{here}.valueTwo", test.get("valueTwo") or 0, (1 << 64) - 1)
        operator = check.text(f"{here}.op", test.get("op"))
        if operator not in oci.OPERATORS:
            raise check.error(f"{here}.op", f"no operator is called {escape(operator)[:60]}")
        tests.append((index, oci.OPERATORS[operator].format(index, value, second)))
    indices = [index for index, _ in tests]
    word = " and " if len(set(indices)) == len(indices) else " or "
    return word.join(test for _, test in tests)


def _surroundings(check: Checker, profile: dict[str, Any], report: Report) -> None:
    for index, flag in enumerate(check.texts("$.flags", profile.get("flags") or [])):
        if flag not in oci.FLAGS:
            raise check.error(f"$.flags[{index}]", f"no flag is called {escape(flag)[:60]}")
        report.add(flag, *oci.FLAGS[flag])
    for key in ("listenerPath", "listenerMetadata"):
        if profile.get(key):
            check.text(f"$.{key}", profile[key])
            report.add(key, ALIKE, "there is no listener; notified calls answer ENOSYS")
    report.add("families above mctp (45)", TIGHTER, "socket families of no name are refused",
               "socket", "socketpair")  # fmt: skip
    report.add("calls newer than the call table", TIGHTER, "answer errno:ENOSYS")


def _foreign(check: Checker, profile: dict[str, Any], container: Container, report: Report) -> str:
    """Return `foreign_abi`, and report what the profile says of other architectures."""
    own = oci.ARCHITECTURES[container.arch]
    named = check.texts("$.architectures", profile.get("architectures") or [])
    has_own = not named or own in named
    others = [name for name in named if name != own]
    for index, item in enumerate(check.array("$.archMap", profile.get("archMap") or [])):
        place = f"$.archMap[{index}]"
        table = check.table(place, item)
        main = check.text(f"{place}.architecture", table.get("architecture"))
        subs = check.texts(f"{place}.subArchitectures", table.get("subArchitectures") or [])
        has_own = has_own or main == own
        if main == own:
            others += subs
    if not has_own:
        report.add("architectures", ALIKE, f"{own} is not among them; read for it all the same")
    if others:
        text = ", ".join(sorted(escape(name)[:40] for name in set(others)))
        report.add(f"architectures {text}", TIGHTER, "programs of other ABIs are refused (ENOSYS)")
        return "errno:ENOSYS"
    return "kill"


def _table(entries: list[Entry], default: Action, foreign: str, report: Report) -> dict[str, Any]:
    entries = _as_loaded(entries, report)
    plain = {name for one in entries if not one.when and one.action == ALLOW for name in one.names}
    answers: dict[str, set[str]] = {}
    for one in entries:
        for name in one.names:
            answers.setdefault(name, set()).add(str(one.action))
    mixed = sorted(name for name, found in answers.items() if len(found) > 1)
    if mixed:
        why = "where two that differ match, the strictest counts; libseccomp has its own order"
        report.add("entries with tests", TIGHTER, why, *mixed)
    rules = _rules(entries, plain)
    allowed = sorted(plain)
    if default == ALLOW:
        allowed = sorted({*allowed, *_NEEDED})  # a policy must name something; it passes anyway
    if not allowed and not rules:
        raise PolicyError(
            "the profile allows no call that is known here",
            hint="no command could run under it",
            code="policy.import",
        )
    return {
        "base": "",
        "allow": allowed,
        "unknown": "errno:ENOSYS",
        "denied": str(default),
        "foreign_abi": foreign,
        "socket_families": list(SOCKET_FAMILIES),
        "rules": rules,
    }


def _as_loaded(entries: list[Entry], report: Report) -> list[Entry]:
    """Return what takes effect: the first entry without tests is the only one of its calls."""
    first: dict[str, int] = {}
    for index, one in enumerate(entries):
        for name in one.names if not one.when else ():
            first.setdefault(name, index)
    left = []
    overruled: dict[str, None] = {}
    for index, one in enumerate(entries):
        names = tuple(name for name in one.names if first.get(name, index) == index)
        others = [name for name in one.names if name not in names]
        overruled.update({n: None for n in others if entries[first[n]].action != one.action})
        if names:
            left.append(replace(one, names=names))
    if overruled:
        why = "the first without tests decides, as libseccomp has it; the others have no effect"
        report.add("several entries for a call", ALIKE, why, *overruled)
    return left


def _rules(entries: list[Entry], plain: set[str]) -> dict[str, dict[str, Any]]:
    """Return the rules that the entries come to; one use of a call has one answer, the strictest.

    Shape: `plain` are the calls that pass without a condition.
    """
    merged: dict[tuple[tuple[str, ...], str], list[Entry]] = {}
    for one in sorted(entries, key=lambda entry: _SEVERITY.index(entry.action.kind)):
        if one.when or one.action != ALLOW:
            merged.setdefault((one.names, str(one.action)), []).append(one)
    rules: dict[str, dict[str, Any]] = {}
    told: set[tuple[str, str]] = set()
    for (calls, action), group in merged.items():
        when = ""
        if all(one.when for one in group):
            tests = [f"({one.when})" if " or " in one.when else one.when for one in group]
            when = " or ".join(dict.fromkeys(tests))
        names = [
            name
            for name in dict.fromkeys(calls)
            if (name, when) not in told and (action != "allow" or name not in plain)
        ]
        if not names:
            continue
        told |= {(name, when) for name in names}
        body: dict[str, Any] = {"names": names, **({"when": when} if when else {})}
        why = next((one.why for one in group if one.why), "imported")
        rules[f"entry-{len(rules) + 1}"] = {**body, "action": action, "why": why}
    return rules
