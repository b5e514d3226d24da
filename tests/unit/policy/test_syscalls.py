"""What a policy's system calls mean, and which policies no filter is made for."""

from __future__ import annotations

import errno
from functools import cache

import pytest

from sandbox.errors import PolicyError
from sandbox.policy import calltable, simulate, syscalls
from sandbox.policy.syscall_model import (
    ALLOW,
    KILL,
    Action,
    SyscallPolicy,
    SyscallRule,
    parse_action,
)
from sandbox.policy.syscalls import compile_uncached, resolve_calls
from support.syscalls import U64, policy, rule

EPERM = Action("errno", errno.EPERM)
ENOSYS = Action("errno", errno.ENOSYS)
EAFNOSUPPORT = Action("errno", errno.EAFNOSUPPORT)
STRICT = policy(base="@strict-2026.11", allow="")
DEFAULT = policy(base="@default-2026.11", allow="", families="unix inet inet6")


filter_of = cache(compile_uncached)
model_of = cache(resolve_calls)


def answer(table: SyscallPolicy, call: str, *args: int, arch: str = "x86_64") -> Action:
    """Return what the compiled filter says to one call, once the model agrees."""
    registers = (*args, *(0,) * (6 - len(args)))
    nr = calltable.call_numbers(arch)[call]
    said = simulate.run(filter_of(table, arch).code, arch=arch, nr=nr, args=registers)
    assert said.action == model_of(table, arch)[call].answer(registers)
    return said.action


# ------------------------------------------------------------------------- actions
@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("allow", ALLOW),
        ("kill", KILL),
        ("trap", Action("trap")),
        ("errno:EPERM", EPERM),
        ("errno:38", ENOSYS),
    ],
)
def test_action_is_parsed(text: str, action: Action) -> None:
    """The five spellings of an action; an errno by name or number."""
    assert parse_action(text) == action
    assert parse_action(str(action)) == action


@pytest.mark.parametrize("text", ["", "deny", "errno", "errno:", "errno:EPREM", "errno:0"])
def test_wrong_action_has_a_hint(text: str) -> None:
    """An action that does not exist is refused with what does."""
    with pytest.raises(PolicyError) as caught:
        parse_action(text)
    assert caught.value.code == "policy.value"
    assert caught.value.hint


@pytest.mark.parametrize("text", ["errno:4096", "errno:99999", "errno:errorcode", "kill:9"])
def test_action_out_of_range_is_refused(text: str) -> None:
    """The kernel would clamp a larger errno; names of the errno module are no errnos."""
    with pytest.raises(PolicyError):
        parse_action(text)


# ------------------------------------------------------------------------- precedence
def test_unknown_denied_and_foreign_have_their_own_answers() -> None:
    """Not in the table, in the table and not allowed, and another ABI are three things."""
    code = compile_uncached(policy(denied="errno:EACCES"), "x86_64").code
    assert simulate.run(code, arch="x86_64", nr=0).action == ALLOW
    assert simulate.run(code, arch="x86_64", nr=2).action == Action("errno", errno.EACCES)
    assert simulate.run(code, arch="x86_64", nr=400).action == ENOSYS
    assert simulate.run(code, arch="x86_64", nr=470).action == ENOSYS
    assert simulate.run(code, arch="i386", nr=4).action == KILL
    assert simulate.run(code, arch="x86_64", nr=1 | calltable.X32_BIT).action == KILL


def test_deny_beats_allow_and_allowing_rules() -> None:
    """A call that is denied stays denied, whatever else allows it."""
    table = policy(
        rule("some", "keyctl", "arg0 == 0", "allow"),
        rule("all", "add_key", "", "allow"),
        allow="execve exit_group write @keyring",
        deny="@keyring",
    )
    assert answer(table, "keyctl") == EPERM
    assert answer(table, "add_key") == EPERM


def test_denied_call_keeps_the_errno_of_its_rule() -> None:
    """A rule without a condition states which errno a denied call gets."""
    table = policy(rule("gone", "@new-mount", "", "errno:ENOSYS"), deny="@mount")
    assert answer(table, "fsopen") == ENOSYS
    assert answer(table, "mount") == EPERM


