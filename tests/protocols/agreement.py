"""Where the inventory and the simulated world do not agree: volumes, parts, tips."""

from __future__ import annotations

from labd.lab.inventory import Stock
from labd.lab.lab import Lab
from simulators._kit.world import Cell, World

CLOSE = 1e-3  # µL


def disagreements(lab: Lab, world: World) -> list[str]:
    """In words; empty where they agree."""
    stock = lab.inventory.stock
    return [*_liquids(stock, world), *_parts(lab, world), *_tips(lab, world)]


def _liquids(stock: Stock, world: World) -> list[str]:
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
            if abs(has - told) > CLOSE:
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
