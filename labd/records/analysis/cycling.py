"""Cycles and rests of a cell from rows of time, voltage and current. A positive current charges, as in BDF. Pure.

numpy is imported when something is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

REST = 0.002  # of the greatest current; what flows in a rest is the noise of the instrument
SAME_END = 0.005  # V; the last half that ends further from its predecessor's end was broken off
DECIMALS = 12  # more than this no instrument tells: the values were computed
Way = Literal["charge", "discharge"]


class AnalysisError(Exception):
    """Rows cannot be analysed; the text says why and how to mend it."""


@dataclass(frozen=True, slots=True)
class Half:
    """One charge or one discharge: the rows from `start` to before `stop`, rests within it included.

    Args:
        way: which.
        start, stop: rows of what was given, unknown values left out.
        capacity, energy: mAh and mWh, as magnitudes.
        capacity_sparse, energy_sparse: mAh and mWh; how much they may be off because rows are far apart.
        seconds: that a current flowed.
        end: V, of its last row with a current.
        rest: V, at the end of the rest after it; None where none follows.
    """

    way: Way
    start: int
    stop: int
    capacity: float
    energy: float
    seconds: float
    end: float
    rest: float | None
    capacity_sparse: float = 0.0
    energy_sparse: float = 0.0


@dataclass(frozen=True, slots=True)
class Cycle:
    """One cycle: two halves, in the order in which the first cycle has them.

    Args:
        number: from 1, or what the rows call it.
        begins: which half comes first: a full cell is charged first, a half cell with its lithium mostly discharged.
        charge, discharge: mAh; 0 for a half that is not there.
        charge_energy, discharge_energy: mWh.
        efficiency: coulombic, %: the second half's charge over the first's. None unless complete.
        energy_efficiency: %, of the energies in the same way.
        complete: both halves are there, and the last one was not broken off.
        rest_after_charge, rest_after_discharge: V at the end of the rest that follows; None where there is none.
        charge_error, discharge_error: mAh; what half a digit of the current's last decimal comes to over the half. None
            where the values tell no last decimal.
        charge_sparse, discharge_sparse: mAh; how much they may be off because rows are far apart: a third of what
            leaving out every second row changes, which is what the trapezoidal rule errs by.
        charge_energy_sparse, discharge_energy_sparse: mWh, in the same way.
    """

    number: int
    begins: Way
    charge: float
    discharge: float
    charge_energy: float
    discharge_energy: float
    efficiency: float | None
    energy_efficiency: float | None
    complete: bool
    rest_after_charge: float | None = None
    rest_after_discharge: float | None = None
    charge_error: float | None = None
    discharge_error: float | None = None
    charge_sparse: float = 0.0
    discharge_sparse: float = 0.0
    charge_energy_sparse: float = 0.0
    discharge_energy_sparse: float = 0.0


def cycles(
    time: Sequence[float],
    voltage: Sequence[float],
    current: Sequence[float],
    number: Sequence[float] | None = None,
) -> list[Cycle]:
    """The cycles of a cell.

    Charge and energy are trapezoidal integrals, from the row before the first with a current on. What flows less than
    `REST` of the greatest current is a rest. Without `number` a cycle begins wherever the way of the very first half
    begins again.

    Args:
        time: s, never going back.
        voltage: V; rows with a value that nobody could tell (NaN) are left out.
        current: A.
        number: of each row's cycle, where the instrument counts them.

    Raises:
        AnalysisError: columns of unequal lengths, or a time that goes back.
    """
    rows = known(time, voltage, current, number)
    groups = grouped(rows, counted=number is not None)
    if not groups:
        return []
    digit = resolution(rows[2])
    whole = _went_as_far([half for _, own in groups for half in own])
    return [_cycle(name, own, digit, whole=whole or own is not groups[-1][1]) for name, own in groups]


def grouped(rows: Sequence[Any], *, counted: bool) -> list[tuple[int, list[Half]]]:
    """The halves of rows that `known` gives, by cycle; `counted`: the fourth column is the instrument's count."""
    groups: list[tuple[int, list[Half]]] = []
    for half in halves(rows[: 4 if counted else 3]):
        told = int(rows[3][half.start]) if counted else None
        if not groups or (half.way == groups[0][1][0].way if told is None else told != groups[-1][0]):
            groups.append((len(groups) + 1 if told is None else told, []))
        groups[-1][1].append(half)
    return groups


