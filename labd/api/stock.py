"""The inventory over /api/v1: what is where, what people load, take out and count, and what became of a lot."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from labd.api.holding import released
from labd.api.models import Who
from labd.journal import Journal
from labd.lab.inventory import ENTRIES, Inventory, StockError
from labd.lab.inventory.rows import history as history_of
from labd.lab.inventory.rows import rows
from labd.sdk import UnitError
from labd.sdk.units import parse

Place = Annotated[str, Field(min_length=1, max_length=200)]
Label = Annotated[str, Field(min_length=1, max_length=200)]
PartName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Amount = Annotated[str, Field(max_length=40)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


class LoadRequest(_Model):
    """Something stands at a place now: a liquid (`material`, `volume`), parts (`fill`), or a full tip rack (nothing).

    Volumes are texts with their unit: `12 mL`. `count` is for parts that lie on no tray. With `add` a liquid was poured
    to what was there; else it has taken its place.
    """

    place: Place
    material: Label | None = None
    lot: Label | None = None
    volume: Amount | None = None
    expires: dt.date | None = None
    dead: Amount | None = None
    fill: PartName | None = None
    count: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    add: bool = False
    by: Who


class UnloadRequest(_Model):
    """All that stood at a place was taken out."""

    place: Place
    by: Who


class CountRequest(_Model):
    """A person has looked: `value` is a volume with its unit, or a number of pieces."""

    place: Place
    value: str | float
    by: Who


class RowModel(_Model):
    """What is at a place; amounts in µL, or pieces."""

    place: str
    labware: str
    thing: str
    name: str
    lot: str | None
    amount: float
    unit: str
    usable: float
    reserved: float
    expires: str | None
    remarks: list[str]
    places: list[str]


class InventoryModel(_Model):
    """The rows, and what lab.yaml says otherwise than when it was taken over."""

    rows: list[RowModel]
    warnings: list[str]


class PassageModel(_Model):
    """One entry of the journal about a lot."""

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
    before: float | None
    difference: float | None


def stock_routes(api: APIRouter, inventory: Inventory, journal: Journal) -> None:
    """Adds the routes."""

    @api.get("/inventory")
    async def show(lot: str | None = None, place: str | None = None) -> InventoryModel:
        """What is where; of one lot, or at one place."""
        return _shown(inventory, lot, place)

    @api.get("/inventory/history")
    async def history(lot: str) -> list[PassageModel]:
        """What became of a lot: loaded, spent, for which samples."""
        events = await journal.events(kinds=ENTRIES)
        found = history_of(events, lot)
        if not found:
            known = sorted({str(event.data["lot"]) for event in events if event.data["lot"]})
            raise StockError(f"the journal knows of no lot {lot!r}; it has: {', '.join(known) or 'none'}")
        return [PassageModel.model_validate(one) for one in found]

    @api.post("/inventory/load")
    async def load(request: LoadRequest) -> InventoryModel:
        """Books what a person has put there; it is durable when this answers."""
        with released():
            await _load(inventory, request)
        return _shown(inventory, None, request.place)

    @api.post("/inventory/unload")
    async def unload(request: UnloadRequest) -> InventoryModel:
        await inventory.unload(request.place, by=request.by)
        return _shown(inventory, None, request.place)

    @api.post("/inventory/count")
    async def count(request: CountRequest) -> InventoryModel:
        """Books what a person has counted; the difference stands in the journal."""
        amount = _counted(inventory, request.place, str(request.value))
        with released():
            await inventory.count(request.place, amount, by=request.by)
        return _shown(inventory, None, request.place)


def _shown(inventory: Inventory, lot: str | None, place: str | None) -> InventoryModel:
    found = rows(inventory, lot)
    if place is not None:
        found = [row for row in found if row.place == place or row.place.startswith(f"{place}/") or place in row.places]
    return InventoryModel(rows=[RowModel.model_validate(row) for row in found], warnings=list(inventory.told))


async def _load(inventory: Inventory, request: LoadRequest) -> None:
    place, by = request.place, request.by
    if request.material is not None and request.fill is not None:
        raise StockError("a liquid, or parts: say --material or --fill, not both")
    of_liquids = {
        "volume": request.volume,
        "expires": request.expires,
        "dead": request.dead,
        "add": request.add or None,
    }
    said = [f"--{name}" for name, value in of_liquids.items() if value is not None]
    if request.material is None and said and (request.fill is not None or request.count is not None):
        raise StockError(f"{' and '.join(said)}: only for a liquid; leave it out, or say --material")
    if request.material is not None:
        if request.volume is None:
            raise StockError(f"how much {request.material} is in {place}? Say --volume, such as 12mL")
        dead = _volume(request.dead) if request.dead is not None else None
        await inventory.load_liquid(
            place,
            request.material,
            _volume(request.volume),
            lot=request.lot,
            expires=request.expires,
            dead=dead,
            add=request.add,
            by=by,
        )
    elif request.fill is not None:
        await inventory.load_parts(place, request.fill, lot=request.lot, by=by)
    elif request.count is not None:
        await inventory.load_loose(place, request.count, by=by)
    elif request.volume is not None or request.expires is not None:
        raise StockError(f"what is in {place}? Say --material, such as LP57")
    else:
        await inventory.load_rack(place, by=by)


def _volume(text: str) -> float:
    """µL. Raises StockError: it is no volume."""
    try:
        found = parse(text).to("µL")
    except UnitError as error:
        raise StockError(f"{error}; write a volume like 12mL or 500uL") from error
    if found < 0:
        raise StockError(f"{text} is below nothing; write a volume like 12mL")
    return found


def _counted(inventory: Inventory, place: str, text: str) -> float:
    """A number of pieces as it is, a volume in µL."""
    try:
        number = float(text)
    except ValueError:
        if inventory.is_well(place) or place not in {*inventory.deck, *inventory.stock.loose}:
            return _volume(text)
        raise StockError(f"{place}: {text!r} is no number of pieces") from None
    if inventory.is_well(place):
        raise StockError(f"{place}: {text} needs a unit; write it like {text}uL or 12mL")
    return number


__all__ = ["stock_routes"]
