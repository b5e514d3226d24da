"""The command's environment and its program's candidates."""

from __future__ import annotations

from sandbox.plan.model import EnvKind, EnvRule, Slot, SlotPath
from sandbox.run.environment import make_environment, program_paths

SLOTS = (b"", b"/work", b"/home/me", b"/tmp", b"", b"")


def allow(name: bytes) -> EnvRule:
    """A rule that lets `name` pass."""
    return EnvRule(EnvKind.ALLOW, name)


def setting(name: bytes, value: bytes, slot: Slot = Slot.NONE) -> EnvRule:
    """A rule that sets `name`."""
    return EnvRule(EnvKind.SET, name, SlotPath(value, slot))


def test_nothing_passes_unless_it_is_named() -> None:
    """The environment starts empty."""
    assert make_environment((), {b"SECRET": b"x"}, SLOTS) == {}


def test_a_final_star_matches_the_rest() -> None:
    """LC_* lets every locale category pass, and nothing else."""
    caller = {b"LC_ALL": b"C", b"LC_": b"", b"XLC_ALL": b"x", b"LC": b"y"}
    assert make_environment((allow(b"LC_*"),), caller, SLOTS) == {b"LC_ALL": b"C", b"LC_": b""}


def test_a_set_value_does_not_yield_to_a_name_that_is_not_allowed() -> None:
    """A policy's PATH is the policy's."""
    rules = (setting(b"PATH", b"/usr/bin"),)
    assert make_environment(rules, {b"PATH": b"/evil"}, SLOTS) == {b"PATH": b"/usr/bin"}


def test_the_first_rule_that_yields_a_value_decides() -> None:
    """--env LC_ALL=C stands before LC_*, and that before what a policy sets."""
    rules = (setting(b"LC_ALL", b"C"), allow(b"LC_*"), setting(b"LC_TIME", b"x"))
    caller = {b"LC_ALL": b"de", b"LC_TIME": b"fr"}
    assert make_environment(rules, caller, SLOTS) == {b"LC_ALL": b"C", b"LC_TIME": b"fr"}


def test_an_allowed_name_keeps_the_callers_value_before_a_set_one() -> None:
    """Allowed and set: the set value only stands in."""
    rules = (allow(b"PATH"), setting(b"PATH", b"/usr/bin"))
    assert make_environment(rules, {b"PATH": b"/opt/bin"}, SLOTS) == {b"PATH": b"/opt/bin"}
    assert make_environment(rules, {}, SLOTS) == {b"PATH": b"/usr/bin"}


def test_a_value_below_a_slot_follows_the_caller() -> None:
    """${HOME}/.cargo is the caller's; without a home the variable is absent."""
    rules = (setting(b"CARGO_HOME", b"/.cargo", Slot.HOME),)
    assert make_environment(rules, {}, SLOTS) == {b"CARGO_HOME": b"/home/me/.cargo"}
    assert make_environment(rules, {}, (b"",) * 6) == {}


def test_values_are_bytes() -> None:
    """Invalid UTF-8 and newlines pass through untouched."""
    caller = {b"TERM": b"\xff\n=\x01"}
    assert make_environment((allow(b"TERM"),), caller, SLOTS) == caller


def test_program_is_searched_in_path_order_unless_it_has_a_slash() -> None:
    """As execvp(3): empty entries are the working directory."""
    assert program_paths(b"ls", b"/a::/b") == (b"/a/ls", b"./ls", b"/b/ls")
    assert program_paths(b"./ls", b"/a") == (b"./ls",)
    assert program_paths(b"", b"/a") == (b"",)
