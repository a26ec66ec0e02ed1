"""The measurements of a run joined to one test, and single steps seen as cycles."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Mapping, Sequence
from datetime import datetime

from labd.journal import SeriesInfo, SignalStore
from labd.records.errors import ExportError

SLACK = 10.0  # s; an instrument's clock and the daemon's differ: by so much a series may seem to begin too early
NEEDED = {"time", "voltage", "current"}
Read = Sequence[tuple[SeriesInfo, Mapping[str, "array[float]"]]]


def one_test(read: Read) -> dict[str, array[float]]:
    """All rows of time, voltage and current of a run as one test, in the columns of `labd.records.bdf`.

    The time counts from the beginning of the first series; steps are the actions, from 1; cycles count on over them.

    Raises:
        ExportError: the run has no such rows.
    """
    found = _joined(read)
    if not found["time"]:
        raise ExportError("the run has no rows of time, voltage and current; export it to csv")
    return found


def _joined(read: Read, *, idle: bool = True) -> dict[str, array[float]]:
    """Without `idle` the time stands still between a series and the next."""
    names = ("time", "voltage", "current", "unix", "cycle", "step")
    found = {name: array("d") for name in names}
    cycle = cut = 0.0
    own = [(series, columns) for series, columns in read if columns.keys() >= NEEDED]
    for step, (series, columns) in enumerate(own, 1):
        began = datetime.fromisoformat(series.started).timestamp()
        first = datetime.fromisoformat(own[0][0].started).timestamp()
        rows = len(columns["time"])
        start = began - first
        if found["time"] and rows:
            ended = found["time"][-1]
            if not idle:
                cut = max(cut, start - ended)
                start -= cut
            begins = start + columns["time"][0]
            if ended - SLACK <= begins < ended:
                start += ended - begins
        counted = columns.get("cycle", array("d", [0.0]) * rows)
        found["time"].extend(start + time for time in columns["time"])
        found["unix"].extend(began + time for time in columns["time"])
        found["voltage"].extend(columns["voltage"])
        found["current"].extend(columns["current"])
        found["cycle"].extend(cycle + number for number in counted)
        found["step"].extend([float(step)] * rows)
        cycle = max(found["cycle"], default=0.0)
    return found


async def stepped(series: Sequence[SeriesInfo], store: SignalStore) -> dict[str, array[float]] | None:
    """Time, voltage and current of a run that charges and discharges in steps of its own; None where it does not.

    Raises:
        SignalError: the store cannot be read.
    """
    own = steps_of(series)
    read = [(one, await store.read(one.id)) for one in own]
    return await asyncio.to_thread(steps_joined, read) if own else None


def steps_of(series: Sequence[SeriesInfo]) -> list[SeriesInfo]:
    """The series that are joined; none of a run that has an action `cycle`: its cycles are that action's."""
    actions = {one.action for one in series}
    if "cycle" in actions or "constant_current" not in actions:
        return []
    return [one for one in series if {name for name, _ in one.columns} >= NEEDED and one.action != "cyclic_voltammetry"]


def steps_joined(read: Read) -> dict[str, array[float]]:
    """Time, voltage and current of the series that `steps_of` names; a step that just began may have no rows yet.

    The time counts only what was measured: no current flowed while a run was held between two charges, say.
    """
    joined = _joined(read, idle=False)
    return {name: joined[name] for name in ("time", "voltage", "current")}
