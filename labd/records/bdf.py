"""Battery Data Format: a test's time, voltage and current under names that other programs know; read and written.

One file a test, CSV or Parquet, named `<name>.bdf.csv`, with the columns `Test Time / s`, `Voltage / V`, `Current / A`
and more, as the Battery Data Alliance specifies them (github.com/battery-data-alliance/battery-data-format). A positive
current charges. The alliance's own validator does not look at the numbers; `check_sign` does.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from labd.expr.spelling import did_you_mean
from labd.records import charts
from labd.records.analysis import AnalysisError, Cycle, curves, cycles, grouped, halves, known
from labd.sdk.units import UnitError, convert

LABELS = {
    "time": "Test Time / s",
    "voltage": "Voltage / V",
    "current": "Current / A",
    "unix": "Unix Time / s",
    "cycle": "Cycle Count / 1",
    "step": "Step Count / 1",
    "temperature": "Ambient Temperature / degC",
    "charged": "Charging Capacity / Ah",
    "discharged": "Discharging Capacity / Ah",
}
"""Our name of a quantity, and its column's preferred label."""
NEEDED = ("time", "voltage", "current")
_MACHINE = {
    "test_time_second": "time",
    "voltage_volt": "voltage",
    "current_ampere": "current",
    "unix_time_second": "unix",
    "cycle_count": "cycle",
    "step_count": "step",
    "ambient_temperature_celsius": "temperature",
    "charging_capacity_ah": "charged",
    "discharging_capacity_ah": "discharged",
}
FEW = 2  # rows; so many of a step do not tell how far apart its rows are
PAUSE = 60.0  # s; instruments take up to this long from a step to the next
TIMES = 10  # as long as rows of a step are apart: a row that is late is no pause
LEAST = 0.005  # V; less evidence than this says nothing of the sign


class BdfError(Exception):
    """A file is none in Battery Data Format, or its numbers do not hold; the text says where and how to mend it."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds.

    Args:
        columns: by our names (see `LABELS`), in the units of the labels; NaN for an empty cell.
        others: headers that are none of these.
    """

    columns: Mapping[str, array[float]]
    others: tuple[str, ...] = ()


# ── the sign ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def evidence(time: Sequence[float], voltage: Sequence[float], current: Sequence[float]) -> float:
    """Volts that speak for a positive current charging, less those that speak against it.

    In a charge the voltage rises, from the rest before it and from its first row to its last; in a discharge it falls.

    Raises:
        AnalysisError: as `cycles` does.
    """
    rows = known(time, voltage, current)
    total, before = 0.0, None
    for half in halves(rows):
        way = 1.0 if half.way == "charge" else -1.0
        begins = float(rows[1][half.start])
        total += way * (half.end - begins)
        if before is not None:
            total += way * (begins - before)
        elif half.start:
            total += way * (begins - float(rows[1][half.start - 1]))
        before = half.rest
    return total


def check_sign(columns: Mapping[str, Sequence[float]]) -> float:
    """Refuses a test whose current has its sign the wrong way round; gives the evidence in V (see `evidence`).

    What says less than `LEAST` passes: an idle cell has no direction.

    Raises:
        BdfError: the voltage falls while the current is positive, or the rows cannot be read.
    """
    try:
        found = evidence(columns["time"], columns["voltage"], columns["current"])
    except AnalysisError as error:
        raise BdfError(str(error)) from error
    if found < -LEAST:
        raise BdfError(
            f"the sign of the current is flipped: over all charges and discharges the voltage moves {-found:.3g} V "
            "against it. In Battery Data Format a positive current charges, which raises the voltage; turn the sign "
            "where the file is written, or read it with --flip"
        )
    return found


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def read(file: Path) -> Table:
    """Reads a file in Battery Data Format: `.csv`, or `.parquet` with the extra `data`.

    Columns may have the preferred labels, other units after the slash (`Current / mA`), or the machine-readable names.

    Raises:
        BdfError: no such file, a column that is missing or told twice, or a cell that is no number.
    """
    try:
        headers, told = _parquet(file) if file.suffix == ".parquet" else _csv(file)
    except (OSError, UnicodeDecodeError) as error:
        raise BdfError(f"{file}: it cannot be read: {error}") from error
    columns: dict[str, array[float]] = {}
    others = []
    for header, values in zip(headers, told, strict=True):
        name, factor = _meaning(file, header)
        if name is None:
            others.append(header)
        elif name in columns:
            raise BdfError(f"{file}: two columns are {LABELS[name]!r}; leave one of them out")
        else:
            columns[name] = _numbers(file, header, values, factor)
    missing = [LABELS[name] for name in NEEDED if name not in columns]
    if missing:
        mend = did_you_mean(missing[0], headers, "the file has")
        raise BdfError(f"{file}: it has no column {' and no '.join(map(repr, missing))}; {mend}")
    return Table(columns, tuple(others))


