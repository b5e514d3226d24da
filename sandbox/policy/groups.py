"""The named groups of paths: what they hold, and the mounts and protections they become.

Protection groups (`filesystem.protect`) hide or freeze what steers programs outside the sandbox or
proves who somebody is; they hold for absent paths as well. Mount groups (`filesystem.groups`) show
what tools need. Every path here is fixed data, so that `--explain` and the docs list it exactly.
"""

from __future__ import annotations

import os

from sandbox.host import observe
from sandbox.plan.model import (
    MountAttr,
    MountFlag,
    MountKind,
    MountOp,
    Protect,
    ProtectKind,
    Slot,
    SlotPath,
)
from sandbox.policy.lattice import NOTHING, rights_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Below the caller's home, wherever a mount shows it.
CREDENTIALS = (
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".config/gcloud",
    ".kube",
    ".docker/config.json",
    ".config/containers/auth.json",
    ".netrc",
    ".pgpass",
    ".npmrc",
    ".pypirc",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".config/gh",
    ".git-credentials",
    ".config/git/credentials",
    ".vault-token",
    # keyrings
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".password-store",
    # browser and mail profiles: cookies are sessions
    ".mozilla",
    ".thunderbird",
    ".config/google-chrome",
    ".config/chromium",
    ".config/BraveSoftware",
    ".config/microsoft-edge",
    ".config/vivaldi",
    ".config/opera",
    "snap/firefox",
    "snap/chromium",
)
# Below every writable root: what git runs, or reads to decide what to run. Where core.hooksPath
# leads elsewhere, only the repository's own .git/config can say, and that is frozen with it.
GIT_HOOKS = (".git/hooks", ".git/config", ".gitmodules")
SHELL_RC = (
    ".bashrc",
    ".bash_profile",
    ".profile",
    ".zshrc",
    ".zprofile",
    ".zshenv",
    ".config/fish",
    ".inputrc",
)
# … and in the home itself, what a login starts or finds first on its PATH.
SHELL_RC_HOME = (".local/bin", ".config/autostart", ".config/systemd/user")
AGENT_CONFIG = (
    ".mcp.json",
    "CLAUDE.md",
    "AGENTS.md",
    ".cursor",
    ".claude",
    ".codex",
    ".vscode",
    ".idea",
)

# A later run is tightened by it, so the command may not take that back. Where it is absent there is
# nothing to keep, and an empty one would be read as a broken layer.
FOUND_LAYER = ".sandbox.toml"

_FROZEN_BELOW_ROOTS = {
    "@git-hooks": GIT_HOOKS,
    "@shell-rc": SHELL_RC,
    "@agent-config": AGENT_CONFIG,
}

# Version managers and what they installed, below the caller's home …
TOOLCHAINS_HOME = (
    ".pyenv",
    ".nvm",
    ".volta",
    ".cargo",
    ".rustup",
    "go",
    "sdk",  # Go's own downloads: golang.org/dl
    ".local/share/uv",
    ".local/bin/uv",
    ".local/bin/uvx",
    ".conda",
    "miniconda3",
    "anaconda3",
    "miniforge3",
    "mambaforge",
    ".sdkman",
    ".linuxbrew",
)
# … and elsewhere.
TOOLCHAINS_FIXED = ("/opt", "/nix", "/home/linuxbrew/.linuxbrew")
# Tokens that lie among them.
TOOLCHAIN_SECRETS = (
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".conda/.condarc",
    "miniconda3/.condarc",
    "anaconda3/.condarc",
    "miniforge3/.condarc",
    "mambaforge/.condarc",
    ".local/share/uv/credentials",
    ".nvm/.npmrc",
)

_READ_ONLY = MountAttr.RDONLY | MountAttr.NOSUID | MountAttr.NODEV


_FROZEN_NAMES = tuple(
    b"/" + os.fsencode(name)
    for name in (*GIT_HOOKS, *SHELL_RC, *SHELL_RC_HOME, *AGENT_CONFIG, FOUND_LAYER)
)
_SECRET_NAMES = tuple(b"/" + os.fsencode(name) for name in CREDENTIALS)


def unprotected_rights(path: SlotPath) -> frozenset[str]:
    """Return the most that any protected group leaves at `path`, below whatever root it lies."""
    text = path.path + b"/"
    if path.slot is Slot.HOME and any(text.startswith(name + b"/") for name in _SECRET_NAMES):
        return NOTHING
    if any(name + b"/" in text for name in _FROZEN_NAMES):
        return rights_of("ro", is_noexec=False)
    return rights_of("rw", is_noexec=False)


def below(root: SlotPath, name: str) -> SlotPath:
    """Return the path `name` below `root`."""
    base = b"" if root.path == b"/" else root.path
    return SlotPath(base + b"/" + os.fsencode(name), root.slot)


_HOME = SlotPath(b"", Slot.HOME)


def toolchain_mounts(origin: str) -> list[MountOp]:
    """Return the mounts of @toolchains, and the masks over the credentials among them."""
    flags = MountFlag.OPTIONAL | MountFlag.RECURSIVE
    ops = []
    for name in TOOLCHAINS_FIXED:
        real = observe.realpath(name)
        if observe.is_dir(real):
            where, source = SlotPath(os.fsencode(name)), SlotPath(os.fsencode(real))
            ops.append(MountOp(MountKind.BIND, where, source, flags, _READ_ONLY, origin=origin))
    for name in TOOLCHAINS_HOME:
        where = below(_HOME, name)
        ops.append(
            MountOp(
                MountKind.BIND, where, where, flags | MountFlag.IDMAP, _READ_ONLY, origin=origin
            )
        )
    mask = MountFlag.OPTIONAL
    ops += [
        MountOp(MountKind.MASK, below(_HOME, name), flags=mask, origin=origin)
        for name in TOOLCHAIN_SECRETS
    ]
    return ops


def protections(
    groups: Iterable[str], writable_roots: Iterable[SlotPath], origin: dict[str, str]
) -> list[Protect]:
    """Return what the protection groups hide, and what they freeze below each writable root.

    Shape: entries in the caller's home count wherever a mount shows them.
    """
    roots = tuple(writable_roots)
    found = []
    for group in groups:
        place = origin.get(group, "")
        if group == "@credentials":
            found += [
                Protect(ProtectKind.HIDDEN, below(_HOME, name), place) for name in CREDENTIALS
            ]
            continue
        kind = ProtectKind.READONLY
        if group == "@agent-config":
            found += [
                Protect(ProtectKind.PRESENT, below(root, FOUND_LAYER), place) for root in roots
            ]
        if group == "@shell-rc":
            # Shells read these in a home; elsewhere, as in a tree of dotfiles that a home links
            # to, only those that exist matter.
            names = (*SHELL_RC, *SHELL_RC_HOME)
            found += [Protect(kind, below(_HOME, name), place) for name in names]
            kind = ProtectKind.PRESENT
        for root in roots:
            found += [
                Protect(kind, below(root, name), place) for name in _FROZEN_BELOW_ROOTS[group]
            ]
    return found
