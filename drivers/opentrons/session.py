"""The driver's run on the robot: made, loaded, taken up again after a restart, and made anew when it is gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from drivers.opentrons.labware import OWN, definition, reference, tip_fits, tip_size, wells_of
from drivers.opentrons.plan import Pipette
from drivers.opentrons.robot import ACTIVE, Command, Robot, RobotBusy, Run, failure
from drivers.opentrons.tips import FRESH, Tip, Tips
from labd.sdk import Fault, Labware, OutcomeUnknown, Rejected

log = structlog.get_logger(__name__)

LOAD_LIMIT = 30.0  # s


@dataclass(slots=True)
class Session:
    """One run with our pipettes and labware loaded.

    Args:
        name: the device's name; it marks our own commands.
        robot: the API.
        deck: what stands on the deck.
        pipettes: names by mount, as attached.
    """

    name: str
    robot: Robot
    deck: tuple[Labware, ...]
    pipettes: dict[str, str] = field(default_factory=dict)
    run: str | None = None
    homed: bool = False
    in_doubt: bool = False  # a command was sent and its end was not seen: see `catch_up`
    tips: Tips = field(default_factory=Tips)
    known: dict[str, set[str]] = field(default_factory=dict)  # tips that the lab knows to be gone, by slot
    _pipette_ids: dict[str, str] = field(default_factory=dict)  # by mount
    _labware_ids: dict[str, str] = field(default_factory=dict)  # by slot
    _history_read: bool = False

    # ── the run ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def open(self) -> None:
        """Takes up the robot's current run where it is ours, else makes one. Without a run while others use it."""
        if not self._history_read:
            await self._read_history()
        try:
            if not await self._somebody_works():
                await self.ensure()
        except RobotBusy as error:
            log.warning("no run yet", device=self.name, problem=error.message)

    async def _somebody_works(self) -> bool:
        """Whether commands of a current run that is not taken up are under way: it must not be ended by a new one."""
        if self.run is not None:
            return False
        current = next((run for run in await self.robot.runs() if run.current), None)
        if current is None or not await self._unfinished(current.id):
            return False
        log.warning("no run yet: another is under way", device=self.name, run=current.id)
        return True

    async def _unfinished(self, run: str) -> bool:
        total, _ = await self.robot.count(run)
        return any(not command.finished for command in await self.robot.commands(run, max(0, total - 20)))

    async def ensure(self) -> str:
        """The run's id; a new one, and said so, when the old one is gone.

        Raises:
            RobotBusy: someone else's run is under way.
            Rejected: the robot refuses a pipette or a labware of ours.
        """
        if self.run is not None:
            found = await self.robot.run(self.run)
            if found is not None and found.status == "blocked-by-open-door":
                raise Fault("the robot's door is open: close it")
            if found is not None and found.current and found.status == "idle":
                return self.run
            how = f"it is {found.status}" if found is not None else "the robot does not know it (was it restarted?)"
            log.warning("our run was ended from outside; a new one is made", device=self.name, run=self.run, why=how)
            self.run = None
        return await self._create(())

    async def _read_history(self) -> None:
        """Which tips are gone, from all runs that the robot remembers; and our own run, where it is still current."""
        for run in await self.robot.runs():
            if run.pipettes or run.labware:
                try:
                    commands = await self.robot.commands(run.id)
                except Rejected as error:
                    log.warning("a run's commands cannot be read", device=self.name, run=run.id, problem=str(error))
                    continue
                self._replay(run, commands)
        self._history_read = True

    def _replay(self, run: Run, commands: Iterable[Command]) -> None:
        mounts = {pipette.id: pipette.mount for pipette in run.pipettes}
        standing = {labware.place: labware.load_name for labware in self.deck}
        slots = {
            labware.id: labware.slot
            for labware in run.labware
            if labware.slot and standing.get(f"{self.name}/{labware.slot}") == labware.load_name
        }
        homed, seen = False, tuple(commands)
        for command in seen:
            if command.finished:
                self.tips.note(command, run.id, mounts, slots)
                homed = homed or (command.command_type == "home" and command.status == "succeeded")
        if run.current and run.status == "idle" and self._is_ours(run):
            self.run, self.homed = run.id, homed
            self.in_doubt = not all(command.finished for command in seen)
            self._pipette_ids = {pipette.mount: pipette.id for pipette in run.pipettes}
            self._labware_ids = {labware.slot: labware.id for labware in run.labware if labware.slot}
            log.info("our run is still current; taken up again", device=self.name, run=run.id)

    def _is_ours(self, run: Run) -> bool:
        """Whether our pipettes and all of our deck are loaded in it; the robot may add its own trash."""
        pipettes = {pipette.mount: pipette.pipette_name for pipette in run.pipettes}
        labware = {labware.slot: labware.load_name for labware in run.labware}
        return pipettes == self.pipettes and all(labware.get(one.slot) == one.load_name for one in self.deck)

    async def _create(self, fresh: Iterable[str]) -> str:
        run = (await self.robot.new_run()).id
        for load_name in dict.fromkeys(one.load_name for one in self.deck if one.load_name in OWN):
            await self.robot.define(run, definition(load_name))
        pipettes: dict[str, str] = {}
        for mount, pipette in self.pipettes.items():
            params = {"pipetteName": pipette, "mount": mount}
            pipettes[mount] = await self._load(run, "loadPipette", params, mount, "pipetteId")
        labware: dict[str, str] = {}
        for one in self.deck:
            place: dict[str, object] = {"location": {"slotName": one.slot}}
            mark = f"{one.slot}{FRESH}" if one.slot in fresh else one.slot
            labware[one.slot] = await self._load(
                run, "loadLabware", place | reference(one.load_name), mark, "labwareId"
            )
        self._pipette_ids, self._labware_ids = pipettes, labware
        self.run, self.homed, self.in_doubt = run, False, False
        return run

    async def _load(self, run: str, kind: str, params: Mapping[str, object], mark: str, result: str) -> str:
        command = await self.robot.execute(run, kind, params, f"labd/{self.name}:load:{mark}", LOAD_LIMIT)
        if command.status == "failed":
            raise failure(command, moved=False)
        self.tips.note(command, run, {}, {})
        if command.result is None:  # found by its key after a lost answer: lists leave results out
            command = await self.robot.command(run, command.id)
        try:
            return str((command.result or {})[result])
        except KeyError as error:
            raise OutcomeUnknown(f"{kind} succeeded and gave no {result}") from error

    async def new_rack(self, slot: str) -> None:
        """A full rack stands in a slot: told to the robot as a new run, so that its history begins there."""
        await self._create({slot})
        self.known.pop(slot, None)

    def note(self, command: Command) -> None:
        """Takes in a command of ours that has ended."""
        assert self.run is not None
        mounts = {identity: mount for mount, identity in self._pipette_ids.items()}
        slots = {identity: slot for slot, identity in self._labware_ids.items()}
        self.tips.note(command, self.run, mounts, slots)
        if command.command_type == "home" and command.status == "succeeded":
            self.homed = True

    def doubt(self, kind: str, params: Mapping[str, object]) -> None:
        """A command of ours was sent, and its end was not seen. A tip that may be on counts as on until then."""
        self.in_doubt = True
        mount = self.mount_of(str(params.get("pipetteId")))
        slot = self.slot_of(str(params.get("labwareId")))
        if kind == "pickUpTip" and self.run and mount and slot:
            well = str(params.get("wellName"))
            self.tips.on[mount] = Tip(slot, well, self.run)
            self.tips.used.setdefault(slot, set()).add(well)

    async def catch_up(self) -> None:
        """After an unseen end: reads the run's commands anew, so that tips are used and on as the robot has them."""
        if not self.in_doubt or self.run is None:
            return
        commands = await self.robot.commands(self.run)
        for mount in [mount for mount, tip in self.tips.on.items() if tip.run == self.run]:
            del self.tips.on[mount]
        for command in commands:
            if command.finished:
                self.note(command)
        self.in_doubt = not all(command.finished for command in commands)

    async def playing(self) -> bool | None:
        """Whether our run is under way by its status; None when it is gone. A single command does not show in it."""
        found = await self.robot.run(self.run) if self.run is not None else None
        return found.status in ACTIVE if found is not None and found.current else None

    async def active(self) -> bool:
        """Whether our run, or a single command of it, is under way."""
        playing = await self.playing()
        if playing is None or self.run is None:
            return False
        if playing:
            return True
        return await self._unfinished(self.run)

    # ── what is loaded ───────────────────────────────────────────────────────────────────────────────────────────
    def pipette_id(self, mount: str) -> str:
        return self._pipette_ids[mount]

    def mount_of(self, pipette_id: str) -> str | None:
        return next((mount for mount, identity in self._pipette_ids.items() if identity == pipette_id), None)

    def slot_of(self, labware_id: str) -> str | None:
        return next((slot for slot, identity in self._labware_ids.items() if identity == labware_id), None)

    def labware_id(self, slot: str) -> str:
        return self._labware_ids[slot]

    def tip_on(self, mount: str) -> Tip | None:
        """The tip that the present run knows to be on a mount."""
        tip = self.tips.on.get(mount)
        return tip if tip is not None and tip.run == self.run else None

    def strays(self) -> list[str]:
        """Mounts that may still carry a tip of a run that was ended: the present run knows nothing of it."""
        return [mount for mount, tip in self.tips.on.items() if tip.run != self.run and mount in self.pipettes]

    def racks(self, pipette: str) -> list[tuple[int, Labware]]:
        """Tip racks on the deck that fit a pipette, smallest tips first."""
        sized = [(tip_size(one.load_name), one) for one in self.deck]
        fitting = [(size, one) for size, one in sized if size is not None and tip_fits(pipette, size)]
        return sorted(fitting, key=lambda found: found[0])

    def next_tip(self, pipette: Pipette, volume: float) -> tuple[str, str]:
        """Slot and well of the next unused tip that takes a volume. Raises Rejected when there is none."""
        racks = [one for size, one in self.racks(pipette.name) if size >= volume]
        for one in racks:
            used = self.tips.used.get(one.slot, set()) | self.known.get(one.slot, set())
            for well in wells_of(one.load_name) or ():
                if well not in used:
                    return one.slot, well
        named = ", ".join(f"{one.place} ({one.load_name})" for one in racks)
        raise Rejected(f"no tips left in {named}; put a new rack there, and tell it with `new_tips`")
