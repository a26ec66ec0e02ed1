"""The inventory as people read it: a row for all of one kind at one place; and what became of a lot."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from labd.journal import Event
from labd.lab.inventory.inventory import Inventory
from labd.lab.inventory.shortage import microlitres
from labd.lab.inventory.stock import Piece, Well

SOON = dt.timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Row:
    """What is at a place. Amounts are µL, or pieces; `places` are the wells that a row of parts or tips stands for."""

    place: str
    labware: str
    thing: str
    name: str
    lot: str | None
    amount: float
    unit: str
    usable: float
    reserved: float = 0.0
    expires: str | None = None
    remarks: tuple[str, ...] = ()
    places: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Passage:
    """One entry of the journal about a lot; the amount is that lot's own.

    Where a person has counted, `before` is what was believed to be there, of all lots, and `difference` what was found
    to be more.
    """

    at: str
    kind: str
    place: str
    to: str | None
    name: str
    lot: str | None
    amount: float
    unit: str
    sample: str | None
    run: str | None
    by: str
    because: str | None
    before: float | None = None
    difference: float | None = None


def rows(inventory: Inventory, lot: str | None = None) -> list[Row]:
    """All that is known, in the order of the deck; of one lot only what is of it."""
    found = [*_liquids(inventory), *_parts(inventory), *_tips(inventory), *_loose(inventory)]
    order = {place: number for number, place in enumerate(inventory.deck)}
    found.sort(key=lambda row: order.get(_tray(inventory, row.place), len(order)))
    return [row for row in found if lot is None or lot in (row.lot or "").split(" + ")]


def _tray(inventory: Inventory, place: str) -> str:
    return place if place in inventory.deck else place.rpartition("/")[0]


def _labware(inventory: Inventory, place: str) -> str:
    entry = inventory.deck.get(_tray(inventory, place))
    return entry.labware if entry is not None else ""


def _liquids(inventory: Inventory) -> Iterator[Row]:
    taken = dict(inventory.reserved().materials)
    by_name = {name: [at for at, _ in inventory.holding(name)] for name in inventory.materials()}
    share: dict[str, float] = {}
    for name, places in by_name.items():
        left = taken.get(name, 0.0)
        for number, place in enumerate(places):
            here = left if number == len(places) - 1 else min(left, inventory.usable(place))
            share[place] = here + taken.get(place, 0.0)
            left -= here
    for place, well in inventory.stock.wells.items():
        yield Row(
            place,
            _labware(inventory, place),
            "liquid",
            well.name,
            well.lot,
            round(well.volume, 6),
            "µL",
            round(inventory.usable(place), 6),
            round(share.get(place, taken.get(place, 0.0)), 6),
            well.expires.isoformat() if well.expires else None,
            tuple(_remarks(inventory, place, well, share.get(place, 0.0))),
        )


def _remarks(inventory: Inventory, place: str, well: Well, reserved: float) -> Iterator[str]:
    today = inventory.today
    if well.expired(today):
        yield f"expired on {well.expires}: it counts for nothing"
    elif well.expires is not None and well.expires - today <= SOON:
        yield f"expires on {well.expires}"
    for doubt in inventory.stock.doubts.values():
        if doubt.place == place:
            yield f"nobody knows whether {doubt.action} of {doubt.run} took {microlitres(doubt.amount)}: count it"
    usable = inventory.usable(place)
    if not well.portions:
        yield "empty"
    elif usable <= 0 and not well.expired(today):
        yield "nothing can be drawn"
    elif reserved > usable:
        yield f"{microlitres(reserved - usable)} less than is reserved"


def _parts(inventory: Inventory) -> Iterator[Row]:
    by_piece: dict[tuple[str, Piece], list[str]] = {}
    for place, piece in inventory.stock.parts.items():
        by_piece.setdefault((place.rpartition("/")[0], piece), []).append(place)
    taken = dict(inventory.reserved().parts)
    for (tray, piece), places in by_piece.items():
        count = float(len(places))
        reserved = min(count, taken.get(piece.name, 0.0))
        taken[piece.name] = taken.get(piece.name, 0.0) - reserved
        labware = _labware(inventory, tray)
        row = (tray, labware, "part", piece.name, piece.lot, count, "pieces", count, reserved, None, (), tuple(places))
        yield Row(*row)
    empty = {place.rpartition("/")[0] for place in inventory.stock.known} - {tray for tray, _ in by_piece}
    for tray in sorted(empty):
        yield Row(tray, _labware(inventory, tray), "part", "", None, 0.0, "pieces", 0.0, remarks=("empty",))


def _tips(inventory: Inventory) -> Iterator[Row]:
    taken = dict(inventory.reserved().tips)
    for place, left in inventory.tips().items():
        size = str(inventory.sizes[place])
        reserved = min(float(left), taken.get(size, 0.0))
        taken[size] = taken.get(size, 0.0) - reserved
        wells = tuple(sorted(inventory.stock.racks.get(place, ())))
        remarks = () if left else ("empty",)
        labware = _labware(inventory, place)
        yield Row(place, labware, "tips", f"tips {size} µL", None, left, "tips", left, reserved, None, remarks, wells)


def _loose(inventory: Inventory) -> Iterator[Row]:
    for name, count in inventory.stock.loose.items():
        yield Row(name, "", "loose", name, None, count, "pieces", count)


def history(events: Iterable[Event], lot: str) -> list[Passage]:
    """What became of a lot, oldest first: `events` are the stock's own."""
    return [found for event in events if (found := _passage(event, lot)) is not None]


def _passage(event: Event, lot: str) -> Passage | None:
    data: dict[str, Any] = event.data
    mine = [portion for portion in data.get("portions", ()) if portion["lot"] == lot]
    if not mine and (data.get("portions") or lot not in (data["lot"] or "").split(" + ")):
        return None
    amount = sum(portion["amount"] for portion in mine) if mine else data["amount"]
    name = " + ".join(dict.fromkeys(portion["material"] for portion in mine)) or data["name"]
    told = {key: data.get(key) for key in ("to", "sample", "because")}
    kind = event.kind.removeprefix("stock.")
    place, unit, by = data["place"], data["unit"], data["by"]
    who = told["sample"], event.run, by, told["because"]
    counted = data.get("before"), data.get("difference")
    return Passage(event.at, kind, place, told["to"], name, lot, amount, unit, *who, *counted)
