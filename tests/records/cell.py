"""A cell on paper, whose capacities are known: constant currents over straight voltages, with rests between."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

CURRENT = 0.001  # A
STEP = 10.0  # s
Row = tuple[float, float, float, float]


def cycled(
    capacities: Sequence[tuple[float, float]], *, lower: float = 3.0, upper: float = 4.2, first: str = "charge"
) -> list[Row]:
    """Rows (s, V, A, cycle) of cycles of so many mAh charged and discharged at 1 mA, a minute's rest after each."""
    rows: list[Row] = []
    time = 0.0
    for cycle, (charged, discharged) in enumerate(capacities, 1):
        halves = [(charged, lower, upper, 1), (discharged, upper, lower, -1)]
        for capacity, begin, end, sign in halves if first == "charge" else reversed(halves):
            seconds = capacity * 3600
            count = round(seconds / STEP)
            for index in range(count + 1):
                share = index / count
                rows.append((time + share * seconds, begin + share * (end - begin), sign * CURRENT, float(cycle)))
            time += seconds
            rows += [(time + index * STEP, end - sign * 0.05, 0.0, float(cycle)) for index in range(1, 7)]
            time += 6 * STEP
    return rows


def columns(rows: Iterable[Row]) -> dict[str, list[float]]:
    """The rows by column, as the signal store gives them."""
    return {name: list(map(float, values)) for name, values in zip(NAMES, zip(*rows, strict=True), strict=True)}


NAMES = ("time", "voltage", "current", "cycle")


def spectrum(ohmic: float = 5.0, arc: float = 20.0, points: int = 40) -> list[tuple[float, float, float]]:
    """Frequency (Hz), Re(Z), Im(Z) (Ω) of a resistance and an arc of a resistor and a capacitor of 10 µF."""
    rows = []
    for index in range(points):
        frequency = 10 ** (5 - 5 * index / (points - 1))
        z = ohmic + arc / (1 + 2j * 3.141592653589793 * frequency * arc * 1e-5)
        rows.append((frequency, z.real, z.imag))
    return rows


def write_bdf(file: Path, rows: Iterable[Row], sign: int = 1, headers: Sequence[str] | None = None) -> Path:
    """A file in Battery Data Format; with `sign` -1 as one writes it whose instrument calls discharging positive."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        lines = csv.writer(stream)
        lines.writerow(headers or ("Test Time / s", "Voltage / V", "Current / A", "Cycle Count / 1"))
        lines.writerows((time, voltage, sign * current, int(cycle)) for time, voltage, current, cycle in rows)
    return file
