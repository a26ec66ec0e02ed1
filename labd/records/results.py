"""What came out of runs: a row a cell from the journal, and voltage profiles from the signal store."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labd.journal import Event, SignalStore

SECONDS_AN_HOUR = 3600.0
REST = 0.002  # of the greatest current; what flows in a rest is the noise of the instrument


@dataclass(frozen=True, slots=True)
class CellRow:
    """One cell, as the summary table shows it. None and empty lists are what was not reached.

    Args:
        sample, run: who, and which run made it.
        dose: µL of electrolyte that were given to it.
        peak_force: kN of the last crimp.
        ocv: V at the end of the open-circuit rest before the first cycle.
        capacities: mAh discharged, by cycle.
        coulombic_efficiencies: % (discharge over charge), by cycle.
        electrolyte_to_crimp: s from the first order to dose to the last order to crimp, as a protocol's
            `{from: dose.start, to: crimp.start}` counts.
        outcome: complete, scrapped, stopped, aborted; None while it runs.
        note: what a person should know of it, in words; empty where all went well.
    """

    sample: str
    run: str
    dose: float | None = None
    peak_force: float | None = None
    ocv: float | None = None
    capacities: tuple[float, ...] = ()
    coulombic_efficiencies: tuple[float, ...] = ()
    electrolyte_to_crimp: float | None = None
    outcome: str | None = None
    note: str = ""


@dataclass(slots=True)
class _Cell:
    """What is known of a cell while its run's events are folded."""

    run: str
    sample: str
    place: str | None = None
    intents: dict[str, dict[str, Any]] = field(default_factory=dict)  # by action id: data and when it was sent
    dose: float | None = None
    dosed: datetime | None = None
    crimped: datetime | None = None
    peak_force: float | None = None
    ocv: float | None = None
    capacities: list[float] = field(default_factory=list)
    efficiencies: list[float] = field(default_factory=list)
    outcome: str | None = None
    notes: list[str] = field(default_factory=list)
    questions: dict[str, str] = field(default_factory=dict)

    def row(self) -> CellRow:
        waited = (self.crimped - self.dosed).total_seconds() if self.dosed and self.crimped else None
        return CellRow(
            self.sample,
            self.run,
            self.dose,
            self.peak_force,
            self.ocv,
            tuple(self.capacities),
            tuple(self.efficiencies),
            waited,
            self.outcome,
            "; ".join(dict.fromkeys(self.notes)),
        )


def cell_rows(events: Iterable[Event]) -> list[CellRow]:
    """A row a run, in the order in which they were started, from the events of all of them, oldest first."""
    cells: dict[str, _Cell] = {}
    for event in events:
        if event.run is None:
            continue
        if event.kind == "run.started":
            cells[event.run] = _Cell(event.run, str(event.data["sample"]), event.data.get("home") or None)
        elif event.run in cells:
            _fold(cells[event.run], event)
    return [cell.row() for cell in cells.values()]


def _fold(cell: _Cell, event: Event) -> None:
    """What one event of its run says of a cell."""
    data = event.data
    if event.kind.startswith("action."):
        _fold_action(cell, event)
    elif event.kind == "sample.moved" and data["sample"] == cell.sample:
        cell.place = data["to"]
    elif event.kind == "question.asked":
        cell.questions[data["question_id"]] = str(data["text"])
    elif event.kind == "question.answered":
        asked = cell.questions.get(str(data.get("question_id")), "a question")
        cell.notes.append(f"{asked} → {data['choice']} ({data['by']})")
    elif event.kind == "run.ended":
        cell.outcome = str(data["outcome"])
    ends = event.kind == "run.ended" or data.get("to") in ("Stopping", "Aborting", "Aborted")
    if ends and data.get("cause"):
        cell.notes.append(str(data["cause"]))


def _fold_action(cell: _Cell, event: Event) -> None:
    data = event.data
    if event.kind == "action.intended":
        cell.intents[data["action_id"]] = dict(data)
        return
    intent = cell.intents.get(str(data.get("action_id")))
    if event.kind in ("action.failed", "action.refused"):
        cell.notes.append(str(data["message"]))
    elif intent is None:
        return
    elif event.kind == "action.sent":
        intent["sent"] = event.at
    elif event.kind == "action.done":
        _done(cell, intent, data.get("result") or {})
    elif event.kind == "action.reconciled":
        verdict = str(data["verdict"]).replace("_", " ")
        cell.notes.append(f"{intent['device']}.{intent['action']}: {verdict}, says {data['by']}")
        if data["verdict"] == "done":
            _done(cell, intent, data.get("result") or {})


