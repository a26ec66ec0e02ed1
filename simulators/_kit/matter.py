"""What things and liquids weigh: for whatever machine of the lab feels their weight."""

from __future__ import annotations

from simulators._kit.stack import ANODE, BOTTOM, CATHODE, SEPARATOR, SPACER, SPRING, TOP, layers
from simulators._kit.world import Cell, Part, World

# g/mL at about 25 °C. Electrolytes: 1 mol/L LiPF6 in carbonates, from their suppliers' data sheets; solvents: CRC
# Handbook of Chemistry and Physics.
DENSITIES: dict[str, float] = {
    "water": 0.998,
    "ethanol": 0.785,
    "LP30": 1.29,  # EC:DMC 1:1
    "LP40": 1.26,  # EC:DEC 1:1
    "LP50": 1.27,  # EC:EMC 1:1
    "LP57": 1.20,  # EC:EMC 3:7
    "EC": 1.32,
    "DMC": 1.07,
    "DEC": 0.97,
    "EMC": 1.01,
}
UNKNOWN_DENSITY = 1.0

# g; a CR2032 weighs about 3 g, a glass vial of 20 mL 13 g
_PARTS: dict[str, float] = {
    BOTTOM: 0.95,
    TOP: 0.9,
    SPACER: 0.75,
    SPRING: 0.35,
    ANODE: 0.05,
    CATHODE: 0.05,
    SEPARATOR: 0.02,
    "vial": 13.1,
}
_UNKNOWN_PART = 1.0
_SPREAD = 0.003  # relative; punched electrodes and stamped cases are never quite alike


def density(material: str) -> float:
    """The g/mL of a material; 1.0 where nobody knows it."""
    return DENSITIES.get(material, UNKNOWN_DENSITY)


def mass_of(world: World, item: Cell | Part) -> float:
    """The g of a cell with all that is in it, or of a part. Each has a weight of its own, by its id and the seed."""
    names = item.parts if isinstance(item, Cell) else [item.name]
    pieces = sum(_PARTS.get(name, _UNKNOWN_PART) for name in layers(names))
    own = pieces * world.random(f"mass/{item.id}").gauss(1.0, _SPREAD)
    return own + (_liquid(item.electrolyte) if isinstance(item, Cell) else 0.0)


def mass_at(world: World, place: str) -> float:
    """The g of all that stands at a place or in it: `balance/pan` has what is in `balance/pan/A1` as well."""
    inside = f"{place}/"
    items = (mass_of(world, item) for where, item in world.items() if where == place or where.startswith(inside))
    wells = (_liquid(well.contents) for where, well in world.wells() if where == place or where.startswith(inside))
    return sum(items) + sum(wells)


def _liquid(volumes: dict[str, float]) -> float:
    return sum(volume * 1e-3 * density(material) for material, volume in volumes.items())
