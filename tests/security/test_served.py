"""Commands of a pool and of a session meet the same walls: a sample of the catalogue's probes."""

from __future__ import annotations

from pathlib import Path

import pytest
from security.answers import ask
from security.catalogue import ROWS
from security.catalogue.model import POLICIES, Row
from security.conftest import RunInside
from security.controls import Controls
from security.places import Places
from security.test_probes import CHECKS, _check, _verdict

from support.user import User

PROGRAM = Path(__file__).parents[1] / "support" / "served.py"
# One probe of each kind of wall: calls, files, links out, namespaces, processes, sockets, limits.
EVERY = 4
SAMPLE = [parameter for index, parameter in enumerate(CHECKS) if index % EVERY == 0]


def _inside(kind: str, places: Places, user: User, user_python: Path, program: Path) -> RunInside:
    command = [*user.prefix, str(user_python), "-I", str(program), kind]

    def run(row: Row, policy: str) -> object:
        args = places.fill(row.args_for(policy), is_inside=True)
        options = places.options(policy)[1:]  # without the word "exec"
        words = [*command, *options, "--", str(places.probe), row.id, *args]
        return ask(words, cwd=places.work, env=places.env)

    return run  # type: ignore[return-value]  # an Answer


@pytest.fixture(scope="session")
def program(session_dir: Path) -> Path:
    """The helper, where the user can read it."""
    path = session_dir / PROGRAM.name
    path.write_bytes(PROGRAM.read_bytes())
    path.chmod(0o644)
    return path


@pytest.mark.parametrize("kind", ["pool", "session"])
@pytest.mark.parametrize(("row", "policy"), SAMPLE)
def test_probe_of_a_served_command(
    kind: str,
    row: Row,
    policy: str,
    places: Places,
    controls: Controls,
    user: User,
    user_python: Path,
    program: Path,
) -> None:
    """The verdict is that of `sandbox exec`."""
    inside = _inside(kind, places, user, user_python, program)
    _check(row, _verdict(row, policy, places, controls, inside, has_root=False))


def test_the_sample_reaches_every_policy() -> None:
    """A sample that says nothing about a policy would not be one."""
    assert {parameter.values[1] for parameter in SAMPLE} == set(POLICIES)
    assert len(SAMPLE) * EVERY >= len(ROWS)
