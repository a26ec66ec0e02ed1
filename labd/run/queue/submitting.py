"""A submission on its way into the queue: its protocol read, its rows checked, and the events that queue it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labd.files import InputErrors, Problem
from labd.files.library import Library
from labd.files.tables import Cell, Row
from labd.journal import NewEvent
from labd.lab.lab import Lab
from labd.lab.samples import Registered, Samples
from labd.protocol import LabFacts, Protocol, load
from labd.run.facts import facts_of
from labd.run.identity import HOW, asked_of
from labd.run.queue.columns import Column
from labd.run.queue.rows import Asked, Entry, Known, check_rows
from labd.run.shipped import library

if TYPE_CHECKING:
    from labd.run.queue.queue import Submission


COLUMNS = {"active_mass": "`active_mass [mg]`", "specific_capacity": "`# specific_capacity` with `160 mAh/g`"}


@dataclass(frozen=True, slots=True)
class Checked:
    """A submission that holds."""

    protocol: Protocol
    entries: Sequence[Entry]


def rows_of(
    rows: Sequence[Mapping[str, Cell]] | None, numbers: Sequence[int] | None = None, count: int | None = None
) -> list[Row]:
    """Rows as they are sent: cells by header, with their numbers in the table; or so many empty ones."""
    if rows is None:
        return [Row(number, {}) for number in range(1, (count or 1) + 1)]
    headers = dict.fromkeys(header for row in rows for header in row)
    called = numbers or range(2, len(rows) + 2)
    return [
        Row(number, {header: _tidy(row.get(header)) for header in headers})
        for number, row in zip(called, rows, strict=True)
    ]


def _tidy(cell: Cell) -> Cell:
    if isinstance(cell, str):
        return cell.strip() or None
    return int(cell) if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15 else cell


async def check_submission(asked: Submission, lab: Lab, known: Known) -> Checked:
    """Reads and checks it against a lab. Raises InputErrors with all that does not hold."""
    facts = facts_of(lab, only=())  # what is kept for others is looked at row by row
    # sixty rows take seconds: in a thread, so that the lab goes on meanwhile
    checked = await asyncio.to_thread(read_submission, asked, facts, known)
    unsaid = of_samples(checked, lab.samples, asked.table)
    if unsaid:
        raise InputErrors(unsaid)
    lacks = lab.inventory.problems([(entry.row, entry.needs) for entry in checked.entries])
    problems = of_stock(asked.table, lacks, {entry.row: entry.columns for entry in checked.entries})
    if problems:
        raise InputErrors(problems)
    return checked


def of_samples(checked: Checked, samples: Samples, file: str) -> list[Problem]:
    """What the protocol asks of its samples, and neither a row nor the lab says."""
    found = []
    for name in asked_of(checked.protocol):
        for entry in checked.entries:
            known = samples.registered(entry.sample) if entry.sample is not None else None
            own = getattr(Registered("", active_mass=entry.active_mass, about=entry.about), name)
            if own is None and getattr(known, name, None) is None:
                where = f"row {entry.row}: " if file else ""
                said = f"{where}{checked.protocol.name} asks for the {name.replace('_', ' ')} of its sample"
                mend = f"add a column {COLUMNS[name]}, or register it: labd sample ID {HOW[name]}"
                found.append(Problem("T106", said, file, entry.row if file else 0, mend=mend))
    return found


def of_stock(
    file: str, found: Iterable[tuple[int, str, str]], columns: Mapping[int, Mapping[str, Column]]
) -> list[Problem]:
    """What the inventory says: row, text and mend; with the column that names a part's place, by row and part."""
    problems = []
    for row, text, mend in found:
        if not file:
            problems.append(Problem("T107", text, mend=mend))
            continue
        column = next((one for part, one in columns.get(row, {}).items() if f"`{part}`" in text), None)
        where = f"row {row}, column `{column.header}`" if column is not None else f"row {row}"
        number = column.number if column is not None else 0
        problems.append(Problem("T107", f"{where}: {text}", file, row, number, mend=mend))
    return problems


def read_submission(asked: Submission, facts: LabFacts, known: Known) -> Checked:
    """The same without a lab at work. Raises InputErrors."""
    protocol = load(asked.source, asked.name, library().under(Library(asked.called)))
    rows = Asked(asked.rows, asked.parameters, asked.priority, asked.again, asked.table)
    return Checked(protocol, check_rows(protocol, rows, facts, known))


def batch_events(
    asked: Submission, checked: Checked, batch: str, ids: Sequence[str], taken: Collection[str]
) -> list[NewEvent]:
    """What is written for a batch, in one piece: the batch with its jobs, and its samples.

    Args:
        asked: the submission.
        checked: the same, checked.
        batch: its name.
        ids: the names of its jobs, one an entry.
        taken: names of samples that are no new ones'.
    """
    samples = [
        entry.sample or _unused(f"{batch}-{number:02d}", taken) for number, entry in enumerate(checked.entries, 1)
    ]
    jobs = [
        {
            "job": job,
            "sample": sample,
            "position": entry.position,
            "parameters": dict(entry.parameters),
            "priority": entry.priority,
            "needs": {**entry.needs, **({"places": dict.fromkeys(entry.places, sample)} if entry.places else {})},
        }
        for job, sample, entry in zip(ids, samples, checked.entries, strict=True)
    ]
    submitted = {
        "batch": batch,
        "by": asked.by,
        "protocol": checked.protocol.name,
        "version": str(checked.protocol.version),
        "name": asked.name,
        "source": asked.source,
        "called": dict(checked.protocol.texts),
        "request": asked.request,
        "jobs": jobs,
    }
    return [
        NewEvent("batch.submitted", submitted),
        *(
            NewEvent("sample.registered", _registered(sample, entry, asked.by))
            for sample, entry in zip(samples, checked.entries, strict=True)
        ),
    ]


def _registered(sample: str, entry: Entry, by: str) -> dict[str, Any]:
    about = dict(entry.about)
    return {"sample": sample, "barcode": entry.barcode, "active_mass": entry.active_mass, "about": about, "by": by}


def _unused(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "x"
    return name
