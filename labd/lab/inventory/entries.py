"""The events of the stock, each with what, where, how much and by whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from labd.journal import NewEvent
from labd.lab.inventory.stock import Piece, Portion, Stock, Well

BY_FILE = "lab.yaml"


def entry(kind: str, place: str, told: Any, by: str = BY_FILE) -> NewEvent:
    """That lab.yaml speaks of a place (or does so no more)."""
    data = {"thing": "entry", "place": place, "name": place, "lot": None, "amount": 1, "unit": "", "by": by}
    return NewEvent(f"stock.{kind}", {**data, "entry": told})


def liquid(
    kind: str, place: str, portions: Sequence[Portion], by: str, run: str | None = None, **more: Any
) -> NewEvent:
    """Of a liquid; the amount is in µL."""
    well = Well(list(portions))
    data = {"thing": "liquid", "place": place, "name": well.name, "lot": well.lot, "amount": well.volume, "unit": "µL"}
    return NewEvent(f"stock.{kind}", {**data, "by": by, "portions": [one.told() for one in portions], **more}, run)


def parts(
    kind: str, place: str, piece: Piece, wells: Sequence[str], by: str, run: str | None = None, **more: Any
) -> NewEvent:
    """Of parts that lie on a tray: `wells` are their places."""
    data = {"thing": "part", "place": place, "name": piece.name, "lot": piece.lot, "amount": len(wells)}
    return NewEvent(f"stock.{kind}", {**data, "unit": "pieces", "by": by, "wells": list(wells), **more}, run)


def tips(
    kind: str, place: str, size: int, wells: Iterable[str], by: str, run: str | None = None, **more: Any
) -> NewEvent:
    """Of the tips of a rack; the name is the µL that they take."""
    those = list(wells)
    data = {"thing": "tips", "place": place, "name": str(size), "lot": None, "amount": len(those), "unit": "tips"}
    return NewEvent(f"stock.{kind}", {**data, "by": by, "wells": those, **more}, run)


def loose(kind: str, name: str, count: int, by: str, **more: Any) -> NewEvent:
    """Of parts that lie on no tray."""
    data = {"thing": "loose", "place": name, "name": name, "lot": None, "amount": count, "unit": "pieces", "by": by}
    return NewEvent(f"stock.{kind}", {**data, **more})


def taken_out(stock: Stock, place: str, sizes: Mapping[str, int], by: str, because: str) -> list[NewEvent]:
    """Everything that stands at a place, or in it, leaves.

    Args:
        stock: as it is.
        place: a well, or a whole labware.
        sizes: µL of the tips, by rack.
        by: who takes it out.
        because: why.
    """

    def here(at: str) -> bool:
        return at == place or at.startswith(f"{place}/")

    found = [
        liquid("unloaded", at, well.portions, by, because=because)
        for at, well in stock.wells.items()
        if here(at) and well.portions
    ]
    lying = by_piece({at: piece for at, piece in stock.parts.items() if here(at)})
    found += [parts("unloaded", place, piece, wells, by, because=because) for piece, wells in lying.items()]
    found += [
        tips("unloaded", at, sizes.get(at, 0), sorted(left), by, because=because)
        for at, left in stock.racks.items()
        if here(at) and left
    ]
    return found


def out_of_hand(stock: Stock, gripper: str, by: str, because: str) -> list[NewEvent]:
    """The part that a gripper holds leaves."""
    piece = stock.held.get(gripper)
    return [] if piece is None else [parts("unloaded", gripper, piece, [gripper], by, because=because)]


def by_piece(lying: Mapping[str, Piece]) -> dict[Piece, list[str]]:
    """The places of all parts that are of one kind and lot."""
    found: dict[Piece, list[str]] = {}
    for at, piece in lying.items():
        found.setdefault(piece, []).append(at)
    return found
