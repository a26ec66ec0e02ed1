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
    origin = get_origin(annotation)
    if origin is Annotated:
        return _type(annotation.__origin__, (*metadata, *annotation.__metadata__))
    for mark in metadata:
        if isinstance(mark, In):
            return measure(mark.unit)
        if isinstance(mark, PlaceMark):
            return Text(names="source" if mark.material else "place")
    if origin in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return _type(parts[0], ()) if len(parts) == 1 else ANYTHING
    if origin is Literal:
        values = get_args(annotation)
        return Text(choices=tuple(values)) if all(isinstance(value, str) for value in values) else ANYTHING
    if origin in (list, tuple):
        items = [part for part in get_args(annotation) if part is not ...]
        return ListOf(_type(items[0], ())) if len(items) == 1 else ANYTHING
    return _PLAIN.get(annotation, ANYTHING)
