"""The `when` language of system call rules: tests on the six arguments of one call.

    condition  = all { "or" all }
    all        = unary { "and" unary }
    unary      = "not" unary | "(" condition ")" | test
    test       = argument [ "&" constant ] comparison
    comparison = ("==" | "!=" | "<" | "<=" | ">" | ">=") constant | ["not"] "in" "{" constants "}"
    argument   = "arg0" … "arg5" | "u32(" argument ")"
    constant   = (number | KERNEL_NAME) { "|" constant }

`argN` is the whole 64-bit register, `u32(argN)` its low half. Where the kernel reads an int, only
u32 is safe: a test of 64 bits is passed by a caller who sets a bit that the kernel never looks at
(CVE-2019-10063). `&` binds tighter than a comparison, as everybody reads it and C does not.
All values are unsigned.
"""

from __future__ import annotations

from sandbox.errors import PolicyError
from sandbox.policy.condition_names import CONSTANTS
from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

_COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")
_SYMBOLS = ("==", "!=", "<=", ">=", "<", ">", "&", "|", "(", ")", "{", "}", ",")
_DEPTH_MAX = 32  # of brackets and `not`: a condition is for people
_WORDS = ("and", "or", "not", "in", "u32", "arg0", "arg1", "arg2", "arg3", "arg4", "arg5")


@record
class Comparison:
    """One comparison of `(argument & mask)` with `values`; "in" has several, the others one.

    Shape: `width` is 64 or 32; `mask` and `values` fit in it; `operator` is ==, <, > or in.
    """

    argument: int
    width: int
    mask: int
    operator: str
    values: tuple[int, ...]


@record
class Not:
    """Holds where `item` does not."""

    item: Condition


@record
class AllOf:
    """Holds where every item does."""

    items: tuple[Condition, ...]


@record
class AnyOf:
    """Holds where at least one item does."""

    items: tuple[Condition, ...]


Condition = Comparison | Not | AllOf | AnyOf


def holds(condition: Condition, arguments: Sequence[int]) -> bool:
    """Say whether `condition` is true of the six 64-bit `arguments`."""
    if isinstance(condition, Comparison):
        value = arguments[condition.argument] & condition.mask
        if condition.operator == "<":
            return value < condition.values[0]
        if condition.operator == ">":
            return value > condition.values[0]
        return value in condition.values
    if isinstance(condition, Not):
        return not holds(condition.item, arguments)
    if isinstance(condition, AllOf):
        return all(holds(item, arguments) for item in condition.items)
    return any(holds(item, arguments) for item in condition.items)


def comparisons_of(condition: Condition) -> tuple[Comparison, ...]:
    """Return the comparisons that `condition` is made of, in reading order."""
    if isinstance(condition, Comparison):
        return (condition,)
    if isinstance(condition, Not):
        return comparisons_of(condition.item)
    return tuple(test for item in condition.items for test in comparisons_of(item))


def parse_condition(text: str) -> Condition:
    """Return the condition that `text` states.

    Errors: PolicyError(policy.value) with the column (from 1) and, for a name, the nearest one.
    """
    return _Parser(text).parse()


