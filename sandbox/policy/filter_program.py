"""From a policy's system calls to one seccomp program, as bytes.

libseccomp (through pyseccomp) compiles two programs, bpf.py links them into one:
  deny-list   default "allow"; for each argument rule that is a conjunction of masked equalities,
              an errno. Its "allow" leads to the allow-list.
  allow-list  default "not allowed"; "allow" for each call of the set.
Three things libseccomp cannot state, and bpf.py does:
  - ranges and "any bit of a mask": socket families, clone's namespace flags. It compares 64 bits
    in NE, LT and GT, so a rule on an int could be passed by setting bit 32 (CVE-2019-10063);
  - two answers of one call in an order. It also drops a conditional rule silently where an
    unconditional one of the same call exists, so the two never meet in one program;
  - "in our call table": the answer of calls newer than the library depends on it.
libseccomp only ever sees the numbers of the target under the name of its own architecture: by name
it would refuse every call that is newer than itself. bpf.py leaves its architecture test out, and
puts the target's in front.

Calls are by number from calltable.py. The result is simulated against the model before it is used.
"""

from __future__ import annotations

from sandbox.errors import PolicyError
from sandbox.policy import bpf, bpf_layout, calltable, seccomp_library
from sandbox.policy.conditions import AllOf, AnyOf, Comparison, Condition, Not
from sandbox.policy.syscall_model import ALLOW, Action, SyscallPolicy
from sandbox.policy.verdicts import Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_MASKED_RULES_MAX = 32


def compile_program(
    policy: SyscallPolicy,
    arch: str,
    verdicts: dict[str, Verdict],
    plain: frozenset[str] = frozenset(),
) -> bytes:
    """Return the instructions that answer as `verdicts` say, for every call and foreign ABI.

    Shape:  a refusal that leaves a record returns bpf.RET_NOTIFY with its errno; those of the calls
            in `plain`, of unknown calls, and ENOSYS stay plain errnos.
    Errors: PolicyError(policy.filter) where libseccomp refuses a rule or the program is too large.
    """
    compilation = _Compilation(policy, arch, verdicts, plain)
    try:
        return compilation.code()
    except OSError as error:
        raise PolicyError(
            f"libseccomp refuses the filter: {error.strerror or error}",
            hint="report the policy and the version of libseccomp",
            code="policy.filter",
            errno=error.errno,
        ) from error


