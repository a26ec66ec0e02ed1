"""Values in a protocol: literals and `=expressions`, brought to the type that belongs there."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from labd.expr import (
    BOOLEAN,
    Anything,
    Boolean,
    Expression,
    ListOf,
    Measure,
    Number,
    Text,
    Type,
    Values,
    accepts,
    an,
    did_you_mean,
)
from labd.expr.nodes import ListLiteral
from labd.files.source import Path
from labd.protocol.messages import Argument
from labd.sdk import Bounds, Quantity, UnitError, units

_SEXAGESIMAL = re.compile(r"\d+:\d\d(:\d\d)?")


class BadValue(Exception):
    """A literal that does not fit: which code, what, and how to mend it."""

    def __init__(self, code: str, message: str, mend: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.mend = mend


FREE = Bounds()
"""No bounds."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A value of known type: fixed, or an expression for when the run gets there; `path` is where it stands."""

    type: Type
    fixed: Any = None
    expression: Expression | None = None
    bounds: Bounds = FREE
    path: Path = ()

    def __call__(self, values: Values) -> Any:
        """The value, in its dimension's default unit. Raises ExpressionError when it has none now."""
        return self.fixed if self.expression is None else self.expression(values)

    @property
    def count(self) -> int | None:
        """How many items a list has, also one of expressions, `=[lid, base]`; None where only the run knows."""
        if self.expression is not None:
            node = self.expression.node
            return len(node.items) if isinstance(node, ListLiteral) else None
        return len(self.fixed) if isinstance(self.fixed, list) else None


def expression_of(raw: object) -> str | None:
    """The expression in `=expression`, or None for a literal."""
    return raw[1:] if isinstance(raw, str) and raw.startswith("=") else None


def example(kind: Type) -> str:
    """A value that somebody could write, for a mend; `…` for a text that only the lab knows."""
    if isinstance(kind, Measure):
        return f"1 {kind.dimension.unit}"
    if isinstance(kind, Text):
        return kind.choices[0] if kind.choices else "…"
    return "true" if accepts(kind, BOOLEAN) else "1"


def argument(value: Any, kind: Type) -> Argument:
    """A value on its way to a device: quantities carry their unit."""
    if isinstance(kind, Measure):
        return Quantity(float(value), kind.dimension.unit)
    if isinstance(kind, ListOf) and isinstance(value, (list, tuple)):
        return [argument(item, kind.item) for item in value]
    if isinstance(kind, Number) and kind.integer and isinstance(value, float) and value.is_integer():
        return int(value)
    return value  # type: ignore[no-any-return]


def literal(raw: Any, wanted: Type) -> Any:
    """A literal as a value of a type: a float in the default unit, a number, a boolean, a text, a list.

    Raises:
        BadValue: it is of another type or dimension.
    """
    if raw is None:
        raise BadValue("P206", f"{an(wanted)} is missing here", "write a value, or delete the key")
    match wanted:
        case Measure():
            return _quantity(raw, wanted)
        case Number():
            return _number(raw, wanted)
        case Boolean():
            return _boolean(raw)
        case Text():
            return _text(raw, wanted)
        case ListOf():
            if not isinstance(raw, list):
                raise BadValue("P206", f"{an(wanted)} belongs here, not `{_shown(raw)}`", f"write `[{_shown(raw)}]`")
            return [literal(item, wanted.item) for item in raw]
        case Anything():
            return _plain(raw)
    raise BadValue("P206", f"{an(wanted)} cannot be written here")


def _plain(raw: Any) -> Any:
    """A value without what it remembers of how it was written."""
    if isinstance(raw, bool) or raw is None:
        return raw
    if isinstance(raw, int):
        return int(raw)
    if isinstance(raw, float):
        return float(raw)
    if isinstance(raw, list):
        return [_plain(item) for item in raw]
    if isinstance(raw, dict):
        return {str(key): _plain(item) for key, item in raw.items()}
    return raw


def _shown(raw: Any) -> str:
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, dict):
        return "{…}"
    if isinstance(raw, list):
        return f"[{', '.join(_shown(item) for item in raw[:4])}{', …' if len(raw) > 4 else ''}]"
    return str(getattr(raw, "text", raw))[:60]


