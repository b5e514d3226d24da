"""groups: what is hidden, frozen or shown by name."""

from __future__ import annotations

import pytest

from sandbox.host.facts import Host
from sandbox.plan.model import MountAttr, MountFlag, MountKind, ProtectKind, Slot, SlotPath
from sandbox.policy.files import compile_view
from sandbox.policy.groups import (
    AGENT_CONFIG,
    CREDENTIALS,
    GIT_HOOKS,
    SHELL_RC,
    SHELL_RC_HOME,
    TOOLCHAIN_SECRETS,
    TOOLCHAINS_HOME,
    protections,
    toolchain_mounts,
)
from sandbox.policy.load import load_policy

CWD = SlotPath(b"", Slot.CWD)


def test_lists_hold_what_the_documentation_promises() -> None:
    """The groups hold at least the paths that users are told about."""
    assert {".ssh", ".gnupg", ".aws", ".azure", ".kube", ".netrc", ".npmrc", ".pypirc"} <= set(
        CREDENTIALS
    )
    assert {".config/gcloud", ".docker/config.json", ".git-credentials", ".mozilla"} <= set(
        CREDENTIALS
    )
    assert GIT_HOOKS == (".git/hooks", ".git/config", ".gitmodules")
    assert {".bashrc", ".profile", ".zshenv", ".inputrc", ".config/fish"} <= set(SHELL_RC)
    assert {".local/bin", ".config/autostart", ".config/systemd/user"} == set(SHELL_RC_HOME)
    assert {"CLAUDE.md", "AGENTS.md", ".mcp.json", ".vscode", ".idea"} <= set(AGENT_CONFIG)
    assert {".pyenv", ".nvm", ".volta", ".cargo", ".rustup", "go", ".sdkman"} <= set(
        TOOLCHAINS_HOME
    )


def test_hooks_are_frozen_below_every_writable_root() -> None:
    """Each writable root gets its own entries, credentials stand once."""
    roots = (CWD, SlotPath(b"/srv/x"))
    found = protections(("@git-hooks", "@credentials"), roots, {"@git-hooks": "f:1"})
    frozen = [item for item in found if item.kind is ProtectKind.READONLY]
    assert {SlotPath(b"/.git/hooks", Slot.CWD), SlotPath(b"/srv/x/.git/hooks")} <= {
        item.path for item in frozen
    }
    assert {"f:1"} == {item.origin for item in frozen}
    hidden = [item.path for item in found if item.kind is ProtectKind.HIDDEN]
    assert len(CREDENTIALS) == len(hidden)
    assert {Slot.HOME} == {path.slot for path in hidden}


@pytest.mark.parametrize(("name", "has_root"), [("default", True), ("strict", False)])
def test_roots_are_the_persistent_ones(name: str, has_root: bool, host: Host) -> None:
    """An overlay's writes are discarded, so nothing below it needs freezing."""
    view = compile_view(load_policy(name), host)
    below = [item for item in view.protect if item.path.slot is Slot.CWD]
    assert has_root == bool(below)
    assert any(item.kind is ProtectKind.HIDDEN for item in view.protect)


def test_toolchains_are_optional_and_read_only() -> None:
    """What is not installed is passed over; what is cannot be changed."""
    ops = toolchain_mounts("f:1")
    binds = [op for op in ops if op.kind is MountKind.BIND]
    assert all(op.flags & MountFlag.OPTIONAL and op.attrs & MountAttr.RDONLY for op in binds)
    assert not any(op.flags & MountFlag.FOLLOW for op in binds)
    assert SlotPath(b"/.cargo", Slot.HOME) in {op.target for op in binds}


def test_credentials_among_toolchains_are_masked() -> None:
    """Each secret comes after the mount that would show it."""
    ops = toolchain_mounts("f:1")
    masks = [op.target for op in ops if op.kind is MountKind.MASK]
    assert len(TOOLCHAIN_SECRETS) == len(masks)
    assert SlotPath(b"/.cargo/credentials.toml", Slot.HOME) in masks
    kinds = [op.kind for op in ops]
    assert kinds.index(MountKind.MASK) > max(
        index for index, kind in enumerate(kinds) if kind is MountKind.BIND
    )