def _done(cell: _Cell, intent: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    match intent["action"]:
        case "transfer":
            destination = result.get("destination") or intent["parameters"].get("destination")
            volume = value_of(result.get("volume") or intent["parameters"].get("volume"))
            if volume is not None and (cell.place is None or destination == cell.place):
                cell.dose = (cell.dose or 0.0) + volume
                cell.dosed = cell.dosed or _sent(intent)
        case "dispense" if (cell.place or "").startswith(f"{intent['device']}/"):
            volume = value_of(result.get("volume") or intent["parameters"].get("volume"))
            if volume is not None:
                cell.dose = (cell.dose or 0.0) + volume
                cell.dosed = cell.dosed or _sent(intent)
        case "crimp":
            cell.peak_force = value_of(result.get("peak_force"))
            cell.crimped = _sent(intent)
        case "open_circuit" if not cell.capacities:
            cell.ocv = value_of(result.get("final_voltage"))
        case "cycle":
            cell.capacities += value_of(result.get("capacities")) or []
            cell.efficiencies += value_of(result.get("coulombic_efficiencies")) or []


def _sent(intent: Mapping[str, Any]) -> datetime | None:
    return datetime.fromisoformat(intent["sent"]) if "sent" in intent else None


def value_of(told: Any) -> Any:
    """The number of a quantity as the journal writes it, `{"v", "u"}`; anything else is its own value."""
    return told["v"] if isinstance(told, Mapping) and "v" in told else told


# ── voltage profiles ─────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class HalfCycle:
    """One charge or one discharge: `capacity` (mAh since its start) and `voltage` (V), point by point."""

    cycle: int
    charging: bool
    capacity: array[float]
    voltage: array[float]


@dataclass(frozen=True, slots=True)
class Profile:
    """The voltage profiles of one cell. `row` is its line of the summary table."""

    row: CellRow
    halves: tuple[HalfCycle, ...]


async def profiles(store: SignalStore, rows: Sequence[CellRow]) -> list[Profile]:
    """The profiles of cells, from what their `cycle` actions measured. Raises SignalError when it cannot be read."""
    found = []
    for row in rows:
        halves: list[HalfCycle] = []
        for series in await store.series(run=row.run):
            if series.action == "cycle":
                before = halves[-1].cycle if halves else 0
                halves += half_cycles(await store.read(series.id), after=before)
        found.append(Profile(row, tuple(halves)))
    return found


def half_cycles(columns: Mapping[str, array[float]], after: int = 0) -> list[HalfCycle]:
    """Parts rows of cycling (time in s, voltage in V, current in A, cycle) into charges and discharges.

    The charge is the trapezoidal integral of the current. Rests (less than `REST` of the greatest current), and rows
    with a value that nobody could tell, belong to neither. Cycles are counted on from `after`.
    """
    rows = zip(*(columns[name] for name in ("time", "voltage", "current", "cycle")), strict=True)
    known = [row for row in rows if all(map(math.isfinite, row))]
    rest = REST * max((abs(current) for _, _, current, _ in known), default=0.0)
    found: list[HalfCycle] = []
    last: tuple[float, float] | None = None  # time and current of the row before, in the same half cycle
    for time, voltage, current, number in known:
        if abs(current) <= rest:
            last = None
            continue
        cycle, charging = after + int(number), current > 0
        if not found or (found[-1].cycle, found[-1].charging) != (cycle, charging):
            found.append(HalfCycle(cycle, charging, array("d"), array("d")))
            last = None
        half = found[-1]
        moved = abs(current + last[1]) / 2 * (time - last[0]) * 1000 / SECONDS_AN_HOUR if last else 0.0
        half.capacity.append((half.capacity[-1] if half.capacity else 0.0) + moved)
        half.voltage.append(voltage)
        last = (time, current)
    return found
