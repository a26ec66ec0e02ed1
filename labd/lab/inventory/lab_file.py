"""lab.yaml's deck is the start: each place is taken over once; a later edit is a new load, and is told."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from labd.journal import NewEvent
from labd.lab.deck import DeckEntry, Liquid
from labd.lab.inventory import entries
from labd.lab.inventory.entries import BY_FILE
from labd.lab.inventory.stock import Piece, Portion, Stock
from labd.sdk import labware

LOOSE = "parts"
"""The entry of the parts that lie on no tray; no place of the deck has a name without a slash."""


def differences(
    stock: Stock, deck: Mapping[str, DeckEntry], loose: Mapping[str, int], gone: Collection[str] = ()
) -> tuple[list[NewEvent], list[str]]:
    """What lab.yaml says that the stock does not know yet, and in words what of it was edited since.

    Args:
        stock: as the journal has it.
        deck: entries of lab.yaml by place.
        loose: its parts on no tray.
        gone: places whose part has become a sample already, before the stock was kept.
    """
    events: list[NewEvent] = []
    told: list[str] = []
    for place in [place for place in stock.entries if place not in deck and place != LOOSE]:
        events += entries.taken_out(stock, place, {}, BY_FILE, "lab.yaml speaks of it no more")
        events.append(entries.entry("unloaded", place, None))
        told.append(f"{place} stands in lab.yaml no more: what was there is taken out of the inventory")
    for place, entry in deck.items():
        said = entry.model_dump(mode="json", exclude_none=True)
        before = stock.entries.get(place)
        if before is None:
            events.append(entries.entry("loaded", place, said))
            events += _contents(entry, entry.wells, gone)
        elif before != said:
            wells = _edited(before, said, entry)
            told.append(f"{place} was edited in lab.yaml: {_named(wells, entry)} as new from there")
            events.append(entries.entry("loaded", place, said))
            events += _anew(stock, entry, before, wells)
    more, words = _loose(stock, loose)
    return events + more, told + words


def _contents(entry: DeckEntry, wells: Collection[str], gone: Collection[str] = ()) -> Iterator[NewEvent]:
    """What an entry puts into these of its wells; tips where it is a rack."""
    own = {f"{entry.place}/{well}": well for well in wells}
    for at, liquid in entry.liquids:
        if at in own:
            yield load_liquid(at, liquid)
    by_part: dict[Piece, list[str]] = {}
    for at, name in entry.parts.items():
        if at in own and at not in gone:
            by_part.setdefault(Piece(name), []).append(at)
    for piece, places in by_part.items():
        yield entries.parts("loaded", entry.place, piece, places, BY_FILE)
    size = labware.tip_size(entry.labware)
    if size is not None and wells:
        yield entries.tips("loaded", entry.place, size, entry.wells, BY_FILE)


def load_liquid(at: str, liquid: Liquid) -> NewEvent:
    """A liquid as lab.yaml has it."""
    portion = Portion(liquid.material, liquid.lot, liquid.volume, liquid.expires)
    return entries.liquid("loaded", at, [portion], BY_FILE, dead=liquid.dead)


def _edited(before: Mapping[str, Any], now: Mapping[str, Any], entry: DeckEntry) -> list[str]:
    """The wells of which lab.yaml says otherwise than before."""
    if before["labware"] != now["labware"] or before.get("fill") != now.get("fill"):
        return entry.wells
    old, new = before.get("contents", {}), now.get("contents", {})
    return [well for well in entry.wells if old.get(well) != new.get(well)]


def _anew(stock: Stock, entry: DeckEntry, before: Mapping[str, Any], wells: Collection[str]) -> Iterator[NewEvent]:
    because = "lab.yaml was edited"
    if before["labware"] != entry.labware:
        yield from entries.taken_out(stock, entry.place, {}, BY_FILE, because)
    else:
        for well in wells:
            yield from entries.taken_out(stock, f"{entry.place}/{well}", {}, BY_FILE, because)
    yield from _contents(entry, wells)


def _named(wells: Collection[str], entry: DeckEntry) -> str:
    if len(wells) == len(entry.wells):
        return "all of it is loaded"
    return (
        f"{', '.join(wells)} {'is' if len(wells) == 1 else 'are'} loaded" if wells else "nothing in it changes; it is"
    )


def _loose(stock: Stock, loose: Mapping[str, int]) -> tuple[list[NewEvent], list[str]]:
    before: Mapping[str, int] = stock.entries.get(LOOSE, {})
    if dict(before) == dict(loose):
        return [], []
    events = [entries.entry("loaded", LOOSE, dict(loose))]
    changed = [name for name in {**before, **loose} if before.get(name) != loose.get(name)]
    for name in changed:
        if stock.loose.get(name):
            events.append(entries.loose("unloaded", name, stock.loose[name], BY_FILE, because="lab.yaml was edited"))
        if loose.get(name):
            events.append(entries.loose("loaded", name, loose[name], BY_FILE))
    edited = [name for name in changed if name in before]
    return events, [f"the count of {name} was edited in lab.yaml: it is taken from there" for name in edited]
