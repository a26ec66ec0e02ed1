"""Base of all simulators: a physical model behind the server side of a real wire."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from simulators._kit.trial import Trial
from simulators._kit.world import World
from simulators.faults.knobs import Knob


@dataclass(frozen=True)
class Bench:
    """What a simulator is made from.

    Args:
        name: the device's name in lab.yaml; its places are `<name>/…`.
        world: the world that all simulators of the lab share.
        settings: the driver's settings in lab.yaml: where to listen (port 0: any free one), model, profile …
        options: the device's `simulator:` mapping: seed, and the switches for faults.
        positions: taught positions, name -> {pose: [x, y, z, a, b, g]} (arms).
        deck: all deck entries of lab.yaml whose place begins with `<name>/`.
        directory: where pty links and such may be put.
    """

    name: str
    world: World
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    positions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    deck: tuple[Mapping[str, Any], ...] = ()
    directory: Path = Path()

    def random(self) -> random.Random:
        """The device's own seeded generator."""
        return random.Random(f"{self.options.get('seed', self.world.seed)}/{self.name}")


class Simulator(ABC):
    """One simulated machine. `simulators/<kind>.py` names its class `SIMULATOR`.

    `faults` are switches that a test or a teacher may flip while it runs; each simulator documents its own. Which of
    them stand for which words of the vocabulary, its `FAULTS` says; faults of the wire and of the power every simulator
    has by itself. `trial` says how it is set up to be tried by the contract suite.
    """

    trial: ClassVar[Trial] = Trial()

    FAULTS: ClassVar[Mapping[str, Knob]] = {}
    """Its own faults, by their word in `simulators.faults.words`."""
    COUNTERS: ClassVar[Mapping[str, Callable[[Any], int]]] = {}
    """What of it can be counted in `after`, beside messages: of the simulator, a number that only grows."""
    BY_HAND: ClassVar[Mapping[str, str]] = {}
    """A line that a person types to reach it, by the kind of address (`tcp`, `serial`, …), with {host}, {port}, {path};
    where it says nothing, `labd-sim` has one for the kind."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.name = bench.name
        self.world = bench.world
        self.faults: dict[str, Any] = dict(bench.options.get("faults", {}))

    @abstractmethod
    async def start(self) -> dict[str, Any]:
        """Begins to listen; gives the settings that a driver needs to reach it (the real address or port)."""

    @abstractmethod
    async def stop(self) -> None:
        """Stops listening and ends all tasks."""

    @abstractmethod
    def step(self, dt: float) -> None:
        """Advances the physics by so many seconds."""
