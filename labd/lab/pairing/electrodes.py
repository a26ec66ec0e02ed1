"""Tables of electrodes: what each weighs and is made of, and so what it holds.

An electrode's capacity is given, or its areal capacity and area are, or it follows from its weight:
(mass - collector mass) x active fraction x specific capacity, where mass x coating fraction may stand for the first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labd.expr.spelling import did_you_mean
from labd.files.problems import InputErrors, Problem
from labd.files.tables import Row, read_table
from labd.sdk import UnitError, units

AREA, AREAL = "cm2", "mAh/cm2"
COLUMNS: Mapping[str, str] = {
    "id": "",
    "mass": "mg",
    "collector_mass": "mg",
    "coating_fraction": "1",
    "active_fraction": "1",
    "specific_capacity": "mAh/g",
    "areal_capacity": AREAL,
    "area": AREA,
    "capacity": "mAh",
    "position": "",
    "lot": "",
    "sample": "",
    "barcode": "",
}
"""The columns by name, with the unit that numbers without one are in where the header has none: `` is text."""

_FACTORS = {"cm2": 1.0, "mm2": 0.01, "mAh/cm2": 1.0, "uAh/cm2": 1e-3, "µAh/cm2": 1e-3, "1": 1.0, "%": 0.01}
_AREAS = {AREA: ("cm2", "mm2"), AREAL: ("mAh/cm2", "uAh/cm2", "µAh/cm2"), "1": ("1", "%")}
_HEADER = re.compile(r"(?P<name>[^\[(/]*?)\s*(?:[\[(](?P<in>[^\])]*)[\])]|/\s*(?P<per>\S.*))?\s*")
_VALUE = re.compile(r"(?P<number>[+-]?(?:\d+(?:[.]\d*)?|[.]\d+)(?:[eE][+-]?\d+)?)\s*(?P<unit>\S*)")
_WAYS = "give `capacity`, or `areal_capacity` and `area`, or `mass`, `collector_mass` and `specific_capacity`"


@dataclass(frozen=True, slots=True)
class Electrode:
    """One electrode.

    Args:
        id: its name in its table.
        capacity: mAh.
        active_mass: g, where it follows from the weight.
        specific_capacity: mAh/g, where it is given.
        position, lot, sample, barcode: as the table has them; the cell that is built of it takes the last two.
    """

    id: str
    capacity: float
    active_mass: float | None = None
    specific_capacity: float | None = None
    position: str = ""
    lot: str = ""
    sample: str = ""
    barcode: str = ""


def read_electrodes(path: Path) -> list[Electrode]:
    """All electrodes of a table, `.csv` or `.xlsx`; columns that begin with `#` are passed over.

    Raises:
        InputErrors: with all that is wrong in all rows, each with row, column and mend.
    """
    table = read_table(path)
    reading = _Reading(str(path))
    columns = reading.columns(table.columns)
    found = [reading.electrode(columns, row) for row in table.rows] if columns else []
    if reading.problems:
        raise InputErrors(reading.problems)
    return [one for one in found if one is not None]


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: its header as written, which it is from 1, and the unit of its numbers."""

    header: str
    number: int
    unit: str


