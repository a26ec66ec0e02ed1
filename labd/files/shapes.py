"""What pydantic finds wrong with a file's shape, in plain words: shared by protocols and lab.yaml."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from labd.files.source import Path

WANTED = {
    "string_type": "a text belongs here",
    "int_type": "a whole number belongs here",
    "int_parsing": "a whole number belongs here",
    "int_from_float": "a whole number belongs here",
    "float_type": "a number belongs here",
    "float_parsing": "a number belongs here",
    "bool_type": "true or false belongs here",
    "bool_parsing": "true or false belongs here",
    "path_type": "a path belongs here",
    "dict_type": "a mapping (`key: value`) belongs here",
    "list_type": "a list belongs here",
    "tuple_type": "a list belongs here",
    "model_type": "a mapping (`key: value`) belongs here",
    "model_attributes_type": "a mapping (`key: value`) belongs here",
}
"""By pydantic's kind of error."""


def describe(given: Any) -> str:
    """A value as a message names it."""
    if isinstance(given, dict):
        return "a mapping"
    if isinstance(given, (list, tuple)):
        return "a list"
    if isinstance(given, bool):
        return f"`{str(given).lower()}`; quote it if a text is meant"
    return f"`{short(given)}`"


def short(given: Any) -> str:
    """A value as it was written, cut to what a line can take."""
    return str(getattr(given, "text", given))[:60]


def essential(error: ValidationError) -> list[Any]:
    """Pydantic's errors less those of a whole that follow from an error in its parts."""
    flaws = error.errors(include_url=False, include_context=True)
    locs = {flaw["loc"] for flaw in flaws}
    return [
        flaw
        for flaw in flaws
        if not any(len(other) > len(flaw["loc"]) and other[: len(flaw["loc"])] == flaw["loc"] for other in locs)
    ]


def keys_at(root: Any, path: Path) -> list[str]:
    """The keys that a model (or a mapping or list of models) has at a path of the file; of a union, those of all."""
    kinds = _unwrapped(root)
    for part in path:
        kinds = [inner for kind in kinds for inner in _inner(kind, part)]
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _inner(kind: Any, part: str | int) -> list[Any]:
    """What may stand at one key or index of a kind."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        found = [field for name, field in kind.model_fields.items() if (field.alias or name) == part]
        return [inner for field in found for inner in _unwrapped(field.annotation)]
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(origin, type) and issubclass(origin, (Mapping, Sequence)) and arguments:
        return _unwrapped(arguments[1] if issubclass(origin, Mapping) else arguments[0])
    return []


def _unwrapped(kind: Any) -> list[Any]:
    """A type without Annotated; of a union, its members."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _unwrapped(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return [inner for member in get_args(kind) for inner in _unwrapped(member)]
    return [kind]
