"""The cell that an instrument's leads are clipped to, brought up to date whenever somebody looks."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from simulators._kit.world import Cell, World
from simulators.cells import CellModel

NOISE = 2e-4  # V of leads that touch nothing


class Holder:
    """A place of the world, and what is in it now.

    Fault `open_circuit` (bool): a contact is off, no cell.

    Args:
        world, place: where the cell is.
        rng: for what the leads pick up where there is none.
        faults: the simulator's switches.
    """

    def __init__(self, world: World, place: str, rng: random.Random, faults: Mapping[str, Any]) -> None:
        self.place = place
        self._world = world
        self._gauss = rng.gauss
        self._faults = faults
        self._cell: CellModel | None = None
        self._key: tuple[int, float | None] | None = None
        self._at: float | None = None

    def clip(self, now: float) -> CellModel | None:
        """The cell that is there at a time (s since the epoch); one that came in has rested since it was seen last."""
        found = None if self._faults.get("open_circuit") else self._world.cell(self.place)
        key = None if found is None else (id(found), found.crimped_at)
        if key != self._key:
            self._key = key
            self._cell = None if found is None else self._model(found)
            if self._cell is not None and found is not None:
                rested = now - float(found.physics.get("at", now))
                if rested > 0 and self._cell.live:
                    self._cell.step(rested)
                found.physics["at"] = now
            self._at = now
        return self._cell

    def _model(self, cell: Cell) -> CellModel:
        return CellModel(cell, self._world.random(cell.id), failures=self._world.failed_cells)

    def advance(
        self,
        now: float,
        *,
        current: float | None = None,
        voltage: float | None = None,
        limit: float = math.inf,
    ) -> tuple[float, float]:
        """Lets the time pass until `now` under a current (A) or a voltage (V), or at open circuit; gives V and A.

        `limit` bounds the size of what is not imposed, as `CellModel.step` says.
        """
        cell = self.clip(now)
        dt = max(0.0, now - (now if self._at is None else self._at))
        self._at = max(now, self._at or now)
        if cell is not None:
            found = cell.step(dt, current=current, voltage=voltage, limit=limit)
            cell.cell.physics["at"] = self._at
            return found
        if voltage is not None:
            return voltage, 0.0
        if current and limit < math.inf:
            return math.copysign(limit, current), 0.0
        return self._gauss(0.0, NOISE), 0.0

    def snapshot(self) -> tuple[float | None, dict[str, Any]]:
        """The state of the cell, to come back to."""
        return self._at, {} if self._cell is None else dict(self._cell.cell.physics)

    def restore(self, snapshot: tuple[float | None, dict[str, Any]]) -> None:
        """Goes back to a state; the cell must be the same."""
        self._at, physics = snapshot
        if self._cell is not None:
            self._cell.cell.physics.update(physics)
