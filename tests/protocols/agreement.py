"""Where the inventory and the simulated world do not agree: volumes, parts, tips."""

from __future__ import annotations

from labd.lab.lab import Lab
from simulators._kit.world import Cell, World

ACCURACY = 0.025
"""How far a simulated pipette is off, as a share of what it moves."""


def disagreements(lab: Lab, world: World) -> list[str]:
    """In words; empty where they agree."""
    return [*_liquids(lab, world), *_parts(lab, world), *_tips(lab, world)]


def _liquids(lab: Lab, world: World) -> list[str]:
    stock = lab.inventory.stock
    at_first = {place: liquid.volume for entry in lab.config.deck for place, liquid in entry.liquids}
    really = {place: well.contents for place, well in world.wells()}
    booked: dict[str, dict[str, float]] = {}
    for place, well in stock.wells.items():
        for portion in well.portions:
            mine = booked.setdefault(place, {})
            mine[portion.material] = mine.get(portion.material, 0.0) + portion.amount
    found = []
    for place in sorted({*really, *booked}):
        for material in sorted({*really.get(place, {}), *booked.get(place, {})}):
            has, told = really.get(place, {}).get(material, 0.0), booked.get(place, {}).get(material, 0.0)
            moved = abs(at_first.get(place, 0.0) - told)
            if abs(has - told) > ACCURACY * moved:
                found.append(f"{material} in {place}: {has:g} µL, and {told:g} µL in the book")
    return found


def _parts(lab: Lab, world: World) -> list[str]:
    own = {f"{entry.place}/{well}" for entry in lab.config.deck for well in entry.wells}
    really = {
        place: "half_cell" if isinstance(item, Cell) else item.name
        for place, item in world.items()
        if place in own and lab.places.sample_at(place) is None
    }
    booked = {place: piece.name for place, piece in lab.inventory.stock.parts.items()}
    places = sorted({*really, *booked})
    return [
        f"{place}: {really.get(place)} lies there, and {booked.get(place)} in the book"
        for place in places
        if really.get(place) != booked.get(place)
    ]


def _tips(lab: Lab, world: World) -> list[str]:
    found = []
    for place, left in lab.inventory.stock.racks.items():
        device, _, slot = place.partition("/")
        used = set(world.memory(device).get("tips_used", {}).get(slot, []))
        booked = {well for entry in lab.config.deck if entry.place == place for well in entry.wells} - left
        if used != booked:
            found.append(f"{place}: {sorted(used)} are used, and {sorted(booked)} in the book")
    return found
