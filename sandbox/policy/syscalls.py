"""Filters: from a policy's system calls to the bytes that the kernel loads.

A run whose filter is in the cache pays for this module and filter_cache alone; what makes a filter
(verdicts.py the model, filter_program.py the program, filter_check.py their comparison) is imported
only where one is made.
"""

from __future__ import annotations

import errno
import struct

from sandbox.errors import PolicyError
from sandbox.policy import filter_cache
from sandbox.policy.syscall_model import SyscallPolicy
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.refusal_model import Refusal
    from sandbox.policy.verdicts import Verdict

_NEEDED = ("execve", "write", "exit_group")  # without them nothing starts, speaks or ends
_INSTRUCTION = struct.Struct("<HBBI")  # struct sock_filter
_RETURN, _NOTIFY, _ERRNO = 0x06, 0x7FC00000, 0x00050000  # as bpf.py, whose import is not free
_PROOF_ARGUMENTS = (0xFFFFFFFFFFFFFFFF, 0, 0, 0, 0, 0)  # as csrc/seccomp.c makes the call

# Refusals of these leave no record: the command makes them between the filter and its program, when
# nobody answers yet; the proof of the filter is one of them (csrc/seccomp.c, child.c, listener.c).
PLAIN = frozenset(
    (
        "read",
        "write",
        "close",
        "execve",
        "execveat",
        "exit",
        "exit_group",
        "newfstatat",
        "stat",
        "statx",
    )
)

# Nor of these: advice, and quicker ways that programs try on the chance; none fails without them.
HINTS = frozenset(("copy_file_range", "fadvise64", "get_mempolicy", "readahead"))

# Calls that prove a filter to be loaded: with these arguments the kernel changes nothing and
# answers one of these errnos, whatever the caller may do.
_PROOFS = (
    ("clone3", (errno.E2BIG, errno.EINVAL, errno.EFAULT)),
    ("keyctl", (errno.EOPNOTSUPP, errno.ENOSYS)),
    ("pidfd_getfd", (errno.EINVAL, errno.EBADF)),
    ("io_uring_register", (errno.EBADF, errno.EINVAL, errno.ENOSYS)),
    ("kcmp", (errno.ESRCH, errno.EINVAL, errno.ENOSYS)),
)


@record
class CompiledFilter:
    """A seccomp program for one architecture.

    Shape: `recorded` is the program whose refusals are put to the supervisor, with the errno beside
           the action; `code` gives the same answers by itself; `allowed` has the calls that some
           arguments pass; `known` is the size of the call table; `proof_nr` is a harmless call
           (made with -1, then zeros) that this filter answers with `proof_errno` and the kernel
           never would; -1 and 0 where there is none; `refusals` are the lines of the policy that
           refuse calls.
    """

    arch: str
    recorded: bytes
    allowed: frozenset[str]
    known: int
    proof_nr: int
    proof_errno: int
    refusals: tuple[Refusal, ...] = ()

    @property
    def code(self) -> bytes:
        """The program that answers by itself: the same instructions, with plain errnos."""
        return plain_answers(self.recorded)


def plain_answers(recorded: bytes) -> bytes:
    """Return the program with each RET_NOTIFY | errno as RET_ERRNO | errno."""
    code = bytearray(recorded)
    for at in range(0, len(code), _INSTRUCTION.size):
        operation, true, false, value = _INSTRUCTION.unpack_from(code, at)
        if operation == _RETURN and value & 0xFFFF0000 == _NOTIFY:
            _INSTRUCTION.pack_into(code, at, operation, true, false, _ERRNO | value & 0xFFFF)
    return bytes(code)


def compile_filter(policy: SyscallPolicy, arch: str) -> CompiledFilter:
    """Return the program of `policy` for "x86_64" or "aarch64", from the cache where it is there.

    Errors: PolicyError(policy.filter) for a policy that no command could run under, or a filter
            that the kernel would refuse; (policy.value) for names that do not exist.
    """
    key = filter_cache.key_of(policy, arch)
    kept = filter_cache.load(key)
    if kept is not None:
        return CompiledFilter(arch, *kept)
    compiled = compile_uncached(policy, arch)
    filter_cache.store(
        key,
        compiled.recorded,
        compiled.allowed,
        (compiled.known, compiled.proof_nr, compiled.proof_errno),
        compiled.refusals,
    )
    return compiled


def compile_uncached(policy: SyscallPolicy, arch: str) -> CompiledFilter:
    """Return what compile_filter does, without reading or writing the cache."""
    from sandbox.policy import calltable

    if arch not in calltable.ARCHES:
        raise PolicyError(
            f"filters cannot be made for {arch}",
            hint=f"architectures are {', '.join(calltable.ARCHES)}",
            code="policy.filter",
            arch=arch,
        )
    from sandbox.policy import call_sets, filter_check, filter_program
    from sandbox.policy.refusals import refusals

    verdicts = resolve_calls(policy, arch)
    for name in _NEEDED:
        if verdicts[name].default.kind != "allow":
            raise PolicyError(
                f"the filter refuses {name}: no command could run under it",
                hint=f"add {name} to syscalls.allow, or take it out of syscalls.deny",
                code="policy.filter",
                call=name,
            )
    proof, proof_errno = _proof(verdicts)
    plain = PLAIN | HINTS | {proof}
    recorded = filter_program.compile_program(policy, arch, verdicts, plain)
    filter_check.check(plain_answers(recorded), policy, arch, verdicts)
    filter_check.check_recorded(recorded, arch, plain)
    return CompiledFilter(
        arch=arch,
        recorded=recorded,
        allowed=frozenset(name for name, verdict in verdicts.items() if _may_pass(verdict)),
        known=len(verdicts),
        proof_nr=calltable.call_numbers(arch)[proof] if proof else -1,
        proof_errno=proof_errno,
        refusals=refusals(policy, verdicts, call_sets.load_sets()),
    )


def resolve_calls(policy: SyscallPolicy, arch: str) -> dict[str, Verdict]:
    """Return the model: the verdict of every call that `arch` has, by name.

    Errors: PolicyError(policy.value) for names and conditions that do not exist; (policy.filter)
            for a policy that no filter can state safely.
    """
    from sandbox.policy import verdicts

    return verdicts.resolve_calls(policy, arch)


def _may_pass(verdict: Verdict) -> bool:
    actions = [clause.action for clause in verdict.clauses]
    return any(action.kind == "allow" for action in (*actions, verdict.default))


def _proof(verdicts: dict[str, Verdict]) -> tuple[str, int]:
    """Return the name of the call that proves the filter, and its errno; "" and 0 for none."""
    for name, kernel_errnos in _PROOFS:
        verdict = verdicts[name]
        action = verdict.answer(_PROOF_ARGUMENTS)
        if action.kind == "errno" and action.errno not in kernel_errnos:
            return name, action.errno
    return "", 0
