"""The analogue side of the instrument: modes, ranges, limits, and the cell that it is clipped to."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

from simulators._kit.world import World
from simulators.cells import CellModel
from simulators.holder import Holder
from simulators.methodscript.models import OVERLOAD, OVERLOAD_WARNING, UNDERLOAD, Model

GALVANOSTATIC = 6  # set_pgstat_mode
_MODES = (0, 2, 3, 4, 5, GALVANOSTATIC)


class Potentiostat:
    """Imposes a potential or a current on the cell at a place, and reads it back.

    What was last imposed goes on until the cell is switched off, also when no script runs: the physics is brought up to
    date whenever somebody looks.

    Args:
        wall: lab seconds since the epoch.
    """

    def __init__(
        self,
        model: Model,
        world: World,
        place: str,
        rng: random.Random,
        wall: Callable[[], float],
        faults: Mapping[str, Any],
    ) -> None:
        self.model = model
        self._holder = Holder(world, place, rng, faults)
        self._gauss = rng.gauss
        self._wall = wall
        self._faults = faults
        self.reset()
        # The last reading.
        self.voltage = 0.0
        self.current = 0.0
        self.status_v = 0
        self.status_i = 0
        self.scale_v: int | None = model.potential_ranges[-1][1] if model.potential_ranges else None
        self.scale_i = 0

    def reset(self) -> None:
        """As after power-up: cell off, mode 0, widest range."""
        self.mode = 0
        self.on = False
        self.set_potential = 0.0
        self.set_current = 0.0
        top = self.model.ranges[-1][0]
        self._range = (top, top)
        self._galvano_range = (top, top)

    # ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────
    def set_mode(self, mode: int) -> bool:
        """Changes the mode, which opens the cell switch; False when this instrument has no such mode."""
        if mode not in _MODES or (mode == GALVANOSTATIC and not self.model.galvanostat):
            return False
        self.advance()
        self.mode, self.on = mode, False
        self.set_potential = self.set_current = 0.0
        return True

    def set_range(self, kind: str, low: float, high: float) -> None:
        """The range, or the span of an automatic one, of currents read (`ba`) or imposed (`db`)."""
        low, high = sorted((abs(low), abs(high)))
        if kind == "ba":
            self._range = (low, high)
        elif kind == "db":
            self._galvano_range = (low, high)

    def switch(self, *, on: bool) -> None:
        """The cell switch."""
        self.advance()
        self.on = on

    @property
    def galvanostatic(self) -> bool:
        return self.mode == GALVANOSTATIC

    def impose(self, value: float) -> None:
        """Potential or current, as the mode is; it acts while the cell is on."""
        self.advance()
        if self.galvanostatic:
            self.set_current = value
        else:
            self.set_potential = value

    # ── the cell ─────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def cell(self) -> CellModel | None:
        """The model of the cell in the holder."""
        return self._holder.clip(self._wall())

    def advance(self) -> None:
        """Brings the physics up to now under what is imposed; leaves the true values in `voltage` and `current`."""
        now, advance = self._wall(), self._holder.advance
        if not self.on or self.mode == 0:
            self.voltage, self.current = advance(now)
        elif self.galvanostatic:
            self.voltage, self.current = advance(now, current=self.set_current, limit=self.model.potential[1])
        else:
            top = min(self.model.current, self._range[1] * self.model.headroom)
            self.voltage, self.current = advance(now, voltage=self.set_potential, limit=top)

    def read(self) -> None:
        """Brings the physics up to now and reads voltage and current, with noise, status and ranges."""
        self.advance()
        model = self.model
        reach = model.potential[1]
        low, high = self._galvano_range if self.galvanostatic else self._range
        size = abs(self.current)
        nominal, self.scale_i = model.range_for(size, low, high)
        top = nominal * model.headroom
        status = 0
        if size > top * 0.97:
            status = OVERLOAD
        elif size > top * 0.82:
            status = OVERLOAD_WARNING
        elif size < nominal * 0.01:
            status = UNDERLOAD
        self.status_v = OVERLOAD if abs(self.voltage) >= reach * 0.999 else 0
        if self._faults.get("overload"):
            status |= OVERLOAD
            self.status_v |= OVERLOAD
        self.status_i = status
        self.current += self._gauss(0.0, nominal * 2e-5)
        self.voltage = min(reach, max(model.potential[0], self.voltage + self._gauss(0.0, 3e-5)))

    def impedance(self, frequency: float) -> complex:
        """Impedance at a frequency, with a per mille of noise, Ω."""
        cell = self.cell
        z = cell.impedance(frequency) if cell is not None else 1.0 / complex(1e-11, 2.0 * math.pi * frequency * 2e-12)
        size = abs(z) * 1e-3
        return z + complex(self._gauss(0.0, size), self._gauss(0.0, size))