def _went_as_far(found: Sequence[Half]) -> bool:
    """Whether the last half ends where the one before it in the same way did; True where there is none."""
    last = found[-1]
    before = next((half for half in reversed(found[:-1]) if half.way == last.way), None)
    if before is None:
        return True
    short = before.end - last.end if last.way == "charge" else last.end - before.end
    return short <= SAME_END


def _cycle(number: int, own: Sequence[Half], digit: float | None, *, whole: bool) -> Cycle:
    charge, discharge = ([half for half in own if half.way == way] for way in ("charge", "discharge"))
    sums = [sum(half.capacity for half in side) for side in (charge, discharge)]
    energies = [sum(half.energy for half in side) for side in (charge, discharge)]
    begins = own[0].way
    complete = whole and min(sums) > 0
    first = 0 if begins == "charge" else 1
    seconds = [sum(half.seconds for half in side) for side in (charge, discharge)]
    return Cycle(
        number,
        begins,
        sums[0],
        sums[1],
        energies[0],
        energies[1],
        100 * sums[1 - first] / sums[first] if complete else None,
        100 * energies[1 - first] / energies[first] if complete and min(energies) > 0 else None,
        complete,
        next((half.rest for half in reversed(charge)), None),
        next((half.rest for half in reversed(discharge)), None),
        None if digit is None else digit / 2 * seconds[0] / 3.6,
        None if digit is None else digit / 2 * seconds[1] / 3.6,
        *(sum(half.capacity_sparse for half in side) for side in (charge, discharge)),
        *(sum(half.energy_sparse for half in side) for side in (charge, discharge)),
    )


def halves(rows: Sequence[Any]) -> Iterator[Half]:
    """The charges and discharges of rows that `known` gives, in order."""
    import numpy as np

    time, voltage, current = rows[:3]
    if not len(time):
        return
    number = rows[3] if len(rows) > 3 else np.zeros(len(time))
    sign = np.where(np.abs(current) > REST * np.abs(current).max(), np.sign(current), 0)
    active = np.flatnonzero(sign)
    if not len(active):
        return
    turns = (sign[active[1:]] != sign[active[:-1]]) | (number[active[1:]] != number[active[:-1]])
    starts = active[np.concatenate(([True], turns))]
    # between two rows of one half with no rest between them
    joined = (sign[1:] == sign[:-1]) & (sign[1:] != 0) & (number[1:] == number[:-1])
    seconds = np.diff(time) * joined
    charge = np.abs(current[1:] + current[:-1]) / 2 * seconds / 3.6
    energy = np.abs(current[1:] * voltage[1:] + current[:-1] * voltage[:-1]) / 2 * seconds / 3.6
    for start, stop in zip(starts, [*starts[1:], len(time)], strict=True):
        own = slice(start, max(start, stop - 1))
        lead = _lead(time, start, stop)
        last = start + np.flatnonzero(sign[start:stop])[-1]
        yield Half(
            "charge" if sign[start] > 0 else "discharge",
            int(start),
            int(stop),
            float(charge[own].sum() + abs(current[start]) * lead / 3.6),
            float(energy[own].sum() + abs(current[start] * voltage[start]) * lead / 3.6),
            float(seconds[own].sum() + lead),
            float(voltage[last]),
            float(voltage[stop - 1]) if last < stop - 1 else None,
            _sparse(time, np.abs(current), joined, start, last),
            _sparse(time, np.abs(current * voltage), joined, start, last),
        )