def _csv(file: Path) -> tuple[list[str], list[Any]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream)
        headers = [header.strip() for header in next(lines, [])]
        rows = []
        for line in lines:
            if line and len(line) != len(headers):
                at = lines.line_num
                raise BdfError(f"{file}:{at}: {len(line)} cells under {len(headers)} headers; separate them by commas")
            if line:
                rows.append(line)
    return headers, [list(column) for column in zip(*rows, strict=True)] or [[] for _ in headers]


def _parquet(file: Path) -> tuple[list[str], list[Any]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise BdfError(f"{file}: Parquet needs pyarrow: pip install 'labd[data]'; or give the CSV") from error
    try:
        table = pq.read_table(file)
    except pa.ArrowException as error:
        raise BdfError(f"{file}: this is no Parquet file: {error}") from error
    return list(table.column_names), [column.to_pylist() for column in table.columns]


def _meaning(file: Path, header: str) -> tuple[str | None, float]:
    """Which quantity a column is, and what turns its numbers into the label's unit; None for any other."""
    if header in _MACHINE:
        return _MACHINE[header], 1.0
    name, _, unit = (part.strip() for part in header.partition("/"))
    for quantity, label in LABELS.items():
        title, _, own = label.partition(" / ")
        if name.lower() != title.lower():
            continue
        if unit in (own, "") or quantity in ("cycle", "step", "temperature"):
            return quantity, 1.0
        try:
            return quantity, convert(1.0, unit, own)
        except UnitError as error:
            raise BdfError(f"{file}: column {header!r}: {error}; the label is {label!r}") from error
    return None, 1.0


def _numbers(file: Path, header: str, values: Sequence[Any], factor: float) -> array[float]:
    found = array("d")
    for index, value in enumerate(values):
        try:
            empty = value is None or value == ""
            found.append(math.nan if empty else float(value) * factor)
        except (TypeError, ValueError) as error:
            row = f":{index + 2}" if file.suffix == ".csv" else f", row {index + 1}"
            said = f"{header!r} is {value!r}, which is no number; write it as 0.001, or leave it empty"
            raise BdfError(f"{file}{row}: {said}") from error
    return found


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def write_csv(file: Path, columns: Mapping[str, Sequence[float]]) -> None:
    """Writes columns by our names, in the units of `LABELS`.

    Raises:
        BdfError: the sign is flipped; nothing is written.
    """
    check_sign(columns)
    told = [[_text(name, value) for value in columns[name]] for name in LABELS if name in columns]
    with file.open("w", encoding="utf-8", newline="") as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow([label for name, label in LABELS.items() if name in columns])
        lines.writerows(zip(*told, strict=True))


def _text(name: str, value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if name in ("cycle", "step") else repr(value)


def write_parquet(file: Path, columns: Mapping[str, Sequence[float]], metadata: Mapping[str, str]) -> None:
    """The same as Parquet; `metadata` goes into the schema.

    Raises:
        BdfError: the sign is flipped, or pyarrow is missing; nothing is written.
    """
    check_sign(columns)
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise BdfError("Parquet needs pyarrow: pip install 'labd[data]'; or export to bdf, which is CSV") from error
    fields, arrays = [], []
    for name, label in LABELS.items():
        if name in columns:
            kind = pa.int64() if name in ("cycle", "step") else pa.float64()
            told = [None if math.isnan(value) else value for value in columns[name]]
            arrays.append(pa.array(told, type=pa.float64()).cast(kind))
            fields.append(pa.field(label, kind))
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=dict(metadata))), file)


# ── a foreign test ───────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Counted:
    """A cycle as we count it, and what the file's own counters say of it: mAh, None where it has none."""

    cycle: Cycle
    charged: float | None
    discharged: float | None


@dataclass(frozen=True, slots=True)
class Foreign:
    """A file that was analysed.

    Args:
        seconds: that were measured.
        sign: V that speak for its current's sign, see `evidence`.
        others: headers whose meaning is not known.
        paused: s between steps that nobody measured: no charge is counted for them.
    """

    rows: int
    seconds: float
    sign: float
    cycles: tuple[Counted, ...]
    others: tuple[str, ...] = field(default=())
    paused: float = 0.0


