"""Fixtures and rules for the whole suite.

- `sandbox_cmd` runs the installed program as an ordinary user, also when root runs the tests.
- Every phase of a test has a hard time limit (marker `time_limit`).
- A skip names the missing feature; SANDBOX_TESTS_MUST_RUN=1 makes it a failure.
- Tests about root as the caller are left out, not skipped, when the caller is not root.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import hypothesis
import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from support import install, leaks
from support.limits import time_limit
from support.need import MUST_RUN, need_user_namespaces
from support.program import Program, program_for
from support.pty import PROMPT, Person
from support.user import User, ordinary_user, remove_tree, root_user

# Beside the checkout, unless the variable names another directory.
_DATA = os.environ.get("SANDBOX_TESTS_DATA") or str(Path(__file__).parents[2] / "shared" / "data")
KERNEL_CVES = Path(_DATA, "kernel-cves.json")
ROOT_FIXTURES = frozenset({"root", "root_sandbox_cmd"})

# The suite writes nothing into the checkout: no example database, and what hypothesis caches goes
# to the temporary directory. Deadlines would make results depend on the load of the machine; every
# test has its time limit anyway.
set_hypothesis_home_dir(Path(tempfile.gettempdir(), f"sandbox-hypothesis-{os.geteuid()}"))
hypothesis.settings.register_profile("suite", database=None, deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the default of the `time_limit` marker."""
    parser.addini(
        "default_time_limit_s", "seconds that each phase of a test may take", default="120"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Adopt what tests leave behind, so that it can be seen and ended."""
    leaks.adopt_orphans()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say as whom the tests run."""
    who = "root; the sandbox runs as an ordinary user, and as root where a test says so"
    if os.geteuid() != 0:
        who = f"uid {os.geteuid()}; tests about root as the caller are left out"
    cves = "there" if KERNEL_CVES.exists() else f"left out: there is no {KERNEL_CVES}"
    skips = f"skips are failures: {'yes' if MUST_RUN else 'no'}"
    return [f"caller: {who}", skips, f"list of kernel bugs: {cves}"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests about root when the caller is not root, and those whose data is elsewhere."""
    if not KERNEL_CVES.exists():
        # Public facts that are no part of the project: nothing here is missing without them.
        about = [item for item in items if "kernel_cves" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=about)
        items[:] = [item for item in items if item not in about]
    if os.geteuid() == 0:
        return
    left_out = [
        item
        for item in items
        if item.get_closest_marker("as_root")
        or ROOT_FIXTURES.intersection(getattr(item, "fixturenames", ()))
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _limit_of(item: pytest.Item) -> float:
    marker = item.get_closest_marker("time_limit")
    return float(marker.args[0] if marker else item.config.getini("default_time_limit_s"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Limit the time of the fixtures."""
    with time_limit(_limit_of(item), "setting the test up"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Limit the time of the test itself."""
    with time_limit(_limit_of(item), "the test"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where everything must run."""
    report = yield
    if MUST_RUN and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"SANDBOX_TESTS_MUST_RUN=1, but {_reason_of(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole file into a failure where everything must run."""
    report = yield
    if MUST_RUN and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"SANDBOX_TESTS_MUST_RUN=1, but {_reason_of(report.longrepr)}"
    return report


def _reason_of(longrepr: object) -> str:
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")


@pytest.fixture(scope="session")
def session_dir() -> Iterator[Path]:
    """A directory of this session that every user may enter; removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="sandbox-tests-"))
    path.chmod(0o755)
    yield path
    remove_tree(path)


@pytest.fixture(scope="session")
def user(session_dir: Path) -> User:
    """The ordinary user: the caller, or an unprivileged id when the caller is root."""
    return ordinary_user(session_dir)


@pytest.fixture(scope="session")
def root(session_dir: Path) -> User:
    """Root as the caller of the sandbox; tests that ask for it need root."""
    return root_user(session_dir)


@pytest.fixture(scope="session")
def user_python(user: User) -> Path:
    """A Python that the ordinary user can execute, with the package installed."""
    return install.python_for(user)


@pytest.fixture(scope="session")
def sandbox_cmd(user: User, user_python: Path) -> list[str]:
    """The argv prefix that runs the program as the ordinary user."""
    return [*user.prefix, str(user_python), "-I", "-m", "sandbox"]


@pytest.fixture(scope="session")
def root_sandbox_cmd(root: User, user_python: Path) -> list[str]:
    """The argv prefix that runs the program as root."""
    return [str(user_python), "-I", "-m", "sandbox"]


@pytest.fixture
def work_dir(user: User) -> Iterator[Path]:
    """A new directory of the ordinary user's, removed after the test."""
    path = user.make_dir()
    yield path
    remove_tree(path)


@pytest.fixture
def as_user(user: User, work_dir: Path) -> Callable[..., CompletedProcess[bytes]]:
    """`as_user(argv, cwd=…, env=…, stdin=…, timeout=…)`: run argv as the user, in `work_dir`."""

    def run(argv: list[str], **options: object) -> CompletedProcess[bytes]:
        return user.run(argv, **{"cwd": work_dir, **options})  # type: ignore[arg-type]  # User.run

    return run


@pytest.fixture
def sandbox_run(
    user: User, user_python: Path, work_dir: Path
) -> Callable[..., CompletedProcess[bytes]]:
    """`sandbox_run("exec", "--policy", …)`: run the program as the user, in `work_dir`."""

    def run(*args: str | bytes, **options: object) -> CompletedProcess[bytes]:
        argv = [user_python, "-I", "-m", "sandbox", *args]
        return user.run(argv, **{"cwd": work_dir, **options})  # type: ignore[arg-type]  # User.run

    return run


@pytest.fixture
def program(user: User, user_python: Path, work_dir: Path) -> Program:
    """`program(text)`: run a Python program that uses the API, as the user; return its output."""
    return program_for(user, user_python, work_dir)


@pytest.fixture
def at_terminal(sandbox_cmd: list[str], user: User, work_dir: Path) -> Callable[..., Person]:
    """`at_terminal("vi", …)`: a person at a terminal on which `sandbox exec vi …` runs.

    Without words it is a shell, in which $SBX is `sandbox exec`. Options are Person's.
    """
    need_user_namespaces()

    def start(*words: str, command: str = "exec", **options: object) -> Person:
        # line editors without the sequences around each line, which expect() would trip over
        inputrc = work_dir / ".inputrc"
        inputrc.write_text("set enable-bracketed-paste off\n")
        env = user.environ({"TERM": "xterm", "PS1": PROMPT, "INPUTRC": str(inputrc)})
        argv = [*sandbox_cmd, command, *words]
        if not words and command == "exec":
            argv = [*user.prefix, "bash", "--norc", "--noprofile", "-i"]
            env["SBX"] = " ".join([*sandbox_cmd[len(user.prefix) :], "exec"])
        options.setdefault("owner", user.uid)
        return Person(argv, cwd=work_dir, env=env, **options)  # type: ignore[arg-type]  # Person's

    return start


@pytest.fixture(autouse=True)
def _leak_check(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test with the marker `leaks_nothing`, fail for whatever it left behind."""
    if request.node.get_closest_marker("leaks_nothing") is None:
        yield
        return
    before = leaks.take_snapshot()
    yield
    found = leaks.leaks_since(before)
    assert not found, "left behind:\n" + "\n".join(found)


@pytest.fixture
def kernel_cves() -> Path:
    """The list of known kernel bugs; tests that ask for it are left out where there is none."""
    return KERNEL_CVES
