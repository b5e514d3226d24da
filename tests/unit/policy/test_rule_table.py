"""The plan's table of what refuses, against the explanation of each refused call."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from sandbox.host.facts import Host
from sandbox.policy.arguments import telling_arguments
from sandbox.policy.calltable import call_numbers
from sandbox.policy.compile import compile_plan
from sandbox.policy.denial import Explainer
from sandbox.policy.load import load_policy
from sandbox.policy.syscalls import resolve_calls


@pytest.mark.parametrize("name", ["strict", "default", "tiny", "build"])
def test_every_refused_call_is_in_the_rule_table(host: Host, name: str) -> None:
    """Its key and place are those that a denial is explained by, and a fix is there or a reason."""
    policy = load_policy(name)
    plan = compile_plan(policy, host)
    table = json.loads(plan.rules)
    explainer = Explainer(policy, "x86_64")
    by_call: dict[str, set[tuple[str, str, bool]]] = {}
    for entry in table.values():
        assert entry["origin"]
        assert entry["why"] or entry["key"] == "syscalls.socket_families"
        for call in entry.get("calls", "").split():
            known = by_call.setdefault(call, set())
            known.add((entry["key"], entry["origin"], entry["fix"] is None))
    for call, verdict in resolve_calls(policy.syscalls, "x86_64").items():
        for given in islice(telling_arguments([verdict]), 50):
            action = verdict.answer(given)
            if action.kind == "allow":
                continue
            found = explainer.explain(call_numbers("x86_64")[call], given, action.errno)
            if call not in ("socket", "socketpair"):  # families without a name have no fix
                assert (found.key, found.origin, found.fix is None) in by_call[call]


def test_refusal_of_the_users_own_rule_names_its_file(host: Host, tmp_path: Path) -> None:
    """Whoever wrote the line can take it out; its reason is the user's own."""
    file = tmp_path / "own.toml"
    rule = '{ names = ["getpid"], action = "errno:EACCES", why = "shy" }'
    file.write_text(f'schema = 1\nextends = ["strict"]\nsyscalls.rules.quiet = {rule}\n')
    entry = json.loads(compile_plan(load_policy(str(file)), host).rules)["syscalls.rules.quiet"]
    assert entry == {
        "key": "syscalls.rules.quiet",
        "origin": f"{file}:3",
        "fix": f"remove the rule quiet at {file}:3",
        "why": "shy",
        "calls": "getpid",
    }
