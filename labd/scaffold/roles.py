"""What a role's own declaration gives to a driver of it: its methods, its models, and a layout of their values."""

from __future__ import annotations

import inspect
import json
import typing
from importlib.resources import files
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from labd.scaffold.layout import fitted
from labd.sdk import Action, Driver

PLACES = {"arm": "gripper", "crimper": "nest", "potentiostat": "cell", "balance": "pan"}
"""Where a sample sits when a device of the role works on it."""
THINGS = {
    "pump": "a syringe",
    "gripper": "two fingers",
    "thermostat": "a bath",
    "balance": "a pan",
    "glovebox": "a box with an antechamber",
    "machine": "a machine with PackML's states",
    "crimper": "a press",
    "arm": "an arm",
    "pipetting_robot": "a pipette",
    "potentiostat": "a cell and what drives it",
}


def physics(role: str) -> str:
    """The toy physics of a role. Raises FileNotFoundError: there are none."""
    return files(__package__).joinpath("roles", f"{role}.txt").read_text(encoding="utf-8").rstrip()


def actions(role: type[Driver]) -> str:
    """The role's actions as methods of a driver that orders each by its name."""
    return "\n".join(_action(role, action) for action in role.actions.values())


def _action(role: type[Driver], action: Action) -> str:
    method = getattr(role, action.method)
    signature = inspect.signature(method)
    parameters = [_parameter(one) for one in signature.parameters.values()]
    head = fitted(f"async def {action.method}(", parameters, f") -> {signature.return_annotation}:", 4)
    doc = (inspect.getdoc(method) or action.summary).splitlines()
    quoted = f'        """{doc[0]}"""' if len(doc) == 1 else "\n".join(_indented(['"""' + doc[0], *doc[1:], '"""']))
    sent = ["call", json.dumps(action.name), *(f"{name}={name}" for name in action.parameters.model_fields)]
    if signature.return_annotation == "None":
        body = fitted("await self._done(", sent, ")", 8)
    else:
        told = fitted("told = await self._done(", sent, ")", 8)
        body = f"{told}\n        return {signature.return_annotation}.model_validate(told)"
    return f"{head}\n{quoted}\n{body}\n"


def _indented(lines: list[str]) -> list[str]:
    return [f"        {line}" if line else "" for line in lines]


def _parameter(one: inspect.Parameter) -> str:
    annotation = f": {one.annotation}" if one.annotation is not one.empty else ""
    if one.default is one.empty:
        return f"{one.name}{annotation}"
    default = json.dumps(one.default) if isinstance(one.default, str) else repr(one.default)
    return f"{one.name}{annotation} = {default}"


Layout = tuple[tuple[str, str], ...]


def layout(model: type[BaseModel]) -> Layout:
    """The fields of a model with how each stands in registers: as a number, a text, or a list of numbers."""
    return tuple((name, _kind(field)) for name, field in model.model_fields.items())


def _kind(field: FieldInfo) -> str:
    parts = _parts(field.annotation)
    return "list" if list in parts else "text" if str in parts else "number"


def _parts(annotation: Any) -> set[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return {str}
    found = {origin or annotation}
    for part in typing.get_args(annotation):
        found |= _parts(part)
    return found
