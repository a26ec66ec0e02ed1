"""Tables of models' fields, for the pages that are generated."""  # noqa: INP001 - no package

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from labd.sdk.quantities import unit_of


def table(what: str, model: type[BaseModel]) -> Iterator[str]:
    """The fields of a model, `what` naming them; nothing for a model without fields."""
    if not model.model_fields:
        return
    lines = [f"| {what} | type | unit | default |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        default = "" if field.is_required() else f"`{field.get_default(call_default_factory=True)}`"
        lines.append(f"| `{field.alias or name}` | {_type(field.annotation)} | {_unit(field)} | {default} |")
    yield "\n".join(lines)


def told(model: type[BaseModel]) -> str:
    """A model's docstring, in one line."""
    return " ".join((model.__doc__ or "").split())


def _unit(field: FieldInfo) -> str:
    return unit_of(field) or ""


def _type(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part) for part in get_args(annotation))
    if origin is Annotated:
        return _type(get_args(annotation)[0])
    if annotation is type(None):
        return "null"
    if origin is not None and str(origin) == "typing.Literal":
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if origin is not None:
        inner = [_type(part) for part in get_args(annotation) if part is not Ellipsis]
        return f"{getattr(origin, '__name__', origin)} of {' to '.join(inner)}"
    return str(getattr(annotation, "__name__", annotation)).replace("|", "or")
