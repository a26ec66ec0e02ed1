"""The measurements of a run joined to one test, and single steps seen as cycles."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from datetime import datetime

from labd.journal import SeriesInfo, SignalStore
from labd.records.errors import ExportError

NEEDED = {"time", "voltage", "current"}
Read = Sequence[tuple[SeriesInfo, Mapping[str, "array[float]"]]]


def one_test(read: Read) -> dict[str, array[float]]:
    """All rows of time, voltage and current of a run as one test, in the columns of `labd.records.bdf`.

    The time counts from the beginning of the first series; steps are the actions, from 1; cycles count on over them.

    Raises:
        ExportError: the run has no such rows.
    """
    names = ("time", "voltage", "current", "unix", "cycle", "step")
    found = {name: array("d") for name in names}
    cycle = 0.0
    own = [(series, columns) for series, columns in read if columns.keys() >= NEEDED]
    for step, (series, columns) in enumerate(own, 1):
        began = datetime.fromisoformat(series.started).timestamp()
        first = datetime.fromisoformat(own[0][0].started).timestamp()
        rows = len(columns["time"])
        counted = columns.get("cycle", array("d", [0.0]) * rows)
        found["time"].extend(began - first + time for time in columns["time"])
        found["unix"].extend(began + time for time in columns["time"])
        found["voltage"].extend(columns["voltage"])
        found["current"].extend(columns["current"])
        found["cycle"].extend(cycle + number for number in counted)
        found["step"].extend([float(step)] * rows)
        cycle = max(found["cycle"], default=0.0)
    if not found["time"]:
        raise ExportError("the run has no rows of time, voltage and current; export it to csv")
    return found


async def stepped(series: Sequence[SeriesInfo], store: SignalStore) -> dict[str, array[float]] | None:
    """Time, voltage and current of a run that charges and discharges in steps of its own; None where it does not.

    A run that has an action `cycle` is not read so: its cycles are that action's.

    Raises:
        SignalError: the store cannot be read.
    """
    actions = {one.action for one in series}
    if "cycle" in actions or "constant_current" not in actions:
        return None
    own = [one for one in series if {name for name, _ in one.columns} >= NEEDED and one.action != "cyclic_voltammetry"]
    joined = one_test([(one, await store.read(one.id)) for one in own])
    return {name: joined[name] for name in ("time", "voltage", "current")}
