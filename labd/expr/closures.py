"""What expressions are made of at run time: small closures over the values of names."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from labd.expr.errors import ExpressionError, Flaw
from labd.expr.nodes import Call

Values: TypeAlias = Mapping[str, Any]
Run: TypeAlias = Callable[[Values], Any]


@dataclass(frozen=True, slots=True)
class Missing:
    """Stands for a value that there is none of now, and says why: `is 12 s old`, `could not be read`."""

    reason: str


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def _no_value(flaw: Flaw, value: object) -> ExpressionError:
    reason = value.reason if isinstance(value, Missing) else "has no value now"
    return ExpressionError([Flaw(f"`{flaw.message}` {reason}", flaw.offset, flaw.length, kind="value")])


def lookup(parts: tuple[str, ...], flaw: Flaw) -> Run:
    """The value of a name; ExpressionError when it has none."""
    if len(parts) == 1:
        (name,) = parts

        def plain(values: Values) -> Any:
            value = values.get(name)
            if value is None or value.__class__ is Missing or value != value:  # noqa: PLR0124 - NaN
                raise _no_value(flaw, value)
            return value

        return plain

    first, *rest = parts

    def dotted(values: Values) -> Any:
        value: Any = values.get(first)
        for part in rest:
            if value.__class__ is Missing or not isinstance(value, Mapping):
                raise _no_value(flaw, value)
            value = value.get(part)
        if value is None or value.__class__ is Missing or value != value:  # noqa: PLR0124 - NaN
            raise _no_value(flaw, value)
        return value

    return dotted


def binary(left: Run, sign: str, right: Run, factor: float, zero: Flaw) -> Run:
    """Two terms and their operator; `factor` brings a product to the unit of its dimension."""
    if sign == "+":
        return lambda values: left(values) + right(values)
    if sign == "-":
        return lambda values: left(values) - right(values)
    if sign == "*":
        if factor == 1.0:
            return lambda values: left(values) * right(values)
        return lambda values: left(values) * right(values) * factor

    def divide(values: Values) -> Any:
        try:
            return left(values) / right(values) * factor
        except ZeroDivisionError:
            raise ExpressionError([Flaw(zero.message, zero.offset, zero.length, kind="value")]) from None

    return divide


def fold(first: Run, steps: list[tuple[str, Run, float, Flaw]]) -> Run:
    """A long chain as a loop, so that its length costs no depth."""

    def run(values: Values) -> Any:
        value = first(values)
        for sign, term, factor, zero in steps:
            other = term(values)
            if sign == "+":
                value = value + other
            elif sign == "-":
                value = value - other
            elif sign == "*":
                value = value * other if factor == 1.0 else value * other * factor
            elif other == 0:
                raise ExpressionError([Flaw(zero.message, zero.offset, zero.length, kind="value")])
            else:
                value = value / other * factor
        return value

    return run


def not_empty(node: Call, function: Callable[[Any], Any], only: Run) -> Run:
    """A function of a list that has no value for an empty one."""

    def run(values: Values) -> Any:
        items = only(values)
        if not items:
            raise ExpressionError([Flaw(f"`{node.function}` of an empty list", node.offset, node.length, kind="value")])
        return function(items)

    return run


def number(run: Run, flaw: Flaw) -> Run:
    """A term that must be a number, which only the run shows."""

    def checked(values: Values) -> Any:
        value = run(values)
        if not isinstance(value, (int, float)):
            raise ExpressionError([flaw])
        return value

    return checked


GREATEST_INTEGER = 2**63
_MOST_ITEMS = 100_000


def unfit(value: Any) -> str:
    """Why a value is not kept, or nothing: variables are set from themselves in loops, and must not grow for ever."""
    waiting, seen = [value], 0
    while waiting:
        found = waiting.pop()
        seen += 1
        if found.__class__ is float and not math.isfinite(found):
            return "its value is not finite"
        if found.__class__ is int and not -GREATEST_INTEGER <= found < GREATEST_INTEGER:
            return "its value is beyond the whole numbers of 64 bits"
        if found.__class__ is list:
            waiting += found
        if seen + len(waiting) > _MOST_ITEMS:
            return f"its list has more than {_MOST_ITEMS} items"
    return ""


def rounded(value: float, digits: int | None = None) -> float:
    """Python's `round`, half to even. Digits that no number has are cut: 10 to their power would fill the memory."""
    return round(value) if digits is None else round(value, max(-_DIGITS, min(digits, _DIGITS)))


_DIGITS = 400


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "round": rounded,
    "sum": sum,
    "mean": _mean,
    "len": len,
}
