"""systemd unit lines → a policy.

A service begins with everything and takes away; a policy begins with nothing and shows. So the
calls are carried over as they are, and of the files the report says what is not shown here.
"""

from __future__ import annotations

from sandbox.policy import values
from sandbox.policy.exchange import systemd_names as names
from sandbox.policy.exchange.report import ALIKE, LOOSER, TIGHTER, Report
from sandbox.policy.exchange.systemd_calls import Calls
from sandbox.policy.exchange.systemd_files import Files
from sandbox.policy.exchange.systemd_unit import Unit
from sandbox.text import escape, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIZES = {"MemoryMax": "memory", "MemorySwapMax": "swap", "LimitFSIZE": "file_size",
          "LimitCORE": "core"}  # fmt: skip
_COUNTS = {"TasksMax": "pids", "LimitNPROC": "pids", "LimitNOFILE": "open_files"}
_SPANS = {"RuntimeMaxSec": "wall", "LimitCPU": "cpu"}


def read_unit(body: bytes, label: str, report: Report) -> dict[str, dict[str, Any]]:
    """Return the tables of a policy that the unit's lines come to.

    Errors: PolicyError(policy.import) with the line.
    """
    unit = Unit(body, label)
    calls, files = Calls(unit, report), Files(unit, report)
    limits: dict[str, Any] = {}
    network: dict[str, Any] = {"mode": "host"}
    for line, key, value in unit.lines:
        if calls.take(line, key, value) or files.take(line, key, value):
            continue
        if key == "PrivateNetwork":
            if _truth(unit, line, key, value):
                network = {"mode": "none", "loopback": True}
        elif not _limit(unit, line, key, value, limits, report):
            _other(line, key, value, report)
    if network["mode"] == "none":
        for item in ("IPAddressAllow", "IPAddressDeny"):
            report.withdraw(item)
    report.add("the system's files", TIGHTER, "a service sees all of them, a policy what it names")
    report.add("capabilities and ids", TIGHTER, "the command has none, and the caller's own id")
    return {
        "": {"schema": 1},
        "filesystem": files.table(),
        "network": network,
        "syscalls": calls.table(),
        "limits": limits,
    }


def _truth(unit: Unit, line: int, key: str, value: str) -> bool:
    found = names.truth(value)
    if found is None:
        raise unit.error(line, f"{key}: expected yes or no, got {quote(value[:40])}")
    return found


def _limit(
    unit: Unit, line: int, key: str, value: str, limits: dict[str, Any], report: Report
) -> bool:
    """Take a key that bounds something; hard and soft as `soft:hard`, the hard one counts."""
    found: int | None
    last = value.rpartition(":")[2]
    if key in _SIZES:
        name, found = _SIZES[key], names.size_bytes(last)
    elif key in _COUNTS:
        name, found = _COUNTS[key], int(last) if last.isascii() and last.isdigit() else None
    elif key in _SPANS:
        name, found = _SPANS[key], names.span_ms(last)
    elif key == "CPUQuota":
        name, found = "cpu_quota", _percent(last, report)
    else:
        return False
    if last == "infinity":
        return True
    if last.endswith("%") and name != "cpu_quota":
        report.add(key, LOOSER, "a share of the machine has no counterpart")
        return True
    if found is None or (found >= 1 << 31 and key in _COUNTS):
        raise unit.error(line, f"{key}: no such amount: {quote(value[:40])}")
    sign = "ms" if key in _SPANS else "%" if key == "CPUQuota" else ""
    amount: Any = f"{found}{sign}" if sign else found
    if name == "open_files" and found < 8:
        report.add(key, LOOSER, "8 is the least that a command can start with")
        amount = 8
    if name == "pids" and name in limits:
        amount = min(amount, limits[name])
    limits[name] = amount
    return True


def _percent(text: str, report: Report) -> int | None:
    """Return percent of one processor; systemd counts in hundredths of them, and never 0."""
    whole, dot, part = text.removesuffix("%").partition(".")
    is_part = part.isascii() and part.isdigit() and len(part) <= 2
    found = values.parse_percent(f"{whole}%") if text.endswith("%") else None
    if found is None or (dot and not is_part) or not (found or part.strip("0")):
        return None
    if not found:
        report.add("CPUQuota", LOOSER, "1% is the least")
    elif part.strip("0"):
        report.add("CPUQuota", TIGHTER, "whole percents only")
    return max(found, 1)


def _other(line: int, key: str, value: str, report: Report) -> None:
    if key in names.ALWAYS:
        return
    shown = f"{key}={value}"[:60]
    if key in names.ELSEWHERE:
        report.add(f"{key}=", ALIKE, "says how a service is run, not what it may do")
    elif key in names.RESTRICTING:
        report.add(f"{escape(key)}=", LOOSER, "has no counterpart in a policy")
    else:
        report.add(f"line {line}: {escape(shown)}", LOOSER, "a key that is not known here")