def test_allowing_rule_lets_some_uses_of_a_call_through() -> None:
    """A call of no set may be allowed for some arguments; the rest gets `denied`."""
    table = policy(rule("self", "ptrace", "u32(arg0) == PTRACE_TRACEME", "allow"))
    assert answer(table, "ptrace", 0) == ALLOW
    assert answer(table, "ptrace", 16) == EPERM
    assert "ptrace" in compile_uncached(table, "x86_64").allowed


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_strictest_of_the_matching_rules_counts(order: tuple[int, ...]) -> None:
    """Kill, then errno, then allow; the order in a policy never matters."""
    rules = (
        rule("a", "ioctl", "arg1 < 10", "allow"),
        rule("b", "ioctl", "arg1 < 8", "errno:EIO"),
        rule("c", "ioctl", "arg1 < 5", "kill"),
    )
    table = policy(*(rules[index] for index in order))
    assert answer(table, "ioctl", 0, 4) == KILL
    assert answer(table, "ioctl", 0, 7) == Action("errno", errno.EIO)
    assert answer(table, "ioctl", 0, 9) == ALLOW
    assert answer(table, "ioctl", 0, 10) == EPERM


def test_rule_of_the_policy_replaces_the_one_of_its_set() -> None:
    """A rule is replaced by one of the same name, and by no other."""
    mine = rule("terminal-injection", "ioctl", "u32(arg1) == TIOCSTI", "kill")
    table = policy(mine, base="@strict-2026.11")
    assert answer(table, "ioctl", 0, 0x5412) == KILL
    assert answer(table, "ioctl", 0, 0x541C) == ALLOW
    assert answer(table, "ioctl", 0, 0x5423) == EPERM


def test_deny_list_policy_denies_with_eperm() -> None:
    """Where all else is allowed, what is denied by name is denied nevertheless."""
    table = policy(denied="allow", unknown="errno:ENOSYS", deny="@keyring")
    assert answer(table, "keyctl") == EPERM
    assert answer(table, "getpid") == ALLOW


# ------------------------------------------------------------------------- shipped rules
@pytest.mark.parametrize("high", [0, 1 << 32, 1 << 63])
@pytest.mark.parametrize("request_", [0x5412, 0x541C])
def test_ioctl_of_a_terminal_is_judged_by_its_low_half(high: int, request_: int) -> None:
    """TIOCSTI and TIOCLINUX with any high bits (CVE-2019-10063)."""
    assert answer(STRICT, "ioctl", 0, request_ | high) == EPERM
    assert answer(DEFAULT, "ioctl", 0, request_ | high, arch="aarch64") == EPERM
    assert answer(STRICT, "ioctl", 0, 0x5413 | high) == ALLOW


@pytest.mark.parametrize("bit", [17, 25, 26, 27, 28, 29, 30])
def test_clone_makes_no_namespace(bit: int) -> None:
    """Each CLONE_NEW* flag, alone and beside those of fork and threads."""
    assert answer(DEFAULT, "clone", 1 << bit | 0x3D0F00) == EPERM
    assert answer(STRICT, "clone", 1 << bit | 1 << 40) == EPERM
    assert answer(STRICT, "clone", 0x3D0F00 | 1 << 32) == ALLOW


@pytest.mark.parametrize("family", range(50))
def test_socket_families_are_an_allow_set(family: int) -> None:
    """Every family that is not listed, known to Linux or not, does not exist."""
    for table, listed in ((STRICT, {1}), (DEFAULT, {1, 2, 10})):
        expected = ALLOW if family in listed else EAFNOSUPPORT
        assert answer(table, "socket", family, 1) == expected
        assert answer(table, "socketpair", family | 1 << 32, 1) == expected


@pytest.mark.parametrize("kind", [3, 4, 6, 10, 0, 7, 15])
def test_rare_socket_types_are_refused(kind: int) -> None:
    """Raw, RDM, DCCP, packet and whatever else, also with SOCK_CLOEXEC and SOCK_NONBLOCK."""
    for flags in (0, 0o2000000, 0o2004000):
        assert answer(DEFAULT, "socket", 2, kind | flags) == EPERM
        assert answer(DEFAULT, "socket", 2, 1 | flags) == ALLOW


@pytest.mark.parametrize("protocol", [33, 132, 136, 255, 262])
def test_rare_protocols_are_refused(protocol: int) -> None:
    """DCCP, SCTP, UDPLITE, raw IP and MPTCP; TCP and UDP are not."""
    assert answer(DEFAULT, "socket", 2, 1, protocol | 1 << 32) == EPERM
    assert answer(DEFAULT, "socket", 10, 1, 6) == ALLOW
    assert answer(DEFAULT, "socket", 10, 2, 17) == ALLOW


