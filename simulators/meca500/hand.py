"""What the arm's hand does to the world: it takes what lies where it closes, puts down, misses and drops."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from typing import Any

from simulators._kit.simulator import Bench
from simulators._kit.world import Cell, Part
from simulators.meca500.kinematics import Frame, angle_between, frame

NEAR = 1.5  # mm between the tool and a taught place for the fingers to meet what lies there
TURNED = 5.0  # ° likewise
IN_THE_WAY = 15.0  # mm around a place in which a machine's moving part hits the tool


class Hand:
    """The places that the arm knows, and what it carries at `<name>/gripper`.

    Faults:
        miss (0 to 1), miss_on (list of closings at a part, from 1): the fingers close beside the part.
        drop (0 to 1), drop_on (list of such closings): the part is lost on the next way.
    """

    def __init__(self, bench: Bench, faults: MutableMapping[str, Any]) -> None:
        self._world = bench.world
        self._name = bench.name
        self._faults = faults
        self._rng = bench.random()
        self._places = {
            name: frame([float(value) for value in entry["pose"]])
            for name, entry in bench.positions.items()
            if "/" in name
        }
        self.spot = f"{bench.name}/gripper"

    @property
    def _memory(self) -> MutableMapping[str, Any]:
        return self._world.memory(self._name)

    @property
    def item(self) -> Cell | Part | None:
        """What it carries."""
        return self._world.item(self.spot)

    def place_at(self, tool: Frame) -> str | None:
        """The taught place that the tool stands at."""
        near = [
            (math.dist(where.position, tool.position), name)
            for name, where in self._places.items()
            if math.dist(where.position, tool.position) <= NEAR and angle_between(where, tool) <= TURNED
        ]
        return min(near)[1] if near else None

    def take(self, tool: Frame) -> bool:
        """The fingers meet what lies at the tool; whether they have it."""
        place = self.place_at(tool)
        if place is None or self._world.item(place) is None:
            return False
        closing = int(self._memory.get("closings", 0)) + 1
        self._memory["closings"] = closing
        if self._strikes("miss", closing):
            return False
        item = self._world.take(place)
        return item is not None and self._world.put(self.spot, item)

    def give(self, tool: Frame) -> None:
        """The fingers let go: it lies at the place, or it falls."""
        place = self.place_at(tool)
        item = self._world.take(self.spot)
        if item is not None and (place is None or not self._world.put(place, item)):
            self._fall(item)

    def drops(self) -> bool:
        """Whether what was taken last gets lost on the way that begins now. Each taking is asked once."""
        if self.item is None or self._memory.get("carried") == self._memory.get("closings"):
            return False
        closing = int(self._memory.get("closings", 0))
        self._memory["carried"] = closing
        return self._strikes("drop", closing)

    def lose(self) -> None:
        """What it carries falls."""
        item = self._world.take(self.spot)
        if item is not None:
            self._fall(item)

    def _fall(self, item: Cell | Part) -> None:
        if isinstance(item, Cell):
            item.damage.append("dropped")
        fallen = int(self._memory.get("fallen", 0)) + 1
        self._memory["fallen"] = fallen
        self._world.put(f"{self._name}/fallen/{fallen}", item)

    def _strikes(self, fault: str, closing: int) -> bool:
        chance = float(self._faults.get(fault) or 0.0)
        unlucky = chance > 0 and self._rng.random() < chance
        return unlucky or closing in (self._faults.get(f"{fault}_on") or ())

    def hits(self, tool: Frame, at: float) -> str | None:
        """The place near the tool that another machine's moving part fills at that time (lab s since the epoch).

        Machines tell it in their memory: `blocked: {spot: [since, until or None]}`.
        """
        for place, where in self._places.items():
            if math.dist(where.position, tool.position) > IN_THE_WAY:
                continue
            device, _, spot = place.partition("/")
            blocked: Mapping[str, Any] = self._world.memory(device).get("blocked") or {}
            if spot not in blocked:
                continue
            since, until = blocked[spot]
            if since <= at and (until is None or at < until):
                return place
        return None
