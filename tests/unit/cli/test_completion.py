from __future__ import annotations

import pytest

from sandbox.cli import completion, completion_bash, completion_fish, completion_zsh
from sandbox.cli.main import COMMANDS, main
from sandbox.cli.options import Option

SCRIPTS = {
    "bash": completion_bash.script,
    "zsh": completion_zsh.script,
    "fish": completion_fish.script,
}


def _sample() -> tuple[completion.Node, ...]:
    """A command with verbs, and texts that a shell could trip over."""
    hostile = Option("odd", "it's [odd]: $(touch x) `y` \\", "P")
    verbs = (
        completion.Node(("group", "one"), "it's one", (hostile,), arguments="P..."),
        completion.Node(("group", "two"), "two: more", (), arguments="FILE"),
    )
    return (completion.Node(("group",), "a group", (), verbs),)


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_script_names_every_command_and_option(
    shell: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing of the tables is left out."""
    assert main(["completion", shell]) == 0
    script = capfd.readouterr().out
    assert all(command.name in script for command in COMMANDS)
    dash = "-l " if shell == "fish" else "--"
    for node in completion.nodes():
        for part in (node, *node.verbs):
            assert all(f"{dash}{option.name}" in script for option in part.options)


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_texts_are_quoted(shell: str) -> None:
    """Help texts are data: nothing in them is run, and quotes stay closed."""
    script = SCRIPTS[shell](_sample())
    assert "one" in script
    assert "two" in script
    for line in script.splitlines():
        if "$(touch" in line:
            before = line[: line.index("$(touch")].replace("\\'", "").replace("'\\''", "")
            assert before.count("'") % 2 == 1, line


def test_policies_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    """What the scripts ask at the time of completion."""
    assert main(["completion", "policies"]) == 0
    assert set(capfd.readouterr().out.split()) >= {"strict", "default", "tiny"}


@pytest.mark.parametrize("words", [[], ["tcsh"], ["bash", "zsh"], ["bsh"]])
def test_wrong_shell_is_a_usage_error(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """The hint names the shells there are."""
    assert main(["completion", *words]) == 2
    assert "bash, zsh, fish" in capfd.readouterr().err
