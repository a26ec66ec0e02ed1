"""A table of samples checked row by row against a protocol and a lab, before any of it is queued."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labd.expr import Measure, Text, did_you_mean
from labd.files import InputErrors, Problem
from labd.files.tables import Cell, Row
from labd.lab.samples import LONGEST_BARCODE
from labd.protocol import LabFacts, Protocol, check, compiled, needs
from labd.protocol.parameters import Declared, bind_parameters, parameter_types, told, value_of
from labd.protocol.program import Program
from labd.protocol.proofs.material import Needs
from labd.protocol.values import BadValue
from labd.run.needing import places_named
from labd.run.queue.columns import Column, Columns, columns_of
from labd.run.queue.shortages import SUPPLY
from labd.sdk import UnitError, units

NAME = re.compile(r"[a-z0-9_-]{1,64}")
MOST = 1000  # of a priority, up and down
OTHER_PLACE = "name another place, or wait until that one is free"
ALL_ROWS = 3
"""So many rows are named where a problem is of several."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to have made.

    Args:
        rows: one a sample; without a table, as many empty ones as samples are wanted.
        parameters: values for all rows.
        priority: of rows that say none.
        again: whether samples that the lab has already may be meant.
        file: what the table is called in messages; empty where there is none.
    """

    rows: Sequence[Row]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    again: bool = False
    file: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What a lab has already: samples, and why they are known; the samples of barcodes; where none can begin.

    `kept` says for whom a place is kept, given the sample for which is asked.
    """

    samples: Mapping[str, str] = field(default_factory=dict)
    barcode: Callable[[str], str | None] = lambda _: None
    no_cell: Callable[[str], tuple[str, str] | None] = lambda _: None
    kept: Callable[[str, str | None], str | None] = lambda *_: None


@dataclass(frozen=True, slots=True)
class Entry:
    """One row that holds. Parameters as `told` gives them, `needs` as a Job has them, the mass in g."""

    row: int
    sample: str | None
    barcode: str | None
    position: str | None
    priority: int
    active_mass: float | None
    about: Mapping[str, Cell]
    parameters: Mapping[str, Any]
    needs: Mapping[str, Any]
    places: tuple[str, ...] = ()
    columns: Mapping[str, Column] = field(default_factory=dict)  # the one that names a part's place, by the part


def check_rows(protocol: Protocol, asked: Asked, facts: LabFacts, known: Known) -> list[Entry]:
    """All rows, checked. It may take seconds: for a thread.

    Raises:
        InputErrors: with all that is wrong in all rows.
    """
    return _Checking(protocol, asked, facts, known).entries()