class _Compilation:
    """The making of one program."""

    def __init__(
        self,
        policy: SyscallPolicy,
        arch: str,
        verdicts: dict[str, Verdict],
        plain: frozenset[str],
    ) -> None:
        self.policy = policy
        self.arch = arch
        self.numbers = calltable.call_numbers(arch)
        self.verdicts = verdicts
        self.plain = plain
        self.graph = bpf.Graph()
        self.exits: list[int] = []  # where a program of libseccomp goes that returns TRACE(index)

    def code(self) -> bytes:
        library = seccomp_library.import_pyseccomp()
        entry = self._allow_list(library)
        entry = self._deny_list(library, entry)
        nr_max = max(self.numbers.values())
        entry = bpf_layout.fold(self.graph, entry, nr_max)
        entry = bpf_layout.balance(self.graph, entry, nr_max)
        return bpf_layout.lay_out(self.graph, self._prologue(entry, nr_max))

    def _allow_list(self, library: ModuleType) -> int:
        """Return the entry of the program that decides by number (and, where it must, by order)."""
        rest = self._not_allowed()
        program = library.SyscallFilter(self._marker(library, rest))
        denied = self.graph.refuses(self.policy.denied)
        for name, verdict in self.verdicts.items():
            target = self._answer(name, verdict.default)
            if _masked_rules(verdict) is None:
                for clause in reversed(verdict.clauses):
                    answer = self._answer(name, clause.action)
                    target = self.graph.condition(clause.condition, answer, target)
            if target != denied:
                action = self._library_action(library, target)
                program.add_rule_exactly(action, self.numbers[name])
        return self._linked(library, program, allow=self.graph.returns(ALLOW))

    def _deny_list(self, library: ModuleType, allow_list: int) -> int:
        """Return the entry of the program that answers masked equalities, else goes on."""
        program = library.SyscallFilter(library.ALLOW)
        is_empty = True
        for name, verdict in self.verdicts.items():
            for rule in _masked_rules(verdict) or ():
                answer = verdict.clauses[0].action
                program.add_rule_exactly(
                    self._library_action(library, self._answer(name, answer)),
                    self.numbers[name],
                    *(
                        library.Arg(argument, library.MASKED_EQ, mask, value)
                        for argument, (mask, value) in rule.items()
                    ),
                )
                is_empty = False
        return allow_list if is_empty else self._linked(library, program, allow=allow_list)

    def _marker(self, library: ModuleType, target: int) -> int:
        if target not in self.exits:
            self.exits.append(target)
        marker: int = library.TRACE(self.exits.index(target))
        return marker

    def _answer(self, name: str, action: Action) -> int:
        """Return the node with which a call of that name ends."""
        return self.graph.returns(action) if name in self.plain else self.graph.refuses(action)

    def _library_action(self, library: ModuleType, target: int) -> int:
        """Return the action to give to libseccomp for a call that should end at `target`.

        A marker for anything but plain "allow": the library refuses actions that the running kernel
        is too old for, and the filter may be for another.
        """
        if target == self.graph.returns(ALLOW):
            value: int = library.ALLOW
            return value
        return self._marker(library, target)

    def _linked(self, library: ModuleType, program: Any, *, allow: int) -> int:
        """Return the entry of a program of libseccomp in the graph; its "allow" goes to `allow`."""

        def exit_of(value: int) -> int:
            if value == library.ALLOW:
                return allow
            if value & 0xFFFF0000 == bpf.RET_TRACE:
                return self.exits[value & 0xFFFF]
            return self.graph.add(bpf.RETURN, value)

        return self.graph.read(seccomp_library.exported(library, program), exit_of)

    def _not_allowed(self) -> int:
        """Return code that tells known calls (`denied`) from unknown ones, by the runs of known."""
        unknown = self.graph.returns(self.policy.unknown)
        entry = unknown
        for first, last in calltable.known_ranges(self.arch):
            inside = self.graph.test(bpf.JGT, last, unknown, self.graph.refuses(self.policy.denied))
            entry = self.graph.test(bpf.JGE, first, inside, entry)
        return self.graph.load(bpf.OFFSET_NR, entry)

    def _prologue(self, body: int, nr_max: int) -> int:
        """Return the tests of architecture, x32 and number that everything else relies on."""
        foreign = self.graph.refuses(self.policy.foreign_abi)
        beyond = self.graph.returns(self.policy.unknown)
        if self.arch == "x86_64":
            beyond = self.graph.test(bpf.JSET, calltable.X32_BIT, foreign, beyond)
        numbered = self.graph.load(bpf.OFFSET_NR, self.graph.test(bpf.JGT, nr_max, beyond, body))
        native = self.graph.test(bpf.JEQ, calltable.AUDIT_ARCH[self.arch], numbered, foreign)
        return self.graph.load(bpf.OFFSET_ARCH, native)


_Masked = dict[int, tuple[int, int]]  # argument: (mask, value); all must match


def _masked_rules(verdict: Verdict) -> list[_Masked] | None:
    """Return the call's clauses as rules of masked equalities, or None where that cannot be.

    One answer only, since libseccomp has no order between two rules of a call that both match;
    and not "allow", which in the deny-list means that the question stays open.
    """
    actions = {clause.action for clause in verdict.clauses}
    if len(actions) != 1 or ALLOW in actions:
        return None
    rules: list[_Masked] = []
    for clause in verdict.clauses:
        found = _disjunction(clause.condition)
        if found is None:
            return None
        rules.extend(rule for rule in found if rule not in rules)
    return rules if len(rules) <= _MASKED_RULES_MAX else None


def _disjunction(condition: Condition) -> list[_Masked] | None:
    if isinstance(condition, AnyOf):
        parts = [_disjunction(item) for item in condition.items]
        if any(part is None for part in parts):
            return None
        return [rule for part in parts for rule in part or ()]
    if isinstance(condition, AllOf):
        return _conjunction(condition)
    if isinstance(condition, Comparison) and condition.operator in ("==", "in"):
        # libseccomp masks the value too, so that one which can never be equal would always be.
        values = [value for value in condition.values if value & ~condition.mask == 0]
        return [{condition.argument: (condition.mask, value)} for value in values]
    item = condition.item if isinstance(condition, Not) else None
    if isinstance(item, Comparison) and item.operator == "==" and item.values == (0,):
        bit = item.mask
        return [{item.argument: (bit, bit)}] if bit & (bit - 1) == 0 and bit else None
    return None


def _conjunction(condition: AllOf) -> list[_Masked] | None:
    rules: list[_Masked] = [{}]
    for item in condition.items:
        found = _disjunction(item)
        if found is None or len(rules) * len(found) > _MASKED_RULES_MAX:
            return None
        joined: list[_Masked] = []
        for rule in rules:
            for other in found:
                if rule.keys() & other.keys():
                    return None  # libseccomp takes an argument once for each rule
                joined.append(rule | other)
        rules = joined
    return rules
