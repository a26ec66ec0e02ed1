"""What the arm's gripper does to the world: it takes what lies where it closes, puts down, misses and drops."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from typing import Any

from simulators._kit.simulator import Bench
from simulators._kit.world import Cell, Part
from simulators.mg400.kinematics import Pose

NEAR = 1.5  # mm between the gripper and a taught place, to meet what lies there
TURNED = 5.0  # ° likewise
IN_THE_WAY = 15.0  # mm around a place in which a machine's moving part hits the gripper


class Hand:
    """The places that the arm knows, and what it carries at `<name>/gripper`.

    Faults:
        miss (0 to 1), miss_on (list of closings at a part, from 1): it closes beside the part.
        drop (0 to 1), drop_on (list of such closings): the part is lost on the next way.
    """

    def __init__(self, bench: Bench, faults: MutableMapping[str, Any]) -> None:
        self._world = bench.world
        self._name = bench.name
        self._faults = faults
        self._rng = bench.random()
        self._places: dict[str, Pose] = {}
        for name, entry in bench.positions.items():
            if "/" in name:
                x, y, z, _, _, r = (float(value) for value in entry["pose"])
                self._places[name] = (x, y, z, r)
        self.spot = f"{bench.name}/gripper"

    @property
    def _memory(self) -> MutableMapping[str, Any]:
        return self._world.memory(self._name)

    @property
    def item(self) -> Cell | Part | None:
        """What it carries."""
        return self._world.item(self.spot)

    def place_at(self, tool: Pose) -> str | None:
        """The taught place that the gripper stands at."""
        near = [
            (math.dist(where[:3], tool[:3]), name)
            for name, where in self._places.items()
            if math.dist(where[:3], tool[:3]) <= NEAR and abs((where[3] - tool[3] + 180) % 360 - 180) <= TURNED
        ]
        return min(near)[1] if near else None

    def take(self, tool: Pose) -> bool:
        """It closes; whether it has what lies there."""
        place = self.place_at(tool)
        if self.item is not None or place is None or self._world.item(place) is None:
            return False
        closing = int(self._memory.get("closings", 0)) + 1
        self._memory["closings"] = closing
        if self._strikes("miss", closing):
            return False
        item = self._world.take(place)
        return item is not None and self._world.put(self.spot, item)

    def give(self, tool: Pose) -> None:
        """It lets go: what it carries lies at the place, or falls."""
        place = self.place_at(tool)
        item = self._world.take(self.spot)
        if item is not None and (place is None or not self._world.put(place, item)):
            self._fall(item)

    def drops(self) -> bool:
        """Whether what was taken last gets lost on the way that begins now. Each taking is asked once."""
        closing = int(self._memory.get("closings", 0))
        if self.item is None or self._memory.get("carried") == closing:
            return False
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

    def hits(self, tool: Pose, at: float) -> bool:
        """Whether another machine's moving part fills a place near the gripper at that time (lab s since the epoch).

        Machines tell it in their memory: `blocked: {spot: [since, until or None]}`.
        """
        for place, where in self._places.items():
            if math.dist(where[:3], tool[:3]) > IN_THE_WAY:
                continue
            device, _, spot = place.partition("/")
            blocked: Mapping[str, Any] = self._world.memory(device).get("blocked") or {}
            if spot in blocked:
                since, until = blocked[spot]
                if since <= at and (until is None or at < until):
                    return True
        return False
