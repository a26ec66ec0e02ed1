"""What an arm's gripper does to the world: it takes what lies where it closes, puts down, misses and drops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Generic, TypeVar

from simulators._kit.simulator import Bench
from simulators._kit.world import Cell, Part

NEAR = 1.5  # mm between the gripper and a taught place, to meet what lies there
TURNED = 5.0  # ° likewise
IN_THE_WAY = 15.0  # mm around a place in which a machine's moving part hits the gripper

_Pose = TypeVar("_Pose")


class ArmHand(Generic[_Pose]):
    """The places that the arm knows, and what it carries at `<name>/gripper`.

    Faults:
        miss (0 to 1), miss_on (list of closings at a part, from 1): it closes beside the part.
        drop (0 to 1), drop_on (list of such closings): the part is lost on the next way.

    Args:
        bench: the arm's; its positions with a `/` are places.
        faults: the simulator's switches.
        read: x, y, z (mm), a, b, c (°) of a taught position as a pose of this arm.
        apart: how far two poses are from each other: mm, and °.
    """

    def __init__(
        self,
        bench: Bench,
        faults: MutableMapping[str, Any],
        read: Callable[[Sequence[float]], _Pose],
        apart: Callable[[_Pose, _Pose], tuple[float, float]],
    ) -> None:
        self._world = bench.world
        self._name = bench.name
        self._faults = faults
        self._rng = bench.random()
        self._places = {
            name: read([float(value) for value in entry["pose"]])
            for name, entry in bench.positions.items()
            if "/" in name
        }
        self._apart = apart
        self.spot = f"{bench.name}/gripper"

    @property
    def _memory(self) -> MutableMapping[str, Any]:
        return self._world.memory(self._name)

    @property
    def item(self) -> Cell | Part | None:
        """What it carries."""
        return self._world.item(self.spot)

    def _from(self, tool: _Pose) -> Iterator[tuple[float, float, str]]:
        """How far each place is: mm, °."""
        for name, where in self._places.items():
            yield (*self._apart(where, tool), name)

    def place_at(self, tool: _Pose) -> str | None:
        """The taught place that the gripper stands at."""
        near = [one for one in self._from(tool) if one[0] <= NEAR and one[1] <= TURNED]
        return min(near)[2] if near else None

    def take(self, tool: _Pose) -> bool:
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

    def give(self, tool: _Pose) -> None:
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

    def hits(self, tool: _Pose, at: float) -> str | None:
        """The place near the gripper that another machine's moving part fills at that time (lab s since the epoch).

        Machines tell it in their memory: `blocked: {spot: [since, until or None]}`.
        """
        for distance, _, place in self._from(tool):
            if distance > IN_THE_WAY:
                continue
            device, _, spot = place.partition("/")
            blocked: Mapping[str, Any] = self._world.memory(device).get("blocked") or {}
            since, until = blocked.get(spot, (None, None))
            if since is not None and since <= at and (until is None or at < until):
                return place
        return None