def _quantity(raw: Any, wanted: Measure) -> float:
    unit = wanted.dimension.unit
    if isinstance(raw, Quantity):
        raw = f"{raw.value!r} {raw.unit}"
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        raise BadValue("P207", f"{_shown(raw)} needs a unit", f"write `{_shown(raw)} {unit}`, if that is what is meant")
    if not isinstance(raw, str):
        raise BadValue("P206", f"{an(wanted)} belongs here, not `{_shown(raw)}`", f"write it as `1 {unit}`")
    if _SEXAGESIMAL.fullmatch(raw.strip()):
        raise BadValue("P206", f"`{raw}` is no {wanted}: a clock's colon is read in two ways", _clock(raw.strip()))
    try:
        found = units.parse(raw)
        dimension = units.unit(found.unit).dimension
    except UnitError as error:
        raise BadValue("P207", without_example(error), _unit_mend(raw, wanted)) from None
    if found.unit != unit:
        mend = f"{an(wanted)} is written in {unit}"
        if {dimension, wanted.dimension.name} == {"temperature", "temperature difference"}:
            mend = "a temperature is written in °C, a difference of two in K"
        raise BadValue("P207", f"`{raw.strip()}` is a {dimension}, and {an(wanted)} belongs here", mend)
    return found.value


def without_example(error: UnitError) -> str:
    """What is wrong with a quantity, without an example of any dimension: the mend has one of the right one."""
    return re.split(r"; write a|, such as", str(error), maxsplit=1)[0]


def _clock(raw: str) -> str:
    parts = [int(part) for part in raw.split(":")]
    seconds = parts[0] * 60 + parts[1] if len(parts) == 2 else parts[0] * 3600 + parts[1] * 60 + parts[2]
    return f"write `{seconds} s`, or `{parts[0]} min` and the like"


def _unit_mend(raw: str, wanted: Measure) -> str:
    _, _, given = raw.strip().partition(" ")
    if given:
        near = did_you_mean(given, _UNITS.get(wanted.dimension.name, (wanted.dimension.unit,)), "")
        if near.startswith("did you mean"):
            return near
    return f"{an(wanted)} is written like `1 {wanted.dimension.unit}`"


_UNITS: dict[str, tuple[str, ...]] = {
    "duration": ("s", "ms", "min", "h", "day"),
    "volume": ("µL", "uL", "mL", "L"),
    "force": ("kN", "N", "mN"),
    "voltage": ("V", "mV", "µV"),
    "current": ("A", "mA", "µA", "nA"),
    "charge": ("mAh", "Ah", "µAh", "C"),
    "frequency": ("Hz", "kHz", "MHz", "mHz"),
}


def _number(raw: Any, wanted: Number) -> float:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        mend = ""
        if isinstance(raw, str):
            try:
                units.parse(raw)
                mend = "it has no unit here"
            except UnitError:
                mend = "a text that looks like a number loses its quotes" if raw.strip().isdigit() else ""
        raise BadValue("P206", f"{an(wanted)} belongs here, not `{_shown(raw)}`", mend)
    if not math.isfinite(raw):
        raise BadValue("P206", f"a finite number belongs here, not `{_shown(raw)}`")
    if wanted.integer:
        if float(raw) != int(raw):
            raise BadValue("P206", f"a whole number belongs here, not `{_shown(raw)}`")
        return int(raw)
    return _plain(raw)  # type: ignore[no-any-return]


def _boolean(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    word = _shown(raw).casefold()
    mend = "write `true` or `false`"
    if word in ("yes", "on", "y", "1"):
        mend = "write `true`"
    elif word in ("no", "off", "n", "0"):
        mend = "write `false`"
    raise BadValue("P206", f"true or false belongs here, not `{_shown(raw)}`", mend)


def _text(raw: Any, wanted: Text) -> str:
    if isinstance(raw, (bool, dict, list)):
        raise BadValue("P206", f"{an(wanted)} belongs here, not `{_shown(raw)}`", "quote it if a text is meant")
    text = str(getattr(raw, "text", raw))
    if wanted.choices and text not in wanted.choices:
        mend = did_you_mean(text, wanted.choices, "it is one of")
        raise BadValue("P206", f"`{text[:60]}` does not belong here", mend)
    return text


def out_of_bounds(value: Any, kind: Type, bounds: Bounds) -> str | None:
    """What is wrong with a number by its bounds, in words, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return bounds.problem(float(value), kind.dimension.unit if isinstance(kind, Measure) else "")
