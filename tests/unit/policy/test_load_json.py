"""load: policies as JSON, the form that resolved policies are written in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import PolicyError
from sandbox.policy.json_places import load_json
from sandbox.policy.load import load_policy, parse_policy

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def paths_of(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Return the path of every key and array member."""
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    found = {(*path, key) for key, _ in items}
    return found.union(*(paths_of(item, (*path, key)) for key, item in items))


@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 1]), st.booleans())
def test_every_key_has_its_place(
    data: dict[str, object], indent: int | None, is_ascii: bool
) -> None:
    """The scanner finds exactly the keys and members that `json` reads."""
    text = json.dumps(data, indent=indent, ensure_ascii=is_ascii)
    read, places = load_json(text)
    assert read == data
    assert set(places) == paths_of(data)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (
            '{"schema": 1,\n "limit": {}}',
            ":2:",
            "limit: there is no such key; did you mean limits?",
        ),
        ('{"schema": 1,\n "limits": {\n"wall": "x"}}', ":3:", "expected a duration"),
        ('{"schema": 1,\n "limits": {"wall": 1.5}}', ":2:", "expected a duration"),
        ('{"schema": 1, "schema": 1}', ":1:1:", "the key 'schema' stands twice"),
        ('{"schema": NaN}', ":1:1:", "the value NaN"),
        ('{"schema": 1,\n}', ":2:1:", "double quotes"),
        ("[1]", ":1:1:", "a policy is an object"),
        ("[" * 100_000, ":1:1:", "nested too deeply"),
        ("", ":1:1:", "expecting value"),
    ],
)
def test_errors_have_file_and_line(text: str, place: str, message: str) -> None:
    """Bad JSON is reported like bad TOML."""
    with pytest.raises(PolicyError) as info:
        parse_policy(text.encode(), "mine", path="mine.json")
    assert info.value.message.startswith(f"mine.json{place}")
    assert message in info.value.message


@pytest.mark.parametrize("name", ["strict", "default", "tiny", "build"])
def test_the_canonical_form_is_the_policy(name: str, tmp_path: Path) -> None:
    """Written to a file and read again it resolves to the same policy but for names and places."""
    policy = load_policy(name)
    path = tmp_path / "copy.json"
    path.write_bytes(policy.canonical)
    path.chmod(0o600)
    copy = load_policy(str(path))
    assert (copy.canonical, copy.sha256) == (policy.canonical, policy.sha256)
    assert copy.name == "copy"
    for part in ("isolation", "process", "env", "network", "limits", "audit"):
        assert getattr(copy, part) == getattr(policy, part)
    data = json.loads(policy.canonical)
    assert json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == (
        policy.canonical.decode()
    )
    assert data["limits"]["open_files"] == policy.limits.open_files
    assert data["process"]["term_grace"] == policy.process.term_grace_ms
    assert b"toml" not in policy.canonical


def test_a_summary_and_the_place_of_a_line_do_not_matter(tmp_path: Path) -> None:
    """The hash is of what the policy says."""
    hashes = set()
    for head in ("", 'summary = "other"\n', "# a comment\n\n"):
        text = f'schema = 1\n{head}extends = ["strict"]\n[env]\nallow = ["B", "A"]\n'
        hashes.add(parse_policy(text.encode(), "x").sha256)
    hashes.add(parse_policy(b'schema=1\nextends=["strict"]\nenv.allow=["A","B"]', "y").sha256)
    assert len(hashes) == 1
