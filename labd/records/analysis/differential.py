"""Incremental capacity, dQ/dV, of charges and discharges.

The capacity is taken on an even grid of voltages, `STEP` apart; its slope is smoothed with a Gaussian of `SIGMA`. What
flows at a constant voltage at the end of a half has no slope, and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labd.records.analysis.cycling import Half, Way, grouped, known, passed

STEP = 0.005  # V
SIGMA = 0.010  # V
PEAKS = 3
PROMINENCE = 0.1  # of the highest point: less is a ripple
SMOOTHING = f"grid {STEP * 1000:g} mV, Gaussian with a standard deviation of {SIGMA * 1000:g} mV"


@dataclass(frozen=True, slots=True)
class Slope:
    """dQ/dV of one half, in one cycle: V, and mAh/V (a magnitude), point by point."""

    half: int
    cycle: int
    way: Way
    voltage: tuple[float, ...]
    slope: tuple[float, ...]

    def peaks(self) -> list[tuple[float, float]]:
        """Voltage (V) and height (mAh/V) of the highest maxima, highest first; at most `PEAKS`."""
        inner = range(1, len(self.slope) - 1)
        tops = [i for i in inner if self.slope[i - 1] < self.slope[i] >= self.slope[i + 1]]
        least = PROMINENCE * max(self.slope, default=0.0)
        tops = sorted((i for i in tops if self.slope[i] >= least), key=lambda i: -self.slope[i])
        return [(self.voltage[i], self.slope[i]) for i in tops[:PEAKS]]


def slopes(
    time: Sequence[float],
    voltage: Sequence[float],
    current: Sequence[float],
    number: Sequence[float] | None = None,
) -> list[Slope]:
    """dQ/dV of every half, in their order; halves over less than ten steps of the grid have none.

    The arguments are those of `cycles`.

    Raises:
        AnalysisError: as `cycles` does.
    """
    rows = known(time, voltage, current, number)
    found = []
    for index, (cycle, half) in enumerate(
        (cycle, half) for cycle, own in grouped(rows, counted=number is not None) for half in own
    ):
        slope = _slope(rows, half)
        if slope is not None:
            found.append(Slope(index, cycle, half.way, *slope))
    return found


def _slope(rows: Sequence[Any], half: Half) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    import numpy as np

    flows, charge = passed(rows, half)
    voltage = rows[1][half.start : half.stop][flows]
    way = 1 if half.way == "charge" else -1
    risen = np.maximum.accumulate(way * voltage)
    first = int(np.argmax(risen >= risen[-1] - STEP)) + 1  # where it comes to its last voltage
    risen, charge = risen[:first], charge[:first]
    # of rows at one voltage the last: what flowed there belongs to it
    last = np.append(np.diff(risen) > 0, True)
    risen, charge = risen[last], charge[last]
    if len(risen) < 4 or risen[-1] - risen[0] < 10 * STEP:
        return None
    grid = np.arange(risen[0], risen[-1], STEP)
    steep = np.diff(np.interp(grid, risen, charge)) / STEP
    reach = np.arange(-round(4 * SIGMA / STEP), round(4 * SIGMA / STEP) + 1)
    kernel = np.exp(-0.5 * (reach * STEP / SIGMA) ** 2)
    if len(steep) < len(kernel):
        return None
    # at the ends the kernel is cut and weighed anew, so that nothing is drawn to zero
    smooth = np.convolve(steep, kernel, "same") / np.convolve(np.ones_like(steep), kernel, "same")
    middle = way * (grid[:-1] + STEP / 2)
    order = np.argsort(middle)
    return tuple(middle[order].tolist()), tuple(smooth[order].tolist())
