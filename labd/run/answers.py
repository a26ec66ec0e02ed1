"""What people answer, as the value that a question asked for."""

from __future__ import annotations

from typing import Any

from labd.protocol.messages import Input
from labd.sdk import UnitError
from labd.sdk.units import convert, parse

BOOLEANS = {"yes": True, "true": True, "no": False, "false": False}


class AnswerError(ValueError):
    """An answer that the question cannot take; the text says why."""


def typed_answer(spec: Input, value: Any) -> Any:
    """An answer in its type; a quantity (`5 kN`, `{"v": 5, "u": "kN"}`) as a float in the question's unit.

    Raises:
        AnswerError: none given, no such value, a quantity without its unit, or out of bounds.
    """
    if value is None:
        raise AnswerError(f"a value is asked for, {_wanted(spec)}")
    try:
        found = _quantity(spec, value) if spec.type == "quantity" else _plain(spec.type, value)
    except (UnitError, ValueError) as error:
        raise AnswerError(f"{error}; {_wanted(spec)}") from error
    problem = spec.problem(found)
    if problem:
        raise AnswerError(f"{problem}; {_wanted(spec)}")
    return found


def _quantity(spec: Input, value: Any) -> float:
    if isinstance(value, dict):
        return convert(float(value["v"]), str(value["u"]), spec.unit)
    if not isinstance(value, str):
        raise AnswerError(f"{value!r} needs a unit, such as `{value} {spec.unit}`")
    quantity = parse(value)
    return convert(quantity.value, quantity.unit, spec.unit)


def _plain(kind: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match kind:
        case "integer":
            return int(value)
        case "number":
            return float(value)
        case "boolean":
            return BOOLEANS.get(value.strip().casefold(), value)
        case _:
            return value


def _wanted(spec: Input) -> str:
    if spec.choices:
        return f"one of: {', '.join(spec.choices)}"
    unit = f" in {spec.unit}" if spec.unit else ""
    low = f" from {spec.min:g}" if spec.min is not None else ""
    high = f" to {spec.max:g}" if spec.max is not None else ""
    return f"a {spec.type}{unit}{low}{high}"
