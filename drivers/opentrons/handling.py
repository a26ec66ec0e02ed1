"""How an action handles liquid: its pipette and strokes, its tip, its wells, and the steps that move the liquid."""

from __future__ import annotations

from dataclasses import dataclass

from drivers.opentrons import plan
from drivers.opentrons.labware import capacity, wells_of
from drivers.opentrons.orders import Order
from drivers.opentrons.plan import Pipette, Step, Well
from drivers.opentrons.session import Session
from labd.sdk import Labware, Rejected
from labd.sdk.roles import NewTip


@dataclass(slots=True)
class Handling:
    """On one robot's deck.

    Args:
        name: the device's name, with which its places begin.
        session: the run, which knows what is loaded and which tips are on.
        deck: what stands on the deck, by slot.
        pipettes: those on the robot; none before it was asked.
    """

    name: str
    session: Session
    deck: dict[str, Labware]
    pipettes: tuple[Pipette, ...] = ()

    def well(self, place: str, volume: float = 0.0) -> tuple[str, str]:
        """Slot and well of a place on our deck. Raises Rejected for others, and where a volume does not fit."""
        device, _, rest = place.partition("/")
        slot, _, well = rest.partition("/")
        if device != self.name or slot not in self.deck:
            slots = ", ".join(f"{self.name}/{slot}" for slot in self.deck)
            raise Rejected(f"{place} is out of the robot's reach; on its deck are {slots or 'no labware'}")
        load_name = self.deck[slot].load_name
        wells = wells_of(load_name)
        if not well or (wells is not None and well not in wells):
            known = f", it has {wells[0]} to {wells[-1]}" if wells else ""
            raise Rejected(f"{place} names no well of {load_name}{known}")
        holds = capacity(load_name)
        if holds is not None and volume > holds:
            raise Rejected(f"{volume:g} µL is more than a well of {load_name} holds, {holds:g} µL")
        return slot, well

    def chosen(self, volume: float, new_tip: NewTip) -> tuple[Pipette, int]:
        """The pipette for a volume and its strokes; one with a tip on goes first where the tip may stay."""
        with_tip = [pipette for pipette in self.pipettes if self.session.tip_on(pipette.mount) is not None]
        if new_tip == "never" and not with_tip:
            raise Rejected("no pipette has a tip on, and new_tip is never")
        if new_tip == "never":
            return plan.choose(with_tip, volume)
        fitting = [pipette for pipette in with_tip if pipette.least <= volume <= pipette.most]
        return plan.choose(fitting if new_tip == "once" and fitting else self.pipettes, volume)

    async def take_tip(
        self, order: Order, pipette: Pipette, volume: float, new_tip: NewTip, source: tuple[str, str]
    ) -> None:
        """A tip by the policy; a tip that is not to be used again goes to the trash first."""
        tip = self.session.tip_on(pipette.mount)
        if tip is not None and (new_tip == "never" or (new_tip == "once" and tip.source in {None, source})):
            return
        slot, well = self.session.next_tip(pipette, volume)  # before anything moves: there may be none
        await order.make_ready()
        await order.drop(pipette.mount)
        identity = self.session.pipette_id(pipette.mount)
        await order.send([plan.pick_up(identity, self.session.labware_id(slot), well)])

    def transfer_steps(
        self,
        pipette: Pipette,
        wells: tuple[tuple[str, str], tuple[str, str]],
        volume: float,
        flow_rate: float | None,
        mixes: int,
    ) -> list[Step]:
        """From one well to another in equal strokes, then so many mixing strokes."""
        count = plan.strokes(volume, pipette)
        source, destination = (Well(self.session.labware_id(slot), well) for slot, well in wells)
        identity = self.session.pipette_id(pipette.mount)
        rate = flow_rate or pipette.flow_rate
        return plan.transfer(identity, source, destination, [volume / count] * count, rate, mixes)

    def mix_steps(self, pipette: Pipette, well: tuple[str, str], volume: float, times: int) -> list[Step]:
        """In and out of one well, so many times."""
        place = Well(self.session.labware_id(well[0]), well[1])
        return plan.mix(self.session.pipette_id(pipette.mount), place, volume, pipette.flow_rate, times)

    def tip_place(self, mount: str) -> str:
        """Where the tip on a mount came from; "" where there is none."""
        tip = self.session.tip_on(mount)
        return f"{self.name}/{tip.slot}/{tip.well}" if tip is not None else ""
