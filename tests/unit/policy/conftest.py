"""A host that has everything, policies from text, and a filter that costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest

from sandbox.host.facts import Host
from sandbox.policy.load import parse_policy
from sandbox.policy.model import Policy

FEATURES = frozenset(
    [
        "userns",
        "mountns",
        "pidns",
        "netns",
        "ipcns",
        "utsns",
        "cgroupns",
        "timens",
        "landlock",
        "seccomp",
        "overlay-tmpfs-upper",
        "idmap",
    ]
)


@pytest.fixture
def host() -> Host:
    """An ordinary user on a current kernel."""
    return Host(
        arch="x86_64",
        page_size_bytes=4096,
        uid=1234,
        gid=1234,
        is_privileged=False,
        outside_uid=1234,
        outside_gid=1234,
        landlock_abi=7,
        features=FEATURES,
        reasons=(),
    )


@pytest.fixture
def policy_of() -> Callable[..., Policy]:
    """`policy_of(text)`: the policy that TOML text states; schema and base set are added."""

    def make(text: str, *, extends: str | None = None) -> Policy:
        head = "schema = 1\n"
        head += f'extends = ["{extends}"]\n' if extends else 'syscalls.base = "@strict-2026.11"\n'
        return parse_policy((head + text).encode(), "test")

    return make


@pytest.fixture
def fake_filter(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stand in for the filter compiler, which has tests of its own."""
    module = ModuleType("sandbox.policy.syscalls")
    compiled = SimpleNamespace(
        arch="x86_64",
        code=bytes(16),
        recorded=bytes(16),
        allowed=frozenset({"read", "write"}),
        known=400,
        proof_nr=999,
        proof_errno=38,
        refusals=(),
    )
    module.compile_filter = lambda *_args: compiled  # type: ignore[attr-defined]  # made here
    monkeypatch.setitem(sys.modules, "sandbox.policy.syscalls", module)
    return module
