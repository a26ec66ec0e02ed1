"""Where the samples of new runs are: said, known, or the next unused well of a tray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labd.lab.lab import Lab

TRAYS = ("cell_tray",)
"""Labware whose wells may be the home of a sample."""


class EngineError(Exception):
    """A run that cannot be started as asked; the text says why and how to mend it."""


@dataclass(slots=True)
class Homes:
    """The places where samples begin.

    Args:
        lab: with its deck.
        worker: gives the run that works on a sample.
    """

    lab: Lab
    worker: Callable[[str], str | None]

    def home_of(self, sample: str, position: str | None) -> str:
        """Where a new run of a sample begins; "" where that does not matter. Raises EngineError: it cannot be there."""
        worker = self.worker(sample)
        if worker is not None:
            raise EngineError(f"{worker} works on {sample}; wait for its end, or stop it")
        here = self.lab.places.place_of(sample)
        if here is not None:
            if position is not None and position != here:
                raise EngineError(f"{sample} is at {here}, not at {position}")
            return here
        if position is not None:
            there = self.lab.places.sample_at(position)
            if there is not None:
                raise EngineError(f"{position} is occupied by {there}")
            return position
        for place in self._tray_wells():
            if place in self.lab.inventory.stock.parts and self.lab.places.sample_at(place) is None:
                return place
        return ""

    def _tray_wells(self) -> list[str]:
        wells: list[str] = []
        for entry in self.lab.config.deck:
            if entry.fill is not None and entry.labware.startswith(TRAYS):
                wells += [f"{entry.place}/{well}" for well in entry.wells]
        return wells
