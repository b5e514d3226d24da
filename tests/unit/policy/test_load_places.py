"""toml_places: the places of keys agree with what tomllib reads."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.policy.find import shipped_dir
from sandbox.policy.toml_places import find_places

DOCUMENT = """\
a.b = 1
[x."y\\u0041"]
k = [1, {q=1, r.s = "}]#"}, [ "a", 'b' ], \"\"\"x\"\"\"\" ] # comment ]
[[p.q]]
v = 1
[[p.q]]
w = \"\"\"
several # lines
[not.a.table]\"\"\"
[p.q.z]
t = 1979-05-27 07:32:00
'u' = '''it''s'''
"""


def paths_of(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every key and array member of `tomllib`'s result."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        here = (*path, key)
        yield here
        if isinstance(value, (dict, list)):
            yield from paths_of(value, here)


def test_places_are_those_of_the_text() -> None:
    """Keys, inline tables, array members and repeated tables have their line and column."""
    places = find_places(DOCUMENT)
    assert set(paths_of(tomllib.loads(DOCUMENT))) == set(places)
    assert places[("a", "b")] == (1, 1)
    assert places[("x", "yA", "k")] == (3, 1)
    assert places[("x", "yA", "k", 1, "r", "s")] == (3, 15)
    assert places[("x", "yA", "k", 3)] == (3, 43)
    assert places[("p", "q", 1, "w")] == (7, 1)
    assert places[("p", "q", 1, "z", "t")] == (11, 1)
    assert places[("p", "q", 1, "z", "u")] == (12, 1)


@pytest.mark.parametrize("name", ["strict", "default", "tiny", "syscalls"])
def test_places_agree_for_shipped_files(name: str) -> None:
    """The shipped files have a place for each key that tomllib sees."""
    with open(f"{shipped_dir()}/{name}.toml", encoding="utf-8") as file:
        text = file.read()
    assert set(paths_of(tomllib.loads(text))) == set(find_places(text))


def test_windows_line_ends_count_once() -> None:
    """CRLF is one line end, as tomllib reads it."""
    assert find_places("a = 1\r\nb = 2\r\n")[("b",)] == (2, 1)


# ------------------------------------------------------------------ generated documents
_WORDS = st.text(st.sampled_from("abcXYZ_-09"), min_size=1, max_size=4)
_ANY = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
_ODD = st.sampled_from(["#", "]", "}", "=", ",", "[[", '"', "\\", "'", "a.b", "\n", "\t", " "])
_TEXT = st.lists(st.one_of(_ANY, _ODD), max_size=4).map("".join)


def basic(text: str) -> str:
    """Write a basic string."""
    table = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    body = "".join(
        table.get(char, char if char >= " " and char != "\x7f" else f"\\u{ord(char):04X}")
        for char in text
    )
    return f'"{body}"'


def long_basic(text: str) -> str:
    """Write a basic string over several lines."""
    return '"""' + basic(text)[1:-1].replace("\\n", "\n") + '"""'


_STRINGS = st.one_of(_TEXT.map(basic), _TEXT.map(long_basic))
_LITERALS = st.text(st.sampled_from('ab#]}"\\ ,='), max_size=5).map(lambda text: f"'{text}'")
_PLAIN = st.sampled_from(["1", "-0.5e3", "true", "0x1F", "1979-05-27", "07:32:00.5", "inf"])
_KEYS = st.one_of(_WORDS, _TEXT.map(basic), st.text(st.sampled_from("ab# .]"), max_size=3).map(
    lambda text: f"'{text}'"
))  # fmt: skip
_SPACE = st.sampled_from(["", " ", "\t"])
_BREAK = st.sampled_from(["", " ", "\n", " # note ]\n", "\n\n"])


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Write an array over any number of lines."""
    return st.builds(
        lambda items, gap, last: "[" + gap + ("," + gap).join(items) + gap
        + ("," if items and last else "") + gap + "]",
        st.lists(values, max_size=3),
        _BREAK,
        st.booleans(),
    )  # fmt: skip


def inline_tables(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Write an inline table."""
    return st.dictionaries(_KEYS, values, max_size=3).map(
        lambda pairs: "{ " + ", ".join(f"{key} = {value}" for key, value in pairs.items()) + " }"
    )


_VALUES = st.recursive(
    st.one_of(_STRINGS, _LITERALS, _PLAIN),
    lambda inner: st.one_of(arrays(inner), inline_tables(inner)),
    max_leaves=6,
)
_DOTTED = st.lists(_KEYS, min_size=1, max_size=3).map(".".join)
_LINES = st.one_of(
    st.builds(lambda key, a, b, value: f"{key}{a}={b}{value}", _DOTTED, _SPACE, _SPACE, _VALUES),
    st.builds(lambda key, gap: f"[{gap}{key}{gap}]", _DOTTED, _SPACE),
    st.builds(lambda key, gap: f"[[{gap}{key}{gap}]]", _DOTTED, _SPACE),
    st.sampled_from(["", "# comment = [", "   "]),
)


@settings(max_examples=400)
@given(st.lists(_LINES, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_places_agree_with_tomllib(lines: list[str], end: str) -> None:
    """Whatever tomllib accepts has the same paths here, each within the text."""
    text = end.join(line.replace("\n", end) for line in lines)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # e.g. one table twice
    places = find_places(text)
    assert set(paths_of(data)) == set(places)
    rows = text.replace("\r\n", "\n").split("\n")
    assert all(
        1 <= line <= len(rows) and 1 <= column <= len(rows[line - 1]) + 1
        for line, column in places.values()
    )
