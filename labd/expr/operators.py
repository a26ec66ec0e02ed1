"""What operators and functions do to types: each rule gives the result's type, or says what is wrong."""

from __future__ import annotations

from labd.expr.types import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    NUMBER,
    TEXT,
    Anything,
    Boolean,
    Dimension,
    ListOf,
    Measure,
    Number,
    Record,
    Text,
    Type,
    Vector,
    an,
    combine,
    dimensioned,
    of_vector,
    plural,
)


class Wrong(Exception):
    """A rule is broken: what, and how to mend it."""

    def __init__(self, message: str, mend: str = "", kind: str = "type") -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend
        self.kind = kind


def _clash(doing: str, left: Type, right: Type) -> Wrong:
    message = f"{an(left)} cannot be {doing} {an(right)}"
    number, other = (left, right) if isinstance(left, Number) else (right, left)
    if isinstance(number, Number) and isinstance(other, Measure):
        return Wrong(message, f"write the number with a unit, such as `1 {other.dimension.unit}`", "unit")
    if isinstance(left, Measure) and isinstance(right, Measure):
        if {left.dimension.kind, right.dimension.kind} == {"point", "plain"} and _temperatures(left, right):
            return Wrong(message, "a temperature is written in °C, a difference of two in K", "unit")
        return Wrong(message, f"one is in {left.dimension.unit}, the other in {right.dimension.unit}", "unit")
    return Wrong(message)


def _temperatures(left: Measure, right: Measure) -> bool:
    return left.dimension.vector == right.dimension.vector


def _same(left: Measure, right: Measure) -> bool:
    return left.dimension.vector == right.dimension.vector and left.dimension.kind == right.dimension.kind


def is_point(found: Type) -> bool:
    """Whether a type is a temperature on a scale, which has no multiples."""
    return isinstance(found, Measure) and found.dimension.kind == "point"


def added(operator: str, left: Type, right: Type) -> Type:
    """`left + right`, `left - right`."""
    doing = "added to" if operator == "+" else "subtracted from"
    first, second = (left, right) if operator == "+" else (right, left)
    if isinstance(left, Anything) or isinstance(right, Anything):
        return ANYTHING
    if isinstance(left, Number) and isinstance(right, Number):
        return INTEGER if left.integer and right.integer else NUMBER
    if not isinstance(left, Measure) or not isinstance(right, Measure):
        raise _clash(doing, first, second)
    difference = dimensioned("temperature difference")
    if is_point(left) and is_point(right):
        if operator == "-":
            return difference
        raise Wrong("two temperatures cannot be added", "write the one that is a difference in K", "unit")
    if is_point(left) and _same(right, difference):
        return left
    if operator == "+" and is_point(right) and _same(left, difference):
        return right
    if not _same(left, right):
        raise _clash(doing, first, second)
    return left


def _numeric(found: Type, doing: str) -> tuple[Vector, float, bool]:
    """A factor's dimension, the scale of its unit, and whether it is a fraction."""
    if is_point(found):
        raise Wrong(f"a temperature in °C cannot be {doing}", "subtract another temperature from it first", "unit")
    if isinstance(found, Measure):
        dimension: Dimension = found.dimension
        return dimension.vector, dimension.scale, dimension.kind == "fraction"
    if isinstance(found, Number):
        return (), 1.0, False
    raise Wrong(f"{an(found)} cannot be {doing}")


def multiplied(operator: str, left: Type, right: Type) -> tuple[Type, float]:
    """`left * right`, `left / right`, and the factor that brings the floats' result to the type's unit."""
    doing = "multiplied" if operator == "*" else "divided"
    if isinstance(left, Anything) or isinstance(right, Anything):
        return ANYTHING, 1.0
    if isinstance(left, Number) and isinstance(right, Number):
        return (INTEGER if left.integer and right.integer and operator == "*" else NUMBER), 1.0
    sign = 1 if operator == "*" else -1
    (left_vector, left_scale, left_part), (right_vector, right_scale, right_part) = (
        _numeric(left, doing),
        _numeric(right, doing if operator == "*" else "divided by"),
    )
    vector = combine(left_vector, right_vector, sign)
    found = of_vector(vector)
    parts = left_part or right_part if operator == "*" else left_part and isinstance(right, Number)
    if parts and not left_vector and not right_vector:
        found = dimensioned("fraction")
    scale = found.dimension.scale if isinstance(found, Measure) else 1.0
    factor = left_scale * right_scale**sign / scale
    # 1 mAh / 1 h must be 1 mA: conversion factors carry rounding
    return found, float(f"{factor:.12g}")