def _sparse(time: Any, flow: Any, joined: Any, start: int, last: int) -> float:
    """How much the integral of a flow over a half may be off because its rows are far apart (Richardson)."""
    import numpy as np

    pairs = np.arange(start, last - 1, 2)  # each with the two rows after it
    pairs = pairs[joined[pairs] & joined[pairs + 1]]
    left, middle, right = (flow[pairs + step] for step in range(3))
    first, second = time[pairs + 1] - time[pairs], time[pairs + 2] - time[pairs + 1]
    fine = (left + middle) / 2 * first + (middle + right) / 2 * second
    return float(abs((fine - (left + right) / 2 * (first + second)).sum()) / 3 / 3.6)


def passed(rows: Sequence[Any], half: Half) -> tuple[Any, Any]:
    """Which rows of a half have a current, and the mAh at each of these since the first: none flow in rests between."""
    import numpy as np

    time, current = (rows[column][half.start : half.stop] for column in (0, 2))
    flows = np.abs(current) > REST * np.abs(rows[2]).max()
    moved = np.abs(current[1:] + current[:-1]) / 2 * np.diff(time) / 3.6 * (flows[1:] & flows[:-1])
    return flows, np.concatenate(([0.0], np.cumsum(moved)))[flows]


def _lead(time: Any, start: int, stop: int) -> float:
    """The s before a half's first row in which its current flowed already: since the row before, one interval at most.

    Before the very first row it is since the time 0, when the test began. An instrument that records the beginning of
    a step has a row there, and the lead is nothing.
    """
    if start + 1 >= stop:
        return 0.0
    before = time[start - 1] if start else 0.0
    return float(max(0.0, min(time[start] - before, time[start + 1] - time[start])))


def known(*columns: Sequence[float] | None) -> list[Any]:
    """Columns as numpy arrays, without the rows in which a value is unknown; None columns are left out.

    Raises:
        AnalysisError: unequal lengths, or the first column (time) goes back.
    """
    import numpy as np

    told = [np.asarray(column, dtype=float) for column in columns if column is not None]
    if len({len(column) for column in told}) > 1:
        raise AnalysisError(
            f"the columns have {', '.join(str(len(column)) for column in told)} rows; give all the same"
        )
    finite = np.logical_and.reduce([np.isfinite(column) for column in told])
    told = [column[finite] for column in told]
    back = np.flatnonzero(np.diff(told[0]) < 0)
    if len(back):
        row = int(back[0]) + 2
        raise AnalysisError(
            f"the time goes back at row {row}, from {told[0][row - 2]:g} s to {told[0][row - 1]:g} s; "
            "give the time since the start of the test, not of the step"
        )
    return told


def resolution(values: Sequence[float]) -> float | None:
    """The unit of the last decimal with which values were told, `0.0001`; None where they have too many to tell."""
    import numpy as np

    told = np.asarray(values, dtype=float)
    told = told[np.isfinite(told)]
    for decimals in range(DECIMALS + 1):
        if np.allclose(np.round(told, decimals), told, rtol=1e-14, atol=0):
            return float(10.0**-decimals)
    return None


def resting(time: Sequence[float], voltage: Sequence[float]) -> dict[str, float | None]:
    """A rest: its last voltage (V), how fast that changed over the last quarter (mV/h), and how long it was (s)."""
    import numpy as np

    at, told = known(time, voltage)
    if not len(at):
        return {"voltage": None, "drift": None, "seconds": None}
    last = at >= at[-1] - (at[-1] - at[0]) / 4
    drift = None
    if last.sum() > 2 and at[last][0] < at[-1]:
        drift = float(np.polyfit(at[last] - at[-1], told[last], 1)[0] * 3600 * 1000)
    return {"voltage": float(told[-1]), "drift": drift, "seconds": float(at[-1] - at[0])}
