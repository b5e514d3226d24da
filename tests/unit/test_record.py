"""Records: immutable, comparable, hashable, printable."""

from __future__ import annotations

import pickle

import pytest

from sandbox.plan.model import MountKind, MountOp, Slot, SlotPath
from sandbox.record import record, replace, to_data


@record
class Point:
    """A record with a default and a check."""

    x: int
    y: int = 2

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("negative")

    @property
    def total(self) -> int:
        """A property survives the decorator."""
        return self.x + self.y


def test_record_takes_positions_names_and_defaults() -> None:
    """Fields are given by position or name; a default fills in."""
    assert (Point(1, 3), Point(x=1), Point(1).total) == (Point(y=3, x=1), Point(1, 2), 3)


@pytest.mark.parametrize("args", [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1})])
def test_record_refuses_wrong_fields(args: tuple[tuple[int, ...], dict[str, int]]) -> None:
    """A missing, surplus, doubled or unknown field is a TypeError."""
    with pytest.raises(TypeError):
        Point(*args[0], **args[1])


def test_record_runs_its_check() -> None:
    """`__post_init__` sees every new value, replaced ones too."""
    with pytest.raises(ValueError, match="negative"):
        replace(Point(1), x=-1)


def test_record_is_immutable_and_has_no_dict() -> None:
    """Neither a field nor a new name can be assigned."""
    point = Point(1)
    with pytest.raises(AttributeError):
        point.x = 2  # type: ignore[misc]  # that is the claim
    with pytest.raises(AttributeError):
        point.other = 2  # type: ignore[attr-defined]  # that is the claim
    assert not hasattr(point, "__dict__")


def test_record_equality_needs_the_same_type() -> None:
    """A record equals one of its own type only, and hashes alike then."""
    assert Point(1) == Point(1)
    assert hash(Point(1)) == hash(Point(1))
    other: object = (1, 2)
    assert Point(1) != other


def test_record_prints_its_fields() -> None:
    """The repr reads as the call that makes the value."""
    assert repr(Point(1)) == "Point(x=1, y=2)"


def test_record_survives_pickling() -> None:
    """A record crosses process borders."""
    op = MountOp(MountKind.BIND, SlotPath(b"/a", Slot.CWD), data=b"\xff")
    assert pickle.loads(pickle.dumps(op)) == op  # noqa: S301  # our own bytes


def test_to_data_turns_nested_records_into_json_values() -> None:
    """Records become objects, enums names, bytes text without loss."""
    data = to_data({"op": SlotPath(b"/\xff", Slot.CWD), "set": frozenset({"b", "a"})})
    assert data == {"op": {"path": "/\udcff", "slot": "CWD"}, "set": ["a", "b"]}