@dataclass(slots=True)
class _Reading:
    """One table as it is read, with all that is wrong with it."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    first: dict[tuple[str, str], int] = field(default_factory=dict)  # the row of a value that may stand only once

    def tell(self, code: str, message: str, row: int, column: int, mend: str) -> None:
        self.problems.append(Problem(code, message, self.file, row, column, mend=mend))

    # ── the header ───────────────────────────────────────────────────────────────────────────────────────────────
    def columns(self, headers: Sequence[str]) -> dict[str, _Column]:
        """By name; nothing where they do not hold."""
        before, found = len(self.problems), dict[str, _Column]()
        for number, text in enumerate(headers, 1):
            if text.startswith("#"):
                continue
            parts = _HEADER.fullmatch(text)
            name = re.sub(r"[\W_]+", "_", (parts["name"] if parts else text).casefold()).strip("_")
            unit = ((parts["in"] or parts["per"] or "") if parts else "").strip()
            if name not in COLUMNS:
                mend = f"{did_you_mean(name, COLUMNS, 'the columns are')} (a note begins with `#`)"
                self.tell("T102", f"column `{text}`: unknown", 1, number, mend)
            elif name in found:
                self.tell("T102", f"column `{name}` stands twice", 1, number, "delete one of them")
            elif unit and _factor(unit, COLUMNS[name]) is None:
                mend = f"write `{name} [{COLUMNS[name]}]`" if COLUMNS[name] else f"write `{name}`"
                self.tell("T102", f"column `{text}`: {unit} is no unit of `{name}`", 1, number, mend)
            else:
                found[name] = _Column(text, number, unit or COLUMNS[name])
        if "id" not in found and len(self.problems) == before:
            self.tell("T102", "the column `id` is missing", 1, 0, "give each electrode a name of its own")
        return found if len(self.problems) == before else {}

    # ── one row ──────────────────────────────────────────────────────────────────────────────────────────────────
    def electrode(self, columns: Mapping[str, _Column], line: Row) -> Electrode | None:
        before = len(self.problems)
        row = line.number
        texts = {name: str(line.cells.get(one.header) or "") for name, one in columns.items()}
        values = {
            name: value
            for name, one in columns.items()
            if COLUMNS[name] and (value := self._number(name, texts[name], one, row)) is not None
        }
        self._named(columns, texts, row)
        if len(self.problems) > before:
            return None
        mass = self._active_mass(values, columns, row)
        capacity = self._capacity(values, mass, columns, row) if len(self.problems) == before else None
        if capacity is None:
            return None
        words = {name: texts.get(name, "") for name in ("position", "lot", "sample", "barcode")}
        return Electrode(texts["id"], capacity, mass, values.get("specific_capacity"), **words)

    def _named(self, columns: Mapping[str, _Column], texts: Mapping[str, str], row: int) -> None:
        if not texts["id"]:
            self.tell("T103", f"row {row}, column `id`: it is empty", row, columns["id"].number, "give it a name")
        for name in ("id", "position", "sample", "barcode"):
            text = texts.get(name)
            if not text:
                continue
            other = self.first.setdefault((name, text), row)
            if other != row:
                said = f"row {row}, column `{name}`: {text!r} stands in row {other} too"
                self.tell("T104", said, row, columns[name].number, "give each its own")

    def _number(self, name: str, text: str, column: _Column, row: int) -> float | None:
        """In the column's own unit, as in COLUMNS; None where nothing stands, or nothing that holds."""
        if not text:
            return None
        where, own = f"row {row}, column `{name}`", COLUMNS[name]
        parts = _VALUE.fullmatch(text)
        factor = _factor(parts["unit"] or column.unit, own) if parts is not None else None
        if parts is None or factor is None:
            mend = f"write a number, or one with a unit: `12.3 {own}`" if own != "1" else "write `0.92` or `92 %`"
            self.tell("T103", f"{where}: {text[:40]!r} is no {name.replace('_', ' ')}", row, column.number, mend)
            return None
        value = float(parts["number"]) * factor
        most = 1.0 if own == "1" else float("inf")
        least_ok = value > 0 or (name == "collector_mass" and value == 0)
        if not (least_ok and value <= most and value < float("inf")):
            mend = "it lies between 0 and 1" if own == "1" else "it is above 0"
            self.tell("T103", f"{where}: {text} cannot be", row, column.number, mend)
            return None
        return value

    def _active_mass(self, values: Mapping[str, float], columns: Mapping[str, _Column], row: int) -> float | None:
        """g, from the weight; None where it is not weighed, or what the collector weighs is not said."""
        mass, collector, coating = (values.get(name) for name in ("mass", "collector_mass", "coating_fraction"))
        if mass is None or (collector is None and coating is None):
            return None
        if collector is not None and coating is not None:
            said = f"row {row}: `collector_mass` and `coating_fraction` say the same twice"
            self.tell("T103", said, row, columns["coating_fraction"].number, "leave one of the two empty")
            return None
        coat = mass - collector if collector is not None else mass * (coating or 0.0)
        if coat <= 0:
            said = f"row {row}, column `mass`: {mass:g} mg is not more than the bare collector, {collector:g} mg"
            self.tell("T103", said, row, columns["mass"].number, "weigh it again; is the collector's mass right?")
            return None
        return coat * values.get("active_fraction", 1.0) * 1e-3

    def _capacity(
        self,
        values: Mapping[str, float],
        mass: float | None,
        columns: Mapping[str, _Column],
        row: int,
    ) -> float | None:
        """mAh; the most direct of what is given."""
        if "capacity" in values:
            return values["capacity"]
        if "areal_capacity" in values and "area" in values:
            return values["areal_capacity"] * values["area"]
        if mass is not None and "specific_capacity" in values:
            return mass * values["specific_capacity"]
        part = self._missing(values)
        column = columns[part].number if part in columns else 0
        self.tell("T103", f"row {row}, column `{part}`: it is needed for the capacity", row, column, _WAYS)
        return None

    def _missing(self, values: Mapping[str, float]) -> str:
        """What is missing on the way that a row has begun."""
        if "areal_capacity" in values or ("area" in values and "mass" not in values):
            return "area" if "areal_capacity" in values else "areal_capacity"
        if "mass" not in values:
            return "mass" if "specific_capacity" in values else "capacity"
        if "collector_mass" not in values and "coating_fraction" not in values:
            return "collector_mass"
        return "specific_capacity"


def _factor(unit: str, own: str) -> float | None:
    """What brings numbers in a unit to the column's own; None where it is no unit of it."""
    unit = unit.replace("²", "2").replace("^", "")
    if own in _AREAS:
        return _FACTORS[unit] if unit in _AREAS[own] else None
    if not own:
        return None
    try:
        return units.convert(1.0, unit, own)
    except UnitError:
        return None
