"""A syringe with its plunger: how it speeds up and slows down, and what is in its barrel."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from simulators._kit.world import World

AIR = "air"
_LEAST = 1e-9  # µL


@dataclass(frozen=True, slots=True)
class Travel:
    """A move over a distance: from a first speed up to a top speed, and down again.

    Args:
        distance: in any unit of length; the others in it and s.
        first: the speed it starts and ends with.
        top: the greatest speed; one below `first` is kept all the way.
        slope: how fast the speed changes.
    """

    distance: float
    first: float
    top: float
    slope: float

    @property
    def _peak(self) -> float:
        return max(self.first, min(self.top, math.sqrt(self.first**2 + self.slope * self.distance)))

    @property
    def duration(self) -> float:
        """Seconds that it takes."""
        if self.top <= self.first:
            return self.distance / self.top
        peak = self._peak
        return 2 * (peak - self.first) / self.slope + (self.distance - self._ramps) / peak

    @property
    def _ramps(self) -> float:
        return (self._peak**2 - self.first**2) / self.slope

    def travelled(self, seconds: float) -> float:
        """The distance after so many seconds."""
        left = self.duration - seconds
        if left <= 0:
            return self.distance
        if self.top <= self.first:
            return self.top * seconds
        ramp = (self._peak - self.first) / self.slope
        if seconds < ramp:
            return self.first * seconds + self.slope * seconds**2 / 2
        if left < ramp:
            return self.distance - self.first * left - self.slope * left**2 / 2
        return self._ramps / 2 + self._peak * (seconds - ramp)


class Barrel:
    """What a syringe holds, between places of the world; volumes in µL.

    Args:
        world: of the lab.
        memory: where the liquid is kept, by material.
        error: relative; so much more than its scale says the syringe moves.
    """

    def __init__(self, world: World, memory: MutableMapping[str, Any], error: float = 0.0) -> None:
        self._world = world
        self._memory = memory
        self._error = error

    @property
    def contents(self) -> Mapping[str, float]:
        """By material; `air` for what came from nothing."""
        found: Mapping[str, float] = self._memory.get("contents") or {}
        return found

    def draw(self, place: str, volume: float) -> None:
        """Draws in: from a well as much as it has, and air."""
        volume *= 1 + self._error
        taken = self._world.draw(place, volume)
        self._add({**taken, AIR: volume - sum(taken.values())}, 1.0)

    def give(self, place: str, volume: float, at: float) -> None:
        """Gives out, of everything its share, at a time (lab seconds since the epoch)."""
        held = sum(self.contents.values())
        if held <= _LEAST:
            return
        share = min(1.0, volume * (1 + self._error) / held)
        given = {material: amount * share for material, amount in self.contents.items() if material != AIR}
        self._add(self.contents, -share)
        if sum(given.values()) > _LEAST:
            self._world.pour(place, given, at)

    def _add(self, liquid: Mapping[str, float], share: float) -> None:
        now = dict(self.contents)
        for material, amount in liquid.items():
            now[material] = now.get(material, 0.0) + amount * share
        self._memory["contents"] = {material: amount for material, amount in now.items() if amount > _LEAST}
        self._world.save()
