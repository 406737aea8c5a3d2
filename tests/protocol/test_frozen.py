"""`@frozen` behaves as the standard library's frozen dataclass does: that one is the oracle, class for class."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from protocol import jobs, messages, results
from protocol.frozen import frozen


@frozen
class Point:
    """A point."""

    x: int
    y: float = 0.5
    name: str = field(default="here", repr=False)
    parts: tuple[int, ...] = field(default_factory=tuple)


Ours = Point


@dataclass(frozen=True, slots=True)
class Point:  # the same once more, by the standard library
    """A point."""

    x: int
    y: float = 0.5
    name: str = field(default="here", repr=False)
    parts: tuple[int, ...] = field(default_factory=tuple)


Stock = Point
MADE = [((1,), {}), ((1, 2.0), {"name": "there"}), ((), {"x": 3, "parts": (1, 2)})]


@pytest.mark.parametrize(("positional", "named"), MADE)
def test_it_is_made_shown_and_taken_apart_as_a_frozen_dataclass_is(positional: tuple, named: dict) -> None:
    ours, stock = Ours(*positional, **named), Stock(*positional, **named)
    assert repr(ours) == repr(stock)
    assert dataclasses.astuple(ours) == dataclasses.astuple(stock)
    assert dataclasses.asdict(ours) == dataclasses.asdict(stock)
    assert dataclasses.astuple(replace(ours, x=9)) == dataclasses.astuple(replace(stock, x=9))
    assert hash(ours) == hash(stock)


@pytest.mark.parametrize("cls", [Ours, Stock])
def test_equal_is_what_has_equal_fields_and_the_same_class(cls: type) -> None:
    assert cls(1) == cls(1)
    assert len({cls(1), cls(1), cls(2)}) == 2
    assert cls(1) != cls(1, 0.25)
    assert cls(1) != (1, 0.5, "here", ())
    assert Ours(1) != Stock(1)


@pytest.mark.parametrize("cls", [Ours, Stock])
def test_nothing_of_it_can_be_set_again_or_deleted(cls: type) -> None:
    one = cls(1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'x'"):
        one.x = 2
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'x'"):
        del one.x
    with pytest.raises((AttributeError, TypeError)):
        one.other = 2
    assert one == cls(1)


def test_one_that_is_not_frozen_would_let_it_happen() -> None:
    one = dataclass(slots=True)(type("Open", (), {"__annotations__": {"x": "int"}}))(1)
    one.x = 2
    assert one.x == 2


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_are_equal_and_frozen(again) -> None:
    one = messages.Cancel(3, "0" * 32)
    other = again(one)
    assert other == one
    with pytest.raises(FrozenInstanceError):
        other.request = 4


@pytest.mark.parametrize("cls", [Ours, Stock])
def test_too_much_and_too_little_are_refused_as_by_a_function(cls: type) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        cls()
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        cls(1, z=2)


def test_a_pattern_matches_by_place() -> None:
    match Ours(1, 2.0):
        case Ours(x, y):
            assert (x, y) == (1, 2.0)


@pytest.mark.parametrize("module", [jobs, messages, results])
def test_all_that_crosses_the_wire_is_frozen_and_compared_by_its_fields(module) -> None:
    records = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if dataclasses.is_dataclass(cls)]
    assert records
    for cls in records:
        assert cls.__setattr__ is not object.__setattr__, cls
        assert cls.__eq__ is not object.__eq__, cls
        assert not hasattr(cls, "__dict__") or "__slots__" in vars(cls), cls
