"""A policy's filter → Docker, OCI and Kubernetes seccomp JSON.

Every call's answers are written as cubes that do not overlap (cubes.py), so the profile means the
same whatever order its reader gives to entries. What cannot be written answers like a denied call:
tighter, never looser, and named.
"""

from __future__ import annotations

from sandbox.policy.exchange import oci_names as oci
from sandbox.policy.exchange.cubes import answers_of
from sandbox.policy.exchange.report import ALIKE, LOOSER, TIGHTER, Report
from sandbox.policy.syscall_model import ALLOW
from sandbox.policy.syscalls import resolve_calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.policy.exchange.cubes import Cube
    from sandbox.policy.model import Policy
    from sandbox.policy.syscall_model import Action
    from sandbox.policy.verdicts import Verdict

_FULL = (1 << 64) - 1
_ERRNO_CUBES_MAX = 24  # an errno of its own is worth that many entries of one call


def write_profile(policy: Policy, arch: str, report: Report) -> dict[str, Any]:
    """Return the profile that answers as the filter of `policy` does on `arch`.

    Errors: PolicyError as resolve_calls.
    """
    if policy.isolation.seccomp == "off":
        return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    calls = policy.syscalls
    groups: dict[tuple[Cube, Action], list[str]] = {}
    for name, verdict in resolve_calls(calls, arch).items():
        for cube, action in _answers(name, verdict, calls.denied, report):
            if action != calls.denied:
                groups.setdefault((cube, action), []).append(name)
    entries: list[dict[str, Any]] = []
    for (cube, action), names in groups.items():
        entry: dict[str, Any] = {"names": names, **_action(action)}
        if cube:
            entry["args"] = [_test(number, *test) for number, test in cube]
        entries.append(entry)
    _surroundings(policy, report)
    profile = _action(calls.denied, is_default=True)
    profile["architectures"] = [oci.ARCHITECTURES[arch]]
    profile["syscalls"] = entries
    return profile


def _answers(
    name: str, verdict: Verdict, denied: Action, report: Report
) -> list[tuple[Cube, Action]]:
    """Return the cubes of one call; errnos that take too many entries become the default's."""
    found = answers_of(verdict)
    if found is None:
        if denied == ALLOW:
            why = "its conditions need too many entries; every use answers the strictest"
            report.add("conditions", TIGHTER, why, name)
            return [((), verdict.clauses[0].action)]  # clauses stand in order of strictness
        why = "its conditions need too many entries; every use is refused"
        report.add("conditions", TIGHTER, why, name)
        return [((), denied)]
    counts: dict[Action, int] = {}
    for _, action in found:
        counts[action] = counts.get(action, 0) + 1
    kept = []
    for cube, action in found:
        is_refusal = action not in (ALLOW, denied) and denied != ALLOW
        if is_refusal and cube and counts[action] > _ERRNO_CUBES_MAX:
            report.add("answers", ALIKE, f"refused uses answer {denied}, not {action}", name)
            continue
        kept.append((cube, action))
    return kept


def _action(action: Action, *, is_default: bool = False) -> dict[str, Any]:
    key, number = ("defaultAction", "defaultErrnoRet") if is_default else ("action", "errnoRet")
    found: dict[str, Any] = {key: oci.OF_KIND[action.kind]}
    if action.kind == "errno":
        found[number] = action.errno
    return found


def _test(number: int, mask: int, value: int) -> dict[str, Any]:
    if mask == _FULL:
        return {"index": number, "value": value, "op": "SCMP_CMP_EQ"}
    return {"index": number, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def _surroundings(policy: Policy, report: Report) -> None:
    """Report what a seccomp profile has no place for."""
    calls = policy.syscalls
    if calls.unknown != calls.denied:
        effect = LOOSER if calls.denied == ALLOW else ALIKE
        why = f"calls newer than the table answer {calls.denied}, not {calls.unknown}"
        report.add("syscalls.unknown", effect, why)
    if str(calls.foreign_abi) != "kill":
        why = f"libseccomp kills a process of another ABI, rather than {calls.foreign_abi}"
        report.add("syscalls.foreign_abi", TIGHTER, why)
    report.add(
        "reasons and places", ALIKE, "a profile has no place for why and for the names of rules"
    )
