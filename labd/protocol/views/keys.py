"""The keys of the language as its models have them: for editors (`schema`) and for the reference page."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_ENTRY = re.compile(r"    (\w+): (.*)")


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a mapping.

    Args:
        name: as it is written, `if`, not `if_`.
        annotation: its type, with all marks.
        required: whether it has to stand there.
        default: what holds without it; None also where that is said in `meaning`.
    """

    name: str
    annotation: Any
    required: bool
    default: Any
    meaning: str


def keys_of(model: type[BaseModel]) -> list[Key]:
    """The keys of a part of the language, in their order."""
    meanings, types_of = meanings_of(model), get_type_hints(model, include_extras=True)
    return [
        Key(
            name := field.alias or attribute,
            types_of[attribute],
            field.is_required(),
            None if field.is_required() else field.get_default(call_default_factory=True),
            meanings.get(name, ""),
        )
        for attribute, field in model.model_fields.items()
    ]


def told(model: type[BaseModel]) -> str:
    """What a part of the language is: its docstring without the keys."""
    return " ".join(inspect.cleandoc(model.__doc__ or "").partition("\nArgs:\n")[0].split())


def meanings_of(model: type[BaseModel]) -> dict[str, str]:
    """What each key means, from the docstrings of the model and of those that it is made of."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        name = ""
        for line in inspect.cleandoc(base.__dict__.get("__doc__") or "").partition("\nArgs:\n")[2].splitlines():
            entry = _ENTRY.fullmatch(line)
            if entry:
                name = entry[1]
                found[name] = entry[2]
            elif name and line.strip():
                found[name] += f" {line.strip()}"
    return found


def bare(annotation: Any) -> tuple[Any, dict[str, Any]]:
    """A type without its marks, and what the marks demand: `pattern`, `min_length`, `ge`, `le`."""
    demands: dict[str, Any] = {}
    while get_origin(annotation) is Annotated:
        annotation, *marks = get_args(annotation)
        for mark in _flat(marks):
            for name in ("pattern", "min_length", "max_length", "ge", "le"):
                value = getattr(mark, name, None)
                if value is not None:
                    demands.setdefault(name, value)
    return annotation, demands


def _flat(marks: list[Any]) -> Iterator[Any]:
    for mark in marks:
        if isinstance(mark, FieldInfo):
            yield from mark.metadata
        yield mark


def forms(annotation: Any) -> list[Any]:
    """The forms that a value may have: the parts of a union, less None; else the type itself."""
    base, _ = bare(annotation)
    if get_origin(base) not in (Union, types.UnionType):
        return [annotation]
    return [form for part in get_args(base) if part is not type(None) for form in forms(part)]