@pytest.mark.parametrize("option", [25, 26, 50, 51, 52, 62])
def test_socket_options_that_run_code_are_refused(option: int) -> None:
    """Filters and device binding are refused at SOL_SOCKET only."""
    assert answer(STRICT, "setsockopt", 3, 1, option) == EPERM
    assert answer(DEFAULT, "setsockopt", 3, 1 | 1 << 32, option | 1 << 40) == EPERM
    assert answer(STRICT, "setsockopt", 3, 0, option) == ALLOW


def test_tcp_ulp_is_refused() -> None:
    """setsockopt(SOL_TCP, TCP_ULP), and neither half of the pair alone."""
    assert answer(DEFAULT, "setsockopt", 3, 6, 31) == EPERM
    assert answer(DEFAULT, "setsockopt", 3, 6, 1) == ALLOW
    assert answer(DEFAULT, "setsockopt", 3, 1, 31) == ALLOW


def test_personality_may_be_asked_and_not_changed() -> None:
    """0 and the query are allowed, whatever the high half holds."""
    assert answer(DEFAULT, "personality", 0) == ALLOW
    assert answer(DEFAULT, "personality", 0xFFFFFFFF) == ALLOW
    assert answer(DEFAULT, "personality", U64) == ALLOW
    for value in (0x0400000, 0x0040000, 8, 6, 0x0040000 | 1 << 32):
        assert answer(DEFAULT, "personality", value) == EPERM


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6777, 0o4000 | 1 << 40])
def test_setuid_bits_cannot_be_set(mode: int) -> None:
    """Every call that gives a file its mode."""
    for call, args in (
        ("chmod", (0, mode)),
        ("fchmod", (3, mode)),
        ("fchmodat", (3, 0, mode)),
        ("fchmodat2", (3, 0, mode)),
        ("mkdir", (0, mode)),
        ("mkdirat", (3, 0, mode)),
        ("mknod", (0, mode | 0o100000)),
        ("mknodat", (3, 0, mode | 0o100000)),
        ("creat", (0, mode)),
        ("open", (0, 0o102, mode)),
        ("openat", (3, 0, 0o102, mode)),
        ("openat", (3, 0, 0o20200002, mode)),
    ):
        assert answer(DEFAULT, call, *args) == EPERM
        plain = tuple(0o1777 if value is args[-1] else value for value in args)
        assert answer(DEFAULT, call, *plain) == ALLOW


@pytest.mark.parametrize("garbage", [0o6000, U64, 0xDEADBEEF])
def test_open_without_create_ignores_the_mode_register(garbage: int) -> None:
    """Callers leave anything in the register that only O_CREAT and O_TMPFILE read."""
    for flags in (0, 0o1, 0o2000000, 0o200000, 0o1 | 1 << 32):
        assert answer(STRICT, "open", 0, flags, garbage) == ALLOW
        assert answer(STRICT, "openat", 3, 0, flags, garbage, arch="aarch64") == ALLOW


@pytest.mark.parametrize(
    ("call", "args", "expected"),
    [
        ("clone3", (), ENOSYS),
        ("openat2", (), ENOSYS),
        ("fsopen", (), ENOSYS),
        ("mount_setattr", (), ENOSYS),
        ("nfsservctl", (), ENOSYS),
        ("mount", (), EPERM),
        ("io_uring_setup", (), EPERM),
        ("userfaultfd", (), EPERM),
        ("execveat", (3, 0, 0, 0, 0), ALLOW),
        ("execveat", (3, 0, 0, 0, 0x1000), EPERM),
        ("execveat", (3, 0, 0, 0, 0x1100 | 1 << 32), EPERM),
        ("seccomp", (1, 0), ALLOW),
        ("seccomp", (1, 1), ALLOW),
        ("seccomp", (1, 8), EPERM),
        ("seccomp", (1, 32 | 8), EPERM),
        ("seccomp", (2, 0), ALLOW),
        ("prctl", (15,), ALLOW),
        ("prctl", (22, 2), ALLOW),
        ("prctl", (35,), EPERM),
        ("prctl", (35 | 1 << 32,), EPERM),
    ],
)
def test_default_answers(call: str, args: tuple[int, ...], expected: Action) -> None:
    """Calls that are answered in a way of their own under the default set."""
    assert answer(DEFAULT, call, *args) == expected


def test_strict_runs_nothing_without_a_path() -> None:
    """No memfd, no execveat: what runs has a path that mounts and Landlock judge."""
    assert answer(STRICT, "memfd_create") == EPERM
    assert answer(STRICT, "memfd_secret") == EPERM
    assert answer(STRICT, "execveat") == EPERM


