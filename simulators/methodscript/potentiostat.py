"""The analogue side of the instrument: modes, ranges, limits, and the cell that it is clipped to."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

from simulators._kit.world import World
from simulators.cells import CellModel
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
        self._world = world
        self._place = place
        self._gauss = rng.gauss
        self._wall = wall
        self._faults = faults
        self._cell: CellModel | None = None
        self._key: tuple[int, float | None] | None = None
        self._at = 0.0
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
    def _clip(self, now: float) -> CellModel | None:
        """The cell that is in the holder now; one that came in is brought up to date by its rest elsewhere."""
        found = None if self._faults.get("open_circuit") else self._world.cell(self._place)
        key = None if found is None else (id(found), found.crimped_at)
        if key != self._key:
            self._key = key
            self._cell = None
            if found is not None:
                self._cell = CellModel(found, self._world.random(found.id), failures=self._world.failed_cells)
                rested = now - found.physics.get("at", now)
                if rested > 0 and self._cell.live:
                    self._cell.step(rested)
                found.physics["at"] = now
            self._at = now
        return self._cell

    @property
    def cell(self) -> CellModel | None:
        """The model of the cell in the holder."""
        return self._clip(self._wall())

    def advance(self) -> None:
        """Brings the physics up to now."""
        now = self._wall()
        self._clip(now)
        self.evolve(now - self._at)
        self._at = now
        if self._cell is not None:
            self._cell.cell.physics["at"] = now

    def evolve(self, dt: float) -> None:
        """Lets so many seconds pass under what is imposed; leaves the true values in `voltage` and `current`."""
        cell = self._cell
        if dt < 0:
            dt = 0.0
        if not self.on or self.mode == 0:
            self.voltage, self.current = cell.step(dt) if cell is not None else (self._gauss(0.0, 2e-4), 0.0)
        elif self.galvanostatic:
            reach = self.model.potential[1]
            wanted = self.set_current
            if cell is not None:
                self.voltage, self.current = cell.step(dt, current=wanted, limit=reach)
            else:
                self.voltage, self.current = (math.copysign(reach, wanted) if wanted else self._gauss(0.0, 2e-4)), 0.0
        else:
            wanted = self.set_potential
            if cell is not None:
                top = min(self.model.current, self._range[1] * self.model.headroom)
                self.voltage, self.current = cell.step(dt, voltage=wanted, limit=top)
            else:
                self.voltage, self.current = wanted, 0.0

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
        cell = self._cell
        z = cell.impedance(frequency) if cell is not None else 1.0 / complex(1e-11, 2.0 * math.pi * frequency * 2e-12)
        size = abs(z) * 1e-3
        return z + complex(self._gauss(0.0, size), self._gauss(0.0, size))
