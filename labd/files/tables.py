"""Tables that people write: CSV as programs of all countries save it, and Excel workbooks. Read into rows of cells."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labd.files.problems import InputErrors, Problem

Cell = str | int | float | bool | None
"""What stands in a cell; None for nothing."""

MOST_ROWS = 1000
LARGEST = 10_000_000  # bytes
LONGEST = 2000  # characters of a cell
WORKBOOKS = (".xlsx", ".xlsm")
TEXTS = (".csv", ".tsv", ".txt", "")

# A number with a decimal comma, alone or before its unit.
_COMMA = re.compile(r"([+-]?\d*),(\d+(?:[eE][+-]?\d+)?(?:\s*[^\d\s,.][^,]*)?)")
_SAID = re.compile(r"sep=([;,\t])[ ]*\r?\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number as a spreadsheet shows it, and its cells by their column's header."""

    number: int
    cells: dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its headers as they were written, and all rows in which something stands."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_table(path: Path, name: str = "") -> Table:
    """Reads a table, `.csv` or `.xlsx`; its first row are the headers.

    Args:
        path: its file.
        name: what messages call it; default: the path.

    Raises:
        InputErrors: it cannot be read as a table; all that is wrong with its form.
    """
    name = name or str(path)
    kind = path.suffix.lower()
    if kind not in (*WORKBOOKS, *TEXTS):
        mend = "save it as .xlsx or .csv"
        raise InputErrors([Problem("T101", f"a table is .csv or .xlsx, not {kind}", name, mend=mend)])
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGEST else b""
    except OSError as error:
        raise InputErrors([Problem("T101", f"it cannot be read: {error.strerror}", name)]) from error
    if size > LARGEST:
        raise InputErrors([Problem("T101", f"it has {size} bytes", name, mend=f"a table has at most {LARGEST}")])
    reading = _Reading(name)
    lines = reading.workbook(content) if kind in WORKBOOKS else reading.text(content)
    return reading.table(lines)


