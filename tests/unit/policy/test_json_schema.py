from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings

from sandbox.policy.find import shipped_dir
from sandbox.policy.json_schema import policy_schema
from support.policies import policy_texts

SHIPPED = sorted(path for path in Path(shipped_dir()).glob("*.toml") if path.stem != "syscalls")
CHECKER = jsonschema.Draft202012Validator(policy_schema())


def test_schema_is_a_schema() -> None:
    """The generated schema follows its own dialect."""
    jsonschema.Draft202012Validator.check_schema(policy_schema())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_policies_follow_the_schema(path: Path) -> None:
    """Every shipped policy validates."""
    assert [error.message for error in CHECKER.iter_errors(tomllib.loads(path.read_text()))] == []


@settings(max_examples=50)
@given(policy_texts())
def test_generated_policies_follow_the_schema(text: str) -> None:
    """What the reader takes the schema takes."""
    assert [error.message for error in CHECKER.iter_errors(tomllib.loads(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "summary = 'no schema'",
        "schema = 2",
        "schema = 1\nunknown = 1",
        "schema = 1\n[limits]\nmemory = 'much'",
        "schema = 1\n[network]\nmode = 'fast'",
        "schema = 1\n[filesystem]\nmounts = [{ path = 'relative', mode = 'ro' }]",
        "schema = 1\n[syscalls]\nrules.x = { names = [], action = 'allow' }",
    ],
)
def test_mistakes_are_found(text: str) -> None:
    """What the reader refuses at sight the schema refuses."""
    assert not CHECKER.is_valid(tomllib.loads(text))
