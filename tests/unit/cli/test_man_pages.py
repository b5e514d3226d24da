from __future__ import annotations

import re
from pathlib import Path

import pytest

from sandbox.cli import cache, completion, doctor, exec_options, log, policy, shell
from sandbox.cli.main import COMMANDS
from sandbox.cli.options import Option
from sandbox.host.doctor import STEPS
from sandbox.launch.result import REASONS
from sandbox.policy.schema import SCHEMA

MAN = Path(__file__).parents[3] / "docs" / "man"
TABLES = {
    "exec": exec_options.OPTIONS,
    "shell": shell.OPTIONS,
    "policy": policy.OPTIONS,
    "log": log.OPTIONS,
    "doctor": doctor.OPTIONS,
    "cache": cache.OPTIONS,
    "completion": completion.OPTIONS,
}
# page -> the page that describes its options, but for those that it says it has not
SHARED = {"shell": "exec"}


def page(name: str) -> str:
    """The text of a man page."""
    return (MAN / f"{name}.1.md").read_text(encoding="utf-8")


def test_every_command_has_a_page() -> None:
    """The main page names every command, and each has a page of its own."""
    for command in COMMANDS:
        assert f"**{command.name}**" in page("sandbox")
        assert page(f"sandbox-{command.name}").startswith(f"# sandbox-{command.name}(1)\n")
    assert set(TABLES) == {command.name for command in COMMANDS}


@pytest.mark.parametrize("command", list(TABLES))
def test_options_and_page_agree(command: str) -> None:
    """Every option stands in the page in its form, and the page has no option beside these."""
    text = page(f"sandbox-{SHARED.get(command, command)}")
    documented = set(re.findall(r"^\*\*.*?--([a-z-]+)\*\*", text, re.MULTILINE))
    if command in SHARED:
        documented -= set(re.findall(r"no \*\*--([a-z-]+)\*\*", page(f"sandbox-{command}")))
    assert documented == {option.name for option in TABLES[command]}


@pytest.mark.parametrize("option", exec_options.OPTIONS, ids=lambda option: option.name)
def test_option_takes_in_the_page_what_it_takes(option: Option) -> None:
    """A page shows a value exactly where the option has one; lists are marked."""
    match = re.search(
        rf"^(\*\*.*--{option.name}\*\*.*)\n(: (?:.+\n(?:  .+\n)*))",
        page("sandbox-exec"),
        re.MULTILINE,
    )
    assert match is not None
    head, body = match.groups()
    assert bool(option.metavar) == ("*" in head.partition(f"--{option.name}**")[2])
    assert option.is_list == ("Repeatable." in body)


def test_exec_page_names_every_reason() -> None:
    """The ways to end are documented."""
    assert all(f"*{reason}*" in page("sandbox-exec") for reason in REASONS)


def test_doctor_page_names_every_step() -> None:
    """The stable names of the steps are documented."""
    text = page("sandbox-doctor")
    assert all(f"*{step.name}*" in text for step in STEPS)
    assert "*cgroup-limits*" in text
    assert "*strict*" in text


def test_policy_page_names_every_verb() -> None:
    """Each verb of `sandbox policy` is documented with its arguments."""
    text = page("sandbox-policy")
    for verb in policy.VERBS:
        assert f"**{verb.name}**" in text


def test_policy_format_page_names_every_key() -> None:
    """sandbox-policy(5) documents the keys of the schema, and no others."""
    text = (MAN / "sandbox-policy.5.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\*\*([a-z_.]+)\*\* = ", text, re.MULTILINE))
    assert documented == set(SCHEMA)
