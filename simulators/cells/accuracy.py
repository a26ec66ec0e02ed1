"""How far the light model is from a Doyle-Fuller-Newman model: the LG M50's discharge, Chen2020 as published."""

from __future__ import annotations

import math
from collections.abc import Sequence

from simulators.cells import chen2020 as chen
from simulators.cells import spme

FULL = (29866.0 / chen.ANODE.most - chen.X0) / chen.DX
"""State of charge that the published parameters begin with."""
ALLOWED = {0.2: 2.0, 0.5: 2.0, 1.0: 8.0}
"""Root mean square error in mV that is allowed at a rate (1/h)."""
_STEP = 10.0  # s


def discharge(rate: float, times: Sequence[float]) -> list[float]:
    """The light model's voltages at growing times (s), from full at a rate (1/h)."""
    cell = spme.numbers(chen.M50)
    q, modes, at, found = FULL * cell.capacity, [0.0] * spme.MODES, 0.0, []
    for time in times:
        while at < time:
            dt = min(_STEP, time - at)
            ended = spme.advance(cell, spme.pace(cell, dt), q, modes, -5.0 * rate, 1.0, None)
            q, modes, at = q + ended.inner * dt, ended.modes, at + dt
        found.append(ended.voltage)
    return found


def rmse(found: Sequence[float], expected: Sequence[float]) -> float:
    """Root mean square of the difference, mV."""
    return 1e3 * math.sqrt(sum((a - b) ** 2 for a, b in zip(found, expected, strict=True)) / len(found))
