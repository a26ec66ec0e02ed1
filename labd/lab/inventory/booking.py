"""Booking what actions use, in the same breath as their outcomes; and telling before one whether there is enough."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from labd.journal import NewEvent
from labd.lab.inventory import entries
from labd.lab.inventory.needs import Needs, needs_of
from labd.lab.inventory.shelf import RUN, Shelf
from labd.lab.inventory.shortage import (
    Shortage,
    microlitres,
    short_of_liquid,
    short_of_part,
    short_of_room,
    short_of_tips,
)
from labd.lab.inventory.stock import NOTHING, UNKNOWN
from labd.lab.inventory.using import Deed, becomes, draw_of, drawn, picked, picks, set_down
from labd.sdk import Result, labware

SAMPLE = "sample"
"""What the proofs call the place of the sample."""
REMADE = "new_tips"
"""The action by which a driver is told of a full rack."""


class Booking(Shelf):
    """The part of the inventory that runs, and jobs that wait, speak to."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._pending: dict[tuple[str, str], tuple[str, float]] = {}  # what steps under way draw, by run and step

    # ── before ───────────────────────────────────────────────────────────────────────────────────────────────────
    def shortage(self, deed: Deed) -> Shortage | None:
        """What is missing for an action, or None."""
        draw = draw_of(deed)
        if draw is not None:
            others = sum(amount for place, amount in self._pending.values() if place == draw.source)
            found = short_of_liquid(self.stock, draw.source, draw.volume, others, self.today)
            if found is None and self.is_well(draw.destination) and draw.destination != draw.source:
                found = short_of_room(self.stock, draw.destination, draw.volume, self._capacity(draw.destination))
            if found is not None:
                return found
        place = picks(deed)
        if place is not None and self._places.sample_at(place) is None:
            return short_of_part(self.stock, place, self._was(place) or "part")
        driver = deed.device.driver
        racks = {at: self.sizes[at] for at in driver.racks_for(deed.action, deed.parameters) if at in self.sizes}
        used = driver.tips_used() or {}
        left = {at: self.stock.racks[at] - used.get(at, frozenset()) for at in racks if at in self.stock.racks}
        return short_of_tips(racks, left)

    def _capacity(self, place: str) -> float | None:
        return labware.capacity(self.deck[place.rpartition("/")[0]].labware)

    def begin(self, run: str, step: str, deed: Deed) -> None:
        """A step is under way: what it draws is not there for others meanwhile."""
        draw = draw_of(deed)
        if draw is not None:
            self._pending[run, step] = draw.source, draw.volume

    def end(self, run: str, step: str | None = None) -> None:
        """A step of a run (None: all of them) is under way no more."""
        for key in [key for key in self._pending if key[0] == run and step in (None, key[1])]:
            del self._pending[key]

    # ── after ────────────────────────────────────────────────────────────────────────────────────────────────────
    def done(self, deed: Deed, result: Result | None, **more: Any) -> None:
        """Books what an action has used: by its result, or as ordered where there is none.

        To be called before the sample's own move is applied.

        Args:
            deed: the action.
            result: what came of it.
            more: `by` and `because`, where a person or a device said so afterwards.
        """
        draw = draw_of(deed, result)
        if draw is not None and draw.volume > NOTHING:
            self.post(drawn(self.stock, deed, draw, fills=self.is_well(draw.destination), **more))
        elif draw is not None:
            self.undone(deed, **more)
        place = picks(deed)
        if place is not None and getattr(result, "gripped", True) and self._places.sample_at(place) is None:
            self.post(picked(self.stock, deed, place, **more))
        if self._sets_down(deed) and getattr(result, "released", True):
            self.post(set_down(self.stock, deed, lies=self.lies_free(deed.text("place")), **more))
        if deed.action == REMADE:
            self.post(self._rack(f"{deed.device.id}/{deed.text('slot')}", deed.name, deed.run))
        self.tips_of(deed, str(getattr(result, "tip", "") or ""))

    def _sets_down(self, deed: Deed) -> bool:
        """Whether it puts a part for its sample, and not the sample itself, out of an arm's gripper."""
        arm = deed.device.driver.role == "arm" and deed.action == "place"
        return arm and deed.gripper is not None and self._places.part_for(deed.gripper) == deed.sample

    def tips_of(self, deed: Deed, tip: str = "") -> None:
        """Books the tips that a driver has used since; of one that cannot tell the tip that its result names."""
        used = deed.device.driver.tips_used()
        if used is None:
            rack, _, well = tip.rpartition("/")
            used = {rack: frozenset({well})} if rack else {}
        events = []
        for place, wells in used.items():
            fresh = sorted(set(wells) & self.stock.racks.get(place, set()))
            if fresh:
                told = {"to": None, "sample": deed.sample, "action_id": deed.id}
                events.append(
                    entries.tips("spent", place, self.sizes.get(place, 0), fresh, deed.name, deed.run, **told)
                )
        self.post(events)

    def doubt(self, deed: Deed) -> None:
        """Nobody knows whether an action happened: what it may have drawn counts for nothing until that is settled."""
        draw = draw_of(deed)
        if draw is not None and deed.id not in self.stock.doubts:
            well = self.stock.wells.get(draw.source)
            data: dict[str, Any] = {"thing": "liquid", "place": draw.source, "unit": "µL"}
            data["name"] = well.name if well else ""
            data |= {"lot": well.lot if well else None, "amount": draw.volume, "by": deed.name, "to": draw.destination}
            data |= {"sample": deed.sample, "action_id": deed.id, "action": deed.name}
            self.post([NewEvent("stock.doubted", data, deed.run)])
        self.tips_of(deed)

    def undone(self, deed: Deed, **more: Any) -> None:
        """An action of which nobody knew has not happened."""
        if deed.id in self.stock.doubts:
            told = {"action_id": deed.id, "because": "it was not done", "by": deed.name, **more}
            by = str(told.pop("by"))
            place = self.stock.doubts[deed.id].place
            self.post([entries.liquid("corrected", place, [], by, deed.run, **told)])
        self.tips_of(deed)

    def born(self, sample: str, place: str, run: str, by: str) -> list[NewEvent]:
        """The part at a place becomes a sample: applied at once; to be written together with the run's start."""
        piece = self.stock.parts.get(place)
        if piece is None:
            return []
        event = becomes(piece, place, sample, run, by)
        self.stock.apply(event)
        return [event]

    def no_cell(self, place: str) -> tuple[str, str] | None:
        """Why no sample can begin at a place, with the mend: its part was taken, or it is a well of stock.

        None where that cannot be told: a sample is there, or nothing was ever told of what lies there.
        """
        if self._places.sample_at(place) is not None:
            return None
        if place in self.stock.known and place not in self.stock.parts:
            part = self._was(place) or "half_cell"
            mend = f"labd load {place} --fill {part}"
            return f"no {part.replace('_', ' ')} lies at {place} any more", mend
        well = self.stock.wells.get(place)
        if well is not None and well.volume > NOTHING:
            return f"{place} holds {well.name}, no cell", "say where its sample stands"
        return None

    def left(self, place: str, by: str) -> list[NewEvent]:
        """A sample was taken out of the lab, and with it the vial that it was: as `born` is."""
        if not self.is_well(place):
            return []
        events = entries.taken_out(self.stock, place, {}, by, "its sample was taken out of the lab")
        for event in events:
            self.stock.apply(event)
        return events

    def let_go(self, gripper: str, by: str) -> list[NewEvent]:
        """A part was taken out of a gripper, and out of the lab: as `born` is."""
        events = entries.out_of_hand(self.stock, gripper, by, "it was taken out of the gripper")
        for event in events:
            self.stock.apply(event)
        return events

    def _rack(self, place: str, by: str, run: str | None = None) -> Iterator[NewEvent]:
        """A full rack stands at a place."""
        entry = self.deck.get(place)
        if entry is None or place not in self.sizes:
            return
        left = sorted(self.stock.racks.get(place, ()))
        if left:
            yield entries.tips("unloaded", place, self.sizes[place], left, by, run, because="a full rack came")
        yield entries.tips("loaded", place, self.sizes[place], entry.wells, by, run)

    # ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def reserve(self, owner: str, needs: Mapping[str, Any]) -> None:
        """Sets aside what a job, or a run, needs: `materials` in µL by name or place, `tips` by size, `parts`."""
        self.stock.reserved[owner] = needs_of(needs)
        self.changed()

    def release(self, owner: str) -> None:
        """What was set aside is there for others again."""
        if self.stock.reserved.pop(owner, None) is not None:
            self.changed()

    def kept(
        self, place: str, sample: str | None, own: str | None = None, *, only: Collection[str] | None = None
    ) -> str | None:
        """For whom a place of a tray is kept, or what occupies it, in words; None: it is free for a sample.

        Args:
            place: which.
            sample: for which it is asked; None: a new one.
            own: the job or run for which is asked.
            only: the others that count; None: all of them.
        """
        there = self._places.sample_at(place)
        if there is not None and there == sample:
            return None
        for owner, needs in self.stock.reserved.items():
            if owner == own or (only is not None and owner not in only):
                continue
            if there is not None and owner.startswith(RUN):
                continue  # its sample stands there as yet
            if place in needs.places and (sample is None or needs.places[place] != sample):
                return f"{place} is kept for {owner}"
        return f"{place} is occupied by {there}" if there is not None else None

    def promised(self) -> set[str]:
        """All places that are kept for jobs and runs."""
        return {place for needs in self.stock.reserved.values() for place in needs.places}

    def problems(self, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> list[tuple[int, str, str]]:
        """Which rows of a table cannot be made of what is free, with why and how to mend it, in their order."""
        free = self.free()
        left = {"materials": dict(free.materials), "tips": dict(free.tips), "parts": dict(free.parts)}
        found = []
        for row, told in rows:
            for kind, amounts in self._tellable(needs_of(told)).items():
                for name, amount in amounts.items():
                    has = left[kind].get(name, 0.0)
                    if has + NOTHING < amount:
                        text, mend = self._lacks(kind, name, amount, has)
                        found.append((row, text + (self._held_back(name) if kind == "parts" else ""), mend))
                    left[kind][name] = max(0.0, has - amount)
        return found

    def reason(self, job: Any) -> str | None:
        """Why a job (with `id` and `needs`) cannot be made now of what runs leave of the stock; None: it can."""
        free = self.left_by_runs.told()
        for kind, amounts in self._tellable(needs_of(job.needs)).items():
            for name, amount in amounts.items():
                has = free[kind].get(name, 0.0)
                if has + NOTHING < amount:
                    return ": ".join(self._lacks(kind, name, amount, has))
        return None

    def _tellable(self, needs: Needs) -> dict[str, dict[str, float]]:
        """Less what is only known in a run, and less wells of which nobody has told what is in them."""
        told = needs.told()
        known = {*self.stock.wells, *self.materials()}
        told["materials"] = {
            name: amount
            for name, amount in told["materials"].items()
            if name in known or not (name.startswith("=") or "/" in name or name == SAMPLE)
        }
        told["tips"] = {size: amount for size, amount in told["tips"].items() if size}
        return told

    def _held_back(self, part: str) -> str:
        """How many lie there, and for whom they are kept; empty where they are for nobody."""
        owners = {owner: needs.parts[part] for owner, needs in self.stock.reserved.items() if part in needs.parts}
        if not owners:
            return ""
        first, *others = owners
        more = f" and {len(others)} other{'s' if len(others) > 1 else ''}" if others else ""
        return f": {self.parts()[part]} lie there, {sum(owners.values()):g} are kept for {first}{more}"

    def _lacks(self, kind: str, name: str, needs: float, has: float) -> tuple[str, str]:
        """What is missing, and the mend."""
        if kind == "materials":
            return self._lacks_liquid(name, needs, has)
        if kind == "tips":
            racks = [place for place, size in self.sizes.items() if str(size) == name]
            where = racks[0] if racks else "RACK"
            return f"{needs:g} tips of {name} µL are needed, {has:g} are left", f"put in a rack: labd load {where}"
        lying = [at for at in sorted(self.stock.known) if self._was(at) == name]
        tray = lying[0].rpartition("/")[0] if lying else "TRAY"
        mend = f"load more: labd load {tray} --fill {name}"
        return f"{needs:g} of `{name}` are needed, {has:g} are left", mend

    def _was(self, place: str) -> str | None:
        """The part that lies at a place, or that lab.yaml lays there."""
        piece = self.stock.parts.get(place)
        if piece is not None:
            return piece.name
        entry = self.deck.get(place.rpartition("/")[0])
        return entry.parts.get(place) if entry is not None else None

    def _lacks_liquid(self, name: str, needs: float, has: float) -> tuple[str, str]:
        holding = [(name, self.stock.wells[name])] if name in self.stock.wells else self.holding(name)
        place = holding[0][0] if holding else "PLACE/WELL"
        material = holding[0][1].material if holding else name
        mend = f"labd load {place} --material {material or UNKNOWN} --lot … --volume … --expires …"
        expired = [(at, well) for at, well in holding if well.expired(self.today)]
        if expired and len(expired) == len(holding):
            at, well = expired[0]
            lot = f" (lot {well.lot})" if well.lot else ""
            return f"{well.name}{lot} in {at} expired on {well.expires}", f"put in a fresh one: {mend}"
        text = f"{microlitres(needs)} {name} is needed, {microlitres(has)} is left that nobody else needs"
        return text, f"refill it: {mend}"
