"""systemd unit lines: in, out, and round."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.errors import PolicyError
from sandbox.policy.exchange.convert import export_text, import_bytes
from sandbox.policy.exchange.oci_read import Container
from sandbox.policy.exchange.report import LOOSER, TIGHTER, Result
from sandbox.policy.exchange.systemd_names import size_bytes, span_ms
from sandbox.policy.load import load_policy, parse_policy
from sandbox.policy.model import Policy
from sandbox.policy.syscalls import resolve_calls
from support.policies import arguments, policy_texts

PLAIN = Container("x86_64", frozenset(), (6, 1))


def imported(text: str) -> tuple[Result, Policy]:
    """The result of importing unit lines, and the policy that it is."""
    result = import_bytes(text.encode(), "x.service", "systemd", PLAIN)
    return result, parse_policy(result.text.encode(), "imported")


def answer(policy: Policy, name: str, *given_arguments: int) -> str:
    """What the policy answers to a call."""
    padded = (*given_arguments, *(0,) * (6 - len(given_arguments)))
    return str(resolve_calls(policy.syscalls, "x86_64")[name].answer(padded))


UNIT = """\
[Unit]
Description=test
[Service]
; a comment
ExecStart=/usr/bin/x
SystemCallFilter=@system-service
SystemCallFilter=~@resources \\
  @privileged
