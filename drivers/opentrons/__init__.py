"""Opentrons OT-2 and Flex over the robot-server's HTTP API, port 31950, by a robot-server 8.1.0.

The robot is driven command by command in one run that is ours. Every command carries the key `<action id>:<n>:<what>`;
the robot's list of commands is how `outcome` knows whether a dispense happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import JsonValue, ValidationError

from drivers.opentrons import plan
from drivers.opentrons.handling import Handling
from drivers.opentrons.labware import tip_size
from drivers.opentrons.orders import HOME, Order, core_count, first_error, trace
from drivers.opentrons.plan import Pipette, Step, judge, what_of
from drivers.opentrons.robot import Command, PipetteData, Robot
from drivers.opentrons.session import Session
from drivers.opentrons.settings import OpentronsSettings
from labd import clock
from labd.io.http import HttpLink
from labd.sdk import (
    About,
    Bounds,
    Call,
    Effect,
    FlowRate,
    Intent,
    Nothing,
    Outcome,
    OutcomeUnknown,
    Parameters,
    PipettingRobot,
    Place,
    Quality,
    Rejected,
    Result,
    Setup,
    Source,
    TipRange,
    Verdict,
    Volume,
    action,
)
from labd.sdk.roles import NewTip, PipettingSignals, TransferResult

HEADERS = {"Opentrons-Version": "*"}
TRASH = {"ot2": "fixedTrash", "flex": "movableTrashA3"}


class Opentrons(PipettingRobot):
    """An OT-2 or a Flex, told apart by its own word."""

    quality = Quality("simulated")
    quirks = (
        "A command that failed is answered with 201.",
        "A p20 takes 1 to 20 µL and a p300 20 to 300 µL: the pipette is chosen by the volume.",
    )
    Settings = OpentronsSettings
    settings: OpentronsSettings

    found_at = {"http://{host}:31950": 31950}

    @classmethod
    async def identify(cls, address: str) -> About | None:
        """Asks for its health; a robot does nothing upon that."""
        link = HttpLink(address, headers=HEADERS, deadline=3.0)
        try:
            health = await Robot(link).health()
        finally:
            await link.close()
        return About(model=health.robot_model, serial=health.robot_serial or health.name, firmware=health.api_version)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._robot = Robot(HttpLink(self.settings.address, headers=HEADERS))
        self._session = Session(self.name, self._robot, setup.deck)
        self._handling = Handling(self.name, self._session, {one.slot: one for one in setup.deck})
        self._trash = TRASH["ot2"]
        self._flex = False
        self._turn = asyncio.Lock()
        self._orders = self._robot.orders

    # ── the link ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def connect(self) -> About:
        """Identifies robot and pipettes, and takes up our run or makes one. Nothing moves.

        Raises:
            Unreachable: no answer, or a robot that is still booting.
            Rejected: other pipettes are attached than lab.yaml says.
        """
        self._orders.written()
        health = await self._robot.health()
        self._flex = health.flex
        self._trash = TRASH["flex" if health.flex else "ot2"]
        self._handling.pipettes = await self._attached()
        self._session.pipettes = {pipette.mount: pipette.name for pipette in self._handling.pipettes}
        await self._session.open()
        return About(
            model="Opentrons Flex" if health.flex else "Opentrons OT-2",
            serial=health.robot_serial or health.name,
            firmware=health.api_version,
        )

    async def _attached(self) -> tuple[Pipette, ...]:
        """The pipettes on the robot, with the volumes that they take with the tips on the deck."""
        found: dict[str, Pipette] = {}
        for one in await self._robot.instruments():
            if one.instrument_type != "pipette" or not one.ok:
                continue
            try:
                data = PipetteData.model_validate(one.data)
            except ValidationError as error:
                raise OutcomeUnknown(f"the robot does not tell the volumes of its {one.instrument_name}") from error
            sizes = [size for size, _ in self._session.racks(one.instrument_name)]
            most = min(data.max_volume, float(max(sizes))) if sizes else 0.0
            found[one.mount] = Pipette(one.mount, one.instrument_name, data.min_volume, most)
        for mount, wanted in self.settings.pipettes.items():
            there = found[mount].name if mount in found else "nothing"
            if there != wanted:
                raise Rejected(f"the {mount} mount should carry {wanted}, and the robot has {there} there")
        mounts = self.settings.pipettes or found
        return tuple(found[mount] for mount in sorted(mounts))

    def tips_by_volume(self) -> tuple[TipRange, ...]:
        """By the pipettes of lab.yaml and the racks on the deck; empty where a pipette has racks of two sizes."""
        found: list[TipRange] = []
        for name in self.settings.pipettes.values():
            sizes = {size for size, _ in self._session.racks(name)}
            most = plan.nominal(name)
            if len(sizes) != 1 or most is None:
                return ()
            (size,) = sizes
            found.append(TipRange(size, 0.0, min(most, float(size))))
        found.sort(key=lambda one: one.most)
        return tuple(replace(one, above=found[n - 1].most if n else 0.0) for n, one in enumerate(found))

    def racks_for(self, action: str, parameters: Parameters) -> tuple[str, ...]:
        """By the pipette that would serve, and by the tips that are on now."""
        if action not in {"transfer", "mix"}:
            return ()
        given: Any = parameters
        new_tip: NewTip = getattr(given, "new_tip", "always")
        try:
            pipette, strokes = self._handling.chosen(given.volume, new_tip)
            tip = self._session.tip_on(pipette.mount)
            stays = new_tip == "once" and tip is not None and tip.source in {None, self._handling.well(given.source)}
        except Rejected:  # it will be refused anyway
            return ()
        racks = self._session.racks(pipette.name) if new_tip != "never" and not stays else []
        return tuple(rack.place for size, rack in racks if size >= given.volume / strokes)

    def tips_used(self) -> Mapping[str, frozenset[str]]:
        """By the robot's own list of commands."""
        return {f"{self.name}/{slot}": frozenset(wells) for slot, wells in self._session.tips.used.items()}

    def know_tips(self, used: Mapping[str, Collection[str]]) -> None:
        """The robot forgets its commands with time; the lab's inventory does not."""
        for place, wells in used.items():
            self._session.known[place.partition("/")[2]] = set(wells)

    async def close(self) -> None:
        await self._robot.close()

    async def read_state(self) -> PipettingSignals:
        """Door, tips and work. A Flex feels its tips; on an OT-2 they are what its list of commands says."""
        door = await self._robot.door_closed()
        playing = await self._session.playing()
        if playing is not None and not self._turn.locked():
            async with self._turn:
                await self._session.catch_up()  # a tip whose drop was not seen to end may be off
        felt = await self._tip_felt() if self._flex else None
        busy = self._turn.locked() or bool(playing)
        tip = bool(self._session.tips.on) if felt is None else felt
        return PipettingSignals(door_closed=door, tip_attached=tip, busy=busy)

    async def _tip_felt(self) -> bool | None:
        """Whether a tip is on one of our pipettes by the robot's own sensors; None where one of them cannot tell."""
        ours = {pipette.mount for pipette in self._handling.pipettes}
        found = [one for one in await self._robot.instruments() if one.instrument_type == "pipette"]
        felt = [one.tip_detected for one in found if one.mount in ours]
        if True in felt:
            return True
        return False if felt and None not in felt else None

    async def safe_state(self, unit: str | None = None) -> None:
        """Stops what our run is doing; axes stay where they are. A run at rest has nothing to stop."""
        del unit
        if self._session.run is not None and await self._session.active():
            await self._robot.stop(self._session.run)

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    @action()
    async def home(self, call: Call) -> None:
        """Drives all axes to their end switches."""
        async with self._turn:
            await (await self._order(call)).send([HOME])

    @action()
    async def transfer(
        self,
        call: Call,
        source: Source,
        destination: Place,
        volume: Annotated[Volume, Bounds(min=0.1, max=20000)],
        new_tip: NewTip = "always",
        flow_rate: Annotated[FlowRate, Bounds(min=0.1, max=1000)] | None = None,
        mix_after: Annotated[int, Bounds(min=0, max=50)] = 0,
    ) -> TransferResult:
        """Takes a volume from a place or of a material, and gives it to another place.

        `new_tip`: always takes one and drops it; once keeps a tip as long as the source stays the same; never uses
        the tip that is on. A volume beyond the largest pipette goes in equal strokes with one tip.
        """
        wells = self._handling.well(source), self._handling.well(destination, volume)
        plan.choose(self._handling.pipettes, volume)  # refused before anything is sent
        async with self._turn:
            order = await self._order(call)
            pipette, strokes = self._handling.chosen(volume, new_tip)
            await self._handling.take_tip(order, pipette, volume / strokes, new_tip, wells[0])
            tip = self._handling.tip_place(pipette.mount)
            await order.send(self._handling.transfer_steps(pipette, wells, volume, flow_rate, mix_after))
            if new_tip == "always":
                await order.drop(pipette.mount)
        return TransferResult(volume=volume, source=source, destination=destination, tip=tip)

    @action()
    async def mix(
        self,
        call: Call,
        place: Place,
        volume: Annotated[Volume, Bounds(min=0.1, max=1000)],
        times: Annotated[int, Bounds(min=1, max=50)],
    ) -> None:
        """Draws in and gives back a volume in one well, so many times."""
        well = self._handling.well(place)
        pipette, strokes = plan.choose(self._handling.pipettes, volume)
        if strokes > 1:
            raise Rejected(f"{volume:g} µL is more than one stroke of the largest pipette ({pipette})")
        async with self._turn:
            order = await self._order(call)
            await self._handling.take_tip(order, pipette, volume, "always", well)
            await order.send(self._handling.mix_steps(pipette, well, volume, times))
            await order.drop(pipette.mount)

    @action(effect=Effect.STATE, timeout=180, duration=10)
    async def drop_tip(self, call: Call) -> None:
        """Drops whatever tip is on a pipette into the trash."""
        async with self._turn:
            order = await self._order(call)
            await order.make_ready()
            for pipette in self._handling.pipettes:
                await order.drop(pipette.mount)

    @action(effect=Effect.STATE, timeout=180, duration=10)
    async def new_tips(self, call: Call, slot: str) -> None:
        """Says that a person has put a full tip rack into a slot."""
        if slot not in self._handling.deck or tip_size(self._handling.deck[slot].load_name) is None:
            raise Rejected(f"lab.yaml has no tip rack in slot {slot} of {self.name}")
        async with self._turn:
            order = await self._order(call)
            for pipette in self._handling.pipettes:
                await order.drop(pipette.mount)
            await self._session.new_rack(slot)

    async def _order(self, call: Call) -> Order:
        run = await self._session.ensure()
        await self._session.catch_up()
        return Order(self._session, self._robot, run, call, self._trash)

    # ── what became of it ────────────────────────────────────────────────────────────────────────────────────────
    async def baseline(self, action: str, unit: str) -> dict[str, JsonValue]:
        """The run, and how many commands it has; a run that is gone is made anew first."""
        del unit
        if action not in {"transfer", "mix"}:
            return {}
        async with self._turn:
            run = await self._session.ensure()
            count, last = await self._robot.count(run)
        return {"run": run, "commands": count, "last": last}

    async def outcome(self, intent: Intent) -> Outcome:
        """By the keys of the robot's own list of commands.

        Their absence proves that nothing was done if the run of the baseline is there with all its commands (a robot
        that was restarted in between has lost them) and no order can still arrive. PARTIAL carries the volume that was
        dispensed.
        """
        if intent.action not in {"transfer", "mix"}:
            return await super().outcome(intent)
        mine, doubt = await trace(self._robot, intent)
        verdict, why, dispensed = self._judged(intent, mine)
        if not doubt and verdict in {Verdict.NOT_DONE, Verdict.PARTIAL}:
            await self._orders.arrived()  # a command that is still on its way shows by then
            mine, doubt = await trace(self._robot, intent)
            verdict, why, dispensed = self._judged(intent, mine)
        if doubt:
            return Outcome(Verdict.UNKNOWN, doubt)
        if verdict is Verdict.RUNNING and not await self._session.active():
            return Outcome(Verdict.UNKNOWN, f"{why}, and its run has ended")
        if verdict is Verdict.DONE and await self._tip_is_left(intent, mine):
            return Outcome(Verdict.RUNNING, f"{why}; its tip is still to be dropped")
        if verdict not in {Verdict.DONE, Verdict.PARTIAL}:
            return Outcome(verdict, why)
        return Outcome(verdict, why, self._result(intent, mine, dispensed))

    def _judged(self, intent: Intent, mine: Sequence[Command]) -> tuple[Verdict, str, float]:
        if not mine:
            return Verdict.NOT_DONE, "the robot was not restarted, and has no command of this action", 0.0
        return judge(mine, core_count(intent, mine))

    async def _tip_is_left(self, intent: Intent, mine: Sequence[Command]) -> bool:
        """Whether an action that was cut after its liquid still has a tip to drop, in a run that still takes orders."""
        keeps = getattr(intent.parameters, "new_tip", "always") != "always"
        if keeps or self._session.run != intent.baseline.get("run") or await self._session.playing() is None:
            return False
        used = next((str(one.params.get("pipetteId")) for one in mine if what_of(one) in plan.CORE), "")
        async with self._turn:
            await self._session.catch_up()
            tip = self._session.tip_on(self._session.mount_of(used) or "")
        dropped = any(what_of(one) == "drop-tip" and one.status == "succeeded" for one in mine[-1:])
        return tip is not None and not dropped

    async def attach(self, intent: Intent, call: Call) -> Result:
        """Waits for the command that is under way, and goes on with those that the robot never got."""
        async with self._turn:
            mine, doubt = await trace(self._robot, intent)
            run = self._session.run
            if doubt or not mine or run is None or intent.baseline.get("run") != run:
                raise OutcomeUnknown(f"it cannot be taken up again: {doubt or 'its run is not ours any more'}")
            end = clock.monotonic() + plan.LONGEST
            done = [await self._robot.finish(run, command, end) for command in mine]
            for command in done:
                self._session.note(command)
            error = first_error(done)
            if error is not None:
                raise error
            moved = any(what_of(one) in plan.CORE for one in done)
            order = Order(self._session, self._robot, run, call, self._trash, moved, len(done))
            pipette, rest = await self._rest(intent, done, order)
            await order.send(rest)
            if getattr(intent.parameters, "new_tip", "always") == "always":
                await order.drop(pipette.mount)
        return self._result(intent, done, float(getattr(intent.parameters, "volume", 0.0)))

    async def _rest(self, intent: Intent, done: Sequence[Command], order: Order) -> tuple[Pipette, list[Step]]:
        """The pipette of an action, and its liquid steps that come after those that were done; a tip where none is."""
        given: Any = intent.parameters
        begun = next((one for one in done if what_of(one) in {*plan.CORE, "pick-up-tip"}), None)
        mix = intent.action == "mix"
        well = self._handling.well
        wells = (well(given.place),) * 2 if mix else (well(given.source), well(given.destination))
        if begun is None:
            new_tip: NewTip = "always" if mix else given.new_tip
            pipette, strokes = self._handling.chosen(given.volume, new_tip)
            await self._handling.take_tip(order, pipette, given.volume / strokes, new_tip, wells[0])
        else:
            mount = self._session.mount_of(str(begun.params.get("pipetteId")))
            found = next((one for one in self._handling.pipettes if one.mount == mount), None)
            if found is None:
                raise OutcomeUnknown("it cannot be taken up again: its pipette is not on the robot any more")
            pipette = found
        if mix:
            steps = self._handling.mix_steps(pipette, wells[0], given.volume, given.times)
        else:
            steps = self._handling.transfer_steps(pipette, wells, given.volume, given.flow_rate, given.mix_after)
        return pipette, steps[sum(what_of(one) in plan.CORE for one in done) :]

    def _result(self, intent: Intent, mine: Sequence[Command], volume: float) -> Result:
        if intent.action == "mix":
            return Nothing()
        given: Any = intent.parameters
        picked = next((one.params for one in reversed(mine) if what_of(one) == "pick-up-tip"), None)
        used = next((one.params for one in mine if what_of(one) == "aspirate"), {})
        if picked is not None:
            slot = self._session.slot_of(str(picked.get("labwareId")))
            tip = f"{self.name}/{slot}/{picked.get('wellName')}" if slot else ""
        else:
            tip = self._handling.tip_place(self._session.mount_of(str(used.get("pipetteId"))) or "")
        return TransferResult(volume=volume, source=given.source, destination=given.destination, tip=tip)


DRIVER = Opentrons
