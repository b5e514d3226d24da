"""The shipped policies, explained: what a change of a policy means in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.host.facts import Host
from sandbox.plan.explain import explain_text
from sandbox.policy.compile import compile_plan
from sandbox.policy.load import load_policy

GOLDEN = Path(__file__).parents[2] / "golden"
FEATURES = (
    "userns mountns pidns netns ipcns utsns cgroupns timens landlock seccomp overlay-tmpfs-upper"
    " idmap"
)
HOST = Host(
    arch="x86_64",
    page_size_bytes=4096,
    uid=1000,
    gid=1000,
    is_privileged=False,
    outside_uid=1000,
    outside_gid=1000,
    landlock_abi=7,
    features=frozenset(FEATURES.split()),
    reasons=(),
)


def stable(text: str) -> str:
    """The part that does not depend on this machine's files: no head, no list of the view.

    What is shown of /etc and of the caller's home depends on what is there.
    """
    lines = text.partition("\n  the view, in the order")[0].splitlines()[1:]
    start = next(index for index, line in enumerate(lines) if line.startswith("  network"))
    return "\n".join(lines[start:]) + "\n"


@pytest.mark.parametrize("name", ["strict", "default", "tiny", "build"])
def test_shipped_policy_is_explained(name: str) -> None:
    """The summary and the protections of a shipped policy are the golden ones."""
    text = stable(explain_text(compile_plan(load_policy(name), HOST)))
    path = GOLDEN / f"explain_{name}.txt"
    if os.environ.get("SANDBOX_TESTS_REGEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
