"""Runs probes outside of any sandbox, each once per session."""

from __future__ import annotations

from pathlib import Path

from security.answers import Answer, ask
from security.catalogue.model import Row
from security.places import Places


class Controls:
    """The answers of the probes without a sandbox, by row, arguments and identity."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._known: dict[tuple[str, tuple[str, ...], str], Answer] = {}

    def of(self, row: Row, policy: str, *, has_root: bool = False) -> list[Answer]:
        """Return the answers of the row's controls, with the arguments used under `policy`."""
        args = tuple(self._places.fill(row.args_for(policy), is_inside=False))
        kinds = [kind for kind in row.controls if kind != "root" or has_root]
        return [self._answer(row.id, args, kind) for kind in kinds]

    def _answer(self, identifier: str, args: tuple[str, ...], kind: str) -> Answer:
        key = (identifier, args, kind)
        if key not in self._known:
            argv: list[str | Path] = [] if kind == "root" else [*self._places.user.prefix]
            argv.append(self._places.probe)
            if kind == "userns":
                argv.append("--in-userns")
            self._known[key] = ask(
                [*argv, identifier, *args], cwd=self._places.scratch, env=self._places.env
            )
        return self._known[key]
