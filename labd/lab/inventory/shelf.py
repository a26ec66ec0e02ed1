"""The stock of one lab as it is now: what is where, what is free, and which well serves."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import structlog

from labd import clock
from labd.expr import did_you_mean
from labd.journal import Journal, NewEvent
from labd.lab.deck import DeckEntry
from labd.lab.device import Device
from labd.lab.inventory.lab_file import differences
from labd.lab.inventory.needs import Needs, total
from labd.lab.inventory.shortage import usable_of
from labd.lab.inventory.stock import NOTHING, READ, Stock, Well, stock_of
from labd.lab.places import Places
from labd.sdk import labware

log = structlog.get_logger(__name__)


class StockError(Exception):
    """What a person said of the stock cannot be; the text says what, where and how to mend it."""


class UnknownPlaceError(StockError):
    """The deck has no such place."""


RUN = "run-"  # how the id of a run begins; those of jobs begin otherwise


class Shelf:
    """What all parts of the inventory share: the stock, and the way to its journal.

    Args:
        deck: as lab.yaml has it.
        loose: parts on no tray.
        devices, places: of the lab.
    """

    def __init__(
        self, deck: Iterable[DeckEntry], loose: Mapping[str, int], devices: Mapping[str, Device], places: Places
    ) -> None:
        self.deck = {entry.place: entry for entry in deck}
        self.stock = Stock()
        self.told: list[str] = []
        """What lab.yaml says otherwise than before, in words."""
        self._loose = dict(loose)
        self._devices = devices
        self._places = places
        self._journal: Journal | None = None
        self._left_by_runs: tuple[dt.date, Needs] | None = None  # until something changes
        self._listeners: list[Callable[[], None]] = []
        self.sizes = {
            place: size for place, entry in self.deck.items() if (size := labware.tip_size(entry.labware)) is not None
        }
        """µL of the tips of each rack."""
        for event in differences(self.stock, self.deck, self._loose)[0]:
            self.stock.apply(event)

    async def take_up(self, journal: Journal) -> None:
        """The stock as the journal has it; what lab.yaml says anew is loaded, and durable when this returns."""
        self._journal = journal
        self.stock = stock_of(await journal.events(kinds=READ))
        self._left_by_runs = None
        gone: set[str] = set()
        if not self.stock.entries:  # a journal of before: its samples began on trays
            moves = await journal.events(kinds={"sample.moved"})
            gone = {event.data["to"] for event in moves if event.data["from"] is None}
        events, self.told = differences(self.stock, self.deck, self._loose, gone)
        for words in self.told:
            log.warning(words)
        await self.write(events)
        for name, device in self._devices.items():
            racks = {place: left for place, left in self.stock.racks.items() if place.startswith(f"{name}/")}
            used = {place: self._wells(place) - left for place, left in racks.items()}
            device.driver.know_tips(used)

    def _wells(self, place: str) -> set[str]:
        entry = self.deck.get(place)
        return set(entry.wells) if entry is not None else set()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────
    def post(self, events: Iterable[NewEvent]) -> None:
        """Books events; durable with the next commit, together with what is posted beside them."""
        those = list(events)
        with self._together():
            for event in those:
                self.stock.apply(event)
                if self._journal is not None:
                    self._journal.post(event)
        if those:
            self.changed()

    def _together(self) -> AbstractContextManager[None]:
        return self._journal.together() if self._journal is not None else nullcontext()

    async def write(self, events: Sequence[NewEvent]) -> None:
        """Books events; durable when this returns."""
        for event in events:
            self.stock.apply(event)
        if self._journal is not None:
            await self._journal.append(*events)
        if events:
            self.changed()

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls a function after each change; gives what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def changed(self) -> None:
        self._left_by_runs = None
        for listener in tuple(self._listeners):
            listener()

    # ── what is there ────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def today(self) -> dt.date:
        return clock.now().date()

    def usable(self, place: str) -> float:
        """What can be drawn from a place, µL."""
        well = self.stock.wells.get(place)
        return usable_of(self.stock, place, well, self.today) if well is not None else 0.0

    def materials(self) -> set[str]:
        """What stands in wells, expired and used up ones too."""
        return {well.material for well in self.stock.wells.values() if well.material is not None}

    def holding(self, material: str) -> list[tuple[str, Well]]:
        """The wells of a material, in the order in which they are used up: the first to expire first."""
        order = list(self.deck)

        def rank(found: tuple[str, Well]) -> tuple[bool, dt.date, int, int, str]:
            place, well = found
            tray, _, name = place.rpartition("/")
            wells = self.deck[tray].wells if tray in self.deck else []
            at = order.index(tray) if tray in self.deck else len(order)
            number = wells.index(name) if name in wells else 0
            return well.expired(self.today), well.expires or dt.date.max, at, number, place

        return sorted(((at, well) for at, well in self.stock.wells.items() if well.material == material), key=rank)

    def locate(self, material: str, volume: float = 0.0) -> str | None:
        """The well that serves a volume, µL: the first to expire of those that have enough, else the one with most."""
        holding = self.holding(material)
        enough = [at for at, _ in holding if self.usable(at) + NOTHING >= volume > 0]
        if enough:
            return enough[0]
        if volume <= 0:
            return next((at for at, _ in holding), None)
        return max((at for at, _ in holding), key=self.usable, default=None)

    def is_well(self, place: str) -> bool:
        """Whether it is a well of the deck in which liquid may stand."""
        tray, _, well = place.rpartition("/")
        entry = self.deck.get(tray)
        return entry is not None and well in entry.wells and labware.holds_liquid(entry.labware)

    def lies_free(self, place: str) -> bool:
        """Whether a part may lie there by itself: a place of a tray where no sample is."""
        tray, _, well = place.rpartition("/")
        entry = self.deck.get(tray)
        if entry is None or well not in entry.wells or not labware.holds_parts(entry.labware):
            return False
        return place not in self.stock.parts and self._places.sample_at(place) is None

    def gone(self) -> set[str]:
        """Places of trays where a part has lain, and nothing lies now."""
        return {at for at in self.stock.known - set(self.stock.parts) if self._places.sample_at(at) is None}

    def tips(self) -> dict[str, int]:
        """How many tips are left, by rack."""
        return {place: len(self.stock.racks.get(place, ())) for place in self.sizes}

    def parts(self) -> Counter[str]:
        """How many there are of each part, on trays and loose."""
        return Counter(piece.name for piece in self.stock.parts.values()) + Counter(self.stock.loose)

    def reserved(self, own: str | None = None, *, only: Collection[str] | None = None) -> Needs:
        """What others than `own` still need; `only` of these."""
        others = (needs for id_, needs in self.stock.reserved.items() if id_ != own and (only is None or id_ in only))
        return total(others)

    def runs(self) -> set[str]:
        """The runs for which something is reserved."""
        return {owner for owner in self.stock.reserved if owner.startswith(RUN)}

    @property
    def left_by_runs(self) -> Needs:
        """What runs at work leave, jobs not counted. Kept until something changes: each job of a queue asks."""
        if self._left_by_runs is None or self._left_by_runs[0] != self.today:
            self._left_by_runs = self.today, self.free(only=self.runs())
        return self._left_by_runs[1]

    def free(self, own: str | None = None, *, only: Collection[str] | None = None) -> Needs:
        """What is there and not reserved for others: materials by name and by place, µL; tips by size; parts."""
        taken = self.reserved(own, only=only)
        by_place = {at: self.usable(at) for at in self.stock.wells}
        materials: dict[str, float] = defaultdict(float)
        for at, usable in by_place.items():
            material = self.stock.wells[at].material
            if material is not None:
                materials[material] += usable
                materials[material] -= taken.materials.get(at, 0.0)
        tips: dict[str, float] = defaultdict(float)
        for place, left in self.tips().items():
            tips[str(self.sizes[place])] += left
        return Needs(
            _less({**by_place, **materials}, taken.materials),
            _less(tips, taken.tips),
            _less(dict(self.parts()), taken.parts),
        )

    def unknown_place(self, place: str) -> UnknownPlaceError:
        """That a place is not on the deck, with what is."""
        tray, _, well = place.rpartition("/")
        entry = self.deck.get(tray)
        if entry is not None:
            mend = did_you_mean(well, entry.wells, "it has")
            return UnknownPlaceError(f"{tray} ({entry.labware}) has no well {well!r}; {mend}")
        known = [*self.deck, *self.stock.loose]
        return UnknownPlaceError(f"nothing stands at {place!r}; {did_you_mean(place, known, 'the deck has')}")


def _less(has: Mapping[str, float], taken: Mapping[str, float]) -> dict[str, float]:
    return {name: max(0.0, amount - taken.get(name, 0.0)) for name, amount in has.items()}
