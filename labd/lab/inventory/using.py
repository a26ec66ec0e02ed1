"""What an action takes out of stock: liquid drawn, a part picked, tips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from labd.journal import NewEvent
from labd.lab.device import Device
from labd.lab.inventory import entries
from labd.lab.inventory.stock import NOTHING, UNKNOWN, Piece, Portion, Stock, Well
from labd.sdk import Parameters, Result


@dataclass(frozen=True, slots=True)
class Deed:
    """One action of a run: who does what for which sample. `id` is "" before it is intended."""

    run: str
    sample: str
    id: str
    device: Device
    gripper: str | None
    action: str
    parameters: Parameters

    @property
    def name(self) -> str:
        """As people read it: `ot2.transfer`."""
        return f"{self.device.id}.{self.action}"

    def text(self, key: str) -> str:
        """A parameter that names a place."""
        return str(getattr(self.parameters, key, ""))


@dataclass(frozen=True, slots=True)
class Draw:
    """A volume, µL, that goes from one place to another."""

    source: str
    destination: str
    volume: float


def draw_of(deed: Deed, result: Result | None = None) -> Draw | None:
    """What an action draws: as ordered, or as its result says; None for one that moves no liquid between places."""
    if not all(hasattr(deed.parameters, key) for key in ("source", "destination", "volume")):
        return None
    given: Any = deed.parameters
    really = getattr(result, "volume", None)
    return Draw(given.source, given.destination, float(given.volume if really is None else really))


def picks(deed: Deed) -> str | None:
    """The place that an arm takes something from."""
    return deed.text("place") if deed.device.driver.role == "arm" and deed.action == "pick" else None


def drawn(stock: Stock, deed: Deed, draw: Draw, *, fills: bool, **more: Any) -> Iterator[NewEvent]:
    """A volume was drawn; of more than was believed to be there the rest is corrected first."""
    well = stock.wells.get(draw.source, Well())
    portions = well.share(min(draw.volume, well.volume))
    lacks = draw.volume - sum(one.amount for one in portions)
    if lacks > NOTHING:
        known = well.portions[0] if well.portions else Portion(UNKNOWN, None, 0.0)
        extra = replace(known, amount=lacks)
        why = "more was drawn than was booked"
        yield entries.liquid("corrected", draw.source, [extra], deed.name, deed.run, action_id=None, because=why)
        portions = merged([*portions, extra])
    told = {"to": draw.destination, "fills": fills, "sample": deed.sample, "action_id": deed.id}
    yield entries.liquid("spent", draw.source, portions, **{"by": deed.name, "run": deed.run, **told, **more})


def picked(stock: Stock, deed: Deed, place: str, **more: Any) -> Iterator[NewEvent]:
    """A part was taken from its place on a tray."""
    piece = stock.parts.get(place)
    if piece is not None:
        told = {"to": deed.gripper, "held": True, "sample": deed.sample, "action_id": deed.id}
        yield entries.parts("spent", place, piece, [place], **{"by": deed.name, "run": deed.run, **told, **more})


def set_down(stock: Stock, deed: Deed, *, lies: bool, **more: Any) -> Iterator[NewEvent]:
    """A gripper has let go of a part: it `lies` on a tray again, or has become a part of a sample."""
    piece = stock.held.get(deed.gripper or "")
    if piece is not None and deed.gripper is not None:
        told = {"to": deed.text("place"), "lies": lies, "sample": deed.sample, "action_id": deed.id, "amount": 1}
        yield entries.parts("moved", deed.gripper, piece, [], **{"by": deed.name, "run": deed.run, **told, **more})


def becomes(piece: Piece, place: str, sample: str, run: str, by: str) -> NewEvent:
    """The part at a place has become a sample."""
    told = {"to": None, "held": False, "sample": sample, "action_id": None}
    return entries.parts("spent", place, piece, [place], by, run, **told)


def merged(portions: list[Portion]) -> list[Portion]:
    """Each material, lot and day once."""
    well = Well()
    well.add(portions)
    return well.portions
