"""How a program is made: the traps of libseccomp, links, long jumps, and the last look."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from itertools import pairwise
from types import ModuleType

import pytest

from sandbox.errors import PolicyError
from sandbox.policy import (
    bpf,
    bpf_layout,
    calltable,
    filter_check,
    filter_program,
    seccomp_library,
    simulate,
)
from sandbox.policy.conditions import parse_condition
from sandbox.policy.syscall_model import ALLOW, KILL, Action
from sandbox.policy.syscalls import PLAIN, compile_uncached, resolve_calls
from support.syscalls import U64, policy, rule

EPERM = Action("errno", errno.EPERM)


@pytest.fixture
def library() -> ModuleType:
    """pyseccomp, as the compiler imports it."""
    return seccomp_library.import_pyseccomp()


# ------------------------------------------------------------------------- libseccomp's traps
def test_libseccomp_drops_a_conditional_rule_beside_an_unconditional_one(
    library: ModuleType,
) -> None:
    """The trap that the two linked programs avoid; if this fails, the library has changed."""
    program = library.SyscallFilter(library.ERRNO(1))
    program.add_rule(library.ALLOW, 16)
    program.add_rule(library.ERRNO(5), 16, library.Arg(1, library.MASKED_EQ, 0xFFFFFFFF, 0x5412))
    code = seccomp_library.exported(library, program)
    args = (0, 0x5412, 0, 0, 0, 0)
    native = "x86_64" if library.Arch.NATIVE == 0 and os.uname().machine == "x86_64" else "aarch64"
    assert simulate.run(code, arch=native, nr=16, args=args).action == ALLOW


@pytest.mark.parametrize("arch", calltable.ARCHES)
def test_conditional_rule_beside_an_allowed_call_is_kept(arch: str) -> None:
    """The same policy through our compiler: the rule holds, on either architecture."""
    table = policy(rule("r", "ioctl", "u32(arg1) == 0x5412"), allow="execve write exit_group ioctl")
    code = compile_uncached(table, arch).code
    nr = calltable.call_numbers(arch)["ioctl"]
    for value, expected in ((0x5412, EPERM), (0x5412 | 1 << 32, EPERM), (0x5413, ALLOW)):
        args = (0, value, 0, 0, 0, 0)
        assert simulate.run(code, arch=arch, nr=nr, args=args).action == expected


def test_inequality_of_an_int_ignores_the_high_half() -> None:
    """NE of libseccomp would compare 64 bits, and EPERM what the kernel takes for equal."""
    table = policy(rule("r", "clone", "u32(arg0) != 17"), allow="execve write exit_group clone")
    code = compile_uncached(table, "x86_64").code
    for value, expected in ((17, ALLOW), (17 | 1 << 32, ALLOW), (18, EPERM), (1 << 32, EPERM)):
        args = (value, 0, 0, 0, 0, 0)
        assert simulate.run(code, arch="x86_64", nr=56, args=args).action == expected


def test_two_inequalities_of_one_argument_are_one_rule() -> None:
    """Two NE on one argument are EINVAL for libseccomp; a set says it."""
    table = policy(
        rule("r", "personality", "u32(arg0) != 0 and u32(arg0) != 0xffffffff"),
        allow="execve write exit_group personality",
    )
    code = compile_uncached(table, "x86_64").code
    for value, expected in ((0, ALLOW), (0xFFFFFFFF, ALLOW), (8, EPERM)):
        args = (value, 0, 0, 0, 0, 0)
        assert simulate.run(code, arch="x86_64", nr=135, args=args).action == expected


def test_value_outside_its_mask_is_never_equal() -> None:
    """libseccomp masks the value as well, and would match always."""
    table = policy(rule("r", "read", "arg0 & 0x6 in {1, 2}"))
    code = compile_uncached(table, "x86_64").code
    for value, expected in ((0, ALLOW), (1, ALLOW), (2, EPERM), (3, EPERM), (6, ALLOW)):
        args = (value, 0, 0, 0, 0, 0)
        assert simulate.run(code, arch="x86_64", nr=0, args=args).action == expected


def test_calls_newer_than_the_library_are_known_by_number(library: ModuleType) -> None:
    """file_setattr (6.17) can be allowed and denied; libseccomp need not know its name."""
    allowed = compile_uncached(policy(allow="execve write exit_group file_setattr"), "aarch64")
    denied = compile_uncached(policy(), "aarch64")
    assert simulate.run(allowed.code, arch="aarch64", nr=469).action == ALLOW
    assert simulate.run(denied.code, arch="aarch64", nr=469).action == EPERM


# ------------------------------------------------------------------------- graph and layout
def test_far_branches_get_stepping_stones() -> None:
    """More than 255 instructions between a test and its target do not bend its verdict."""
    graph = bpf.Graph()
    kill, allow = graph.returns(KILL), graph.returns(ALLOW)
    entry = allow
    for value in range(1000, 2000):  # each test leads far away, to the one `kill` at the end
        masked = graph.add(bpf.AND, value, graph.test(bpf.JEQ, value, kill, entry))
        entry = graph.load(16, masked)
    program = simulate.load(bpf_layout.lay_out(graph, entry))
    assert max(max(line[1], line[2]) for line in program.lines) <= 255
    assert simulate.run(program, arch=0, nr=0).action == ALLOW
    for value in (1000, 1500, 1999):
        assert simulate.run(program, arch=0, nr=0, args=(value, 0, 0, 0, 0, 0)).action == KILL


def test_far_shared_code_is_reached_by_a_jump() -> None:
    """Code shared by both ends of a long program stands once."""
    graph = bpf.Graph()
    shared = graph.load(24, graph.test(bpf.JEQ, 7, graph.returns(KILL), graph.returns(ALLOW)))
    entry = shared
    for value in range(600):
        entry = graph.load(16, graph.test(bpf.JEQ, value, shared, graph.load(20, entry)))
    program = simulate.load(bpf_layout.lay_out(graph, entry))
    assert [line for line in program.lines if line[3] == 24 and line[0] == bpf.LOAD] == [
        (bpf.LOAD, 0, 0, 24)
    ]
    for value in (0, 299, 599, 600):
        assert simulate.run(program, arch=0, nr=0, args=(value, 7, 0, 0, 0, 0)).action == KILL
        assert simulate.run(program, arch=0, nr=0, args=(value, 8, 0, 0, 0, 0)).action == ALLOW


def test_fold_leaves_out_what_the_number_decides() -> None:
    """Tests that the range of the number answers, and repeated loads, disappear."""
    graph = bpf.Graph()
    allow, kill = graph.returns(ALLOW), graph.returns(KILL)
    again = graph.load(0, graph.test(bpf.JGE, 10, graph.test(bpf.JEQ, 5, kill, allow), kill))
    entry = graph.load(4, graph.test(bpf.JEQ, 0xC000003E, graph.load(0, again), kill))
    folded = bpf_layout.fold(graph, entry, 469)
    assert graph.nodes[folded] == (bpf.JGE, 10, allow, kill)


def test_fold_refuses_an_unusual_test_of_the_architecture() -> None:
    """Anything but equality cannot be left out by the linker."""
    graph = bpf.Graph()
    odd = graph.load(4, graph.test(bpf.JGT, 5, graph.returns(KILL), graph.returns(ALLOW)))
    with pytest.raises(PolicyError) as caught:
        bpf_layout.fold(graph, odd, 469)
    assert caught.value.code == "policy.filter"


def test_read_refuses_unknown_instructions() -> None:
    """A library that emits something else is reported, not guessed at."""
    with pytest.raises(PolicyError) as caught:
        bpf.Graph().read(bytes.fromhex("b100000000000000" + "060000000000ff7f"), lambda _: 0)
    assert "0x00b1" in caught.value.message


def test_balanced_tree_has_one_test_for_an_exception() -> None:
    """One number amid others that are decided alike costs one instruction, not two."""
    graph = bpf.Graph()
    allow, kill = graph.returns(ALLOW), graph.returns(KILL)
    balanced = bpf_layout.balance(graph, graph.test(bpf.JEQ, 59, kill, allow), 469)
    assert graph.nodes[balanced] == (bpf.JEQ, 59, kill, allow)


def test_balanced_trees_are_shallow() -> None:
    """235 exceptions are told apart in at most ten steps."""
    graph = bpf.Graph()
    allow, kill = graph.returns(ALLOW), graph.returns(KILL)
    entry = allow
    for number in range(469, 0, -2):
        entry = graph.test(bpf.JEQ, number, kill, entry)
    balanced = bpf_layout.balance(graph, entry, 469)
    program = simulate.load(bpf_layout.lay_out(graph, graph.load(0, balanced)))
    outcomes = [simulate.run(program, arch=0, nr=nr) for nr in range(470)]
    assert all(one.action != two.action for one, two in pairwise(outcomes))
    assert max(outcome.cost for outcome in outcomes) <= 11


@pytest.mark.parametrize(
    ("text", "count"),
    [("u32(arg1) in {1, 2, 3, 7}", 1), ("arg1 & 0x7e020000 != 0", 1), ("arg1 > 0x100000005", 2)],
)
def test_conditions_load_each_word_once(text: str, count: int) -> None:
    """Sets and bit tests need one load; 64-bit comparisons one for each half."""
    graph = bpf.Graph()
    entry = graph.condition(parse_condition(text), graph.returns(KILL), graph.returns(ALLOW))
    program = simulate.load(bpf_layout.lay_out(graph, bpf_layout.fold(graph, entry, 469)))
    assert sum(line[0] == bpf.LOAD for line in program.lines) == count


# ------------------------------------------------------------------------- the last look
def test_check_refuses_a_program_that_differs() -> None:
    """A filter that lets a denied call through is never used."""
    lax, tight = policy(allow="execve write exit_group keyctl"), policy()
    code = compile_uncached(lax, "x86_64").code
    with pytest.raises(PolicyError) as caught:
        filter_check.check(code, tight, "x86_64", resolve_calls(tight, "x86_64"))
    assert (caught.value.code, caught.value.fields["call"]) == ("policy.filter", "read")


def test_check_notices_a_dropped_condition() -> None:
    """The very trap of libseccomp would be found before the filter is loaded."""
    allow = "execve write exit_group ioctl read"
    table = policy(rule("r", "ioctl", "u32(arg1) == TIOCSTI"), allow=allow)
    code = compile_uncached(policy(allow=allow), "x86_64").code
    with pytest.raises(PolicyError) as caught:
        filter_check.check(code, table, "x86_64", resolve_calls(table, "x86_64"))
    assert caught.value.fields["call"] == "ioctl"


def test_refusal_of_the_library_is_a_policy_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OSError of libseccomp is worded once."""

    def refuse(*_args: object) -> bytes:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(seccomp_library, "exported", refuse)
    with pytest.raises(PolicyError) as caught:
        filter_program.compile_program(policy(), "x86_64", resolve_calls(policy(), "x86_64"))
    assert (caught.value.code, caught.value.fields["errno"]) == ("policy.filter", errno.EACCES)


