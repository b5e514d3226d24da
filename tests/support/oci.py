"""Generated seccomp profiles, and what they mean: a second opinion, written from the specification.

An entry matches where all its tests hold, or, if one argument is tested twice, where one of them
does (as runc has it). Entries that answer as the default are passed over. The first entry without
tests decides every use of its calls (as libseccomp has it); of others that match the strictest
counts.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = ("read", "kill", "ioctl", "clone", "socket", "bpf", "mount", "personality")
_SEVERITY = ("SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW")
_VALUES = st.sampled_from([0, 1, 2, 5, 31, 0x5412, 0x7E020000, 1 << 32, (1 << 64) - 1])
_OPS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")


@st.composite
def actions(draw: st.DrawFn) -> dict[str, Any]:
    """An action with its errno."""
    word = draw(st.sampled_from(_SEVERITY))
    found: dict[str, Any] = {"action": word}
    if word == "SCMP_ACT_ERRNO" and draw(st.booleans()):
        found["errnoRet"] = draw(st.sampled_from([1, 13, 38]))
    return found


@st.composite
def tests(draw: st.DrawFn) -> dict[str, Any]:
    """One test of an argument."""
    operator = draw(st.sampled_from(_OPS))
    found = {"index": draw(st.integers(0, 2)), "value": draw(_VALUES), "op": f"SCMP_CMP_{operator}"}
    if operator == "MASKED_EQ":
        found["valueTwo"] = draw(_VALUES)
    return found


@st.composite
def profiles(draw: st.DrawFn) -> dict[str, Any]:
    """A profile under which a command can start."""
    default = draw(actions())
    profile: dict[str, Any] = {"defaultAction": default["action"]}
    if "errnoRet" in default:
        profile["defaultErrnoRet"] = default["errnoRet"]
    entries: list[dict[str, Any]] = []
    needed = ["execve", "write", "exit_group"]
    entries.append({"names": needed, "action": "SCMP_ACT_ALLOW"})
    for _ in range(draw(st.integers(0, 5))):
        names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
        args = draw(st.lists(tests(), max_size=3))
        entries.append({"names": names, **draw(actions()), "args": args})
    profile["syscalls"] = entries
    return profile


def answer(profile: dict[str, Any], name: str, arguments: tuple[int, ...]) -> tuple[str, int]:
    """What the profile answers: the action, and the errno where it has one."""
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    entries = [
        (entry.get("args") or [], action)
        for entry in profile["syscalls"]
        if name in entry["names"]
        and (action := _action(entry["action"], entry.get("errnoRet"))) != default
    ]
    for args, action in entries:
        if not args:
            return action
    found = [action for args, action in entries if _matches(args, arguments)]
    if not found:
        return default
    return min(found, key=lambda action: _SEVERITY.index(action[0]))


def as_loaded(
    profile: dict[str, Any], names: tuple[str, ...], caps: frozenset[str], kernel: tuple[int, int]
) -> dict[str, Any]:
    """The profile without the entries that moby leaves out for this container.

    Shape: `names` are the architecture's (amd64); an entry stays if all that it includes is there,
    and nothing that it excludes.
    """

    def facts(found: dict[str, Any]) -> tuple[list[bool], list[bool], list[bool]]:
        least = found.get("minKernel")
        numbers = tuple(map(int, least.split("."))) if least else (0, 0)
        arches = found.get("arches") or []
        return (
            [cap.removeprefix("CAP_") in caps for cap in found.get("caps") or []],
            [any(name in names for name in arches)] if arches else [],
            [kernel >= numbers] if least else [],
        )

    def stays(entry: dict[str, Any]) -> bool:
        wanted = facts(entry.get("includes") or {})
        unwanted = facts(entry.get("excludes") or {})
        return all(all(one) for one in wanted) and not any(any(one) for one in unwanted)

    return {**profile, "syscalls": [entry for entry in profile["syscalls"] if stays(entry)]}


def strictness(action: tuple[str, int]) -> int:
    """The place of an action from strict to lenient."""
    return _SEVERITY.index(action[0])


def _action(word: str, errno: int | None) -> tuple[str, int]:
    return word, (errno or 1) if word == "SCMP_ACT_ERRNO" else 0


def _matches(args: list[dict[str, Any]], arguments: tuple[int, ...]) -> bool:
    if not args:
        return True
    held = [_holds(test, arguments[test["index"]]) for test in args]
    indices = [test["index"] for test in args]
    return all(held) if len(set(indices)) == len(indices) else any(held)


def _holds(test: dict[str, Any], value: int) -> bool:
    wanted: int = test["value"]
    second: int = test.get("valueTwo", 0)
    held: dict[str, bool] = {
        "SCMP_CMP_NE": value != wanted,
        "SCMP_CMP_LT": value < wanted,
        "SCMP_CMP_LE": value <= wanted,
        "SCMP_CMP_EQ": value == wanted,
        "SCMP_CMP_GE": value >= wanted,
        "SCMP_CMP_GT": value > wanted,
        "SCMP_CMP_MASKED_EQ": value & wanted == second,
    }
    return held[test["op"]]
