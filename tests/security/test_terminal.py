"""The caller's terminal: text cannot be pushed into it, and it cannot be taken over."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from security.answers import Answer, parse
from security.catalogue.model import POLICIES
from security.places import Places
from security.verdict import HELD, Verdict, judge

from support.need import need_program

MARK = b"#"  # what probe S11 pushes
# the shell is the leader of the session, so that "$$" is its id
WITH_SESSION_ID = ["sh", "-c", '"$@" "$$" "$(stat -Lc %d /dev/stdin)"', "sh"]


@contextmanager
def _terminal() -> Iterator[tuple[int, int]]:
    master, slave = os.openpty()
    os.set_blocking(master, False)
    with closing(os.fdopen(master, "rb", buffering=0)), closing(os.fdopen(slave, "rb")):
        yield master, slave


def _echoed(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except BlockingIOError:
        return b""


def _on_terminal(argv: Sequence[str | Path], places: Places, cwd: Path) -> tuple[Answer, bytes]:
    """Run `argv` with a terminal of its own as descriptor 0; also return what appeared on it."""
    need_program("setsid")
    with _terminal() as (master, slave):
        done = subprocess.run(
            [*places.user.prefix, "setsid", "--ctty", "--wait", *argv],
            stdin=slave,
            capture_output=True,
            cwd=cwd,
            env=dict(places.env),
            timeout=40,
            check=False,
        )
        return parse(argv, done.returncode, done.stdout, done.stderr), _echoed(master)


def _in_sandbox(places: Places, command: list[str], policy: str, identifier: str) -> list[str]:
    inner = command[len(places.user.prefix) :]  # the identity is changed before the session is made
    return [*inner, *places.options(policy), "--", str(places.probe), identifier]


@pytest.mark.parametrize("policy", POLICIES)
def test_s11_text_cannot_be_pushed_into_the_terminal(
    policy: str, places: Places, sandbox_cmd: list[str], record_verdict: Callable[[str, str], None]
) -> None:
    """TIOCSTI works outside and shows on the terminal; inside it is refused and nothing shows."""
    control, echoed = _on_terminal([places.probe, "S11"], places, places.scratch)
    assert (MARK in echoed) is control.is_ok
    inside, echoed_inside = _on_terminal(
        _in_sandbox(places, sandbox_cmd, policy, "S11"), places, places.work
    )
    verdict = judge({"*": "EPERM"}, [control], inside)
    record_verdict(f"S11-{policy}", verdict.kind)
    assert MARK not in echoed_inside
    if _legacy_tiocsti_is_off():
        return  # vacuous: nobody may push text
    assert verdict.kind == HELD, verdict.reasons


def _legacy_tiocsti_is_off() -> bool:
    try:
        text = Path("/proc/sys/dev/tty/legacy_tiocsti").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return text.strip() == "0"


@pytest.mark.parametrize("policy", POLICIES)
def test_x01_terminal_and_session_are_the_callers(
    policy: str, places: Places, sandbox_cmd: list[str], record_verdict: Callable[[str, str], None]
) -> None:
    """The command is in another session on another terminal, where it may do as it likes."""
    own = {"foreground": "OK", "steal": "EPERM", "leave": "OK"}
    verdict = _judge_session(
        policy, {**own, "session": "absent", "terminal": "absent"}, places, sandbox_cmd
    )
    record_verdict(f"X01-{policy}", verdict.kind)
    assert verdict.kind == HELD, verdict.reasons
    assert verdict.live >= {"session", "terminal"}


def test_x01_without_a_terminal_of_its_own_it_has_no_hold_on_the_callers(
    places: Places, sandbox_cmd: list[str], record_verdict: Callable[[str, str], None]
) -> None:
    """tty = "setsid": the terminal is the caller's; no foreground group, no taking, no leaving."""
    policy = places.work / "detached.toml"
    policy.write_text("schema = 1\nextends = ['strict']\nprocess.tty = 'setsid'\n")
    refused = {"session": "absent", "foreground": "ENOTTY", "steal": "EPERM", "leave": "ENOTTY"}
    verdict = _judge_session(str(policy), {**refused, "terminal": "OK"}, places, sandbox_cmd)
    record_verdict("X01-setsid", verdict.kind)
    assert verdict.kind == HELD, verdict.reasons
    assert verdict.live >= {"session", "foreground", "leave"}


def _judge_session(
    policy: str, expected: dict[str, str], places: Places, sandbox_cmd: list[str]
) -> Verdict:
    control, _ = _on_terminal([*WITH_SESSION_ID, str(places.probe), "X01"], places, places.scratch)
    argv = [*WITH_SESSION_ID, *_in_sandbox(places, sandbox_cmd, policy, "X01")]
    inside, _ = _on_terminal(argv, places, places.work)
    return judge(expected, [control], inside)
