"""The hands of people in a simulated lab: what they tell labd that they have done, they have done to the world as well.

What lab.yaml says of the deck is not among it: a fresh world is furnished by that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from simulators._kit.world import World

BY_FILE = "lab.yaml"


class Told(Protocol):
    """An entry of labd's journal."""

    @property
    def kind(self) -> str: ...

    @property
    def data(self) -> Mapping[str, Any]: ...


class Hands:
    """Loads, takes out and refills the world as the journal says that people have.

    Args:
        world: of the lab's simulators.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._acts: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], None]] = {
            ("stock.loaded", "liquid"): self._poured,
            ("stock.loaded", "part"): self._laid,
            ("stock.unloaded", "liquid"): lambda data: world.empty(str(data["place"])),
            ("stock.unloaded", "part"): self._taken,
            ("stock.counted", "liquid"): self._topped_up,
        }

    def do(self, events: Iterable[Told]) -> None:
        """Does what is among these; entries of other kinds are passed over."""
        for event in events:
            data = event.data
            if event.kind == "sample.moved" and data["to"] is None and data["from"] is not None:
                self._world.take(str(data["from"]))
            act = self._acts.get((event.kind, str(data.get("thing"))))
            if act is not None and data.get("by") != BY_FILE:
                act(data)

    def _poured(self, data: Mapping[str, Any]) -> None:
        self._world.fill(str(data["place"]), _by_material(data), float(data["dead"]))

    def _topped_up(self, data: Mapping[str, Any]) -> None:
        """Who only counts has changed nothing; who answers a question for more has poured."""
        poured, amount = float(data.get("poured") or 0.0), float(data["amount"])
        if poured > 0 and amount > 0:
            share = poured / amount
            self._world.fill(str(data["place"]), {name: one * share for name, one in _by_material(data).items()})

    def _laid(self, data: Mapping[str, Any]) -> None:
        for place in data["wells"]:
            self._world.lay(str(place), str(data["name"]))

    def _taken(self, data: Mapping[str, Any]) -> None:
        for place in data["wells"]:
            self._world.take(str(place))


def _by_material(data: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for portion in data["portions"]:
        found[portion["material"]] = found.get(portion["material"], 0.0) + float(portion["amount"])
    return found