@dataclass(slots=True)
class _Checking:
    protocol: Protocol
    asked: Asked
    facts: LabFacts
    known: Known
    problems: list[Problem] = field(default_factory=list)
    program: Program | None = None
    sound: bool = True  # the headers, and the values for all rows
    types: Mapping[str, Declared] = field(default_factory=dict)
    columns: Columns = field(default_factory=lambda: Columns(()))
    seen: dict[tuple[str, str], int] = field(
        default_factory=dict
    )  # the row that had a value first, by column and value
    proofs: dict[str, tuple[list[Problem], Mapping[str, Any], Sequence[str]]] = field(default_factory=dict)
    unproven: dict[Problem, list[int]] = field(default_factory=lambda: defaultdict(list))

    def entries(self) -> list[Entry]:
        self.types = parameter_types(self.protocol, lambda *_: None)
        first = self.asked.rows[0].cells if self.asked.rows else {}
        if self.asked.file:
            self._fixed()
            self.columns = columns_of(first, self.types, self.asked.parameters, self._of_header)
            self.sound = not self.problems
        found = [entry for row in self.asked.rows if (entry := self._row(row)) is not None]
        self._tell_unproven()
        if any(problem.severity == "error" for problem in self.problems):
            raise InputErrors(self.problems)
        return found

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _of_header(self, code: str, message: str, mend: str, column: int) -> None:
        self.problems.append(Problem(code, message, self.asked.file, 1, column, mend=mend))

    def _of_cell(self, code: str, row: Row, column: Column, message: str, mend: str = "") -> None:
        said = f"row {row.number}, column `{column.header}`: {message}"
        self.problems.append(Problem(code, said, self.asked.file, row.number, column.number, mend=mend))

    def _tell_unproven(self) -> None:
        """What the checker says: once where it is of all rows, else with the rows."""
        for problem, rows in self.unproven.items():
            if len(rows) == len(self.asked.rows) and not (self.asked.file and problem.code in SUPPLY):
                self.problems.append(problem)
                continue
            names = ", ".join(map(str, rows[:ALL_ROWS])) + (", …" if len(rows) > ALL_ROWS else "")
            said = f"row{'s' if len(rows) > 1 else ''} {names}: {problem.code} {problem.message}"
            where = f"{problem.where}: {problem.source.strip()}" if problem.source.strip() else problem.where
            mend = "; ".join(part for part in (problem.mend, where) if part)
            self.problems.append(Problem("T106", said, self.asked.file, rows[0], mend=mend))

    # ── one row ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _row(self, row: Row) -> Entry | None:
        before = len(self.problems)
        values = dict(self.asked.parameters)
        for column in self.columns.all:
            if column.name in self.types and not column.wrong:
                self._parameter(row, column, values)
        sample, barcode = self._sample(row), self._barcode(row)
        position, priority, mass = self._position(row), self._priority(row), self._mass(row)
        self._belongs(row, sample, barcode)
        if len(self.problems) > before or not self.sound:
            return None
        parameters, used, places = self._proven(row, values)
        self._free(row, sample, places)
        own = tuple(dict.fromkeys([*places, *([position] if position in self.facts.trays else [])]))
        about = {
            one.name: cell for one in self.columns.all if one.note and (cell := row.cells.get(one.header)) is not None
        }
        return Entry(
            row.number, sample, barcode, position, priority, mass, about, parameters, used, own, self._of_parts(row)
        )

    def _fixed(self) -> None:
        """The values for all rows; what is wrong with one is told once."""
        for name, given in self.asked.parameters.items():
            if name not in self.types:
                mend = did_you_mean(name, self.types, "the parameters are")
                self.problems.append(Problem("P401", f"{self.protocol.name} has no parameter `{name}`", mend=mend))
                continue
            try:
                value_of(given, self.types[name], self.facts)
            except BadValue as bad:
                self.problems.append(Problem("P401", f"{name}: {bad.message}", mend=bad.mend))

    def _parameter(self, row: Row, column: Column, values: dict[str, Any]) -> None:
        cell = row.cells.get(column.header)
        kind = self.types[column.name]
        if cell is None:
            if kind.default is None:
                self._of_cell("T103", row, column, "the cell is empty, and there is no default", "fill it in")
            return
        try:
            given = _with_unit(cell, column.unit if isinstance(kind.type, Measure) else None)
            value_of(given, kind, self.facts)
        except BadValue as bad:
            mend = bad.mend
            if isinstance(kind.type, Measure) and column.unit is None and _number(cell) is not None:
                unit = kind.type.dimension.unit
                mend = f"write the unit in the header, `{column.name} [{unit}]`, or in the cell, `{cell} {unit}`"
            self._of_cell("T103", row, column, bad.message, mend)
            return
        values[column.name] = given
        if isinstance(kind.type, Text) and kind.type.names == "place" and str(cell) in (self.facts.stock or {}):
            self._once(row, column, str(cell), "T105")  # one part lies there

    def _free(self, row: Row, sample: str | None, places: Iterable[str]) -> None:
        """Places that its run takes parts from, or puts something down at, are nobody else's."""
        named = {str(row.cells[one.header]): one for one in self.columns.all if one.name in self.types}
        for place in places:
            column = named.get(place)
            kept = self.known.kept(place, sample)
            if kept is None and column is not None:
                self._once(row, column, place, "T105")
            elif kept is not None and column is not None:
                self._of_cell("T105", row, column, kept, OTHER_PLACE)
            elif kept is not None:
                said = f"row {row.number}: {kept}" if self.asked.file else kept
                line = row.number if self.asked.file else 0
                self.problems.append(Problem("T105", said, self.asked.file, line, mend=OTHER_PLACE))

    def _proven(
        self, row: Row, values: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], Mapping[str, Any], Sequence[str]]:
        """The row's values as they are told, what they need, and the places; the same values are proven once."""
        try:
            bound = bind_parameters(self.protocol, values, self.facts)
        except InputErrors as errors:
            for problem in errors.problems:
                self.unproven[problem].append(row.number)
            return {}, {}, ()
        key = repr(sorted(bound.items()))
        if key not in self.proofs:
            found = [one for one in check(self.protocol, self.facts, bound) if one.severity == "error"]
            self.proofs[key] = (found, {}, ()) if found else (found, *self._used(bound))
        wrong, used, places = self.proofs[key]
        for problem in wrong:
            if not self._of_place(row, problem, bound):
                self.unproven[problem].append(row.number)
        return told(self.protocol, bound), used, places

    def _of_place(self, row: Row, problem: Problem, bound: Mapping[str, Any]) -> bool:
        """Whether a problem was told as one of a cell: a part is not where the cell says that it lies."""
        if problem.code != "P504":
            return False
        for column in self.columns.all:
            place = bound.get(column.name)
            if place in self.facts.bare | self.facts.gone and str(place) in re.split(r"[\s,]", problem.message):
                self._of_cell("T105", row, column, problem.message, problem.mend)
                return True
        return False

    def _of_parts(self, row: Row) -> dict[str, Column]:
        """The columns that name the place of a part, by the part."""
        stock = self.facts.stock or {}
        named = [(str(row.cells.get(one.header)), one) for one in self.columns.all if one.name in self.types]
        return {stock[place]: column for place, column in named if place in stock}

    def _used(self, bound: Mapping[str, Any]) -> tuple[Mapping[str, Any], Sequence[str]]:
        found = needs(self._program(), self.facts, bound)
        return needs_of(found), places_named(found, self.facts, bound)

    def _program(self) -> Program:
        """Compiled once for all rows."""
        if self.program is None:
            self.program = compiled(self.protocol, self.facts)
        return self.program

    # ── reserved columns ─────────────────────────────────────────────────────────────────────────────────────────
    def _cell(self, row: Row, name: str) -> tuple[Column, str] | None:
        """The text of a reserved column, where something stands in it."""
        column = self.columns.of(name)
        cell = row.cells.get(column.header) if column is not None else None
        if column is None or cell is None or column.wrong or (name in self.types and name != "active_mass"):
            return None  # a parameter of that name is nothing but a parameter
        return column, str(cell)

    def _once(self, row: Row, column: Column, text: str, code: str) -> bool:
        """Whether no row before has the same."""
        first = self.seen.setdefault((column.name, text), row.number)
        if first != row.number:
            self._of_cell(code, row, column, f"`{text}` stands in row {first} already", "write another one")
        return first == row.number

    def _sample(self, row: Row) -> str | None:
        found = self._cell(row, "sample")
        if found is None:
            return None
        column, text = found
        if not NAME.fullmatch(text):
            better = re.sub(r"[^a-z0-9_-]+", "-", text.casefold()).strip("-")[:64]
            mend = f"write `{better}`" if better else "write one to 64 of a-z, 0-9, - and _"
            self._of_cell("T103", row, column, f"`{text[:40]}` is no name of a sample", mend)
            return None
        if self._once(row, column, text, "T104") and text in self.known.samples and not self.asked.again:
            mend = "give it another name; say --again where that very sample is meant"
            self._of_cell("T104", row, column, f"the lab has `{text}` already: {self.known.samples[text]}", mend)
        return text

    def _barcode(self, row: Row) -> str | None:
        found = self._cell(row, "barcode")
        if found is None:
            return None
        column, text = found
        if len(text) > LONGEST_BARCODE or not text.isprintable():
            mend = f"one has at most {LONGEST_BARCODE} printable characters"
            self._of_cell("T103", row, column, f"`{text[:40]}` is no barcode", mend)
        self._once(row, column, text, "T104")
        return text

    def _belongs(self, row: Row, sample: str | None, barcode: str | None) -> None:
        """A barcode that the lab knows is of the same sample, and none is the name of another."""
        named = self.columns.of("sample")
        if named is not None and sample is not None and self.known.barcode(sample) not in (None, sample):
            said = f"`{sample}` is the barcode of {self.known.barcode(sample)}"
            self._of_cell("T104", row, named, said, "give it another name; or write that sample's own, and say --again")
        column = self.columns.of("barcode")
        owner = self.known.barcode(barcode) if barcode is not None else None
        if column is not None and owner is not None and owner != sample:
            mend = "scan it once more, or take the code off the other sample"
            self._of_cell("T104", row, column, f"`{barcode}` is the barcode of {owner}", mend)
        elif column is not None and barcode in self.known.samples and barcode != sample:
            self._of_cell("T104", row, column, f"`{barcode}` is the name of another sample", "give it another code")

    def _position(self, row: Row) -> str | None:
        found = self._cell(row, "position")
        if found is None:
            return None
        column, text = found
        if self.facts.places is not None and text not in self.facts.places:
            mend = did_you_mean(text, self.facts.places, "it has")
            self._of_cell("T105", row, column, f"the lab has no place `{text[:60]}`", mend)
        elif self._once(row, column, text, "T105") and (wrong := self.known.no_cell(text)) is not None:
            self._of_cell("T105", row, column, *wrong)
        elif (kept := self._position_kept(row, text)) is not None:
            self._of_cell("T105", row, column, kept, OTHER_PLACE)
        return text

    def _position_kept(self, row: Row, place: str) -> str | None:
        """For whom it is kept; a sample that stands there without that only has to go first."""
        found = self._cell(row, "sample")
        kept = self.known.kept(place, found[1] if found is not None else None)
        return kept if kept is not None and " is kept for " in kept else None

    def _priority(self, row: Row) -> int:
        found = self._cell(row, "priority")
        if found is None:
            return self.asked.priority
        column, text = found
        if not re.fullmatch(r"[+-]?\d{1,4}", text) or abs(int(text)) > MOST:
            mend = f"write one from {-MOST} to {MOST}; higher ones go first"
            self._of_cell("T103", row, column, f"a priority is a whole number, not `{text[:40]}`", mend)
            return 0
        return int(text)

    def _mass(self, row: Row) -> float | None:
        found = self._cell(row, "active_mass")
        if found is None:
            return None
        column, _ = found
        given = _with_unit(row.cells[column.header], column.unit)
        mend = f"write it like `12.4 mg`, or the unit in the header: `{column.name} [mg]`"
        try:
            mass = units.parse(str(given)).to("g")
        except UnitError as error:
            self._of_cell("T103", row, column, str(error).partition(";")[0].partition(", such as")[0], mend)
            return None
        if not 0 < mass <= 100:
            self._of_cell("T103", row, column, f"{given} is no mass of active material", mend)
        return mass


def needs_of(found: Needs) -> dict[str, Any]:
    """What a run is expected to use up, as a Job has it."""
    tips = {key.name: amount.expected for key, amount in found.amounts.items() if key.kind == "tip"}
    return {
        "materials": {name: round(amount.expected, 6) for name, amount in found.materials.items()},
        "tips": tips or ({"": found.tips.expected} if found.tips.expected else {}),
        "parts": {name: amount.expected for name, amount in found.parts.items()},
    }


def _with_unit(cell: Cell, unit: str | None) -> Cell:
    """A cell with its header's unit, where it says none itself."""
    number = _number(cell)
    return f"{number} {unit}" if unit is not None and number is not None else cell


def _number(cell: Cell) -> str | None:
    """The text of a number alone."""
    if isinstance(cell, bool) or cell is None:
        return None
    text = str(cell).strip()
    return text if re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text) else None


__all__ = ["Asked", "Entry", "Known", "check_rows", "needs_of"]