class _Parser:
    """Recursive descent over a token list; one per condition."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokens()
        self.at = 0
        self.depth = 0

    def parse(self) -> Condition:
        if len(self.tokens) == 1:
            self.fail("the condition is empty", hint="leave `when` out for a rule without one")
        condition = self.any_of()
        if self.word():
            self.fail(f"nothing may follow here, found {self.word()!r}")
        return condition

    def any_of(self) -> Condition:
        items = [self.all_of()]
        while self.take("or"):
            items.append(self.all_of())
        return items[0] if len(items) == 1 else AnyOf(tuple(items))

    def all_of(self) -> Condition:
        items = [self.unary()]
        while self.take("and"):
            items.append(self.unary())
        return items[0] if len(items) == 1 else AllOf(tuple(items))

    def unary(self) -> Condition:
        if self.word() not in ("not", "("):
            return self.test()
        self.depth += 1
        if self.depth > _DEPTH_MAX:
            self.fail(f"the condition is nested deeper than {_DEPTH_MAX} levels")
        if self.take("not"):
            condition: Condition = Not(self.unary())
        else:
            self.at += 1
            condition = self.any_of()
            self.expect(")")
        self.depth -= 1
        return condition

    def test(self) -> Condition:
        argument, width = self.argument()
        full = (1 << width) - 1
        mask = self.constant(full) if self.take("&") else full
        if self.take("in"):
            return Comparison(argument, width, mask, "in", self.constants(full))
        if self.word() == "not" and self.tokens[self.at + 1][1] == "in":
            self.at += 2
            return Not(Comparison(argument, width, mask, "in", self.constants(full)))
        operator = self.word()
        if operator not in _COMPARISONS:
            self.fail(
                f"a comparison is missing before {operator!r}"
                if operator
                else "a comparison is missing",
                hint="comparisons are " + ", ".join(_COMPARISONS) + " and in {…}",
            )
        self.at += 1
        return _comparison(Comparison(argument, width, mask, operator, (self.constant(full),)))

    def argument(self) -> tuple[int, int]:
        if self.take("u32"):
            self.expect("(")
            argument, _ = self.argument()
            self.expect(")")
            return argument, 32
        word = self.word()
        if word.startswith("arg") and word in _WORDS:
            self.at += 1
            return int(word[3:]), 64
        return self.fail(
            f"an argument should stand here, found {word!r}" if word else "an argument is missing",
            hint=_nearest(word, _WORDS) or "arguments are arg0 to arg5 and u32(arg0) to u32(arg5)",
        )

    def constants(self, limit: int) -> tuple[int, ...]:
        self.expect("{")
        values = [self.constant(limit)]
        while self.take(","):
            values.append(self.constant(limit))
        self.expect("}")
        return tuple(sorted(set(values)))

    def constant(self, limit: int) -> int:
        column, word = self.tokens[self.at]
        value = _number(word)
        if value is None:
            value = CONSTANTS.get(word)
        if value is None:
            self.fail(
                f"{word!r} is not a constant" if word else "a constant is missing",
                hint=_nearest(word, tuple(CONSTANTS)) or "write a number such as 31, 0x1f or 0o37",
            )
        if value > limit:
            self.fail(f"{word} does not fit in {limit.bit_length()} bits", column=column)
        self.at += 1
        return value | self.constant(limit) if self.take("|") else value

    def word(self) -> str:
        return self.tokens[self.at][1]

    def take(self, word: str) -> bool:
        if self.word() != word:
            return False
        self.at += 1
        return True

    def expect(self, word: str) -> None:
        if not self.take(word):
            found = f", found {self.word()!r}" if self.word() else ""
            self.fail(f"{word!r} is missing{found}")

    def fail(self, problem: str, *, hint: str | None = None, column: int | None = None) -> NoReturn:
        column = self.tokens[self.at][0] if column is None else column
        raise PolicyError(
            f"condition {self.text!r}, column {column}: {problem}",
            hint=hint,
            code="policy.value",
            condition=self.text,
            column=column,
        )

    def _tokens(self) -> list[tuple[int, str]]:
        """Return (column, token) pairs, the last one empty. By hand: `re` costs 8 ms to import."""
        tokens: list[tuple[int, str]] = []
        at = 0
        while at < len(self.text):
            if self.text[at].isspace():
                at += 1
                continue
            end = at
            while end < len(self.text) and (self.text[end].isalnum() or self.text[end] == "_"):
                end += 1
            if end == at:
                symbol = next((one for one in _SYMBOLS if self.text.startswith(one, at)), "")
                if not symbol:
                    self.tokens, self.at = [(at + 1, self.text[at])], 0
                    self.fail(f"{self.text[at]!r} means nothing here")
                end = at + len(symbol)
            tokens.append((at + 1, self.text[at:end]))
            at = end
        tokens.append((len(self.text) + 1, ""))
        return tokens


def _comparison(test: Comparison) -> Condition:
    """Return `test` over the three operators that remain: !=, <= and >= are negations."""
    opposite = {"!=": "==", "<=": ">", ">=": "<"}.get(test.operator)
    if opposite is None:
        return test
    return Not(Comparison(test.argument, test.width, test.mask, opposite, test.values))


def _number(word: str) -> int | None:
    if not word[:1].isdigit():
        return None
    try:
        return int(word, 0)  # refuses 06000, which C reads as octal and people read as decimal
    except ValueError:
        return None


def _nearest(word: str, names: Sequence[str]) -> str | None:
    import difflib  # only on the way to an error

    near = difflib.get_close_matches(word, names, n=1) or difflib.get_close_matches(
        word.upper(), names, n=1
    )
    return f"did you mean {near[0]}?" if near else None