@dataclass(slots=True)
class _Reading:
    """One file as it is read, with all that is wrong with it."""

    name: str
    problems: list[Problem] = field(default_factory=list)

    def tell(self, code: str, message: str, mend: str = "", row: int = 0, column: int = 0) -> None:
        self.problems.append(Problem(code, message, self.name, row, column, mend=mend))

    def table(self, lines: Iterable[Sequence[Cell]]) -> Table:
        """The rows under the first one's headers. Raises InputErrors."""
        numbered = [(number, line) for number, line in enumerate(lines, 1) if any(cell is not None for cell in line)]
        if not numbered and not self.problems:
            self.tell("T101", "the table is empty", "its first row are the headers, each further row is a sample")
        elif len(numbered) == 1:
            self.tell("T101", "the table has no row under its headers", "each further row is a sample")
        elif len(numbered) - 1 > MOST_ROWS:
            self.tell("T101", f"the table has {len(numbered) - 1} rows", f"part it: at most {MOST_ROWS} are taken")
        if not numbered or len(numbered) - 1 > MOST_ROWS:
            raise InputErrors(self.problems)
        at, head = numbered[0]
        headers = self._headers(at, head, [line for _, line in numbered[1:]])
        rows = [Row(number, self._cells(number, line, headers)) for number, line in numbered[1:]]
        if self.problems:
            raise InputErrors(self.problems)
        return Table(tuple(headers.values()), tuple(rows))

    def _headers(self, at: int, head: Sequence[Cell], lines: Sequence[Sequence[Cell]]) -> dict[int, str]:
        """The headers by the number of their column, from 0."""
        found: dict[int, str] = {}
        width = max(map(len, (head, *lines)))
        for index in range(width):
            text = head[index] if index < len(head) else None
            if text is None:
                if any(index < len(line) and line[index] is not None for line in lines):
                    said = f"column {letter(index)} has no header, and something stands in it"
                    self.tell("T102", said, "name it in the first row, or empty it", at, index + 1)
                continue
            header = " ".join(str(text).split())
            if header in found.values():
                self.tell("T102", f"the column `{header}` stands twice", "delete one of them", at, index + 1)
                continue
            found[index] = header
        return found

    def _cells(self, number: int, line: Sequence[Cell], headers: dict[int, str]) -> dict[str, Cell]:
        for index, cell in enumerate(line):
            if isinstance(cell, str) and len(cell) > LONGEST:
                said = f"row {number}, column {letter(index)}: {len(cell)} characters stand here"
                self.tell("T103", said, f"write at most {LONGEST}", number, index + 1)
        return {header: line[index] if index < len(line) else None for index, header in headers.items()}

    # ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def text(self, content: bytes) -> list[list[Cell]]:
        """CSV: parted by `,`, `;` or tabs; where by `;` or tabs, a comma in a number is a decimal point."""
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = content.decode("utf-16", "replace")
        else:
            try:
                text = content.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                line = content.count(b"\n", 0, error.start) + 1
                self.tell("T101", "it is no UTF-8 text", "save it as `CSV UTF-8`, or as .xlsx", line)
                raise InputErrors(self.problems) from error
        said = _SAID.match(text)  # a first line by which Excel is told
        text = text[said.end() :] if said else text
        parted = said[1] if said else _delimiter(text)
        try:
            lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=parted, strict=True))
        except csv.Error as error:
            self.tell("T101", f"it cannot be read as CSV: {error}", "look at its quotes")
            raise InputErrors(self.problems) from error
        comma = parted != ","
        lines = [[], *lines] if said else lines
        return [[_typed(cell, comma=comma) for cell in line] for line in lines]

    # ── workbooks ────────────────────────────────────────────────────────────────────────────────────────────────
    def workbook(self, content: bytes) -> list[list[Cell]]:
        """The sheet that was looked at last when the workbook was saved."""
        try:
            import openpyxl
        except ImportError as error:
            mend = "install it with `pip install 'labd[xlsx]'`, or save the table as CSV"
            self.tell("T101", "Excel workbooks need openpyxl, which is not installed", mend)
            raise InputErrors(self.problems) from error
        try:
            values = openpyxl.load_workbook(io.BytesIO(content), data_only=True).active
            formulas = openpyxl.load_workbook(io.BytesIO(content)).active
        except Exception as error:
            self.tell("T101", f"it is no Excel workbook: {error}", "save it once more as .xlsx, or as CSV")
            raise InputErrors(self.problems) from error
        if values is None or formulas is None or not hasattr(values, "iter_rows"):
            self.tell("T101", "the workbook shows no sheet of cells", "bring the table's sheet to the front, and save")
            raise InputErrors(self.problems)
        rows = zip(values.iter_rows(), formulas.iter_rows(), strict=False)
        return [[self._cell(cell, formula) for cell, formula in zip(*pair, strict=False)] for pair in rows]

    def _cell(self, cell: Any, formula: Any) -> Cell:
        value = cell.value
        if value is None:
            if formula.value is not None:
                said = f"row {formula.row}, column {formula.column_letter}: the file does not hold this formula's value"
                self.tell("T103", said, "open it in Excel and save it", formula.row, formula.column)
            return None
        if cell.data_type == "e":
            said = f"row {cell.row}, column {cell.column_letter}: {value} stands here"
            self.tell("T103", said, "mend the formula, or empty the cell", cell.row, cell.column)
            return None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if "%" in str(cell.number_format):  # 10 % is stored as 0.1
                return f"{value * 100:.12g} %"
            return int(value) if float(value).is_integer() and abs(value) < 1e15 else value
        return _plain(value)


def _plain(value: Any) -> Cell:
    if isinstance(value, bool):
        return value
    return value.isoformat() if isinstance(value, (dt.date, dt.time)) else str(value).strip() or None


def letter(index: int) -> str:
    """A column's name in a spreadsheet: A for 0, AA for 26."""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(65 + rest) + name
    return name


def _delimiter(text: str) -> str:
    head = next((line for line in text.splitlines() if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", head)
    return max((";", "\t", ","), key=bare.count) if any(mark in bare for mark in ";\t,") else ","


def _typed(text: str, *, comma: bool) -> Cell:
    text = text.strip()
    if comma and (parts := _COMMA.fullmatch(text)) is not None:
        text = f"{parts[1]}.{parts[2]}"
    return text or None
