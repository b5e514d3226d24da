"""A refused call is explained, and what the explanation offers lets exactly that call pass."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from sandbox.cli.exec_options import OPTIONS
from sandbox.cli.options import parse
from sandbox.policy.arguments import telling_arguments
from sandbox.policy.calltable import AUDIT_ARCH, X32_BIT, call_numbers
from sandbox.policy.compose import Flag, apply_flags
from sandbox.policy.condition_names import CONSTANTS
from sandbox.policy.denial import Explainer, Explanation, explain_denial
from sandbox.policy.judge import answer, open_court
from sandbox.policy.load import load_policy
from sandbox.policy.model import Policy
from sandbox.policy.syscall_model import ALLOW
from sandbox.policy.syscalls import resolve_calls

ARCH = "x86_64"
ARGUMENTS_MAX = 500  # of one call: enough for every condition to hold once


def refused(policy: Policy, arch: str) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Yield a call for each way in which the filter refuses: name, arguments, errno."""
    for name, verdict in resolve_calls(policy.syscalls, arch).items():
        seen = set()
        for arguments in islice(telling_arguments([verdict]), ARGUMENTS_MAX):
            action = verdict.answer(arguments)
            alike = verdict.holding(arguments)
            if action == ALLOW or alike in seen:
                continue
            seen.add(alike)
            yield name, arguments, action.errno


def changed(policy_name: str, found: Explanation, directory: Path) -> Policy:
    """Return the policy after what the fix says, read from its own text."""
    assert found.fix is not None
    assert found.lift is not None
    name = policy_name
    if found.lift.lines:
        file = directory / "fixed.toml"
        head = f'schema = 1\nextends = ["{policy_name}"]\n'
        file.write_text(head + "\n".join(found.lift.lines) + "\n")
        name = str(file)
        assert "a policy that says " + "; ".join(found.lift.lines) in found.fix
    words = tuple(word for flag in found.lift.flags for word in flag.text.split())
    assert found.fix.startswith(" and ".join(flag.text for flag in found.lift.flags))
    parsed = parse(words, OPTIONS, "sandbox exec")
    flags = tuple(Flag(one.name, one.value, one.text) for one in parsed.options)
    assert not parsed.rest
    return apply_flags(load_policy(name), flags)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize("name", ["strict", "default", "tiny", "confined", "image-build"])
def test_every_fix_lets_its_call_pass(name: str, arch: str, tmp_path: Path) -> None:
    """Whatever is refused: the fix is none with a reason, or with it the call is let through."""
    policy = load_policy(name)
    explainer = Explainer(policy, arch)
    count = 0
    for call, arguments, number in refused(policy, arch):
        found = explainer.explain(call_numbers(arch)[call], arguments, number)
        assert found.call == call
        assert found.key.startswith("syscalls.")
        assert ".toml:" in found.origin or found.origin == "built in"
        assert found.why
        count += 1
        if found.fix is None:
            assert "no " in found.why
            continue
        fixed = changed(name, found, tmp_path)
        verdict = resolve_calls(fixed.syscalls, arch)[call]
        assert verdict.answer(arguments) == ALLOW, (call, arguments, found.fix)
    assert count > 60


@pytest.mark.parametrize("name", ["strict", "default", "tiny"])
def test_fixes_hold_in_the_compiled_filter(name: str, tmp_path: Path) -> None:
    """The program agrees: all calls that a flag lets pass at once, the others one by one."""
    policy = load_policy(name)
    explainer = Explainer(policy, ARCH)
    by_flag: list[tuple[str, tuple[int, ...]]] = []
    flags: dict[str, Flag] = {}
    one_by_one = 0
    for call, arguments, number in refused(policy, ARCH):
        found = explainer.explain(call_numbers(ARCH)[call], arguments, number)
        if found.lift is None:
            continue
        if not found.lift.lines:
            flags.update({flag.text: flag for flag in found.lift.flags})
            by_flag.append((call, arguments))
        elif one_by_one < 25:
            one_by_one += 1
            court = open_court(changed(name, found, tmp_path), ARCH)
            assert answer(court, call, arguments) == ALLOW
    court = open_court(apply_flags(policy, tuple(flags.values())), ARCH)
    assert len(by_flag) > 50
    assert [one for one in by_flag if answer(court, *one) != ALLOW] == []


def six(*arguments: int) -> tuple[int, ...]:
    """Return these arguments, then zeros."""
    return (*arguments, *(0,) * (6 - len(arguments)))