def test_strict_answers_rare_prctl_options_like_a_kernel_without_them() -> None:
    """Options outside the list are EINVAL; stacking a filter stays possible."""
    assert answer(STRICT, "prctl", 35) == Action("errno", errno.EINVAL)
    assert answer(STRICT, "prctl", 22, 2) == ALLOW
    assert answer(STRICT, "prctl", 38, 1) == ALLOW


# ------------------------------------------------------------------------- refusals
@pytest.mark.parametrize("missing", ["execve", "write", "exit_group"])
def test_filter_without_a_needed_call_is_refused(missing: str) -> None:
    """No command could start, speak or end under it."""
    with pytest.raises(PolicyError) as caught:
        compile_uncached(policy(deny=missing), "x86_64")
    assert (caught.value.code, caught.value.fields["call"]) == ("policy.filter", missing)


def test_foreign_abi_is_never_allowed() -> None:
    """It would let every call of a 32-bit program through unchecked."""
    with pytest.raises(PolicyError) as caught:
        compile_uncached(policy(foreign_abi="allow"), "x86_64")
    assert caught.value.code == "policy.filter"


@pytest.mark.parametrize(
    ("table", "said", "hint"),
    [
        (policy(allow="raed"), "syscalls.allow: no system call is called 'raed'", "read"),
        (policy(deny="@mounts"), "syscalls.deny: no group is called '@mounts'", "@mount"),
        (policy(base="@strict-2026.12"), "no call set is called", "@strict-2026.11"),
        (policy(families="inet5"), "no family is called 'inet5'", "inet"),
        (policy(rule("r", "iocl", "")), "syscalls.rules.r: no system call", "ioctl"),
        (policy(rule("r", "ioctl", "arg7 == 1")), "test:1: rule r: condition", "arg"),
    ],
)
def test_wrong_name_is_reported_with_the_nearest(
    table: SyscallPolicy, said: str, hint: str
) -> None:
    """Names in allow, deny, base, families and rules; conditions carry the rule's place."""
    with pytest.raises(PolicyError) as caught:
        resolve_calls(table, "x86_64")
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.code == "policy.value"


def test_architecture_without_a_table_is_refused() -> None:
    """Filters are made for two architectures."""
    with pytest.raises(PolicyError) as caught:
        compile_uncached(policy(), "riscv64")
    assert caught.value.code == "policy.filter"


def test_names_of_the_other_architecture_are_passed_over() -> None:
    """`open` in a policy means nothing on aarch64."""
    table = policy(rule("r", "open creat", "arg1 == 1"), allow="execve exit_group write open")
    assert "open" not in resolve_calls(table, "aarch64")
    assert "open" in compile_uncached(table, "x86_64").allowed


def test_filter_beyond_the_kernels_size_is_refused() -> None:
    """More than 4096 instructions are reported, not truncated."""
    many = tuple(
        rule(f"r{index}", "ioctl", f"arg1 == {index * 7} and arg2 == {index}", "errno:EIO")
        for index in range(1500)
    )
    with pytest.raises(PolicyError) as caught:
        compile_uncached(policy(*many), "x86_64")
    assert "4096" in caught.value.message


# ------------------------------------------------------------------------- proof
def test_proof_avoids_what_the_kernel_would_answer_too() -> None:
    """Where keyctl is allowed or its errno is the kernel's own, another call proves the filter."""
    numbers = calltable.call_numbers("x86_64")
    denied = compile_uncached(policy(denied="errno:EOPNOTSUPP"), "x86_64")
    allowed = compile_uncached(policy(allow="execve exit_group write keyctl"), "x86_64")
    assert denied.proof_nr == allowed.proof_nr == numbers["clone3"]
    everything = policy(denied="allow", unknown="errno:ENOSYS")
    none = compile_uncached(everything, "x86_64")
    assert (none.proof_nr, none.proof_errno) == (-1, 0)


def test_resolve_calls_covers_the_table() -> None:
    """Every known call has a verdict, and the filter says how many there are."""
    for arch in calltable.ARCHES:
        names = set(resolve_calls(STRICT, arch))
        assert names == set(calltable.call_numbers(arch))
        assert compile_uncached(STRICT, arch).known == len(names)


def test_rule_objects_are_plain_records() -> None:
    """Rules keep their place and reason through composition."""
    entry = rule("a", "read write", "arg0 == 1")
    assert entry == SyscallRule("a", ("read", "write"), "arg0 == 1", EPERM, "a test", "test:1")
    assert syscalls.CompiledFilter.__doc__