def foreign(table: Table, *, flip: bool = False) -> Foreign:
    """Analyses a file as labd analyses its own cells. `flip` turns the sign of its current first.

    Raises:
        BdfError: the sign is flipped, or the rows do not hold.
    """
    columns, paused = _turned(table, flip=flip)
    sign = check_sign(columns)
    told = [columns[name] for name in NEEDED]
    number = columns.get("cycle")
    found = cycles(told[0], told[1], told[2], number)
    rows = known(*told, number)
    own = list(_counters(columns, found))
    seconds = float(rows[0][-1] - rows[0][0]) if len(rows[0]) else 0.0
    return Foreign(len(columns["time"]), seconds, sign, tuple(own), table.others, paused)


def plots_of(table: Table, *, flip: bool = False) -> dict[str, charts.Draw]:
    """What a file that `foreign` takes can be drawn as, by name."""
    columns, _ = _turned(table, flip=flip)
    drawn = curves({name: columns[name] for name in (*NEEDED, "cycle") if name in columns})
    found = cycles(columns["time"], columns["voltage"], columns["current"], columns.get("cycle"))
    rows = [
        {"cycle": float(one.number), "charge": one.charge, "capacity": one.discharge, "ce": one.efficiency}
        for one in found
        if one.complete
    ]
    plots = {"voltage_profiles": (charts.voltage_profile, drawn.profiles), "capacity": (charts.capacity_by_cycle, rows)}
    told: dict[str, tuple[Any, Any]] = {**plots, "dqdv": (charts.incremental, drawn.incremental)}
    return {name: chart(what) for name, (chart, what) in told.items() if what}


def _turned(table: Table, *, flip: bool) -> tuple[dict[str, array[float]], float]:
    """The columns as they are analysed, and the seconds of pauses that were taken out of the time."""
    columns = dict(table.columns)
    if flip:
        columns["current"] = array("d", (-value for value in columns["current"]))
    gone = _paused(columns)
    columns["time"] = array("d", (at - less for at, less in zip(columns["time"], gone, strict=True)))
    return columns, gone[-1] if gone else 0.0


def _paused(columns: Mapping[str, Sequence[float]]) -> list[float]:
    """By row, the seconds before it that belong to no step.

    Between two steps a test may stand still: held by a person, say. That is so where nobody measured for longer than
    `PAUSE`, and for `TIMES` as long as two rows of either step are ever apart. Nobody can tell of steps with fewer than
    three rows, where the file's own counters have most of what would have flowed, and without a column of steps.
    """
    time, current, step = columns["time"], columns["current"], columns.get("step")
    gone = [0.0] * len(time)
    if step is None:
        return gone
    counters = [columns[name] for name in ("charged", "discharged") if name in columns]
    starts = [row for row in range(len(step)) if row == 0 or step[row] != step[row - 1]]
    ends = [*starts[1:], len(step)]
    apart = [_apart(time[start:end]) for start, end in zip(starts, ends, strict=True)]
    whole = 0.0
    for one, (start, end) in enumerate(zip(starts, ends, strict=True)):
        between = time[start] - time[start - 1] if start else 0.0
        usual = max(apart[max(0, one - 1)], apart[one])
        if between > max(PAUSE, TIMES * usual):
            most = max(abs(current[start - 1]), abs(current[start])) * between / 3600
            whole += between if max((_gained(told, start) for told in counters), default=0.0) < most / 2 else 0.0
        gone[start:end] = [whole] * (end - start)
    return gone


def _gained(counter: Sequence[float], row: int) -> float:
    """Ah that a counter has more at a row than before it; one that began anew has what it says."""
    return counter[row] - counter[row - 1] if counter[row] >= counter[row - 1] else counter[row]


def _apart(time: Sequence[float]) -> float:
    """The most seconds between two rows of one step; infinite where there are too few to tell."""
    return max((at - before for before, at in pairwise(time)), default=0.0) if len(time) > FEW else math.inf


def _counters(columns: Mapping[str, Sequence[float]], found: Sequence[Cycle]) -> Iterator[Counted]:
    """What the file's own counters gained in each cycle, whether they start anew with a step or count on."""
    number = columns.get("cycle")
    names = [name for name in ("charged", "discharged") if name in columns]
    rows = known(*(columns[name] for name in NEEDED), number, *(columns[name] for name in names))
    counters = dict(zip(names, rows[len(rows) - len(names) :], strict=True))
    for cycle, (_, own) in zip(found, grouped(rows, counted=number is not None), strict=True):
        gain = dict.fromkeys(names, 0.0)
        for half in own:
            name = "charged" if half.way == "charge" else "discharged"
            if name in counters:
                told = counters[name][half.start : half.stop]
                gain[name] += 1000 * float(told.max() - told[0])
        yield Counted(cycle, gain.get("charged"), gain.get("discharged"))