SystemCallErrorNumber=EACCES
RestrictAddressFamilies=AF_UNIX AF_INET
RestrictNamespaces=yes
RestrictSUIDSGID=yes
PrivateNetwork=yes
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=yes
BindReadOnlyPaths=/srv/data:/data
InaccessiblePaths=-/usr/share/doc
MemoryMax=512M
TasksMax=64
RuntimeMaxSec=1min 30s
"""


def test_unit_becomes_a_policy() -> None:
    """Calls, families, namespaces, paths, network and limits are carried over."""
    result, policy = imported(UNIT)
    assert answer(policy, "read") == "allow"
    assert answer(policy, "mount") == "errno:EACCES"
    assert answer(policy, "setpriority") == "errno:EACCES"
    assert answer(policy, "clone", 0x10000000) == "errno:EPERM"
    assert answer(policy, "clone", 17) == "allow"
    assert answer(policy, "chmod", 0, 0o4755) == "errno:EPERM"
    assert answer(policy, "socket", 10, 1) == "errno:EAFNOSUPPORT"
    assert answer(policy, "socket", 2, 1) == "allow"
    assert (policy.network.mode, policy.network.has_loopback) == ("none", True)
    assert policy.limits.memory_bytes == 512 << 20
    assert (policy.limits.pids, policy.limits.wall_ms) == (64, 90_000)
    mounts = {rule.path.text(): rule for rule in policy.filesystem.mounts}
    assert mounts["/data"].source is not None
    assert mounts["/data"].source.text() == "/srv/data"
    assert mounts["/tmp"].mode == "tmpfs"
    assert [rule.path.text() for rule in policy.filesystem.hide] == ["/usr/share/doc"]
    assert not result.is_looser


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("SystemCallFilter=~@mount", "mount", "kill"),
        ("SystemCallFilter=~@mount:ENOSYS", "mount", "errno:ENOSYS"),
        ("SystemCallFilter=~@mount\nSystemCallErrorNumber=EPERM", "mount", "errno:EPERM"),
        ("SystemCallFilter=~@mount", "ptrace", "allow"),
        ("SystemCallFilter=read\nSystemCallFilter=", "ptrace", "allow"),
        ("SystemCallFilter=read", "getpid", "allow"),
        ("SystemCallFilter=read ptrace\nSystemCallFilter=~ptrace", "ptrace", "kill"),
        ("ProtectClock=yes", "clock_settime", "errno:EPERM"),
        ("ProtectClock=no", "clock_settime", "allow"),
        ("ProtectKernelModules=yes", "init_module", "errno:EPERM"),
        ("RestrictNamespaces=~user", "clone3", "errno:ENOSYS"),
    ],
)
def test_line_has_systemds_meaning(line: str, name: str, expected: str) -> None:
    """One line at a time."""
    assert answer(imported(line)[1], name) == expected


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("IPAddressDeny=any", "IPAddressDeny="),
        ("AllowedCPUs=0", "AllowedCPUs="),
        ("CPUQuota=0.5%", "CPUQuota"),
        ("MemoryMax=20%", "MemoryMax"),
        ("LimitSTACK=8M", "LimitSTACK="),
        ("NewThing=yes", "line 1: NewThing=yes"),
    ],
)
def test_restriction_without_counterpart_is_looser(line: str, what: str) -> None:
    """What cannot be carried over makes the policy looser, and is named."""
    result, _ = imported(line)
    assert what in [loss.what for loss in result.losses if loss.effect == LOOSER]


@pytest.mark.parametrize(
    "text",
    [
        "no equals sign",
        "MemoryMax=much",
        "TasksMax=-3",
        "CPUQuota=0%",
        "CPUQuota=half",
        "CPUQuota=1.2.3%",
        "RestrictAddressFamilies=AF_NONSENSE",
        "SystemCallErrorNumber=ENONSENSE",
        "PrivateNetwork=perhaps",
        "RestrictNamespaces=here",
        "BindPaths=relative/path",
        "RuntimeMaxSec=5 parsecs",
    ],
)
def test_wrong_line_is_refused_with_its_number(text: str) -> None:
    """The message names file and line."""
    with pytest.raises(PolicyError, match=r"^x\.service:2: "):
        imported(f"[Service]\n{text}\n")


@pytest.mark.parametrize(
    ("text", "expected"), [("20%", 20), ("150%", 150), ("12.5%", 12), ("infinity", None)]
)
def test_quota_is_carried_over(text: str, expected: int | None) -> None:
    """Whole percents of one processor, in and out; a fraction is cut, and named as tighter."""
    result, policy = imported(f"CPUQuota={text}")
    assert policy.limits.cpu_quota_percent == expected
    named = [loss.effect for loss in result.losses if loss.what == "CPUQuota"]
    assert named == ([TIGHTER] if "." in text else [])
    lines = export_text(policy, "systemd", "x86_64").text.splitlines()
    assert (f"CPUQuota={expected}%" in lines) == (expected is not None)


def test_bytes_that_are_no_text_are_refused() -> None:
    """Invalid UTF-8 has its line."""
    with pytest.raises(PolicyError, match=r"x\.service:2: a byte that is not UTF-8"):
        import_bytes(b"[Service]\nA=\xff\n", "x.service", "systemd", PLAIN)


def test_export_names_every_rule_that_it_cannot_state() -> None:
    """strict as a unit: rules on arguments, output and loopback are looser, each by name."""
    result = export_text(load_policy("strict"), "systemd", "x86_64")
    looser = {loss.what for loss in result.losses if loss.effect == LOOSER}
    assert {"syscalls.rules.terminal-injection", "limits.output", "network.loopback"} <= looser
    assert "RestrictNamespaces=yes" in result.text.splitlines()
    assert "MemoryMax=536870912" in result.text.splitlines()


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(policy_texts(), st.lists(arguments, min_size=2, max_size=6))
def test_round_trip_loses_nothing_that_it_does_not_name(
    text: str, tried: list[tuple[int, ...]]
) -> None:
    """Calls that pass more or less after policy → unit → policy stand in one of the reports."""
    try:
        policy = parse_policy(text.encode(), "generated")
        out = export_text(policy, "systemd", "x86_64")
    except PolicyError:
        return
    back, again = imported(out.text)
    before = resolve_calls(policy.syscalls, "x86_64")
    after = resolve_calls(again.syscalls, "x86_64")
    named = {(loss.effect, call) for loss in (*out.losses, *back.losses) for call in loss.calls}
    for name, verdict in before.items():
        for given_arguments in ((0,) * 6, *tried) if verdict.clauses else ((0,) * 6,):
            passed = verdict.answer(given_arguments).kind == "allow"
            passes = after[name].answer(given_arguments).kind == "allow"
            if passes and not passed:
                assert (LOOSER, name) in named, (name, given_arguments)
            if passed and not passes:
                assert (TIGHTER, name) in named, (name, given_arguments)
    assert policy.network.mode == again.network.mode


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5000), ("1min 30s", 90_000), ("250ms", 250), ("2h", 7_200_000), ("x", None), ("", None)],
)
def test_spans_read_as_systemd_reads_them(text: str, expected: int | None) -> None:
    """systemd.time(7)."""
    assert span_ms(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("5", 5), ("1K", 1024), ("2g", 2 << 30), ("K", None), ("-1", None)]
)
def test_sizes_read_as_systemd_reads_them(text: str, expected: int | None) -> None:
    """Units of 1024."""
    assert size_bytes(text) == expected