# ------------------------------------------------------------------------- the library's door
FRESH = """
import sys
import sandbox.policy.seccomp_library as door
{before}
module = door.import_pyseccomp()
assert module.__name__ == "pyseccomp" and module is sys.modules["pyseccomp"]
import ctypes.util
assert ctypes.util.__file__ and ctypes.util.find_library("c")
print("done")
"""


@pytest.mark.parametrize(
    "before",
    [
        "",
        "import ctypes.util",
        "door._SONAMES = {'c': 'libc.so.6', 'seccomp': 'no-such-library.so'}",
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
    ],
    ids=["alone", "already-loaded", "other-names", "threads"],
)
def test_import_leaves_ctypes_as_it_was(before: str) -> None:
    """Quick or by search, afterwards ctypes.util is the real module."""
    argv = [sys.executable, "-c", FRESH.format(before=before)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_quick_import_starts_no_program() -> None:
    """ctypes.util would start ldconfig, through subprocess."""
    text = "import sys, sandbox.policy.seccomp_library as d; d.import_pyseccomp(); "
    argv = [sys.executable, "-S", "-c", text + "print('subprocess' in sys.modules)"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=env, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_missing_library_has_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyseccomp the error says what to install."""
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(PolicyError) as caught:
        seccomp_library.import_pyseccomp()
    assert caught.value.code == "policy.filter"
    assert "libseccomp2" in (caught.value.hint or "")


def test_high_registers_of_a_call_number_do_not_matter() -> None:
    """The number is 32 bits: -1 and 2**32 - 1 are one call, of the x32 range."""
    code = compile_uncached(policy(), "x86_64").code
    assert simulate.run(code, arch="x86_64", nr=-1).action == KILL
    assert simulate.run(code, arch="x86_64", nr=U64).action == KILL


# ------------------------------------------------------------------------- refusals with a record
def test_refusals_leave_a_record_beside_the_same_errno() -> None:
    """Two programs of one layout: each refusal is put to the supervisor, or an errno by itself."""
    table = policy(
        rule("r", "ioctl", "arg1 == 1", "errno:EACCES"), allow="execve write exit_group ioctl"
    )
    numbers = calltable.call_numbers("x86_64")
    compiled = compile_uncached(table, "x86_64")
    native = calltable.AUDIT_ARCH["x86_64"]
    recorded = simulate.load(compiled.recorded)
    answers = {
        name: simulate.answers(recorded, native, numbers[name])
        for name in ("ioctl", "mount", "read")
    }
    assert answers["ioctl"] == {bpf.RET_ALLOW, bpf.RET_NOTIFY | errno.EACCES}
    assert answers["mount"] == {bpf.RET_NOTIFY | errno.EPERM}
    assert answers["read"] == {bpf.RET_ERRNO | errno.EPERM}  # made before anybody listens
    assert simulate.answers(recorded, native, 9999) == {bpf.RET_ERRNO | errno.ENOSYS}
    plain = simulate.load(compiled.code)
    for before, after in zip(recorded.lines, plain.lines, strict=True):
        same = before[0] != bpf.RETURN or before[3] & 0xFFFF0000 != bpf.RET_NOTIFY
        wanted = before[3] if same else bpf.RET_ERRNO | before[3] & 0xFFFF
        assert after == (*before[:3], wanted)


def test_check_refuses_a_program_that_would_wait_for_nobody() -> None:
    """A call that the command makes before it is executed must not be put to the supervisor."""
    table = policy()
    verdicts = resolve_calls(table, "x86_64")
    recorded = filter_program.compile_program(table, "x86_64", verdicts)
    refused = next(name for name in sorted(PLAIN) if verdicts[name].default.kind == "errno")
    with pytest.raises(PolicyError, match=f"puts {refused} to the supervisor"):
        filter_check.check_recorded(recorded, "x86_64", frozenset({refused}))
