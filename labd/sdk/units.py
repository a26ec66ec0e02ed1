"""Quantities: a number with its unit, one pint registry, and one default unit a dimension.

Inside labd a value of a known dimension is a float in that dimension's default unit (`7.8` kN, `35` µL). At every
boundary (YAML, journal, MQTT, REST) it carries its unit: `7.8 kN` for people, `{"v": 7.8, "u": "kN"}` for programs.
"""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from labd.sdk.unit_table import KNOWN

if TYPE_CHECKING:
    import pint


class _Registry:
    """pint's, loaded where it is asked first: it takes a tenth of a start, and the units that labs write are known."""

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._loaded: pint.UnitRegistry[float] | None = None

    def __getattr__(self, name: str) -> Any:
        with self._loading:  # a unit of one registry is none of another's
            if self._loaded is None:
                import pint

                self._loaded = pint.UnitRegistry(cache_folder=None)
        return getattr(self._loaded, name)


registry = cast("pint.UnitRegistry[float]", _Registry())

# One default unit a dimension. `degC` is a point on a scale, `K` a difference: two dimensions to us, one to pint.
DEFAULT_UNITS: dict[str, str] = {
    "duration": "s",
    "volume": "µL",
    "force": "kN",
    "voltage": "V",
    "current": "A",
    "resistance": "Ω",
    "frequency": "Hz",
    "mass": "g",
    "temperature": "°C",
    "temperature difference": "K",
    "length": "mm",
    "charge": "mAh",
    "scan rate": "V/s",
    "flow rate": "µL/s",
    "speed": "mm/s",
    "concentration": "mol/L",
    "molality": "mol/kg",
    "density": "g/cm^3",
    "pressure": "mbar",
    "conductivity": "mS/cm",
    "viscosity": "mPa*s",
    "power": "W",
    "energy": "Wh",
    "specific charge": "mAh/g",
    "fraction": "ppm",
}

_PREFIXES = frozenset({"", "femto", "pico", "nano", "micro", "milli", "centi", "deci", "kilo", "mega", "giga"})
_MORE_PREFIXES = frozenset({("hecto", "pascal"), ("deca", "newton")})
_BARE = frozenset({"minute", "hour", "day", "week", "month", "year"})

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
# Names with one-digit exponents, joined by * and /: anything freer lets `m^9^9^9` keep pint busy for ever.
_UNIT_NAME = r"[A-Za-zµμΩΩ°%][A-Za-z0-9µμΩΩ°%]{0,23}(?:(?:\^|\*\*)-?[1-9])?"
_UNIT = rf"{_UNIT_NAME}(?:[*/·]{_UNIT_NAME}){{0,4}}"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*({_UNIT})\s*")
_UNIT_ONLY = re.compile(_UNIT)


class UnitError(ValueError):
    """A text that is no quantity, an unknown unit, or a unit of another dimension."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as written, with what turns it into its dimension's default unit: `default = value * factor + offset`."""

    text: str
    dimension: str
    default: str
    factor: float
    offset: float


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in the default unit of its dimension, or in the unit given."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.value:.6g} {self.unit}"

    def to(self, unit: str) -> float:
        """The number in another unit. Raises UnitError when the dimensions differ."""
        return convert(self.value, self.unit, unit)


def _dimension_key(unit: object) -> str:
    exponents: dict[str, float] = dict(registry.get_dimensionality(unit))  # type: ignore[arg-type]
    # pint tells an exponent as 1 or as 1.0, by what it has converted before
    return str(sorted((name, float(power)) for name, power in exponents.items()))


@lru_cache(maxsize=1)
def _dimensions() -> dict[str, str]:
    keys: dict[str, str] = {}
    for name, default in DEFAULT_UNITS.items():
        keys.setdefault(_dimension_key(registry.parse_units(default)), name)
    return keys


def _is_usual(name: str) -> bool:
    """Whether somebody would write it: pint also takes hectohours (`hh`) and quectoseconds, which are slips."""
    prefix, base, _ = registry.parse_unit_name(name)[0]
    return (prefix in _PREFIXES and not (prefix and base in _BARE)) or (prefix, base) in _MORE_PREFIXES


@lru_cache(maxsize=512)
def unit(text: str) -> Unit:
    """Looks a unit up: its dimension by name, and its conversion to that dimension's default unit.

    Raises:
        UnitError: unknown, or of a dimension that labd has no name for.
    """
    if text in KNOWN:
        dimension, factor, offset = KNOWN[text]
        return Unit(text, dimension, DEFAULT_UNITS[dimension], factor, offset)
    return _looked_up(text)


