"""How a simulated device is set up to be tried, and what it is told then: the contract suite's side of a simulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulators._kit.world import World


def _nothing(world: World) -> None:
    """A fresh world does."""


def _world_alone(simulator: Any) -> Mapping[str, float]:
    """What it does is seen in the world."""
    del simulator
    return {}


def charge_at(place: str) -> Callable[[Any], Mapping[str, float]]:
    """An `effect`: C on the cell at a place, without what it loses by itself in a minute."""

    def charge(simulator: Any) -> Mapping[str, float]:
        cell = simulator.world.cell(place)
        return {"charge": round(float(cell.physics.get("q", 0.0)), 5) if cell is not None else 0.0}

    return charge


@dataclass(frozen=True)
class Trial:
    """One bench with one device on it. A simulator names its own as `trial`.

    Args:
        name: the device's name; its places are `<name>/…`.
        settings: what lab.yaml would say of it, in its words; a port is 0, a pty's path is relative. An address that is
            left out is found by trying.
        options: the simulator's.
        positions: taught positions, name -> {pose: [x, y, z, a, b, g]}.
        deck: entries of lab.yaml's deck; the world is furnished with them.
        furnish: lays what else it needs into the fresh world.
        acts: actions with their parameters, in the words of a protocol, in an order in which they can be done; each
            is tried after those before it were done. Parameters of actions that are left out are made up from their
            bounds.
        effect: what of its doing the world does not show, as numbers by name: a count, a charge, a position. One
            of its ONCE actions at least must show somewhere: else nobody could tell that it was done twice.
        age: seconds that it has been switched on when it is tried.
        reads: requests, as bytes that stand in them, that change nothing though they are sent in an action only.
    """

    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    positions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    deck: tuple[Mapping[str, Any], ...] = ()
    furnish: Callable[[World], None] = _nothing
    acts: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    effect: Callable[[Any], Mapping[str, float]] = _world_alone
    age: float = 0.0
    reads: tuple[bytes, ...] = ()
