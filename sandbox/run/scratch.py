"""The state directory of one run: the upper sides of overlays that cannot lie on a tmpfs."""

from __future__ import annotations

import os
import stat

from sandbox.errors import StateError
from sandbox.host.paths import state_dir
from sandbox.plan.model import IdKind, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from sandbox.plan.model import IdMap, Plan


def upper_names(plan: Plan) -> tuple[bytes, ...]:
    """The directories below ${STATE} that the plan's overlays write to."""
    return tuple(
        op.upper.path.lstrip(b"/")
        for op in plan.mounts
        if op.upper is not None and op.upper.slot is Slot.STATE
    )


class Scratch:
    """Makes the run's directory with its uppers, and removes it; a context manager."""

    def __init__(self, plan: Plan, run_id: str) -> None:
        self._names = upper_names(plan)
        self._ids = plan.id_maps
        self._run_id = run_id
        self.path = b""

    def __enter__(self) -> Self:
        if not self._names:
            return self
        path = os.path.join(os.fsencode(state_dir("runs")), self._run_id.encode("ascii"))
        try:
            os.mkdir(path, 0o711)
            for name in self._names:
                os.mkdir(os.path.join(path, name), 0o700)
                _give(os.path.join(path, name), self._ids)
        except OSError as error:
            raise StateError(
                f"cannot make the directory for private writes {os.fsdecode(path)}: "
                f"{error.strerror}",
                hint="free some space, or set XDG_STATE_HOME to a directory with room",
            ) from error
        self.path = path
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.path:
            import shutil  # 3 ms that only runs with such a directory pay

            shutil.rmtree(self.path, onerror=_unlock)
            self.path = b""


def _give(path: bytes, ids: tuple[IdMap, ...]) -> None:
    """Hand a directory to the outside ids where they are not the caller's."""
    outside = {item.kind: item.outside for item in ids}
    uid, gid = outside.get(IdKind.UID), outside.get(IdKind.GID)
    if uid is not None and gid is not None and uid != os.geteuid():
        os.chown(path, uid, gid)


def _unlock(_function: Any, path: Any, _info: Any) -> None:
    """overlayfs leaves its work directory at mode 000: open it up, and try again."""
    parent = os.path.dirname(path)
    os.chmod(parent, stat.S_IRWXU)
    if os.path.isdir(path) and not os.path.islink(path):
        os.chmod(path, stat.S_IRWXU)
        import shutil

        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
