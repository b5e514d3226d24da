from __future__ import annotations

import pytest

from sandbox.policy.judge import open_court
from sandbox.policy.load import load_policy
from sandbox.policy.prose import policy_prose
from sandbox.policy.resolved import ABOUT_THE_FILE, resolved_values
from sandbox.policy.schema import COLLECTIONS, SCHEMA

SHIPPED = ("strict", "default", "tiny", "build")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_key_of_the_schema_is_shown(name: str) -> None:
    """No key of the format is missing from `show`, and stated values have their place."""
    policy = load_policy(name)
    values = resolved_values(policy)
    single = {key for key, spec in SCHEMA.items() if spec.kind not in COLLECTIONS}
    assert single - ABOUT_THE_FILE <= {value.key for value in values}
    assert {value.key for value in values} <= set(SCHEMA)
    stated = [value for value in values if value.origin != "built in"]
    assert all(".toml:" in value.origin for value in stated)
    assert len(stated) > len(values) // 2


@pytest.mark.parametrize("name", SHIPPED)
def test_prose_says_where_each_sentence_comes_from(name: str) -> None:
    """Nearly every sentence ends with a place; the others state an absence."""
    for _, rows in policy_prose(open_court(load_policy(name), "x86_64")):
        assert rows
        for row in rows:
            assert row.endswith("]") or row.startswith("no bound on")
