"""Tables of models' fields, for the pages that are generated."""  # noqa: INP001 - no package

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from labd.sdk.quantities import plain_of, unit_of

JSON = {
    "str": "string",
    "float": "number",
    "int": "integer",
    "bool": "boolean",
    "AwareDatetime": "time",
    "Any": "any",
    "JsonValue": "any",
}
"""What JSON calls it, and RFC 3339; by what Python does."""


def table(what: str, model: type[BaseModel], words: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """The fields of a model, `what` naming them; nothing for a model without fields."""
    if not model.model_fields:
        return
    lines = [f"| {what} | type | unit | default |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        default = "" if field.is_required() else _default(field.get_default(call_default_factory=True), words)
        kind = "time" if words and _is_time(field) else _type(field.annotation, words)
        lines.append(f"| `{field.alias or name}` | {kind} | {_unit(field)} | {default} |")
    yield "\n".join(lines)


def _default(value: Any, words: Mapping[str, str]) -> str:
    return f"`{json.dumps(value, ensure_ascii=False) if words else value}`"


def _is_time(field: FieldInfo) -> bool:
    return isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("format") == "date-time"


def told(model: type[BaseModel]) -> str:
    """A model's docstring, in one line."""
    return " ".join((model.__doc__ or "").split())


def _unit(field: FieldInfo) -> str:
    return unit_of(field) or plain_of(field) or ""


def _type(annotation: Any, words: Mapping[str, str]) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part, words) for part in parts)
    if origin is Annotated:
        time = words and any(isinstance(mark, FieldInfo) and _is_time(mark) for mark in parts)
        return "time" if time else _type(parts[0], words)
    if annotation is type(None):
        return "null"
    if str(origin) == "typing.Literal":
        return " or ".join(f"`{value}`" for value in parts)
    if origin is not None:
        return _container(origin, [_type(part, words) for part in parts if part is not Ellipsis], words)
    name = str(getattr(annotation, "__name__", annotation))
    return words.get(name, name).replace("|", "or")


def _container(origin: Any, inner: list[str], words: Mapping[str, str]) -> str:
    if not words:
        return f"{getattr(origin, '__name__', origin)} of {' to '.join(inner)}"
    return f"{inner[-1]}, by name" if len(inner) > 1 else f"list of {inner[0]}"
