"""The rules of a verdict, without a sandbox."""

from __future__ import annotations

import pytest
from security.answers import Answer, NoVerdictError, parse
from security.verdict import BROKEN, HELD, VACUOUS, judge

ARGV = ["probe", "S00"]


def _answer(**parts: str) -> Answer:
    return Answer("S00", "OK" in parts.values(), parts, {}, "")


def test_verdict_is_held_with_a_live_control_and_the_stated_refusal() -> None:
    """A control that succeeds and the refusal that the policy states make HELD."""
    verdict = judge({"*": "EPERM"}, [_answer(a="EPERM"), _answer(a="OK")], _answer(a="EPERM"))
    assert (verdict.kind, verdict.live) == (HELD, frozenset({"a"}))


def test_verdict_is_vacuous_without_a_live_control() -> None:
    """A refusal that everybody gets says nothing about the sandbox."""
    assert judge({"*": "EPERM"}, [_answer(a="EPERM")], _answer(a="EPERM")).kind == VACUOUS


def test_verdict_is_vacuous_if_only_an_allowed_attempt_is_live() -> None:
    """What the policy allows cannot make a check live."""
    expected = {"*": "EPERM", "b": "OK"}
    controls = [_answer(a="EPERM", b="OK")]
    assert judge(expected, controls, _answer(a="EPERM", b="OK")).kind == VACUOUS


@pytest.mark.parametrize("outcome", ["OK", "ENOSYS", "EACCES"])
def test_verdict_is_broken_by_any_other_outcome(outcome: str) -> None:
    """Success and a refusal for another reason are both BROKEN."""
    assert judge({"*": "EPERM"}, [_answer(a="OK")], _answer(a=outcome)).kind == BROKEN


def test_verdict_is_broken_by_a_vacuous_attempt_that_goes_through() -> None:
    """An attempt without a live control must be refused as well."""
    controls = [_answer(a="OK", b="EPERM")]
    assert judge({"*": "EPERM"}, controls, _answer(a="EPERM", b="OK")).kind == BROKEN


def test_verdict_is_broken_by_an_attempt_that_no_policy_knows() -> None:
    """An outcome that nobody stated is looked at, not passed over."""
    assert judge({"a": "EPERM"}, [_answer(a="OK")], _answer(a="EPERM", b="EPERM")).kind == BROKEN


def test_verdict_is_broken_where_what_must_work_does_not() -> None:
    """A sandbox that breaks what it promises is not a better one."""
    inside = Answer("S00", False, {"a": "EPERM"}, {"query": "EPERM"}, "")
    assert judge({"*": "EPERM"}, [_answer(a="OK")], inside).kind == BROKEN
    stated = {"*": "EPERM", "works:query": "EPERM"}
    assert judge(stated, [_answer(a="OK")], inside).kind == HELD


def test_verdict_leaves_out_attempts_that_this_kernel_cannot_refuse() -> None:
    """An attempt behind a newer Landlock neither breaks a check nor makes it live."""
    verdict = judge(
        {"*": "EPERM"},
        [_answer(a="OK", b="OK")],
        _answer(a="EPERM", b="OK"),
        not_refused=frozenset({"b"}),
    )
    assert (verdict.kind, verdict.live) == (HELD, frozenset({"a"}))


@pytest.mark.parametrize(
    ("code", "stdout"),
    [
        (2, b'{"id": "S00", "ok": false, "detail": "", "parts": {}, "works": {}}\n'),
        (-11, b""),
        (0, b""),
        (125, b"sandbox: the set-up failed\n"),
        (0, b'{"id": "S00", "ok": false, "detail": "", "parts": {"a": "EPERM"}, "works": {}}\n'),
    ],
    ids=["unprepared", "crashed", "silent", "no-sandbox", "disagreeing"],
)
def test_answer_that_is_none_is_an_error(code: int, stdout: bytes) -> None:
    """A probe that crashed, said nothing or was not prepared has no verdict."""
    with pytest.raises(NoVerdictError):
        parse(ARGV, code, stdout, b"")
