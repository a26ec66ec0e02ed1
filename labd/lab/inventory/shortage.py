"""Whether there is enough for an action, and if not, what is missing and where to refill it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from labd.lab.inventory.stock import NOTHING, Stock, Well


@dataclass(frozen=True, slots=True)
class Shortage:
    """What is missing for an action.

    Args:
        thing: `liquid`, `room`, `tips` or `part`; or `validity` (see labd.lab.validity).
        place: where to refill; for `validity` the device and the name.
        text: for people.
        least: µL that must be in the well, its dead volume too; None where no volume is asked for.
    """

    thing: str
    place: str
    text: str
    least: float | None = None


def microlitres(volume: float) -> str:
    """As people write it."""
    return f"{volume / 1000:.6g} mL" if abs(volume) >= 1000 else f"{round(volume, 3):.6g} µL"


def short_of_liquid(stock: Stock, place: str, volume: float, pending: float, today: dt.date) -> Shortage | None:
    """Of a well that the stock does not know nothing is said."""
    well = stock.wells.get(place)
    if well is None:
        return None
    what = well.name or "liquid"
    mend = f"labd load {place} --material {well.material or '…'} --lot … --volume …"
    if well.expired(today):
        lot = f" (lot {well.lot})" if well.lot else ""
        text = f"{what}{lot} in {place} expired on {well.expires}; put in a fresh one and say so: {mend}"
        return Shortage("liquid", place, text)
    usable = usable_of(stock, place, well, today) - pending
    if usable + NOTHING >= volume:
        return None
    has = microlitres(max(0.0, usable))
    text = f"{what}: {has} usable in {place}, this needs {microlitres(volume)}; refill it: a new bottle with {mend}; "
    text += "or answer with how much is in it now, and what was added is booked without a lot"
    least = volume + pending + well.dead
    return Shortage("liquid", place, text, least if well.portions else None)


def short_of_room(stock: Stock, place: str, volume: float, capacity: float | None) -> Shortage | None:
    """Whether a well overflows."""
    well = stock.wells.get(place)
    has = well.volume if well is not None else 0.0
    if capacity is None or has + volume <= capacity + NOTHING:
        return None
    text = f"{place} takes {microlitres(capacity)} and holds {microlitres(has)}, this puts {microlitres(volume)} into "
    return Shortage("room", place, f"{text}it; empty it and say so: labd unload {place}")


def short_of_tips(racks: Mapping[str, int], left: Mapping[str, Collection[str]]) -> Shortage | None:
    """Whether none of the racks, by place and size, has a tip left; a rack that the stock does not know has."""
    if not racks or any(place not in left or left[place] for place in racks):
        return None
    place, size = next(iter(racks.items()))
    where = " and ".join(racks)
    text = f"no {size} µL tip is left in {where}; put in a full rack and say so: labd load {place}"
    return Shortage("tips", place, text)


def short_of_part(stock: Stock, place: str, name: str) -> Shortage | None:
    """Whether a place of a tray where a part has lain is empty."""
    if place not in stock.known or place in stock.parts:
        return None
    tray = place.rpartition("/")[0]
    text = f"nothing lies at {place} any more; lay a {name} there and say so: labd load {place} --fill {name}, "
    return Shortage("part", place, f"{text}or labd load {tray} --fill {name} for the whole tray")


def usable_of(stock: Stock, place: str, well: Well, today: dt.date) -> float:
    """What can be drawn from a place, µL; of what has expired nothing, and nothing of what may be gone."""
    return 0.0 if well.expired(today) else max(0.0, well.usable - stock.doubted(place))
