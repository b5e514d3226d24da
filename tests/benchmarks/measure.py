"""Times of runs, and what a series of pairs says.

Nothing is dropped: a series has every run that was made. A ratio is that of the medians; the
median of the ratios within each pair is given beside it, since a pair shares the machine's load.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

AT_MOST, AT_LEAST = "at most", "at least"


@dataclass(frozen=True)
class Bound:
    """What a row has to reach: `key` is the figure of the row that is compared with `limit`."""

    key: str
    limit: float
    direction: str = AT_MOST

    def holds(self, value: float) -> bool:
        """Whether `value` is within the bound."""
        return value <= self.limit if self.direction == AT_MOST else value >= self.limit


@dataclass
class Series:
    """Pairs of measurements in `unit`: ours, and the peer's of the same moment."""

    name: str
    peer: str
    unit: str = "ms"
    bound: Bound | None = None
    note: str = ""
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def add(self, ours: float, theirs: float) -> None:
        """Add a pair."""
        self.ours.append(ours)
        self.theirs.append(theirs)

    def row(self) -> dict[str, object]:
        """Return the figures, whether the bound holds, and every sample."""
        pairs = list(zip(self.ours, self.theirs, strict=True)) if self.theirs else []
        figures: dict[str, float] = {"runs": len(self.ours)}
        for who, values in (("", self.ours), ("peer_", self.theirs)):
            if values:
                figures |= {f"{who}{name}": value for name, value in _spread(values).items()}
        if pairs:
            figures["ratio"] = round(figures["median"] / figures["peer_median"], 3)
            figures["paired_ratio"] = round(statistics.median(a / b for a, b in pairs), 3)
            figures["above"] = round(statistics.median(a - b for a, b in pairs), 4)
        row: dict[str, object] = {"name": self.name, "peer": self.peer, "unit": self.unit}
        row |= figures
        if self.bound:
            value = figures[self.bound.key]
            row["bound"] = {
                "figure": self.bound.key,
                self.bound.direction.replace(" ", "_"): self.bound.limit,
                "value": value,
                "held": self.bound.holds(value),
            }
        row["note"] = self.note
        row["samples"] = [[round(value, 4) for value in values] for values in self._samples()]
        return row

    def _samples(self) -> list[list[float]]:
        return [self.ours, self.theirs]


def _spread(values: Sequence[float]) -> dict[str, float]:
    tenths = (
        statistics.quantiles(values, n=10, method="inclusive")
        if len(values) > 1
        else [values[0]] * 9
    )
    found = {"median": statistics.median(values), "p10": tenths[0], "p90": tenths[-1]}
    return {name: round(value, 4) for name, value in found.items()}


class RunError(Exception):
    """A run that was to be measured did not work."""


def spawn_ms(argv: list[str], env: Mapping[str, str], log: str, fds: Sequence[int] = ()) -> float:
    """Run `argv` by posix_spawn(3) and return the milliseconds until it was reaped.

    Shape:  stdin and stdout are /dev/null; what it says goes to the file `log`; `fds` are passed
            on under their numbers.
    Errors: RunError where it did not exit with 0.
    """
    actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    ]
    actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in fds]
    started = time.monotonic_ns()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
    _pid, status = os.waitpid(pid, 0)
    elapsed = time.monotonic_ns() - started
    if status:
        raise RunError(f"{' '.join(argv)}: wait status {status}\n{read_text(log)}")
    return elapsed / 1e6


def read_text(path: str) -> str:
    """Return what is in `path`, for a message."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
