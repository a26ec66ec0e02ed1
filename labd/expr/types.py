"""Static types of expressions: numbers, quantities by dimension, booleans, texts, lists, records.

A dimension is pint's vector of exponents, so that products and quotients have one too. Values are floats in the
dimension's default unit; a dimension without a name is in SI base units. `°C` is a point on a scale, `K` a difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from labd.sdk import units
from labd.sdk.unit_table import BASES

Vector: TypeAlias = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Dimension:
    """What a quantity measures.

    Args:
        vector: exponents of the base dimensions, sorted; empty for a plain number and for a fraction.
        unit: the unit of its values.
        scale: one `unit` in SI base units.
        name: `force`; empty when it has none.
        kind: `point` is a temperature in °C: points can be compared and subtracted, not added or multiplied.
    """

    vector: Vector
    unit: str
    scale: float
    name: str = ""
    kind: Literal["plain", "point", "fraction"] = "plain"

    def __str__(self) -> str:
        return self.name or f"quantity in {self.unit}"


@dataclass(frozen=True, slots=True)
class Number:
    """A number without a unit."""

    integer: bool = False

    def __str__(self) -> str:
        return "whole number" if self.integer else "number"


@dataclass(frozen=True, slots=True)
class Measure:
    """A quantity."""

    dimension: Dimension

    def __str__(self) -> str:
        return str(self.dimension)


@dataclass(frozen=True, slots=True)
class Boolean:
    """True or false."""

    def __str__(self) -> str:
        return "true or false"


@dataclass(frozen=True, slots=True)
class Text:
    """A text; one of `choices` where they are known; `names` says what of, `place` or `material`."""

    choices: tuple[str, ...] = ()
    names: Literal["", "place", "source", "material"] = ""

    def __str__(self) -> str:
        return f"one of {', '.join(self.choices[:8])}" if self.choices else self.names or "text"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one type."""

    item: Type

    def __str__(self) -> str:
        return f"list of {plural(self.item)}"


@dataclass(frozen=True, slots=True)
class Record:
    """Named fields: the result of an action, a role's signals."""

    name: str
    fields: Mapping[str, Type] = field(hash=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Anything:
    """Not known before the run, or already reported as wrong: it fits everywhere."""

    def __str__(self) -> str:
        return "anything"


Type: TypeAlias = Number | Measure | Boolean | Text | ListOf | Record | Anything

NUMBER, INTEGER, BOOLEAN, TEXT, ANYTHING = Number(), Number(integer=True), Boolean(), Text(), Anything()


def plural(found: Type) -> str:
    """`forces`, `numbers`."""
    text = str(found)
    return text if isinstance(found, (Boolean, Anything)) or "one of" in text else f"{text}s"


def an(found: Type) -> str:
    """The type with its article: `a force`, `an energy`, `true or false`."""
    text = str(found)
    if isinstance(found, (Boolean, Anything)) or text == "text" or text.startswith("one of"):
        return text
    return f"an {text}" if text[0] in "aeiou" else f"a {text}"


def _base(unit: str) -> tuple[Vector, float]:
    """A default unit's dimension, and its size in base units."""
    return BASES.get(unit) or (_vector(unit), _scale(unit))


def _vector(unit: str) -> Vector:
    exponents: dict[str, Any] = dict(units.registry.get_dimensionality(units.registry.parse_units(unit)))
    return tuple(sorted((name, float(power)) for name, power in exponents.items() if power))


def _scale(unit: str) -> float:
    return float(units.registry.Quantity(1.0, units.registry.parse_units(unit)).to_base_units().magnitude)


@lru_cache(maxsize=1)
def _named() -> dict[str, Dimension]:
    found: dict[str, Dimension] = {}
    for name, unit in units.DEFAULT_UNITS.items():
        if name == "temperature":
            found[name] = Dimension(_base("K")[0], unit, 1.0, name, "point")
        else:
            kind: Literal["plain", "fraction"] = "fraction" if name == "fraction" else "plain"
            vector, scale = _base(unit)
            found[name] = Dimension(vector, unit, scale, name, kind)
    return found


@lru_cache(maxsize=1)
def _by_vector() -> dict[Vector, Dimension]:
    return {known.vector: known for known in reversed(_named().values()) if known.kind == "plain"}


def measure(unit: str) -> Measure:
    """The type of quantities in a unit. Raises labd.sdk.UnitError for an unknown one."""
    return Measure(_named()[units.unit(unit).dimension])


def dimensioned(name: str) -> Measure:
    """The type of quantities of a named dimension, such as `duration`."""
    return Measure(_named()[name])


@lru_cache(maxsize=256)
def of_vector(vector: Vector) -> Type:
    """The type of a product or quotient: a number, a named dimension, or one in SI base units."""
    if not vector:
        return NUMBER
    named = _by_vector().get(vector)
    if named is not None:
        return Measure(named)
    return Measure(Dimension(vector, "·".join(_power(name, power) for name, power in vector), 1.0))


_BASE = {
    "[length]": "m",
    "[mass]": "kg",
    "[time]": "s",
    "[current]": "A",
    "[temperature]": "K",
    "[substance]": "mol",
    "[luminosity]": "cd",
}


def _power(name: str, power: float) -> str:
    base = _BASE.get(name, name.strip("[]"))
    return base if power == 1 else f"{base}^{power:g}"


def combine(left: Vector, right: Vector, sign: int) -> Vector:
    """The exponents of a product (sign 1) or quotient (sign -1)."""
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, 0.0) + sign * power
    return tuple(sorted((name, power) for name, power in powers.items() if abs(power) > 1e-9))


def accepts(wanted: Type, given: Type) -> bool:
    """Whether a value of one type may stand where the other is wanted."""
    match wanted, given:
        case (Anything(), _) | (_, Anything()):
            found = True
        case Number(), Number():
            found = given.integer or not wanted.integer
        case Measure(), Measure():
            first, second = wanted.dimension, given.dimension
            found = first.vector == second.vector and first.kind == second.kind
        case Text(), Text():
            found = not wanted.choices or not given.choices or set(given.choices) <= set(wanted.choices)
        case ListOf(), ListOf():
            found = accepts(wanted.item, given.item)
        case Record(), Record():
            found = wanted == given
        case _:
            found = isinstance(given, type(wanted))
    return found
