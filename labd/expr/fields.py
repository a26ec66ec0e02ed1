"""The types of pydantic models' fields, as expressions see them: parameters, results and signals of devices."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from labd.expr.types import ANYTHING, BOOLEAN, INTEGER, NUMBER, TEXT, ListOf, Record, Text, Type, measure
from labd.sdk.quantities import In, PlaceMark


def field_type(field: FieldInfo) -> Type:
    """The type of a field; `X | None` is X, which may be missing when the run gets there."""
    return _type(field.annotation, tuple(field.metadata))


def record_of(name: str, model: type[BaseModel]) -> Record:
    """A model as a record: `crimp result` with its fields."""
    return Record(name, {key: field_type(field) for key, field in model.model_fields.items()})


_PLAIN: dict[Any, Type] = {bool: BOOLEAN, int: INTEGER, float: NUMBER, str: TEXT}


def _type(annotation: Any, metadata: tuple[object, ...]) -> Type:
    if get_origin(annotation) is Annotated:
        return _type(annotation.__origin__, (*metadata, *annotation.__metadata__))
    for mark in metadata:
        if isinstance(mark, In):
            return measure(mark.unit)
        if isinstance(mark, PlaceMark):
            return Text(names="source" if mark.material else "place")
    return _compound(get_origin(annotation), get_args(annotation)) or _PLAIN.get(annotation, ANYTHING)


def _compound(origin: Any, parts: tuple[Any, ...]) -> Type | None:
    found: Type | None = None
    if origin in (Union, types.UnionType):
        some = [part for part in parts if part is not type(None)]
        found = _type(some[0], ()) if len(some) == 1 else ANYTHING
    elif origin is Literal:
        found = Text(choices=parts) if all(isinstance(value, str) for value in parts) else ANYTHING
    elif origin in (list, tuple):
        items = [part for part in parts if part is not ...]
        found = ListOf(_type(items[0], ())) if len(items) == 1 else ANYTHING
    return found
