"""Where the samples of new runs are: said, known, or the next unused well of a tray."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from labd.lab.deck import DeckEntry
from labd.lab.lab import Lab

TRAYS = ("cell_tray",)
"""Labware whose wells may be the home of a sample."""


_PLACED = re.compile(r"sample\.(position|home)")


def asks_where(texts: Iterable[str]) -> bool:
    """Whether the texts of a protocol, and of those that it calls, say anything of where its sample is."""
    return any(map(_PLACED.search, texts))


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

    def home_of(self, sample: str, position: str | None, promised: Collection[str] = (), *, taken: bool = True) -> str:
        """Where a new run of a sample begins; "" where that does not matter. Raises EngineError: it cannot be there.

        Args:
            sample: which.
            position: where it is, where that was said.
            promised: places that are kept for other samples.
            taken: whether one on a tray is taken where nobody has said one.
        """
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
            wrong = self.lab.inventory.no_cell(position)
            if wrong is not None:
                raise EngineError("; ".join(wrong))
            return position
        for place in self._tray_wells() if taken else ():
            free = place not in promised and self.lab.places.sample_at(place) is None
            if free and place in self.lab.inventory.stock.parts:
                return place
        return ""

    @property
    def trays(self) -> list[str]:
        """The places of trays in whose wells samples begin."""
        return [entry.place for entry in self._trays()]

    def _tray_wells(self) -> list[str]:
        return [f"{entry.place}/{well}" for entry in self._trays() for well in entry.wells]

    def _trays(self) -> list[DeckEntry]:
        deck = self.lab.config.deck
        return [entry for entry in deck if entry.fill is not None and entry.labware.startswith(TRAYS)]
