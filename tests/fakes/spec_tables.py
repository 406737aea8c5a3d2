"""The field tables of protocol/SPEC.md, made from the dataclasses; `python tests/fakes/spec_tables.py` prints them.

The test compares; nothing writes the specification by itself.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import types
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from protocol.limits import Between, Hex, Items, Text
from protocol.messages import Reply, Request
from protocol.planes import Plane


def tag(cls: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()


def tables() -> str:
    """One section per message, then one per part, in the order in which the parts are met."""
    parts: list[type] = []
    text = "\n".join(table(cls, parts) for cls in (*typing.get_args(Request), *typing.get_args(Reply)))
    done = 0
    while done < len(parts):
        text += "\n" + table(parts[done], parts)
        done += 1
    return text


def table(cls: type, parts: list[type]) -> str:
    hints = typing.get_type_hints(cls, include_extras=True)
    rows = [f"| `{field.name}` | {words(hints[field.name], parts)} | {default(field)} |" for field in dataclasses.fields(cls)]
    return "\n".join([f"#### {tag(cls)}", "", "| field | what | default |", "|---|---|---|", *rows, ""])


def default(field: dataclasses.Field[object]) -> str:
    value = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    match value:
        case dataclasses.MISSING:
            return "required"
        case None:
            return "nil"
        case Enum():
            return f"`{value.value}`"
        case "":
            return "empty"
        case ():
            return "empty"
        case bool() | int() | float():
            return str(value).lower()
        case _:
            return "its defaults"


def words(hint: object, parts: list[type]) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return bounded(inner[0], inner[1], parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(words(part, parts) for part in inner)
    if hint is type(None):
        return "nil"
    if hint is bool:
        return "boolean"
    if hint is Plane:
        return "plane"
    if issubclass(hint, Enum):
        return "one of " + ", ".join(f"`{member.value}`" for member in hint)
    if hint not in parts:
        parts.append(hint)
    return f"[{tag(hint)}](#{tag(hint)})"


def bounded(kind: object, bound: object, parts: list[type]) -> str:
    match bound:
        case Between(low=low, high=high):
            return f"{'whole number' if kind is int else 'float'}, {low:.16g} to {high:.16g}"
        case Text(most=most, least=least, lines=lines):
            return f"text of {least} to {most} characters" + (", may have line breaks" if lines else "")
        case Hex(length=length):
            return f"{length} lower-case hexadecimal digits"
        case Items(most=most, least=least):
            return f"{least} to {most} times: {words(typing.get_args(kind)[0], parts)}"
    raise TypeError(bound)


def examples(spec: str) -> Iterator[tuple[str, str]]:
    """(`request` or `reply`, JSON text) of every example block."""
    yield from re.findall(r"^```json (request|reply)\n(.*?)^```$", spec, re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    print(tables())
