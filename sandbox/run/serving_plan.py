"""What a plan becomes for a sandbox whose commands come as requests."""

from __future__ import annotations

import os
import struct

from sandbox.errors import HostError
from sandbox.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.plan.model import Filter, Plan

# What a waiting process still calls before exec (csrc/request.c, and the stages after it), by each
# C library and architecture: what is missing on one is not asked about.
_NAMES = (
    "recvmsg sendmsg getpid close mmap pread64 write chdir fcntl dup2 dup3 close_range execve"
    " newfstatat fstatat64 stat exit_group"
)
_NOTIFY, _NOTIFY_REQUIRED = 0x8, 0x10000  # SBX_FILTER_*
_RETURN = 0x06
_RET_USER_NOTIF, _RET_ERRNO, _RET_ACTION = 0x7FC00000, 0x00050000, 0xFFFF0000
_INSTRUCTION = struct.Struct("=HBBI")


def allows_requests(plan: Plan) -> bool:
    """Whether every filter of the plan lets through what happens between a request and its exec.

    Then the filter is in force before anything of a request is read, and costs it no time.
    """
    if not plan.filters:
        return True
    from sandbox.policy import calltable, simulate

    arch = os.uname().machine
    numbers = calltable.call_numbers(arch)
    wanted = [numbers[name] for name in _NAMES.split() if name in numbers]
    for item in plan.filters:
        program = simulate.load(item.code)
        for number in wanted:
            if simulate.run(program, arch=arch, nr=number).action.kind != "allow":
                return False
    return True


def without_listener(plan: Plan) -> Plan:
    """Return the plan with filters that answer refused calls themselves, by the same errnos.

    A tree has one listener, and it must be there before the sandbox is ready.

    Errors: HostError(host.serve) where the policy demands that refused calls are recorded.
    """
    if not any(item.flags & _NOTIFY for item in plan.filters):
        return plan
    if any(item.flags & _NOTIFY_REQUIRED for item in plan.filters):
        raise HostError(
            "the policy demands a record of refused calls, which commands that share a sandbox"
            " cannot have",
            hint='sandbox.run() and sandbox.Pool have one; or set audit.denials to "prefer"',
            code="host.serve",
        )
    return replace(plan, filters=tuple(_plain(item) for item in plan.filters))


def _plain(item: Filter) -> Filter:
    made = []
    for operation, true, false, value in _INSTRUCTION.iter_unpack(item.code):
        if operation == _RETURN and value & _RET_ACTION == _RET_USER_NOTIF:
            value = _RET_ERRNO | (value & ~_RET_ACTION)  # noqa: PLW2901  # the errno stands beside it
        made.append(_INSTRUCTION.pack(operation, true, false, value))
    return replace(item, code=b"".join(made), flags=item.flags & ~_NOTIFY)
