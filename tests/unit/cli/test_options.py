from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.cli.exec_options import FLAG_KEYS, OPTIONS
from sandbox.cli.options import Given, Parsed, nearest, options_help, parse
from sandbox.errors import UsageError


def parsed(*words: str) -> Parsed:
    """`words` as `sandbox exec` reads them."""
    return parse(words, OPTIONS, "sandbox exec")


def refusal(*words: str) -> UsageError:
    """The error that `words` give."""
    with pytest.raises(UsageError) as caught:
        parsed(*words)
    assert caught.value.hint
    return caught.value


def test_options_stop_at_the_first_positional() -> None:
    """What follows the command is the command's, options and `--` too."""
    result = parsed("--ro", "/a", "ls", "--rw", "/b", "--", "-q")
    assert result.options == (Given("ro", "/a", "--ro /a"),)
    assert result.rest == ("ls", "--rw", "/b", "--", "-q")


def test_double_dash_ends_the_options_and_is_dropped() -> None:
    """A command whose name starts with a dash can be run."""
    assert parsed("-q", "--", "--json", "x").rest == ("--json", "x")
    assert parsed("--", "--", "x").rest == ("--", "x")


def test_lone_dash_is_a_command() -> None:
    """A dash alone is no option."""
    assert parsed("-").rest == ("-",)


def test_both_forms_of_a_value_mean_the_same() -> None:
    """`--opt value` and `--opt=value`; the words are kept for messages."""
    assert parsed("--ro=/a=b").options == (Given("ro", "/a=b", "--ro=/a=b"),)
    assert parsed("--ro", "/a=b").last("ro") == "/a=b"


def test_repeated_options_keep_their_order() -> None:
    """Every use is there, and the last one wins where one counts."""
    result = parsed("--ro", "/a", "--net=none", "--ro", "/b", "--net", "host")
    assert [given.value for given in result.options if given.name == "ro"] == ["/a", "/b"]
    assert result.last("net") == "host"


def test_short_form_is_the_long_one() -> None:
    """-q is --quiet, -h is --help."""
    assert parsed("-q").has("quiet")
    assert parsed("-h").has("help")


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [
        ("--polcy", "--policy"),
        ("--time-out", "--timeout"),
        ("--hid", "--hide"),
        ("--jsn=1", "--json"),
    ],
)
def test_unknown_option_names_the_nearest(word: str, suggestion: str) -> None:
    """A slip of the finger gets the right name."""
    assert f"did you mean {suggestion}?" in str(refusal(word, "x").hint)


def test_unknown_option_far_from_all_has_no_suggestion() -> None:
    """No name is better than a wrong one."""
    assert "did you mean" not in str(refusal("--zzzzzz").hint)


@pytest.mark.parametrize(
    "words", [("--ro",), ("--ro", "--"), ("--ro", "--rw", "/x"), ("--ro", "-q")]
)
def test_missing_value_is_noticed(words: tuple[str, ...]) -> None:
    """The next option is not taken for a value."""
    assert refusal(*words).message == "--ro needs a value"


def test_value_may_start_with_a_dash() -> None:
    """Only the known options are no values."""
    assert parsed("--hostname", "-x").last("hostname") == "-x"
    assert parsed("--ro=--rw").last("ro") == "--rw"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--json=yes",), "takes no value"),
        (("--ro=",), "the value is empty"),
        (("--ro", ""), "the value is empty"),
        (("--ro", "a\0b"), "NUL"),
        (("--net", "nat"), "none and host"),
        (("--bind", "/a"), "SRC:DST"),
        (("--limit", "memory"), "NAME=VALUE"),
        (("--env", "=x"), "name is empty"),
        (("--uid", "-1"), "a number"),
        (("--uid", "4294967295"), "a number"),
        (("--log-level", "loud"), "debug, info"),
    ],
)
def test_bad_value_says_what_is_expected(words: tuple[str, ...], expected: str) -> None:
    """The message names the option, the value and the form."""
    error = refusal(*words, "true")
    assert expected in error.message
    assert error.message.startswith(words[0].partition("=")[0])


@given(st.lists(st.text(alphabet="-=ro/ajsonq\udcff", max_size=8)))
def test_no_words_break_the_parser(words: list[str]) -> None:
    """Any words are either parsed, none lost, or refused."""
    with suppress(UsageError):
        result = parsed(*words)
        assert list(result.rest) == words[len(words) - len(result.rest) :]


def test_every_flag_key_is_an_option() -> None:
    """What becomes a flag of the policy can be given."""
    assert {option.name for option in OPTIONS} >= FLAG_KEYS


def test_help_shows_every_option_on_one_line_of_a_screen() -> None:
    """One line an option, none wider than a terminal."""
    lines = options_help(OPTIONS).splitlines()
    assert len(lines) == len(OPTIONS)
    assert max(map(len, lines)) <= 80


def test_nearest_knows_its_limits() -> None:
    """A name that is like none has no nearest."""
    assert nearest("exce", ("exec", "doctor")) == "exec"
    assert nearest("wombat", ("exec", "doctor")) is None
