"""Why this host refuses user namespaces to an ordinary user, and what its owner can do."""

from __future__ import annotations

import errno as errnos
import os
import sys

from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SYS = "/proc/sys"
_STATUS = "/proc/self/status"
_MAX = "user/max_user_namespaces"
_CLONE = "kernel/unprivileged_userns_clone"
_APPARMOR = "kernel/apparmor_restrict_unprivileged_userns"


@record
class Obstacle:
    """What stands in the way, the errno by which it shows, and the remedy.

    Shape: `is_apparmor` where a profile helps.
    """

    cause: str
    remedy: str
    errno: int = errnos.EPERM
    is_apparmor: bool = False

    def explains(self, errno: int, *, is_clone: bool) -> bool:
        """Whether this is why a step failed with `errno`.

        Shape: AppArmor may also let the namespace be made and refuse every use of a capability in
               it; the other obstacles show at the clone alone.
        """
        if self.is_apparmor:
            return errno in (errnos.EPERM, errnos.EACCES)
        return is_clone and errno == self.errno


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None  # the knob is not there on this kernel, or an outer sandbox hides it


def _has_outer_filter(status: str | None) -> bool:
    return any(line.split() == ["Seccomp:", "2"] for line in (status or "").splitlines())


def find_obstacle(sysctls: str = _SYS, status: str = _STATUS) -> Obstacle | None:
    """Return the first known reason for a refused user namespace, or None if there is none.

    Shape:  reads a few files and tries nothing: the refusal itself is known to the caller.
    """
    return next(find_obstacles(sysctls, status), None)


def find_obstacles(sysctls: str = _SYS, status: str = _STATUS) -> Iterator[Obstacle]:
    """Yield every known reason, the most general first: inside a sandbox several may hold.

    Source: user_namespaces(7); the clone knob is Debian's, the AppArmor one Ubuntu's (23.10).
    """
    if _read(f"{sysctls}/{_MAX}") == "0":
        yield Obstacle(
            "user namespaces are switched off (user.max_user_namespaces = 0)",
            "the owner of the host can allow them: sysctl -w user.max_user_namespaces=15000",
            errno=errnos.ENOSPC,
        )
    if _read(f"{sysctls}/{_CLONE}") == "0":
        yield Obstacle(
            "user namespaces are root's only (kernel.unprivileged_userns_clone = 0)",
            "the owner of the host can allow them: sysctl -w kernel.unprivileged_userns_clone=1",
        )
    if _read(f"{sysctls}/{_APPARMOR}") == "1":
        yield Obstacle(
            "AppArmor restricts user namespaces to programs with a profile"
            " (kernel.apparmor_restrict_unprivileged_userns = 1)",
            "`sandbox doctor` prints a profile that allows them to this program alone",
            is_apparmor=True,
        )
    if _has_outer_filter(_read(status)):
        yield Obstacle(
            "a seccomp filter already holds this process, as in a container, and refuses them",
            "start the outer container with a filter that allows clone and unshare with"
            " CLONE_NEWUSER (Docker, Podman: --security-opt seccomp=unconfined)",
        )


def interpreter_path() -> str:
    """Return the real path of the program that makes the namespaces, as AppArmor sees it."""
    return os.path.realpath(sys.executable)


def apparmor_profile(executable: str | None = None) -> str:
    """Return the text of an AppArmor profile that lets `executable` make user namespaces.

    Shape: for /etc/apparmor.d/sandbox; the profile confines nothing, it only grants `userns`.
    """
    path = executable if executable is not None else interpreter_path()
    # A profile name is a pattern: these characters would match more than this one path.
    quoted = '"' + "".join(f"\\{char}" if char in '\\"*?[]{}^' else char for char in path) + '"'
    return (
        "# /etc/apparmor.d/sandbox: lets this program make user namespaces.\n"
        "# It applies to everything that this interpreter runs. To grant it to sandbox alone,\n"
        "# install sandbox in an environment of its own with a copied interpreter:\n"
        "#   python3 -m venv --copies DIR && DIR/bin/pip install sandbox\n"
        "# Load it with: apparmor_parser -r /etc/apparmor.d/sandbox\n"
        "abi <abi/4.0>,\n"
        "include <tunables/global>\n"
        "\n"
        f"profile sandbox {quoted} flags=(unconfined) {{\n"
        "  userns,\n"
        "  include if exists <local/sandbox>\n"
        "}\n"
    )
