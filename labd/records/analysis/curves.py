"""What is drawn of cycling: voltage over capacity, thinned, and dQ/dV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from labd.records.analysis.cycling import Half, Way, grouped, known, passed
from labd.records.analysis.differential import Slope, slopes

POINTS = 300  # a curve
CURVES = 6  # cycles


@dataclass(frozen=True, slots=True)
class Curve:
    """One charge or discharge: mAh since its start, and V."""

    cycle: int
    way: Way
    capacity: tuple[float, ...]
    voltage: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """The curves of one cell."""

    profiles: tuple[Curve, ...] = ()
    incremental: tuple[Slope, ...] = ()


def curves(columns: Mapping[str, Sequence[float]], after: int = 0) -> Curves:
    """The curves of the first, the last and some cycles between, `CURVES` at most.

    Args:
        columns: `time`, `voltage`, `current` and perhaps `cycle`.
        after: cycles are counted on from it.

    Raises:
        AnalysisError: as `cycles` does.
    """
    number = columns.get("cycle")
    rows = known(columns["time"], columns["voltage"], columns["current"], number)
    groups = grouped(rows, counted=number is not None)
    shown = {name: after + index + 1 for index, (name, _) in enumerate(groups) if index in _spread(len(groups))}
    profiles = [_profile(rows, half, shown[name]) for name, own in groups if name in shown for half in own]
    steep = slopes(columns["time"], columns["voltage"], columns["current"], number)
    incremental = [replace(slope, cycle=shown[slope.cycle]) for slope in steep if slope.cycle in shown]
    return Curves(tuple(profiles), tuple(incremental))


def _spread(count: int) -> set[int]:
    """The first, the last, and some between."""
    most = min(count, CURVES)
    return {round(index * (count - 1) / max(1, most - 1)) for index in range(most)}


def _profile(rows: Sequence[Any], half: Half, cycle: int) -> Curve:
    import numpy as np

    flows, charge = passed(rows, half)
    voltage = rows[1][half.start : half.stop][flows]
    thin = np.unique(np.linspace(0, len(charge) - 1, min(len(charge), POINTS)).round().astype(int))
    return Curve(cycle, half.way, tuple(charge[thin].tolist()), tuple(voltage[thin].tolist()))
