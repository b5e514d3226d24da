"""Structured events on stderr: `noun.verb-past`, with bound context and without secrets.

structlog costs more than the whole launch of a sandbox (128 ms of imports), so it is imported when
the first record passes the threshold, and never before. A log is a value that is passed around:
nothing here is module state, and structlog's own global configuration is left alone.
"""

from __future__ import annotations

import os
import sys

from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any, TextIO

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
DEFAULT_LEVEL = "warning"
REDACTED = "[redacted]"

_SECRET_NAMES = frozenset({"env", "environ", "environment", "auth", "pat"})
_SECRET_PARTS = (
    "token",
    "secret",
    "passw",
    "authorization",
    "cookie",
    "credential",
    "api_key",
    "apikey",
    "private_key",
)
_SECRET_SCHEMES = ("bearer ", "basic ")


def _is_secret(key: str) -> bool:
    name = key.lower().replace("-", "_")
    return name in _SECRET_NAMES or any(part in name for part in _SECRET_PARTS)


def redact(value: Any, key: str = "") -> Any:
    """Return `value` with everything that a secret's name stands on replaced, at any depth."""
    if _is_secret(key):
        return REDACTED
    if isinstance(value, dict):
        return {name: redact(item, str(name)) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    if isinstance(value, str) and value.lower().startswith(_SECRET_SCHEMES):
        return REDACTED
    return value


def _redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
    return {key: redact(value, key) for key, value in event.items()}


def _escape_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
    # The console renderer writes strings as they are: an argument or a path could steer the
    # terminal. JSON escapes by itself and stays lossless.
    return {
        key: escape(value) if isinstance(value, (str, bytes)) else value
        for key, value in event.items()
    }


def _as_text(value: object) -> str:
    """Return a value that JSON does not know as text."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


class EventLog:
    """Writes events at or above a level; the renderer is console on a terminal, JSON otherwise."""

    __slots__ = ("_as_json", "_context", "_is_broken", "_level", "_logger", "_stream")

    def __init__(
        self,
        level: str = DEFAULT_LEVEL,
        *,
        as_json: bool = False,
        stream: TextIO | None = None,
        context: dict[str, Any] | None = None,
    ) -> None:
        self._level = level
        self._is_broken = False
        self._as_json = as_json
        self._stream = stream
        self._context = dict(context or {})
        self._logger: Any = None

    def bind(self, **context: Any) -> EventLog:
        """Return a log that adds `context` to every event."""
        return EventLog(
            self._level,
            as_json=self._as_json,
            stream=self._stream,
            context={**self._context, **context},
        )

    def is_enabled(self, level: str) -> bool:
        """Whether an event at `level` would be written."""
        return not self._is_broken and LEVELS[level] >= LEVELS[self._level]

    def debug(self, event: str, /, **fields: Any) -> None:
        """Write a step."""
        self._write("debug", event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Write a summary."""
        self._write("info", event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Write something that was weakened."""
        self._write("warning", event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Write a failure."""
        self._write("error", event, fields)

    def event(self, name: str, /, **fields: Any) -> None:
        """Write an event of a run: one that ends in `.failed` is an error, the others summaries."""
        self._write("error" if name.endswith(".failed") else "info", name, fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if not self.is_enabled(level):
            return
        if self._logger is None:
            self._logger = self._make_logger()
        if self._logger is None:
            return
        try:
            getattr(self._logger, level)(event, **fields)
        except (OSError, ValueError):
            # A full disk or a reader that went away must not change how the command ends.
            self._is_broken = True

    def _make_logger(self) -> Any:
        stream = self._stream if self._stream is not None else sys.stderr
        if stream is None:
            return None  # the interpreter started without stderr
        import structlog

        is_terminal = stream.isatty()
        processors: list[Any] = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact_event,
        ]
        if self._as_json or not is_terminal:
            processors.append(structlog.processors.JSONRenderer(sort_keys=True, default=_as_text))
        else:
            has_colors = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
            processors += [_escape_event, structlog.dev.ConsoleRenderer(colors=has_colors)]
        return structlog.wrap_logger(
            structlog.PrintLogger(stream),
            processors=processors,
            wrapper_class=structlog.BoundLogger,
            context_class=dict,
            cache_logger_on_first_use=False,
            **self._context,
        )
