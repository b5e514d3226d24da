"""What became of each thing that one side says and the other cannot."""

from __future__ import annotations

from sandbox.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOOSER, TIGHTER, ALIKE = "looser", "tighter", "alike"


@record
class Loss:
    """Something that was not carried over as it was.

    Shape: `what` names it (a key, a call, a rule), `effect` says what the result is because of it:
           looser (it allows more), tighter (it allows less) or alike (other answers, same calls);
           `calls` are the system calls that it touches.
    """

    what: str
    effect: str
    why: str
    calls: tuple[str, ...] = ()


@record
class Result:
    """The text of an import or export, and its report."""

    text: str
    losses: tuple[Loss, ...]

    @property
    def is_looser(self) -> bool:
        """Whether the result allows something that the source does not."""
        return any(loss.effect == LOOSER for loss in self.losses)


class Report:
    """Collects losses; equal ones are told once, with their calls together."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], dict[str, None]] = {}

    def add(self, what: str, effect: str, why: str, *calls: str) -> None:
        """Note one loss."""
        entry = self._found.setdefault((what, effect, why), {})
        entry.update(dict.fromkeys(calls))

    def withdraw(self, key: str) -> None:
        """Take back what was noted about the unit key `key`."""
        self._found = {what: calls for what, calls in self._found.items() if what[0] != f"{key}="}

    def losses(self) -> tuple[Loss, ...]:
        """Return the losses, the looser ones first."""
        order = (LOOSER, TIGHTER, ALIKE)
        found = [Loss(*key, tuple(sorted(calls))) for key, calls in self._found.items()]
        return tuple(sorted(found, key=lambda one: (order.index(one.effect), one.what)))


def losses_data(losses: tuple[Loss, ...]) -> list[dict[str, Any]]:
    """Return the losses as JSON data."""
    return [
        {"what": one.what, "effect": one.effect, "why": one.why, "calls": list(one.calls)}
        for one in losses
    ]