@pytest.mark.parametrize(
    ("call", "arguments", "key", "fix"),
    [
        ("waitid", six(), "syscalls.denied", "--allow-syscall waitid"),
        ("mount", six(), "syscalls.deny[@mount]", "--allow-syscall mount"),
        ("init_module", six(), "syscalls.deny[@module]", None),
        ("_sysctl", six(), "syscalls.rules.obsolete", None),
        ("socket", six(2, 1), "syscalls.socket_families", "--net host"),
        (
            "socket",
            six(16, 2),
            "syscalls.socket_families",
            'a policy that says syscalls.socket_families = ["netlink"]',
        ),
        ("socket", six(4000, 1), "syscalls.socket_families", None),
        (
            "clone3",
            six(),
            "syscalls.rules.clone3",
            'a policy that says syscalls.rules.clone3 = { names = ["clone3"], action = "allow" }',
        ),
        (
            "ioctl",
            six(0, CONSTANTS["TIOCSTI"]),
            "syscalls.rules.terminal-injection",
            'a policy that says syscalls.rules.terminal-injection = { names = ["ioctl"],'
            ' when = "u32(arg1) in {TIOCSTI, TIOCLINUX}", action = "allow" }',
        ),
        (
            "chmod",
            six(0, 0o4755),
            "syscalls.rules.setuid-bits",
            'a policy that says syscalls.rules.setuid-bits = { names = ["creat", "fchmod",'
            ' "mkdir"], when = "arg1 & S_ISUID|S_ISGID != 0", action = "errno:EPERM" }',
        ),
    ],
)
def test_fix_is_the_smallest_change(
    call: str, arguments: tuple[int, ...], key: str, fix: str | None
) -> None:
    """A flag where one does it; else the one line of a policy, which spares the rule's others."""
    policy = load_policy("strict")
    verdict = resolve_calls(policy.syscalls, ARCH)[call]
    number = verdict.answer(arguments).errno
    found = explain_denial(policy, ARCH, call_numbers(ARCH)[call], arguments, number)
    assert (found.call, found.key, found.fix) == (call, key, fix)
    assert "changed since" not in found.why


def test_what_the_kernel_would_still_refuse_is_said() -> None:
    """Letting mount(2) through the filter gives no capability."""
    numbers = call_numbers(ARCH)
    found = explain_denial(load_policy("strict"), ARCH, numbers["mount"], six(), errno.EPERM)
    assert found.why == "@mount holds it; the kernel asks for a capability as well"


@pytest.mark.parametrize(
    ("arch", "number", "call", "key"),
    [
        (AUDIT_ARCH["i386"], 102, "i386 #102", "syscalls.foreign_abi"),
        ("i386", 102, "i386 #102", "syscalls.foreign_abi"),
        (0x1234, 1, "ABI 0x1234 #1", "syscalls.foreign_abi"),
        (AUDIT_ARCH[ARCH], X32_BIT | 1, f"x32 #{X32_BIT | 1}", "syscalls.foreign_abi"),
        (AUDIT_ARCH[ARCH], 9999, "#9999", "syscalls.unknown"),
    ],
)
def test_what_no_policy_lets_pass_has_no_fix(
    arch: int | str, number: int, call: str, key: str
) -> None:
    """Other ABIs and numbers that nobody knows: the line that decides, a reason, no fix."""
    explainer = Explainer(load_policy("strict"), ARCH)
    found = explainer.explain(number, six(), errno.ENOSYS, arch=arch)
    assert (found.call, found.key, found.fix) == (call, key, None)
    assert ".toml:" in found.origin
    assert found.why


def test_record_of_another_policy_is_not_explained_away() -> None:
    """A policy that has changed since the run is said to have."""
    policy, numbers = load_policy("strict"), call_numbers(ARCH)
    now_allowed = explain_denial(policy, ARCH, numbers["read"], six(), errno.EPERM)
    assert now_allowed.fix is None
    assert "refused under another" in now_allowed.why
    other = explain_denial(policy, ARCH, numbers["waitid"], six(), errno.ENOSYS)
    assert other.why.endswith("it was answered by ENOSYS, so the policy has changed since")


def test_rule_of_the_users_own_file_is_taken_out_there(tmp_path: Path) -> None:
    """Whoever wrote the line can remove it; a layer that tightens beats every other policy."""
    layer = tmp_path / "layer.toml"
    rule = '{ names = ["getpid"], action = "errno:EACCES", why = "shy" }'
    layer.write_text(f"schema = 1\nsyscalls.rules.quiet = {rule}\n")
    policy = load_policy("strict", tighten=[str(layer)])
    found = explain_denial(policy, ARCH, call_numbers(ARCH)["getpid"], six(), errno.EACCES)
    assert found.fix == f"remove the rule quiet at {layer}:2"
    assert found.why == "shy"


def test_call_outside_what_a_layer_leaves_names_the_layer(tmp_path: Path) -> None:
    """The set of a tightening layer is the line that refuses, and a flag goes beyond it."""
    layer = tmp_path / "layer.toml"
    layer.write_text('schema = 1\nsyscalls.base = "@tiny-2026.11"\n')
    policy = load_policy("default", tighten=[str(layer)])
    found = explain_denial(policy, ARCH, call_numbers(ARCH)["waitid"], six(), errno.EPERM)
    assert found.key.startswith("syscalls.within[")
    assert found.origin == f"{layer}:2"
    assert found.fix == "--allow-syscall waitid"