def compared(operator: str, left: Type, right: Type) -> None:
    """`left < right`, `left == right`."""
    if isinstance(left, Anything) or isinstance(right, Anything):
        return
    if isinstance(left, Number) and isinstance(right, Number):
        return
    if isinstance(left, Measure) and isinstance(right, Measure) and _same(left, right):
        return
    if operator in ("==", "!="):
        if isinstance(left, Boolean) and isinstance(right, Boolean):
            return
        if isinstance(left, Text) and isinstance(right, Text):
            return
    elif isinstance(left, type(right)) and isinstance(left, (Boolean, Text)):
        what = "texts have" if isinstance(left, Text) else "true and false have"
        raise Wrong(f"{what} no order", "compare with `==` or `!=`")
    raise _clash("compared with", left, right)


def united(left: Type, right: Type, doing: str = "stand beside") -> Type:
    """The one type of two values that stand for each other, as in a list."""
    found: Type | None = None
    match left, right:
        case (Anything(), other) | (other, Anything()):
            found = other
        case Number(), Number():
            found = INTEGER if left.integer and right.integer else NUMBER
        case Measure(), Measure() if _same(left, right):
            found = left
        case Boolean(), Boolean():
            found = BOOLEAN
        case Text(), Text():
            both = bool(left.choices and right.choices)
            found = Text(tuple(dict.fromkeys(left.choices + right.choices))) if both else TEXT
        case ListOf(), ListOf():
            found = ListOf(united(left.item, right.item, doing))
    if found is not None:
        return found
    raise Wrong(f"{an(left)} and {an(right)} cannot {doing} each other", kind="unit")


def called(function: str, arguments: list[Type]) -> Type:
    """A function of arguments."""
    if function in ("min", "max"):
        return _least(function, arguments)
    if len(arguments) != 1 and not (function == "round" and len(arguments) == 2):
        raise Wrong(f"`{function}` takes one value, not {len(arguments)}", f"write `{function}(x)`")
    (argument, *digits) = arguments
    if isinstance(argument, Anything):
        return INTEGER if function == "len" else ANYTHING
    if function in ("sum", "mean", "len"):
        return _of_list(function, argument)
    if is_point(argument) or not isinstance(argument, (Number, Measure)):
        raise Wrong(f"`{function}` takes a number, not {an(argument)}")
    if function == "abs":
        return argument
    if isinstance(argument, Measure):
        unit = argument.dimension.unit
        raise Wrong("only numbers are rounded", f"divide by a unit first: `round(x / 1 {unit})`", "unit")
    if digits and digits[0] not in (INTEGER, ANYTHING):
        raise Wrong("the digits to round to are a whole number")
    return NUMBER if digits else INTEGER


def _least(function: str, arguments: list[Type]) -> Type:
    if len(arguments) == 1:
        argument = arguments[0]
        if isinstance(argument, Anything):
            return ANYTHING
        if not isinstance(argument, ListOf):
            raise Wrong(f"`{function}` of one {argument}", f"write `{function}(a, b)`, or give it a list")
        arguments = [argument.item]
    if not arguments:
        raise Wrong(f"`{function}` of nothing", f"write `{function}(a, b)`")
    found: Type = ANYTHING
    for argument in arguments:
        if not isinstance(argument, (Number, Measure, Anything)):
            raise Wrong(f"`{function}` takes numbers, not {plural(argument)}")
        found = united(found, argument, "be measured against")
    return found


def _of_list(function: str, argument: Type) -> Type:
    if function == "len" and isinstance(argument, Text):
        return INTEGER
    if not isinstance(argument, ListOf):
        raise Wrong(f"`{function}` takes a list, not {an(argument)}")
    if function == "len":
        return INTEGER
    item = argument.item
    if isinstance(item, Anything):
        return ANYTHING
    if not isinstance(item, (Number, Measure)) or (function == "sum" and is_point(item)):
        raise Wrong(f"`{function}` takes a list of numbers, not of {plural(item)}")
    return NUMBER if function == "mean" and isinstance(item, Number) else item


def describe_fields(record: Record) -> str:
    """The fields of a record, for a mend."""
    return ", ".join(sorted(record.fields)[:12])
