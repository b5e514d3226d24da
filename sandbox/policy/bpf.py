"""Classic BPF programs as graphs: read, link, fold and lay out seccomp filters.

libseccomp gives each program as flat instructions whose jumps are relative and at most 255 long.
Two of them cannot be joined as bytes: offsets would overflow, and each checks the architecture
again. So a program is read into a graph of nodes in which "return" is an edge to whatever should
come next, the linked graph is folded (tests whose outcome the path already decided disappear), and
the result is laid out once. Equal nodes are one node, so equal tails of two programs are shared.

A node never jumps backwards, because a classic BPF program cannot; the graph has no cycle.
Source: Documentation/userspace-api/seccomp_filter.rst, struct seccomp_data, bpf_common.h.
"""

from __future__ import annotations

import errno
import struct

from sandbox.errors import PolicyError
from sandbox.policy.conditions import AllOf, AnyOf, Comparison, Condition, Not
from sandbox.policy.syscall_model import Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Instruction codes: class | size or source | operation. seccomp allows no other way to branch.
LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
JUMP = 0x05  # BPF_JMP | BPF_JA
JEQ = 0x15
JGT = 0x25
JGE = 0x35
JSET = 0x45
RETURN = 0x06  # BPF_RET | BPF_K

# Offsets in struct seccomp_data; both architectures are little-endian.
OFFSET_NR = 0
OFFSET_ARCH = 4
OFFSET_ARGS = 16
INSTRUCTION_BYTES = 8
INSTRUCTIONS_MAX = 4096  # BPF_MAXINSNS

RET_KILL_PROCESS = 0x80000000
RET_TRAP = 0x00030000
RET_ERRNO = 0x00050000
RET_NOTIFY = 0x7FC00000  # SECCOMP_RET_USER_NOTIF; the errno to answer with stands beside it
RET_TRACE = 0x7FF00000
RET_ALLOW = 0x7FFF0000

_U32 = 0xFFFFFFFF
_INSTRUCTION = struct.Struct("<HBBI")  # struct sock_filter

# A node: (code, k, next) for LOAD and AND, (code, k, true, false) for a test, (RETURN, k).
Node = tuple[int, ...]
_Range = tuple[int, int]


def return_value(action: Action) -> int:
    """Return the SECCOMP_RET_* value that `action` is."""
    if action.kind == "errno":
        return RET_ERRNO | action.errno
    return {"allow": RET_ALLOW, "kill": RET_KILL_PROCESS, "trap": RET_TRAP}[action.kind]


def argument_offset(index: int, *, high: bool) -> int:
    """Return where the low or high half of argument `index` stands in struct seccomp_data."""
    return OFFSET_ARGS + 8 * index + (4 if high else 0)


def recorded_value(action: Action) -> int:
    """Return the SECCOMP_RET_* value of a refusal that leaves a record.

    ENOSYS is no refusal: it says "use the older call", and libraries ask for it all the time.
    """
    if action.kind == "errno" and action.errno not in (0, errno.ENOSYS):
        return RET_NOTIFY | action.errno
    return return_value(action)