def _looked_up(text: str) -> Unit:
    """What pint says of a unit."""
    if not _UNIT_ONLY.fullmatch(text):
        raise UnitError(f"{text!r} is no unit")
    try:
        parsed = registry.parse_units(text.replace("·", "*"))
        key = _dimension_key(parsed)
    except Exception as error:  # pint raises a dozen kinds, tokenizer errors among them
        raise UnitError(f"unknown unit {text!r}") from error
    if not all(_is_usual(name) for name, _ in registry.Quantity(1.0, parsed).unit_items()):
        raise UnitError(f"unknown unit {text!r}")
    dimension = _dimensions().get(key)
    if dimension is None:
        raise UnitError(f"{text!r} is of a dimension that labd does not use ({registry.get_dimensionality(parsed)})")
    if dimension == "temperature" and str(parsed) in {"kelvin", "delta_degree_Celsius", "millikelvin"}:
        dimension = "temperature difference"
        default = DEFAULT_UNITS[dimension]
        return Unit(text, dimension, default, float(registry.Quantity(1.0, parsed).to("kelvin").magnitude), 0.0)
    default = DEFAULT_UNITS[dimension]
    target = registry.parse_units(default)
    zero = float(registry.Quantity(0.0, parsed).to(target).magnitude)
    one = float(registry.Quantity(1.0, parsed).to(target).magnitude)
    return Unit(text, dimension, default, one - zero, zero)


def convert(value: float, source: str, target: str) -> float:
    """A number from one unit to another of the same dimension. Raises UnitError when they differ."""
    if source == target:
        return value
    have, want = unit(source), unit(target)
    if have.dimension != want.dimension:
        raise UnitError(f"{source} is a {have.dimension}, {target} a {want.dimension}")
    return (value * have.factor + have.offset - want.offset) / want.factor


def parse(text: str, like: str = "µL") -> Quantity:
    """Reads `35 µL`, `7.8 kN`, `1e-3 mol/L`, `25 degC`; gives the value in the dimension's default unit.

    Args:
        text: as people write it.
        like: the unit that an error gives as an example.

    Raises:
        UnitError: no number, no unit, an unknown unit, or a number that is not finite.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        if re.fullmatch(rf"\s*{_NUMBER}\s*", text):
            raise UnitError(f"{text.strip()} needs a unit, such as `{text.strip()} {like}`")
        raise UnitError(f"{text!r} is no quantity; write a number and a unit, such as `35 {like}`")
    found = unit(match[2])
    value = float(match[1]) * found.factor + found.offset
    if not math.isfinite(value):
        raise UnitError(f"{text!r} is not finite")
    # 35 µL must be 35.0, not 34.99999999999999: conversion factors carry rounding, people's numbers do not
    return Quantity(float(f"{value:.12g}"), found.default)


def plain(value: float, unit_text: str) -> str:
    """A quantity as people write it: six significant digits, scaled to the SI prefix that reads best."""
    if not math.isfinite(value):
        return f"{value} {unit_text}"
    if unit_text == "s":
        return _plain_duration(value)
    scales = _SCALES.get(unit_text)
    if scales and value:
        prefixed, size = next((entry for entry in scales if abs(value) >= entry[1]), scales[-1])
        return f"{value / size:.4g} {prefixed}"
    return f"{value:.4g} {unit_text}"


_SCALES: dict[str, tuple[tuple[str, float], ...]] = {
    "A": (("A", 1.0), ("mA", 1e-3), ("µA", 1e-6), ("nA", 1e-9), ("pA", 1e-12)),
    "V": (("V", 1.0), ("mV", 1e-3), ("µV", 1e-6)),
    "kN": (("kN", 1.0), ("N", 1e-3)),
    "Hz": (("MHz", 1e6), ("kHz", 1e3), ("Hz", 1.0), ("mHz", 1e-3)),
    "g": (("g", 1.0), ("mg", 1e-3), ("µg", 1e-6)),
}


def _plain_duration(seconds: float) -> str:
    if abs(seconds) < 120:
        return f"{seconds:.4g} s"
    if abs(seconds) < 7200:
        return f"{seconds / 60:.4g} min"
    return f"{seconds / 3600:.4g} h"
