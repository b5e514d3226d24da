from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from sandbox.log import REDACTED, EventLog, redact


def events(log_stream: io.StringIO) -> list[dict[str, object]]:
    """The written JSON records."""
    return [json.loads(line) for line in log_stream.getvalue().splitlines()]


def test_record_is_json_with_level_and_context() -> None:
    """Away from a terminal a record is one JSON object with the bound context."""
    stream = io.StringIO()
    log = EventLog("info", stream=stream).bind(run_id="r1", policy="strict")
    log.info("run.started", duration_ms=3)
    record = events(stream)[0]
    assert record.pop("timestamp")
    assert record == {
        "event": "run.started",
        "level": "info",
        "run_id": "r1",
        "policy": "strict",
        "duration_ms": 3,
    }


def test_threshold_holds_back_lower_levels() -> None:
    """The default writes warnings and errors only."""
    stream = io.StringIO()
    log = EventLog(stream=stream)
    log.debug("step.done")
    log.info("run.started")
    log.warning("layer.weakened")
    log.error("run.failed")
    assert [record["event"] for record in events(stream)] == ["layer.weakened", "run.failed"]


@pytest.mark.parametrize(
    "key",
    ["env", "token", "AUTH_TOKEN", "Authorization", "proxy-authorization", "password", "api_key"],
)
def test_redact_drops_values_of_secret_names(key: str) -> None:
    """A value goes by the name it stands on, at any depth."""
    assert redact({"outer": [{key: "s3cret"}]}) == {"outer": [{key: REDACTED}]}


def test_redact_drops_bearer_values_and_keeps_the_rest() -> None:
    """A credential is known by its scheme as well; other values pass."""
    assert redact({"header": "Bearer abc"}) == {"header": REDACTED}
    assert redact({"environment_name": "x", "path": "/tmp"}) == {
        "environment_name": "x",
        "path": "/tmp",
    }


def test_record_never_holds_a_secret() -> None:
    """The processor stands in the chain that writes."""
    stream = io.StringIO()
    EventLog("info", stream=stream).info("run.started", env={"A": "s3cret"}, token="s3cret")
    assert "s3cret" not in stream.getvalue()


def test_json_keeps_bytes_and_surrogates() -> None:
    """A path that is not UTF-8 does not stop a record."""
    stream = io.StringIO()
    EventLog("info", stream=stream).info("run.started", path=b"\xff", other="\udcff")
    record = events(stream)[0]
    assert record["path"] == record["other"] == "\udcff"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_console_escapes_what_steers_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a value cannot send control characters."""
    monkeypatch.setenv("NO_COLOR", "1")
    stream = _Terminal()
    EventLog("info", stream=stream).info("run.started", command="\x1b]0;owned\x07")
    assert "run.started" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert "\x07" not in stream.getvalue()


def test_log_json_is_json_on_a_terminal() -> None:
    """--log-json overrides the terminal."""
    stream = _Terminal()
    EventLog("info", as_json=True, stream=stream).info("run.started")
    assert json.loads(stream.getvalue())["event"] == "run.started"


class _Full(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")


def test_full_disk_silences_the_log() -> None:
    """A log that cannot be written must not change how the command ends."""
    log = EventLog("info", stream=_Full())
    log.info("run.started")
    assert not log.is_enabled("error")


def test_structlog_is_not_imported_below_the_threshold() -> None:
    """The hot path never pays for structlog: no record, no import."""
    code = (
        "import sys; from sandbox.log import EventLog; log = EventLog(); log.info('x.y');"
        "log.debug('x.y'); sys.exit('structlog' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
