"""Tables of electrodes: what each weighs and is made of, and so what it holds.

An electrode's capacity is given, or its areal capacity and area are, or it follows from its weight:
(mass - collector mass) x active fraction x specific capacity, where mass x coating fraction may stand for the first.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labd.expr.spelling import did_you_mean
from labd.files.problems import InputErrors, Problem
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
_LARGEST = 5_000_000  # bytes
_WAYS = "give `capacity`, or `areal_capacity` and `area`, or `mass`, `collector_mass` and `specific_capacity`"

Tell = Callable[[str, str, int, int, str], None]
"""code, message, row, column, mend."""


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
    """All electrodes of a table, a CSV with a header; columns that begin with `#` are passed over.

    Raises:
        InputErrors: with all that is wrong in all rows, each with row, column and mend.
    """
    text = _read(path)
    reading = _Reading(str(path))
    lines = list(_lines(text))
    if len(lines) < 2:
        raise InputErrors(
            [Problem("T201", "the table has no rows", str(path), mend="a header, and a row an electrode")]
        )
    (number, header), *rows = lines
    columns = reading.columns(header, number)
    found = [reading.electrode(columns, cells, row) for row, cells in rows] if columns else []
    if reading.problems:
        raise InputErrors(reading.problems)
    return [one for one in found if one is not None]


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise InputErrors([Problem("P105", f"the table has more than {_LARGEST} bytes", str(path))])
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        mend = "is its name right?"
        raise InputErrors([Problem("P101", f"it cannot be read: {error.strerror}", str(path), mend=mend)]) from error
    except UnicodeDecodeError as error:
        mend = "save it as CSV in UTF-8"
        raise InputErrors([Problem("P101", "it is no text in UTF-8", str(path), mend=mend)]) from error


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with their numbers in the file; what separates cells is what the header has most of."""
    head = text.partition("\n")[0]
    mark = max(",;\t", key=head.count)
    rows = csv.reader(io.StringIO(text), delimiter=mark)
    for cells in rows:
        if any(cell.strip() for cell in cells):
            # a decimal comma can only stand where commas do not part cells
            yield rows.line_num, [_point(cell.strip()) if mark != "," else cell.strip() for cell in cells]


def _point(cell: str) -> str:
    return re.sub(r"^([+-]?\d+),(\d+)", r"\1.\2", cell)


