"""A small option parser, driven by a table: options stop at the first word that is none.

argparse costs 10 ms of the launch budget (its import of `re` and `gettext`) and cannot stop at the
first positional without losing `--` to it. This one knows `--name value`, `--name=value`, `-x` and
`--`, suggests the nearest name, and keeps every word as it came.
"""

from __future__ import annotations

from sandbox.errors import UsageError
from sandbox.record import record
from sandbox.text import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


@record
class Option:
    """One option. `metavar` is "" where it takes no value; `is_list` where it may be repeated."""

    name: str
    help: str
    metavar: str = ""
    is_list: bool = False
    short: str = ""
    check: Callable[[str], str | None] | None = None

    def usage(self) -> str:
        """How the option is written, e.g. `--ro PATH`."""
        return f"--{self.name} {self.metavar}".rstrip()


@record
class Given:
    """An option as given: its name, its value ("" where it takes none), its words."""

    name: str
    value: str
    text: str


@record
class Parsed:
    """The options in the order given, and the words from the first positional on."""

    options: tuple[Given, ...]
    rest: tuple[str, ...]

    def has(self, name: str) -> bool:
        """Whether the option was given."""
        return any(given.name == name for given in self.options)

    def last(self, name: str, default: str | None = None) -> str | None:
        """Return the value of the last use of the option."""
        values = self.all(name)
        return values[-1] if values else default

    def all(self, name: str) -> tuple[str, ...]:
        """Return the values of all uses of the option, in the order given."""
        return tuple(given.value for given in self.options if given.name == name)


def nearest(word: str, known: tuple[str, ...]) -> str | None:
    """Return the name in `known` that `word` was probably meant to be, or None."""
    import difflib  # 12 ms that only a mistake pays

    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return found[0] if found else None


def parse(words: tuple[str, ...], table: tuple[Option, ...], command: str) -> Parsed:
    """Return the leading options of `words` and the rest.

    Shape:  a `--` that ends the options is dropped; of an option that is no list the last counts.
    Errors: UsageError(usage.option) that names the word, with the nearest name or the right form.
    """
    by_word = {f"--{option.name}": option for option in table}
    by_word.update({f"-{option.short}": option for option in table if option.short})
    given: list[Given] = []
    index = 0
    while index < len(words):
        word = words[index]
        if word == "--":
            index += 1
            break
        if not word.startswith("-") or word == "-":
            break
        name, equals, value = word.partition("=")
        option = by_word.get(name)
        if option is None:
            raise _unknown(name, tuple(by_word), command)
        text = word
        if option.metavar and not equals:
            index += 1
            value = _value_at(words, index, option, by_word, command)
            text = f"{word} {value}"
        elif equals and not option.metavar:
            raise UsageError(
                f"{name} takes no value, but has {quote(value)}",
                hint=f"write it alone: {name}",
                code="usage.option",
            )
        _check(option, value)
        given.append(Given(option.name, value, text))
        index += 1
    return Parsed(tuple(given), tuple(words[index:]))


def _value_at(
    words: tuple[str, ...],
    index: int,
    option: Option,
    by_word: dict[str, Option],
    command: str,
) -> str:
    following = words[index] if index < len(words) else None
    if following is None or following == "--" or following.partition("=")[0] in by_word:
        raise UsageError(
            f"--{option.name} needs a value",
            hint=f"{option.usage()}: {option.help}; see `{command} --help`",
            code="usage.option",
        )
    return following


def _check(option: Option, value: str) -> None:
    if not option.metavar:
        return
    problem = "the value is empty" if not value else None
    if problem is None and "\0" in value:
        problem = "the value has a NUL byte"
    if problem is None and option.check is not None:
        problem = option.check(value)
    if problem is not None:
        raise UsageError(
            f"--{option.name} {quote(value)}: {problem}",
            hint=f"{option.usage()}: {option.help}",
            code="usage.option",
        )


def _unknown(name: str, known: tuple[str, ...], command: str) -> UsageError:
    near = nearest(name, known)
    hint = f"did you mean {near}? " if near else ""
    return UsageError(
        f"no option {quote(name)}",
        hint=f"{hint}`{command} --help` shows the options;"
        " those of the command itself come after its name",
        code="usage.option",
    )


def options_help(table: tuple[Option, ...]) -> str:
    """Return the options, one a line, as `--help` prints them."""
    left = [f"-{row.short}, {row.usage()}" if row.short else row.usage() for row in table]
    width = max(len(text) for text in left)
    return "".join(
        f"  {text:<{width}}  {row.help}\n" for text, row in zip(left, table, strict=True)
    )
