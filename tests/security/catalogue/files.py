"""Group F: files, sockets and signals outside."""

from __future__ import annotations

from security.catalogue.model import Row, every

# What the root of the sandbox has, and what it does not have.
_PLACES = {
    "create:/": "EROFS",
    "create:/boot": "ENOENT",
    "create:/etc": "EROFS",
    "create:/home": "EROFS",
    "create:/opt": "ENOENT|EROFS",  # default shows it where the host has it
    "create:/root": "ENOENT",
    "create:/srv": "ENOENT",
    "create:/usr": "EROFS",
    "create:/usr/bin": "EROFS",
    "create:/usr/lib": "EROFS",
    "create:/var": "EROFS",  # the canary lies below it
}

ROWS = (
    Row(
        id="F01",
        title="changes outside",
        attempt="make, remove, rename, link and change files in a directory shown read-only and in"
        " eleven places of the host",
        layers=("mount view", "landlock"),
        severity="critical",
        source="kernel Landlock documentation",
        # strict has neither setxattr(2) nor chown(2)
        strict=every("EROFS", setxattr="EPERM", chown="EPERM") | _PLACES,
        default=every("EROFS") | _PLACES,
        args=("{canary_dir}",),
        is_for_root_caller=True,
    ),
    Row(
        id="F02",
        title="truncation",
        attempt="shorten or open for writing a file shown read-only",
        layers=("mount view", "landlock"),
        severity="high",
        source="kernel Landlock documentation (ABI 3)",
        strict=every("EROFS"),
        default=every("EROFS"),
        args=("{canary_dir}/keep",),
    ),
    Row(
        id="F04",
        title="ioctl on devices",
        attempt="ask /dev/urandom for its entropy count",
        layers=("landlock",),
        severity="medium",
        source="landlock(7)",
        strict=every("EACCES"),
        default=every("EACCES"),
        since_abi={"ioctl": 5},
    ),
    Row(
        id="F07",
        title="pathname sockets",
        attempt="connect to a socket of the host that no mount shows",
        layers=("mount view",),
        severity="critical",
        source="landrun#43, greywall#55",
        strict=every("ENOENT"),
        default=every("ENOENT"),
        args=("tmp={outside}/host.sock", "abs={runtime_dir}/host.sock"),
    ),
    Row(
        id="F08",
        title="abstract sockets",
        attempt="connect to an abstract socket of the host",
        layers=("network namespace", "landlock"),
        severity="critical",
        source="CVE-2020-15257, landrun",
        strict=every("ECONNREFUSED"),
        default=every("ECONNREFUSED"),
        args=("{abstract_name}",),
        controls=("user",),
    ),
    Row(
        id="F09",
        title="signals outwards",
        attempt="kill, tgkill, F_SETOWN and pidfd_open of a host process; signal pid 1 inside",
        layers=("pid namespace", "landlock"),
        severity="high",
        source="landrun",
        # strict has no pidfd_open(2)
        strict=every("ESRCH", pidfd="EPERM", init="EPERM"),
        default=every("ESRCH", init="EPERM"),
        args=("{host_pid}",),
        since_abi={"init": 6},
        is_for_root_caller=True,
    ),
    Row(
        id="F11",
        title="links out of a grant",
        attempt="read and make a file through a link that leads out of the working directory",
        layers=("mount view",),
        severity="critical",
        source="sandlock#112, CVE-2026-39860",
        strict=every("ENOENT"),
        default=every("ENOENT"),
        args=("link",),
    ),
    Row(
        id="F13",
        title="magic links",
        attempt="reach a file outside over root, cwd and fd links of proc",
        layers=("mount view", "pid 1 is not dumpable"),
        severity="critical",
        source="CVE-2024-21626",
        strict=every("EACCES") | {"self/root": "ENOENT", "thread-self/root": "ENOENT"},
        default=every("EACCES") | {"self/root": "ENOENT", "thread-self/root": "ENOENT"},
        args=("{outside}/secret",),
        is_for_root_caller=True,
    ),
    Row(
        id="F14",
        title="secrets",
        attempt="open keys and tokens in the home, look for tokens in the environment",
        layers=("mount view", "environment"),
        severity="critical",
        source="nono, CVE-2021-3602",
        strict=every("absent")
        | {f"file:{name}": "ENOENT" for name in ("id_ed25519", "credentials", "config.json")}
        | {"file:hosts.yml": "ENOENT"},
        default=every("absent")
        | {f"file:{name}": "ENOENT" for name in ("id_ed25519", "credentials", "config.json")}
        | {"file:hosts.yml": "ENOENT"},
        args=(
            "{home}/.ssh/id_ed25519",
            "{home}/.aws/credentials",
            "{home}/.docker/config.json",
            "{home}/.config/gh/hosts.yml",
            "=SBX_CANARY_TOKEN",
            "=AWS_SECRET_ACCESS_KEY",
        ),
    ),
)