@dataclass(slots=True)
class _Reading:
    """One table as it is read, with all that is wrong with it."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    first: dict[tuple[str, str], int] = field(default_factory=dict)  # the row of a value that may stand only once

    def tell(self, code: str, message: str, row: int, column: int, mend: str) -> None:
        self.problems.append(Problem(code, message, self.file, row, column, mend=mend))

    # ── the header ───────────────────────────────────────────────────────────────────────────────────────────────
    def columns(self, header: Sequence[str], row: int) -> dict[str, tuple[int, str]]:
        """By name: which column, from 0, and the unit of its numbers; nothing where they do not hold."""
        before, found = len(self.problems), dict[str, tuple[int, str]]()
        for index, text in enumerate(header):
            if text.startswith("#") or not text:
                continue
            parts = _HEADER.fullmatch(text)
            name = re.sub(r"[\W_]+", "_", (parts["name"] if parts else text).casefold()).strip("_")
            unit = ((parts["in"] or parts["per"] or "") if parts else "").strip()
            if name not in COLUMNS:
                mend = f"{did_you_mean(name, COLUMNS, 'the columns are')} (a note begins with `#`)"
                self.tell("T201", f"column `{text}`: unknown", row, index + 1, mend)
            elif name in found:
                self.tell("T201", f"column `{name}` stands twice", row, index + 1, "delete one of them")
            elif unit and _factor(unit, COLUMNS[name]) is None:
                mend = f"write `{name} [{COLUMNS[name]}]`" if COLUMNS[name] else f"write `{name}`"
                self.tell("T201", f"column `{text}`: {unit} is no unit of `{name}`", row, index + 1, mend)
            else:
                found[name] = index, unit or COLUMNS[name]
        if "id" not in found and len(self.problems) == before:
            self.tell("T201", "the column `id` is missing", row, 0, "give each electrode a name of its own")
        return found if len(self.problems) == before else {}

    # ── one row ──────────────────────────────────────────────────────────────────────────────────────────────────
    def electrode(self, columns: Mapping[str, tuple[int, str]], cells: Sequence[str], row: int) -> Electrode | None:
        before = len(self.problems)
        texts = {name: cells[at] if at < len(cells) else "" for name, (at, _) in columns.items()}
        values = {
            name: value
            for name, (at, unit) in columns.items()
            if COLUMNS[name] and (value := self._number(name, texts[name], unit, row, at + 1)) is not None
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

    def _named(self, columns: Mapping[str, tuple[int, str]], texts: Mapping[str, str], row: int) -> None:
        if not texts["id"]:
            self.tell("T202", f"row {row}, column `id`: it is empty", row, columns["id"][0] + 1, "give it a name")
        for name in ("id", "position", "sample", "barcode"):
            text = texts.get(name)
            if not text:
                continue
            other = self.first.setdefault((name, text), row)
            if other != row:
                said = f"row {row}, column `{name}`: {text!r} stands in row {other} too"
                self.tell("T202", said, row, columns[name][0] + 1, "give each its own")

    def _number(self, name: str, text: str, unit: str, row: int, column: int) -> float | None:
        """In the column's own unit, as in COLUMNS; None where nothing stands, or nothing that holds."""
        if not text:
            return None
        where, own = f"row {row}, column `{name}`", COLUMNS[name]
        parts = _VALUE.fullmatch(text)
        factor = _factor(parts["unit"] or unit, own) if parts is not None else None
        if parts is None or factor is None:
            mend = f"write a number, or one with a unit: `12.3 {own}`" if own != "1" else "write `0.92` or `92 %`"
            self.tell("T202", f"{where}: {text[:40]!r} is no {name.replace('_', ' ')}", row, column, mend)
            return None
        value = float(parts["number"]) * factor
        most = 1.0 if own == "1" else float("inf")
        least_ok = value > 0 or (name == "collector_mass" and value == 0)
        if not (least_ok and value <= most and value < float("inf")):
            mend = "it lies between 0 and 1" if own == "1" else "it is above 0"
            self.tell("T202", f"{where}: {text} cannot be", row, column, mend)
            return None
        return value

    def _active_mass(
        self, values: Mapping[str, float], columns: Mapping[str, tuple[int, str]], row: int
    ) -> float | None:
        """g, from the weight; None where it is not weighed, or what the collector weighs is not said."""
        mass, collector, coating = (values.get(name) for name in ("mass", "collector_mass", "coating_fraction"))
        if mass is None or (collector is None and coating is None):
            return None
        if collector is not None and coating is not None:
            said = f"row {row}: `collector_mass` and `coating_fraction` say the same twice"
            self.tell("T202", said, row, columns["coating_fraction"][0] + 1, "leave one of the two empty")
            return None
        coat = mass - collector if collector is not None else mass * (coating or 0.0)
        if coat <= 0:
            said = f"row {row}, column `mass`: {mass:g} mg is not more than the bare collector, {collector:g} mg"
            self.tell("T202", said, row, columns["mass"][0] + 1, "weigh it again; is the collector's mass right?")
            return None
        return coat * values.get("active_fraction", 1.0) * 1e-3

    def _capacity(
        self,
        values: Mapping[str, float],
        mass: float | None,
        columns: Mapping[str, tuple[int, str]],
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
        column = columns[part][0] + 1 if part in columns else 0
        self.tell("T202", f"row {row}, column `{part}`: it is needed for the capacity", row, column, _WAYS)
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
