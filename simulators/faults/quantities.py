"""Numbers with units in a file of faults. Small on purpose: simulators know nothing of labd's own units."""

from __future__ import annotations

import re

_UNITS: dict[str, tuple[str, float]] = {  # kind, and how many of the kind's first one
    "s": ("time", 1.0),
    "ms": ("time", 1e-3),
    "min": ("time", 60.0),
    "h": ("time", 3600.0),
    "d": ("time", 86400.0),
    "g": ("mass", 1.0),
    "mg": ("mass", 1e-3),
    "µg": ("mass", 1e-6),
    "kg": ("mass", 1e3),
    "N": ("force", 1.0),
    "kN": ("force", 1e3),
    "K": ("temperature", 1.0),
    "mK": ("temperature", 1e-3),
    "V": ("voltage", 1.0),
    "mV": ("voltage", 1e-3),
    "A": ("current", 1.0),
    "mA": ("current", 1e-3),
    "µA": ("current", 1e-6),
    "L": ("volume", 1e6),
    "mL": ("volume", 1e3),
    "µL": ("volume", 1.0),
    "uL": ("volume", 1.0),
    "mm": ("length", 1.0),
    "µm": ("length", 1e-3),
    "bar": ("pressure", 1e5),
    "mbar": ("pressure", 1e2),
    "Pa": ("pressure", 1.0),
    "%": ("share", 1e-2),
    "ppm": ("share", 1e-6),
    "1": ("share", 1.0),
}
_QUANTITY = re.compile(r"\s*(?P<number>[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)\s*(?P<unit>\S.*?)?\s*")


class QuantityError(ValueError):
    """A text that is no such quantity.

    Args:
        message: what is wrong with it.
        mend: what to write.
    """

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(f"{message}; {mend}")
        self.message = message
        self.mend = mend


def _like(unit: str) -> str:
    """The units of the same kind."""
    kind = _taken(unit)[0]
    if len(kind) > 1:
        return f"write it in {unit}"
    return f"there are {', '.join(one for one, (its, _) in _UNITS.items() if its == kind[0])}"


def amount(given: object, unit: str) -> float:
    """A quantity as a number of `unit`; `1` is no unit at all. Raises QuantityError.

    `amount("5 mg/h", "g/h")` is 0.005.
    """
    plain = unit == "1"
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        raise QuantityError("a quantity belongs here", f"write `1 {unit}`" if not plain else "write a number")
    found = _QUANTITY.fullmatch(str(given))
    if found is None:
        raise QuantityError(f"`{given}` is no quantity", f"write `1 {unit}`" if not plain else "write a number")
    number, written = float(found["number"]), found["unit"] or "1"
    if written == "1" and not plain:
        raise QuantityError(f"{found['number']} needs a unit", f"write `{found['number']} {unit}`")
    try:
        kind, factor = _taken(written)
    except QuantityError as error:
        raise QuantityError(error.message, _like(unit)) from None
    wanted, base = _taken(unit)
    if kind != wanted:
        raise QuantityError(f"`{given}` is of another kind than {unit}", f"write it in {unit}")
    return number * factor / base


def seconds(given: object) -> float:
    """A time, s. Raises QuantityError, also for one that is negative."""
    found = amount(given, "s")
    if found < 0:
        raise QuantityError(f"`{given}` lies in the past", "write a time from now on")
    return found


def _taken(unit: str) -> tuple[tuple[str, ...], float]:
    above, *below = unit.replace("μ", "µ").split("/")
    for one in (above, *below):
        if one not in _UNITS:
            raise QuantityError(f"there is no unit `{one}` here", f"there are {', '.join(_UNITS)}")
    factor = _UNITS[above][1]
    for one in below:
        factor /= _UNITS[one][1]
    return tuple(_UNITS[one][0] for one in (above, *below)), factor
