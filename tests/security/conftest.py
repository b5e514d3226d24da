"""Fixtures of the security catalogue, and its totals: held, broken, vacuous."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from security.answers import Answer, ask
from security.catalogue.model import Row
from security.controls import Controls
from security.places import Places, make_places

from support.need import need_program, need_user_namespaces
from support.user import User

VERDICTS = pytest.StashKey[dict[str, str]]()

RunInside = Callable[[Row, str], Answer]


@pytest.fixture(scope="session")
def places(user: User, session_dir: Path) -> Iterator[Places]:
    """What the probes are pointed at, and the program itself."""
    need_program("cc")
    need_user_namespaces()
    base = session_dir / "sec"
    base.mkdir()
    with make_places(user, base) as made:
        yield made


@pytest.fixture(scope="session")
def controls(places: Places) -> Controls:
    """The answers without a sandbox."""
    return Controls(places)


def _inside(places: Places, command: list[str], cwd: Path, env: Mapping[str, str]) -> RunInside:
    def run(row: Row, policy: str) -> Answer:
        args = places.fill(row.args_for(policy), is_inside=True)
        words = [*command, *places.options(policy), "--", str(places.probe), row.id]
        return ask([*words, *args], cwd=cwd, env=env)

    return run


@pytest.fixture(scope="session")
def inside(places: Places, sandbox_cmd: list[str]) -> RunInside:
    """`inside(row, policy)`: run the row's probe in a sandbox of the ordinary user."""
    return _inside(places, sandbox_cmd, places.work, places.env)


@pytest.fixture(scope="session")
def inside_as_root(places: Places, root_sandbox_cmd: list[str]) -> RunInside:
    """`inside_as_root(row, policy)`: run the row's probe in a sandbox whose caller is root."""
    return _inside(places, root_sandbox_cmd, places.root_work, places.root_env)


@pytest.fixture
def record_verdict(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`record_verdict(check, verdict)`: count a verdict for the totals."""
    verdicts = request.config.stash.setdefault(VERDICTS, {})

    def record(check: str, verdict: str) -> None:
        verdicts[check] = verdict

    return record


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the three numbers; a vacuous check counts as neither passed nor failed."""
    verdicts = config.stash.get(VERDICTS, {})
    if not verdicts:
        return
    counts = {kind: sum(v == kind for v in verdicts.values()) for kind in ("HELD", "BROKEN")}
    vacuous = sorted(check for check, verdict in verdicts.items() if verdict == "VACUOUS")
    terminalreporter.write_sep("-", "security catalogue")
    terminalreporter.write_line(
        f"{len(verdicts)} verdicts: {counts['HELD']} held, {counts['BROKEN']} broken, "
        f"{len(vacuous)} vacuous{': ' if vacuous else ''}{' '.join(vacuous)}"
    )
