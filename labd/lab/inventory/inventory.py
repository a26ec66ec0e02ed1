"""What people say of the stock: what they have loaded, taken out and counted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from labd.journal import NewEvent
from labd.lab.deck import DeckEntry
from labd.lab.inventory import entries
from labd.lab.inventory.booking import REMADE, Booking
from labd.lab.inventory.shelf import StockError
from labd.lab.inventory.shortage import Shortage, microlitres
from labd.lab.inventory.stock import NOTHING, Piece, Portion, Well
from labd.lab.inventory.using import merged
from labd.lab.limit import Limit
from labd.sdk import Call, DeviceError, labware


class Inventory(Booking):
    """The deck, labware and stock of one lab. What a person says is durable when its method returns.

    All of them raise UnknownPlaceError for a place that the deck does not have, and StockError for what cannot be.
    """

    # ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def load_liquid(
        self,
        place: str,
        material: str,
        volume: float,
        *,
        lot: str | None = None,
        expires: dt.date | None = None,
        dead: float | None = None,
        add: bool = False,
        by: str,
    ) -> None:
        """A liquid stands in a well now, in place of what was there.

        Args:
            place: a well.
            material: what protocols call it.
            volume: all of it, µL.
            lot: the supplier's or the lab's own number.
            expires: the last day on which it is good.
            dead: what cannot be drawn, µL; None: as before.
            add: it was poured to what is there.
            by: who says so.
        """
        entry = self._well(place)
        if not labware.holds_liquid(entry.labware):
            raise StockError(f"{entry.labware} at {entry.place} takes no liquid; it stands in vials, tubes and plates")
        if expires is not None and expires < self.today:
            raise StockError(
                f"lot {lot or '?'} of {material} expired on {expires}: it counts for nothing; load a good one"
            )
        now = self.stock.wells.get(place, Well())
        before = now.volume if add else 0.0
        least = now.dead if dead is None else dead
        self._fits(entry, place, before + volume, least)
        events = [] if add else entries.taken_out(self.stock, place, {}, by, f"{material} was loaded there")
        portion = Portion(material, lot, volume, expires)
        await self.write([*events, entries.liquid("loaded", place, [portion], by, dead=least)])

    def _fits(self, entry: DeckEntry, place: str, volume: float, dead: float) -> None:
        most = labware.capacity(entry.labware)
        if most is not None and volume > most:
            said = f"{microlitres(volume)} is more than a well of {entry.labware} ({place}) holds"
            raise StockError(f"{said}; say at most {microlitres(most)}")
        if dead > volume:
            said = f"the dead volume of {place}, {microlitres(dead)}, is more than the {microlitres(volume)} in it"
            raise StockError(f"{said}; the volume is all that is in the well, or say another with --dead")

    async def load_parts(self, place: str, part: str, *, lot: str | None = None, by: str) -> None:
        """A part lies in every place of a tray now, or in one; a place where a sample is stays as it is."""
        entry, well = self._at(place)
        if not labware.holds_parts(entry.labware):
            raise StockError(f"{entry.labware} at {entry.place} takes no parts; they lie on trays")
        wells = [f"{entry.place}/{one}" for one in ([well] if well else entry.wells)]
        free = [at for at in wells if self._places.sample_at(at) is None]
        if not free:
            raise StockError(f"{self._places.sample_at(wells[0])} is at {wells[0]}; clear it first: labd clear RUN")
        events: list[NewEvent] = []
        for at in free:
            events += entries.taken_out(self.stock, at, {}, by, f"{part} was loaded there")
        await self.write([*events, entries.parts("loaded", place, Piece(part, lot), free, by)])

    async def load_rack(self, place: str, *, by: str) -> None:
        """A full tip rack stands at a place now; its device is told."""
        entry, well = self._at(place)
        if well is not None or place not in self.sizes:
            raise StockError(f"{place} ({entry.labware}) is no tip rack; say what is in it: --material or --fill")
        await self._tell_device(place)
        await self.write(list(self._rack(place, by)))

    async def load_loose(self, name: str, count: int, *, by: str) -> None:
        """So many more of a part that lies on no tray."""
        self._loose_part(name)
        await self.write([entries.loose("loaded", name, count, by)])

    async def _tell_device(self, place: str) -> None:
        """A robot that keeps book of its tips hears of a full rack."""
        device = self._devices.get(place.partition("/")[0])
        action = device.driver.actions.get(REMADE) if device is not None else None
        if device is None or action is None:
            return
        told = action.parameters.model_validate({"slot": place.partition("/")[2]})
        try:
            call = Call(f"load-{place}", device.driver.units[0])
            await device.invoke(action, told, call, f"load-{place}", Limit(action.time_limit(told)))
        except DeviceError as error:
            raise StockError(
                f"{device.id} must be told of its new rack, and cannot be: {error}; load it again then"
            ) from error

    # ── taking out, counting ─────────────────────────────────────────────────────────────────────────────────────
    async def unload(self, place: str, *, by: str) -> None:
        """All that stood at a place, or in one well or gripper, was taken out; samples stay where they are."""
        if place in self.stock.loose:
            await self.write([entries.loose("unloaded", place, self.stock.loose[place], by)])
            return
        held = self._in_hand(place, by)
        if held:
            await self.write(held)
            return
        self._at(place)
        events = entries.taken_out(self.stock, place, self.sizes, by, "it was taken out")
        if not events:
            raise StockError(f"nothing is at {place} as far as labd knows; `labd inventory` shows what is where")
        await self.write(events)

    def _in_hand(self, place: str, by: str) -> list[NewEvent]:
        """That a person has taken what a gripper holds out of it, its sample too; `labd clear` is said beside."""
        if place in self.deck or not place.endswith("/gripper"):
            return []
        sample = self._places.sample_at(place)
        owner = sample or self._places.part_for(place)
        why = "it was taken out of the gripper"
        events = entries.out_of_hand(self.stock, place, by, why)
        if not events and owner is not None:
            name = sample or f"part for {owner}"
            events = [entries.parts("unloaded", place, Piece(name), [place], by, because=why)]
        return events

    async def count(self, place: str, value: float, *, by: str) -> None:
        """A person has looked: so many µL, parts or tips are there. The difference is journaled.

        Of a tray or rack of which fewer are there, the first are gone: robots take those first.
        """
        if place in self.stock.loose:
            before = self.stock.loose[place]
            told = _difference(before, self._whole(place, value))
            await self.write([entries.loose("counted", place, int(value), by, **told)])
            return
        entry, well = self._at(place)
        if place in self.sizes:
            await self._count_tips(entry, self._whole(place, value, len(entry.wells)), by)
        elif labware.holds_parts(entry.labware) and place not in self.stock.wells:
            await self._count_parts(entry, well, self._whole(place, value, 1 if well else len(entry.wells)), by)
        else:
            await self._count_liquid(entry, place, well, value, by)

    async def _count_liquid(self, entry: DeckEntry, place: str, well: str | None, volume: float, by: str) -> None:
        if well is None:
            raise StockError(f"{place} has several wells; count one: {place}/{entry.wells[0]}")
        now = self.stock.wells.get(place, Well())
        if not now.portions:
            raise StockError(f"labd knows of nothing in {place}; say what it is: labd load {place} --material …")
        self._fits(entry, place, volume, 0.0)
        portions = now.share(volume) or [
            Portion(one.material, one.lot, volume, one.expires) for one in now.portions[:1]
        ]
        told = _difference(now.volume, volume)
        await self.write([entries.liquid("counted", place, portions, by, **told)])

    async def _count_tips(self, entry: DeckEntry, count: int, by: str) -> None:
        place, before = entry.place, len(self.stock.racks.get(entry.place, ()))
        left = entry.wells[len(entry.wells) - count :]
        device = self._devices.get(place.partition("/")[0])
        if count > before:  # its own book has fewer
            await self._tell_device(place)
        if device is not None:
            device.driver.know_tips({place: set(entry.wells) - set(left)})
        told = _difference(before, count)
        await self.write([entries.tips("counted", place, self.sizes[place], left, by, **told)])

    async def _count_parts(self, entry: DeckEntry, well: str | None, count: int, by: str) -> None:
        place = f"{entry.place}/{well}" if well else entry.place
        wells = [f"{entry.place}/{one}" for one in ([well] if well else entry.wells)]
        lying = [at for at in wells if at in self.stock.parts]
        room = [at for at in wells if at in lying or self._places.sample_at(at) is None]
        if count > len(room):
            raise StockError(f"{place} has room for {len(room)}: samples are at the others")
        known = [self.stock.parts[at] for at in lying] or [Piece(name) for at in wells if (name := self._was(at))]
        if not known:
            raise StockError(f"labd knows of no parts at {place}; say which: labd load {place} --fill …")
        left = lying[max(0, len(lying) - count) :]
        more = [at for at in room if at not in lying][: count - len(left)]
        await self.write(list(self._counted(place, lying, left, more, known, by)))

    def _counted(
        self, place: str, lying: list[str], left: list[str], more: list[str], known: list[Piece], by: str
    ) -> Iterator[NewEvent]:
        """An entry a lot, so that each part keeps its own: those that are `left` of the `lying`, and `more` beside.

        Of what lot more ones are is known where all are of one. The first entry clears the places of all.
        """
        before = entries.by_piece({at: self.stock.parts[at] for at in lying})
        piece = known[0] if len(set(known)) == 1 else Piece(known[0].name)
        now = entries.by_piece({**{at: self.stock.parts[at] for at in left}, **dict.fromkeys(more, piece)})
        for number, one in enumerate(dict.fromkeys([*before, *now]) or [piece]):
            wells = now.get(one, [])
            told = {**_difference(len(before.get(one, ())), len(wells)), "also": number > 0}
            yield entries.parts("counted", place, one, wells, by, **told)

    async def refill(self, shortage: Shortage, value: float | None, *, by: str) -> None:
        """A person says that what was missing is there again; a volume, µL, where it was asked for."""
        match shortage.thing:
            case "liquid" if value is not None:
                await self._topped_up(shortage.place, value, by)
            case "tips":
                await self.load_rack(shortage.place, by=by)
            case "part":
                name = self._was(shortage.place)
                if name is None:
                    raise StockError(f"say which part lies there: labd load {shortage.place} --fill …")
                await self.load_parts(shortage.place, name, by=by)

    async def _topped_up(self, place: str, volume: float, by: str) -> None:
        """So much is in a well now, µL: of what was added nobody has told the lot, nor how long it is good."""
        entry, now = self._well(place), self.stock.wells.get(place, Well())
        added = volume - now.volume
        if added <= NOTHING:
            await self.count(place, volume, by=by)
            return
        self._fits(entry, place, volume, 0.0)
        poured = now.share(added) or [replace(one, amount=added) for one in now.portions[:1]]
        unknown = [replace(one, lot=None, expires=None) for one in poured]
        why = "it was topped up; nobody told the lot"
        told = {**_difference(now.volume, volume), "poured": added, "because": why}
        await self.write([entries.liquid("counted", place, merged([*now.portions, *unknown]), by, **told)])

    # ── where ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _at(self, place: str) -> tuple[DeckEntry, str | None]:
        """The labware of a place, and the well where one is named."""
        if place in self.deck:
            return self.deck[place], None
        tray, _, well = place.rpartition("/")
        if tray not in self.deck or well not in self.deck[tray].wells:
            raise self.unknown_place(place)
        return self.deck[tray], well

    def _well(self, place: str) -> DeckEntry:
        """The labware of a well."""
        entry, well = self._at(place)
        if well is None:
            raise StockError(f"{place} ({entry.labware}) has several wells; name one: {place}/{entry.wells[0]}")
        return entry

    def _loose_part(self, name: str) -> None:
        if name in self.deck or name.rpartition("/")[0] in self.deck:
            mend = f"say what lies on it, labd load {name} --fill PART; or how many you have found, labd count {name} N"
            raise StockError(f"{name} is a place of the deck, and --count is for parts that lie on no tray; {mend}")
        if name not in self.stock.loose:
            raise self.unknown_place(name)

    def _whole(self, place: str, value: float, most: int | None = None) -> int:
        if value != int(value) or value < 0 or (most is not None and value > most):
            range_ = f"a whole number from 0 to {most}" if most is not None else "a whole number, not below 0"
            raise StockError(f"{place}: {value:g} is no count of pieces; say {range_}")
        return int(value)


def _difference(before: float, now: float) -> dict[str, Any]:
    return {"before": before, "difference": now - before}
