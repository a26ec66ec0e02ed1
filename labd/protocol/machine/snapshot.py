"""Commands as JSON and back, exactly: what a machine waits for is part of its snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import JsonValue

from labd.protocol.messages import Ask, Await, Clean, Command, Do, End, Enter, HoldRun, Input, Sleep
from labd.sdk import Quantity

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Enter, Do, Ask, Sleep, Await, HoldRun, End, Clean)}


def to_json(value: Any) -> JsonValue:
    """A command, or any value inside one."""
    if isinstance(value, Quantity):
        return {"v": value.value, "u": value.unit}
    if is_dataclass(value) and not isinstance(value, type):
        found: dict[str, JsonValue] = {"kind": type(value).__name__}
        for part in fields(value):
            found[part.name] = to_json(getattr(value, part.name))
        return found
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (frozenset, set)):
        return [to_json(item) for item in sorted(value)]
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value  # type: ignore[no-any-return]


def command_from_json(data: Mapping[str, Any]) -> Command:
    """The command that `to_json` wrote down."""
    given = dict(data)
    kind = _KINDS[given.pop("kind")]
    if kind is Enter:
        given["roles"] = frozenset(given["roles"])
    if kind is Do:
        given["parameters"] = {name: _argument(value) for name, value in given["parameters"].items()}
    if kind is Ask:
        given["choices"] = tuple(given["choices"])
        if given["input"] is not None:
            asked = {name: value for name, value in given["input"].items() if name != "kind"}
            given["input"] = Input(**{**asked, "choices": tuple(asked["choices"])})
    if kind is HoldRun:
        given["continue_at"] = tuple(given["continue_at"])
    return kind(**given)  # type: ignore[no-any-return]


def _argument(value: Any) -> Any:
    if isinstance(value, dict):
        return Quantity(value["v"], value["u"])
    if isinstance(value, list):
        return [_argument(item) for item in value]
    return value
