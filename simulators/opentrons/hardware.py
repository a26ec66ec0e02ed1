"""The robot's body: mounts, tips in racks and on nozzles, liquid in tips. It knows no runs and no commands.

What the server believes and what is so can differ: an OT-2 feels neither a missing tip nor air.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, MutableMapping
from typing import Any

from simulators._kit.simulator import Bench
from simulators.opentrons.labware import Deck
from simulators.opentrons.pipettes import KINDS, Kind

HOME = 8.0  # s, all axes
PICK_UP = 4.0  # s
DROP = 1.5  # s
MOVE = 2.5  # s from one well to another, over an arc
RETRACT = 1.5  # s, one axis


class Robot:
    """One robot and its deck.

    Args:
        bench: name, world, deck, and the settings `pipettes: {left, right}`.
        deck: its slots.
        faults: the switches; see `simulators.opentrons.OpentronsSimulator`.
        precision: relative standard deviation of a volume.
        pipette_error: relative standard deviation of the pipettes' own, constant errors; or these errors by mount.
        is_flex: a Flex feels whether a tip is on.
    """

    def __init__(
        self,
        bench: Bench,
        deck: Deck,
        faults: MutableMapping[str, Any],
        *,
        precision: float,
        pipette_error: float | Mapping[str, float] = 0.0,
        is_flex: bool,
    ) -> None:
        self.deck = deck
        self.is_flex = is_flex
        self.faults = faults
        self._world = bench.world
        self._name = bench.name
        self._rng = bench.random()
        self._precision = precision
        self.pipettes = _mounted(bench)
        self.errors = {mount: _own_error(bench, mount, pipette_error) for mount in self.pipettes}
        self._racks = {
            str(entry["place"]).partition("/")[2] for entry in bench.deck if "tiprack" in str(entry.get("labware"))
        }
        self._is_furnished = bool(bench.deck)

    @property
    def memory(self) -> MutableMapping[str, Any]:
        """What survives power."""
        return self._world.memory(self._name)

    def save(self) -> None:
        """Puts it on disk."""
        self._world.save()

    def place(self, slot: str, well: str) -> str:
        """Where a well is in the world."""
        return f"{self._name}/{slot}/{well}"

    # ── tips ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def tip_on(self, mount: str) -> bool:
        """Whether a tip really is on the nozzle."""
        return mount in self._on()

    def _on(self) -> MutableMapping[str, Any]:
        tips: MutableMapping[str, Any] = self.memory.setdefault("tips_on", {})
        return tips

    def pick_up(self, mount: str, slot: str, well: str) -> bool:
        """Presses the nozzle into a place of a rack; whether a tip is on afterwards."""
        used: list[str] = self.memory.setdefault("tips_used", {}).setdefault(slot, [])
        there = well not in used and (slot in self._racks or not self._is_furnished)
        if there:
            used.append(well)
        got = there and not self.tip_on(mount) and not take_one(self.faults, "tip_missed")
        if got:
            self._on()[mount] = {"liquid": {}, "air": 0.0}
        self.save()
        return got

    def drop(self, mount: str) -> bool:
        """Ejects the tip with what is in it; whether the nozzle is free."""
        if take_one(self.faults, "tip_stuck"):
            return False
        self._on().pop(mount, None)
        self.save()
        return True

    def tips_left(self, slot: str, wells: list[str]) -> list[str]:
        """The wells of a rack that still have a tip."""
        used = self.memory.get("tips_used", {}).get(slot, [])
        return [well for well in wells if well not in used]

    def refill(self, slot: str) -> None:
        """Somebody puts a full rack into a slot."""
        self.memory.setdefault("tips_used", {}).pop(slot, None)
        self._racks.add(slot)
        self.save()

    # ── liquid ───────────────────────────────────────────────────────────────────────────────────────────────────
    def aspirate(self, mount: str, place: str | None, volume: float) -> None:
        """Draws so many µL at a place (None: in air). A well that runs dry gives less, and air follows."""
        tip = self._on().get(mount)
        if tip is None or volume <= 0:
            return
        wanted = volume * max(0.0, (1 + self.errors[mount]) * self._rng.gauss(1.0, self._precision))
        drawn = {} if place is None else self._world.draw(place, wanted)
        for material, amount in drawn.items():
            tip["liquid"][material] = tip["liquid"].get(material, 0.0) + amount
        tip["air"] += max(0.0, wanted - sum(drawn.values()))

    def dispense(self, mount: str, place: str | None, share: float, at: float) -> None:
        """Pushes a share (0 to 1) of what the tip holds out at a place (None: beside everything)."""
        tip = self._on().get(mount)
        if tip is None:
            return
        out = {material: amount * share for material, amount in tip["liquid"].items() if amount > 0}
        tip["liquid"] = {material: amount * (1 - share) for material, amount in tip["liquid"].items() if share < 1}
        tip["air"] *= 1 - share
        if place is not None and out:
            self._world.pour(place, out, at)

    def depth(self, place: str) -> float | None:
        """µL of liquid that a probe finds in a well, None when there is none."""
        well = self._world.well(place)
        return well.volume if well is not None and well.volume > 0 else None


def _mounted(bench: Bench) -> dict[str, Kind]:
    named: Mapping[str, Any] = bench.settings.get("pipettes") or {}
    for mount, name in named.items():
        if mount not in ("left", "right") or name not in KINDS:
            raise ValueError(f"{bench.name}: pipettes: {mount}: {name!r} is unknown; known are {', '.join(KINDS)}")
    return {str(mount): KINDS[str(name)] for mount, name in named.items()}


def _own_error(bench: Bench, mount: str, told: float | Mapping[str, float]) -> float:
    """A pipette's constant relative error; drawn apart from the robot's own numbers, so that they stay as they are."""
    if isinstance(told, Mapping):
        return float(told.get(mount, 0.0))
    seed = bench.options.get("seed", bench.world.seed)
    return random.Random(f"{seed}/{bench.name}/{mount}").gauss(0.0, float(told)) if told else 0.0


def take_one(faults: MutableMapping[str, Any], name: str) -> bool:
    """Whether a fault strikes: true, or a number that counts down."""
    value = faults.get(name)
    if value is True:
        return True
    if not value:
        return False
    faults[name] = int(value) - 1
    return True
