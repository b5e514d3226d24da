from __future__ import annotations

import ast
import errno
import sys
from pathlib import Path

import pytest

from sandbox.host import doctor
from sandbox.host.doctor import (
    CALLER,
    ORDINARY_ID,
    ORDINARY_USER,
    STEPS,
    Check,
    examine,
    is_able,
    judge,
    needs_profile,
    run_trial,
    trial_source,
)
from sandbox.host.trial import STEPS as TRIALS
from sandbox.host.userns import Obstacle, apparmor_profile, find_obstacle, interpreter_path

AS_REFUSED = "refused 1 unshare(CLONE_NEWUSER)"
USERNS = STEPS[0]


def works(_step: str, _uid: int | None, _source: str) -> tuple[bool, str]:
    """A host on which everything works."""
    return True, "ok fine"


def test_every_step_is_tried_by_a_program_of_its_own() -> None:
    """The names of the steps and of the trials are the same."""
    tried = {step.name for step in STEPS if not step.name.endswith("-namespace")}
    assert tried | {"user-namespace"} == set(TRIALS)


def test_names_are_stable_and_unique() -> None:
    """Names are the contract of the JSON; nothing stands twice."""
    names = [step.name for step in STEPS]
    assert len(names) == len(set(names))
    assert all(step.cause and step.remedy for step in STEPS)


def test_root_is_told_about_ordinary_users() -> None:
    """As root the steps that an ordinary user may be refused are tried as one as well."""
    seen: list[tuple[str, int | None]] = []

    def note(step: str, uid: int | None, source: str) -> tuple[bool, str]:
        seen.append((step, uid))
        return works(step, uid, source)

    checks = examine(is_root=True, trial=note)
    assert {check.step for check in checks if check.subject == ORDINARY_USER} == {
        step.name for step in STEPS if step.is_ordinary
    }
    assert {uid for _step, uid in seen} == {None, ORDINARY_ID}
    assert is_able(checks)


def test_ordinary_users_are_spared_roots_steps() -> None:
    """What only root uses is not tried for others."""
    checks = examine(is_root=False, trial=works)
    assert "idmapped-mounts" not in {check.step for check in checks}
    assert {check.subject for check in checks} == {CALLER}


def test_missing_required_step_forbids_strict() -> None:
    """One required step that fails is enough; a preferred one is not."""
    good = Check("a", "a", True, True)
    assert is_able((good, Check("b", "b", False, False)))
    assert not is_able((good, Check("b", "b", False, True)))
    assert is_able((good, Check("b", "b", False, True, subject=ORDINARY_USER)))


def test_refusal_names_call_errno_cause_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused step has all four; the host's own obstacle explains it best."""
    monkeypatch.setattr(doctor, "find_obstacle", lambda: None)
    check = judge(USERNS, CALLER, works=False, report=AS_REFUSED)
    assert (check.ok, check.stage, check.errno) == (False, "unshare(CLONE_NEWUSER)", errno.EPERM)
    assert (check.cause, check.remedy) == (USERNS.cause, USERNS.remedy)
    monkeypatch.setattr(doctor, "find_obstacle", lambda: Obstacle("knob", "turn it"))
    check = judge(USERNS, CALLER, works=False, report=AS_REFUSED)
    assert (check.cause, check.remedy) == ("knob", "turn it")


def test_child_without_an_answer_is_a_failed_step() -> None:
    """A crash or a hang of the child is reported, with nothing made up."""
    check = judge(USERNS, CALLER, works=False, report="broken status -11")
    assert (check.ok, check.errno, check.detail) == (False, None, "status -11")


def test_profile_is_offered_where_it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a step that failed for AppArmor's sake calls for a profile."""
    obstacle = Obstacle("AppArmor restricts", "profile", is_apparmor=True)
    monkeypatch.setattr(doctor, "find_obstacle", lambda: obstacle)
    failed = judge(USERNS, CALLER, works=False, report=AS_REFUSED)
    assert needs_profile((failed,))
    assert not needs_profile((judge(USERNS, CALLER, works=True, report="ok"),))


@pytest.mark.parametrize("step", ["no-new-privs", "landlock", "seccomp-filter"])
def test_trial_runs_alone(step: str) -> None:
    """A trial answers from a fresh interpreter, in one line."""
    ok, report = run_trial(step, None, trial_source())
    assert report.startswith("ok" if ok else "refused ")


def test_trial_of_an_unknown_step_is_broken_not_ok() -> None:
    """A defect of the trial does not pass for a step that works."""
    ok, report = run_trial("no-such-step", None, trial_source())
    assert not ok
    assert report.startswith("broken")


def test_trial_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every child has a time limit."""
    monkeypatch.setattr(doctor, "TIMEOUT_S", 0.2)
    ok, report = run_trial("x", None, "import time; time.sleep(60)")
    assert not ok
    assert "no answer" in report


def test_interpreter_that_cannot_start_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing interpreter is a failed step, not a traceback."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    ok, report = run_trial("landlock", None, trial_source())
    assert not ok
    assert report.startswith(f"refused {errno.ENOENT} ")


def test_trial_imports_nothing_of_the_package() -> None:
    """It runs for users that cannot read the package."""
    tree = ast.parse(trial_source())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in imports}
    assert names <= {"__future__", *sys.stdlib_module_names}


def sysctls(tmp_path: Path, **values: str) -> str:
    """A /proc/sys with these knobs; names have __ for /."""
    for name, value in values.items():
        path = tmp_path / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(value + "\n", encoding="ascii")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"user__max_user_namespaces": "0"}, "max_user_namespaces = 0"),
        ({"kernel__unprivileged_userns_clone": "0"}, "unprivileged_userns_clone = 0"),
        ({"kernel__apparmor_restrict_unprivileged_userns": "1"}, "AppArmor"),
    ],
)
def test_obstacle_names_the_knob(tmp_path: Path, values: dict[str, str], expected: str) -> None:
    """Each known knob has its cause and its remedy."""
    obstacle = find_obstacle(sysctls(tmp_path, **values), "/nonexistent")
    assert obstacle is not None
    assert expected in obstacle.cause
    assert obstacle.remedy


def test_outer_filter_is_an_obstacle(tmp_path: Path) -> None:
    """A seccomp filter on this very process is the sign of a container."""
    status = tmp_path / "status"
    status.write_text("Name:\tx\nSeccomp:\t2\n", encoding="ascii")
    obstacle = find_obstacle(str(tmp_path), str(status))
    assert obstacle is not None
    assert "seccomp" in obstacle.cause


def test_free_host_has_no_obstacle(tmp_path: Path) -> None:
    """Open knobs, or none, are no reason."""
    knobs = sysctls(tmp_path, user__max_user_namespaces="100")
    assert find_obstacle(knobs, "/nonexistent") is None


def test_profile_names_the_real_program() -> None:
    """The profile is for the interpreter's real path, and grants user namespaces only."""
    text = apparmor_profile()
    assert f'profile sandbox "{interpreter_path()}" flags=(unconfined) {{' in text
    assert "  userns,\n" in text


def test_profile_path_is_no_pattern() -> None:
    """Characters that AppArmor would read as a pattern are escaped."""
    assert r'"/opt/a\*\{b\}\"/python"' in apparmor_profile('/opt/a*{b}"/python')