class Graph:
    """A growing set of nodes; a node is known by its number, equal nodes have one number."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._numbers: dict[Node, int] = {}

    def add(self, *node: int) -> int:
        """Return the number of `node`."""
        number = self._numbers.get(node)
        if number is None:
            number = self._numbers[node] = len(self.nodes)
            self.nodes.append(node)
        return number

    def returns(self, action: Action) -> int:
        """Return the node that ends with `action`."""
        return self.add(RETURN, return_value(action))

    def refuses(self, action: Action) -> int:
        """Return the node that ends with `action`, and leaves a record where it refuses."""
        return self.add(RETURN, recorded_value(action))

    def load(self, offset: int, following: int) -> int:
        """Return a node that loads a word of struct seccomp_data and goes on."""
        return self.add(LOAD, offset, following)

    def test(self, code: int, value: int, true: int, false: int) -> int:
        """Return a node that compares the loaded word; no node where both branches are one."""
        return true if true == false else self.add(code, value, true, false)

    def condition(self, condition: Condition, true: int, false: int) -> int:
        """Return the entry of code that goes to `true` where `condition` holds, else to `false`."""
        if isinstance(condition, Comparison):
            return self._argument_test(condition, true, false)
        if isinstance(condition, Not):
            return self.condition(condition.item, false, true)
        entry = true if isinstance(condition, AllOf) else false
        for item in reversed(condition.items):
            if isinstance(condition, AnyOf):
                entry = self.condition(item, true, entry)
            else:
                entry = self.condition(item, entry, false)
        return entry

    def _argument_test(self, test: Comparison, true: int, false: int) -> int:
        if test.operator == "in" and test.width == 32:
            offset = argument_offset(test.argument, high=False)
            entry = self._set_test(_runs(test.values), 0, true, false)
            if test.mask != _U32:
                entry = self.add(AND, test.mask, entry)
            return self.load(offset, entry)
        if test.operator == "in":
            entry = false
            for value in reversed(test.values):
                entry = self._argument_test(
                    Comparison(test.argument, test.width, test.mask, "==", (value,)), true, entry
                )
            return entry
        value = test.values[0]
        low = self._word_test(test, value & _U32, true, false, high=False)
        if test.width == 32:
            return low
        # The high word decides alone unless it is equal; only then does the low word count.
        high = value >> 32
        if test.operator == "==":
            return self._masked(test, high, JEQ, low, false, high=True)
        unequal = self._masked(test, high, JGT, *self._order(test, true, false), high=True)
        return self._masked(test, high, JEQ, low, unequal, high=True)

    def _set_test(self, runs: list[_Range], floor: int, true: int, false: int) -> int:
        """Return a balanced tree that asks whether the word, known to be >= floor, is in a run.

        libseccomp has no such test: it knows one value, or one masked value, for each rule.
        """
        if not runs:
            return false
        if len(runs) > 1:
            middle = len(runs) // 2
            first = runs[middle][0]
            above = self._set_test(runs[middle:], first, true, false)
            return self.test(JGE, first, above, self._set_test(runs[:middle], floor, true, false))
        low, high = runs[0]
        if low == high:
            return self.test(JEQ, low, true, false)
        inside = self.test(JGT, high, false, true)
        return inside if low <= floor else self.test(JGE, low, inside, false)

    @staticmethod
    def _order(test: Comparison, true: int, false: int) -> tuple[int, int]:
        return (true, false) if test.operator == ">" else (false, true)

    def _word_test(self, test: Comparison, value: int, true: int, false: int, *, high: bool) -> int:
        mask = test.mask & _U32
        if test.operator == "<":
            return self._masked(test, value, JGE, false, true, high=high)
        if test.operator == ">":
            return self._masked(test, value, JGT, true, false, high=high)
        if mask not in (0, _U32) and (value == 0 or (value == mask and mask & (mask - 1) == 0)):
            # "no bit of the mask" and "the one bit of the mask" need no AND.
            clear, some = (true, false) if value == 0 else (false, true)
            return self.load(
                argument_offset(test.argument, high=high), self.test(JSET, mask, some, clear)
            )
        return self._masked(test, value, JEQ, true, false, high=high)

    def _masked(
        self, test: Comparison, value: int, code: int, true: int, false: int, *, high: bool
    ) -> int:
        """Return code that loads one half of the argument, masks it and compares it."""
        mask = test.mask >> 32 if high else test.mask & _U32
        if mask == 0:  # the half is always 0 behind the mask: the outcome is known now
            outcome = {JEQ: value == 0, JGT: value < 0, JGE: value <= 0}[code]
            return true if outcome else false
        entry = self.test(code, value, true, false)
        if mask != _U32:
            entry = self.add(AND, mask, entry)
        return self.load(argument_offset(test.argument, high=high), entry)

    def read(self, code: bytes, exits: Callable[[int], int]) -> int:
        """Add the program `code`; return its entry. `exits` gives the node for a returned value.

        Errors: PolicyError(policy.filter) for an instruction that libseccomp has no reason to emit.
        """
        entries: dict[int, int] = {}
        count = len(code) // INSTRUCTION_BYTES
        for at in range(count - 1, -1, -1):
            operation, true, false, value = _INSTRUCTION.unpack_from(code, at * INSTRUCTION_BYTES)
            after = at + 1
            if operation == RETURN:
                entries[at] = exits(value)
            elif operation == JUMP:
                entries[at] = entries[after + value]
            elif operation in (LOAD, AND):
                entries[at] = self.add(operation, value, entries[after])
            elif operation in (JEQ, JGT, JGE, JSET):
                entries[at] = self.test(
                    operation, value, entries[after + true], entries[after + false]
                )
            else:
                raise PolicyError(
                    f"libseccomp produced an instruction that cannot be linked: {operation:#06x}",
                    hint="report the version of libseccomp",
                    code="policy.filter",
                )
        return entries[0]


def _runs(values: tuple[int, ...]) -> list[_Range]:
    """Return the runs (first, last) of consecutive numbers in `values`, which are sorted."""
    runs: list[_Range] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return runs
