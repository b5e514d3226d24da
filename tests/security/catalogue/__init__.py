"""The security catalogue: what is attempted, what holds it, which refusal each policy states."""

from __future__ import annotations

from security.catalogue import calls, confinement, files, namespaces, proc, processes, sockets
from security.catalogue.model import Row

ROWS: tuple[Row, ...] = (
    *calls.ROWS,
    *confinement.ROWS,
    *namespaces.ROWS,
    *files.ROWS,
    *proc.ROWS,
    *sockets.ROWS,
    *processes.ROWS,
)
BY_ID = {row.id: row for row in ROWS}
