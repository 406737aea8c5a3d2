"""`@frozen`: what `@dataclass(frozen=True, slots=True)` makes, defined in a third of the time.

A dataclass compiles six methods when it is defined (0.3 ms, on Python 3.10 to 3.13), and the contract has a hundred of them: a good part
of what the server does until its first hello, and of what a host waits for at its start. Here `__init__` alone is compiled; the others read
the names of the fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

Defined = TypeVar("Defined")
if TYPE_CHECKING:
    from typing import dataclass_transform
else:  # Python 3.10 has none, and nobody asks when it runs

    def dataclass_transform(**_: object) -> Callable[[Defined], Defined]:
        """Tells type checkers what `frozen` makes (PEP 681)."""
        return lambda function: function


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def frozen(cls: type[Defined]) -> type[Defined]:
    """A dataclass of `cls` with slots: compared, hashed and shown by its fields, none of which can be set again."""
    own = frozenset(vars(cls))
    made = dataclasses.dataclass(slots=True, repr=False, eq=False)(cls)
    for name, method in _METHODS.items():
        if name not in own:
            setattr(made, name, method)
    return made


def _fields(one: object) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cast("Any", one))


def _values(one: object) -> list[object]:
    return [getattr(one, name) for name in cast("Any", one).__dataclass_fields__]


def _equal(self: object, other: object) -> bool:
    return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: object) -> int:
    return hash(tuple(_values(self)))


def _shown(self: object) -> str:
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in _fields(self) if field.repr)
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


def _set(self: object, name: str, value: object) -> None:
    """`__init__` fills empty slots, and so do copies and unpickling; what is in a slot stays there."""
    if hasattr(self, name):
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


def _delete(self: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


_METHODS = {"__eq__": _equal, "__hash__": _hash, "__repr__": _shown, "__setattr__": _set, "__delattr__": _delete}
