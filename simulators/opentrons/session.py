"""What a run believes of its robot, and what each command does: how long it takes, and its effect at the end."""

from __future__ import annotations

import uuid
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from simulators.opentrons import commands as c
from simulators.opentrons import labware as lw
from simulators.opentrons.errors import CommandFailed, python_error
from simulators.opentrons.hardware import DROP, HOME, MOVE, PICK_UP, RETRACT, Robot
from simulators.opentrons.labware import Definition
from simulators.opentrons.pipettes import Kind

_TIP_OVERLAP = 8.2  # mm of a tip that the nozzle fills
_TOUCH = 1.5  # s
_PROBE = 4.0  # s
_TINY = 1e-6  # µL; the server forgives rounding


@dataclass
class Tip:
    """The tip that a run believes to be on."""

    capacity: float
    length: float


@dataclass
class Pipette:
    """A pipette that a run has loaded."""

    id: str
    kind: Kind
    mount: str
    tip: Tip | None = None
    volume: float = 0.0
    at: str | None = None  # the place it stands over
    position: dict[str, float] = field(default_factory=lambda: {"x": 0.0, "y": 0.0, "z": 0.0})

    @property
    def room(self) -> float:
        """µL that can still be drawn."""
        assert self.tip is not None
        return min(self.tip.capacity, self.kind.most) - self.volume


@dataclass
class Labware:
    """A labware that a run has loaded; slot None: off the deck."""

    id: str
    definition: Definition
    slot: str | None
    display_name: str | None = None

    @property
    def load_name(self) -> str:
        return str(self.definition["parameters"]["loadName"])

    @property
    def is_tip_rack(self) -> bool:
        return bool(self.definition["parameters"].get("isTiprack"))


@dataclass
class Plan:
    """What a command will do.

    Args:
        duration: s.
        finish: the effect, given the share (0 to 1) of the command that was carried out and the time; the result.
        waits: it ends with the next `play`, not by time.
    """

    duration: float
    finish: Callable[[float, float], dict[str, Any]] = lambda _share, _at: {}
    waits: bool = False


class Session:
    """One run's view of the robot.

    Args:
        robot: the body.
        faults: `fail: {commandType: true | {count, errorType, errorCode, detail}}` makes commands fail.
    """

    def __init__(self, robot: Robot, faults: MutableMapping[str, Any]) -> None:
        self.robot = robot
        self.faults = faults
        self.pipettes: dict[str, Pipette] = {}
        self.labware: dict[str, Labware] = {}
        self.definitions: dict[str, Definition] = {}
        self._handlers: dict[str, Callable[[Any], Plan]] = {
            "home": lambda p: Plan(HOME if p.axes is None else RETRACT * len(p.axes)),
            "loadPipette": self._load_pipette,
            "loadLabware": self._load_labware,
            "pickUpTip": self._pick_up_tip,
            "dropTip": self._drop_tip,
            "dropTipInPlace": lambda p: self._eject(self._with_tip(p), 0.0, {}),
            "unsafe/dropTipInPlace": self._drop_whatever,
            "aspirate": self._aspirate,
            "aspirateInPlace": lambda p: self._draw(self._pipette(p.pipette_id), p, self._pipette(p.pipette_id).at, {}),
            "dispense": self._dispense,
            "dispenseInPlace": lambda p: self._push(self._pipette(p.pipette_id), p, self._pipette(p.pipette_id).at, {}),
            "blowout": self._blow_out,
            "blowOutInPlace": self._blow_out,
            "moveToWell": self._move_to_well,
            "touchTip": lambda p: self._move_to_well(p, extra=_TOUCH),
            "moveToAddressableArea": self._move_to_area,
            "moveToAddressableAreaForDropTip": self._move_to_area,
            "prepareToAspirate": self._prepare,
            "waitForDuration": lambda p: Plan(max(0.0, p.seconds)),
            "waitForResume": lambda _: Plan(0.0, waits=True),
            "pause": lambda _: Plan(0.0, waits=True),
            "comment": lambda _: Plan(0.0),
            "custom": lambda _: Plan(0.0),
            "setRailLights": self._rail_lights,
            "verifyTipPresence": self._verify_tip,
            "getTipPresence": self._get_tip,
            "liquidProbe": self._probe,
            "tryLiquidProbe": lambda p: self._probe(p, must=False),
        }

    def plan(self, command_type: str, params: BaseModel) -> Plan:
        """What a command is going to do. Raises CommandFailed when the server refuses it."""
        self._fail_on_purpose(command_type)
        if command_type not in self._handlers:
            kind = "ModuleNotAttachedError" if "/" in command_type else "PythonException"
            raise CommandFailed(kind, f"{command_type}: this simulated robot has nothing that can do it.")
        return self._handlers[command_type](params)

    def _fail_on_purpose(self, command_type: str) -> None:
        failing: MutableMapping[str, Any] = self.faults.get("fail") or {}
        wanted = failing.get(command_type)
        if not wanted:
            return
        told: dict[str, Any] = wanted if isinstance(wanted, dict) else {}
        if "count" in told:
            told["count"] -= 1
            if told["count"] <= 0:
                del failing[command_type]
        raise CommandFailed(
            told.get("errorType", "StallOrCollisionDetectedError"),
            told.get("detail", "Stall or collision detected."),
            told.get("errorCode", "2003"),
        )

    # ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _load_pipette(self, p: c.LoadPipette) -> Plan:
        kind = self.robot.pipettes.get(p.mount)
        if kind is None or kind.name != p.pipette_name:
            there = None if kind is None else kind.model
            detail = f"mount {p.mount.upper()}: expected instrument {p.pipette_name} but got {there}"
            raise CommandFailed("FailedToLoadPipetteError", detail, "3010")
        pipette = Pipette(p.pipette_id or str(uuid.uuid4()), kind, p.mount)

        def finish(_share: float, _at: float) -> dict[str, Any]:
            self.pipettes[pipette.id] = pipette
            return {"pipetteId": pipette.id}

        return Plan(0.05, finish)

    def _load_labware(self, p: c.LoadLabware) -> Plan:
        slot = None
        if isinstance(p.location, c.Slot):
            slot = self.robot.deck.slot(p.location.slot_name)
            if slot is None:
                detail = f"{p.location.slot_name} not provided by deck configuration."
                raise CommandFailed("AreaNotInDeckConfigurationError", detail)
        wanted = f"{p.namespace}/{p.load_name}/{p.version}"
        definition = self.definitions.get(wanted)
        if definition is None and p.namespace == "opentrons":
            definition = lw.standard(p.load_name, p.version)
        if definition is None:
            raise python_error(
                "FileNotFoundError",
                f'Unable to find a labware definition for "{p.load_name}", version {p.version}, in the {p.namespace}'
                " namespace. Please confirm your protocol includes the correct labware spelling and (optionally) the"
                " correct version number and namespace.",
            )
        there = next((one for one in self.labware.values() if slot is not None and one.slot == slot), None)
        if there is not None:
            detail = f"Labware {there.load_name} is already present at slotName=<DeckSlotName.SLOT_{slot}: '{slot}'>."
            raise CommandFailed("LocationIsOccupiedError", detail)
        loaded = Labware(p.labware_id or str(uuid.uuid4()), definition, slot, p.display_name)

        def finish(_share: float, _at: float) -> dict[str, Any]:
            self.labware[loaded.id] = loaded
            return {"labwareId": loaded.id, "definition": definition}

        return Plan(0.01, finish)

    # ── finding ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _pipette(self, pipette_id: str) -> Pipette:
        try:
            return self.pipettes[pipette_id]
        except KeyError:
            raise CommandFailed("PipetteNotLoadedError", f"Pipette {pipette_id} not found.") from None

    def _with_tip(self, p: Any) -> Pipette:
        pipette = self._pipette(p.pipette_id)
        if pipette.tip is None:
            detail = "Pipette should have a tip attached, but does not."
            raise CommandFailed("TipNotAttachedError", detail, "3005")
        return pipette

    def _well(self, labware_id: str, well: str) -> tuple[Labware, dict[str, Any]]:
        labware = self.labware.get(labware_id)
        if labware is None:
            raise CommandFailed("LabwareNotLoadedError", f"Labware {labware_id} not found.")
        if well not in labware.definition["wells"]:
            raise CommandFailed("WellDoesNotExistError", f"{well} does not exist in {labware_id}.")
        if labware.slot is None:
            raise CommandFailed("LocationNotAccessibleByPipetteError", f"Cannot move pipette to {labware.load_name}.")
        return labware, labware.definition["wells"][well]

    def _position(
        self, labware: Labware, well: dict[str, Any], where: c.WellLocation | c.DropLocation
    ) -> dict[str, float]:
        assert labware.slot is not None
        x, y = self.robot.deck.slots[labware.slot]
        height = {"bottom": 0.0, "center": 0.5}.get(where.origin, 1.0) * float(well["depth"])
        offset = where.offset
        return {
            "x": x + well["x"] + offset.x,
            "y": y + well["y"] + offset.y,
            "z": well["z"] + height + offset.z,
        }

    def _go(self, pipette: Pipette, p: Any) -> tuple[str, dict[str, Any]]:
        """The place that the pipette moves to, and the position as results tell it. It is there when planned."""
        labware, well = self._well(p.labware_id, p.well_name)
        assert labware.slot is not None
        pipette.at = self.robot.place(labware.slot, p.well_name)
        pipette.position = self._position(labware, well, p.well_location)
        return pipette.at, {"position": pipette.position}

    # ── tips ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _pick_up_tip(self, p: c.AtWell) -> Plan:
        if p.pipette_id not in self.pipettes:
            raise python_error("KeyError", p.pipette_id)  # as recorded: the server does not foresee it here
        pipette = self.pipettes[p.pipette_id]
        labware, well = self._well(p.labware_id, p.well_name)
        if not labware.is_tip_rack:
            raise CommandFailed("LabwareIsNotTipRackError", f"{labware.load_name} is not a tip rack.")
        if pipette.tip is not None:
            detail = "Pipette should not have a tip attached, but does."
            raise CommandFailed("TipAttachedError", detail, "3012")
        _, position = self._go(pipette, p)
        tip = Tip(float(well["totalLiquidVolume"]), float(well["depth"]) - _TIP_OVERLAP)

        def finish(_share: float, _at: float) -> dict[str, Any]:
            assert labware.slot is not None
            got = self.robot.pick_up(pipette.mount, labware.slot, p.well_name)
            if not got and self.robot.is_flex:
                raise CommandFailed("tipPhysicallyMissing", "No Tip Detected", "3003", defined=True)
            # An OT-2 cannot feel a tip: whatever happened, it believes that it has one.
            pipette.tip, pipette.volume = tip, 0.0
            told = {"tipVolume": tip.capacity, "tipLength": tip.length, "tipDiameter": well.get("diameter", 5.23)}
            return position | told

        return Plan(PICK_UP, finish)

    def _drop_tip(self, p: c.DropTip) -> Plan:
        pipette = self._with_tip(p)
        _, position = self._go(pipette, p)
        return self._eject(pipette, MOVE, position)

    def _drop_whatever(self, p: c.DropTipInPlace) -> Plan:
        """Ejects without asking what the run believes. An OT-2's server knows the command, and refuses it."""
        if not self.robot.is_flex:
            raise CommandFailed("HardwareNotSupportedError", "This command is supported by OT-3 only.")
        return self._eject(self._pipette(p.pipette_id), 0.0, {})

    def _eject(self, pipette: Pipette, before: float, result: dict[str, Any]) -> Plan:
        def finish(_share: float, _at: float) -> dict[str, Any]:
            free = self.robot.drop(pipette.mount)
            if not free and self.robot.is_flex:
                raise CommandFailed("TipAttachedError", "Tip drop failed: a tip is still detected.", "3004")
            pipette.tip, pipette.volume = None, 0.0
            return result

        return Plan(before + DROP, finish)

    def _move_to_area(self, p: c.MoveToArea) -> Plan:
        pipette = self._pipette(p.pipette_id)
        if p.addressable_area_name not in self.robot.deck.areas:
            detail = f"{p.addressable_area_name} not provided by deck configuration."
            raise CommandFailed("AreaNotInDeckConfigurationError", detail)
        x, y = self.robot.deck.slots.get(p.addressable_area_name, (347.84, 351.5))
        pipette.at = None
        pipette.position = {"x": x + p.offset.x, "y": y + p.offset.y, "z": 82.0 + p.offset.z}
        return Plan(MOVE, lambda _share, _at: {"position": pipette.position})

    def _verify_tip(self, p: c.VerifyTipPresence) -> Plan:
        there = self._tip_felt(p.pipette_id)
        if there != (p.expected_state == "present"):
            kind, code = ("TipNotAttachedError", "3005") if not there else ("TipAttachedError", "3012")
            raise CommandFailed(kind, f"Expected tip to be {p.expected_state}, but it was not.", code)
        return Plan(0.1)

    def _get_tip(self, p: c.OfPipette) -> Plan:
        status = ("present" if self._tip_felt(p.pipette_id) else "absent") if self.robot.is_flex else "unknown"
        return Plan(0.1, lambda _share, _at: {"status": status})

    def _tip_felt(self, pipette_id: str) -> bool:
        pipette = self._pipette(pipette_id)
        if not self.robot.is_flex:
            return pipette.tip is not None
        return self.robot.tip_on(pipette.mount)

    # ── liquid ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _aspirate(self, p: c.Aspirate) -> Plan:
        pipette = self._with_tip(p)
        self._check_room(pipette, p.volume)
        place, position = self._go(pipette, p)
        return self._draw(pipette, p, place, position, before=MOVE)

    def _check_room(self, pipette: Pipette, volume: float) -> None:
        if volume > pipette.room + _TINY:
            detail = f"Cannot aspirate {volume} µL when only {pipette.room} is available in the tip."
            raise CommandFailed("InvalidAspirateVolumeError", detail)

    def _draw(self, pipette: Pipette, p: Any, place: str | None, result: dict[str, Any], before: float = 0.0) -> Plan:
        self._with_tip(p)
        self._check_room(pipette, p.volume)

        def finish(share: float, _at: float) -> dict[str, Any]:
            volume = p.volume * _done(share, before, p.volume / p.flow_rate)
            self.robot.aspirate(pipette.mount, place, volume)
            pipette.volume += volume
            return result | {"volume": p.volume}

        return Plan(before + p.volume / p.flow_rate, finish)

    def _dispense(self, p: c.Dispense) -> Plan:
        pipette = self._with_tip(p)
        self._check_content(pipette, p.volume)
        place, position = self._go(pipette, p)
        return self._push(pipette, p, place, position, before=MOVE)

    def _check_content(self, pipette: Pipette, volume: float) -> None:
        if volume > pipette.volume + _TINY:
            detail = f"Cannot dispense {volume} µL when only {pipette.volume} µL has been aspirated."
            raise CommandFailed("InvalidDispenseVolumeError", detail)

    def _push(self, pipette: Pipette, p: Any, place: str | None, result: dict[str, Any], before: float = 0.0) -> Plan:
        self._with_tip(p)
        self._check_content(pipette, p.volume)

        def finish(share: float, at: float) -> dict[str, Any]:
            volume = p.volume * _done(share, before, p.volume / p.flow_rate)
            if pipette.volume > 0:
                self.robot.dispense(pipette.mount, place, min(1.0, volume / pipette.volume), at)
            pipette.volume = max(0.0, pipette.volume - volume)
            return result | {"volume": p.volume}

        return Plan(before + p.volume / p.flow_rate, finish)

    def _blow_out(self, p: c.BlowOut | c.BlowOutInPlace) -> Plan:
        pipette = self._with_tip(p)
        place, result = self._go(pipette, p) if isinstance(p, c.BlowOut) else (pipette.at, {})

        def finish(_share: float, at: float) -> dict[str, Any]:
            self.robot.dispense(pipette.mount, place, 1.0, at)
            pipette.volume = 0.0
            return result

        return Plan((MOVE if isinstance(p, c.BlowOut) else 0.0) + 1.0, finish)

    def _move_to_well(self, p: c.AtWell, extra: float = 0.0) -> Plan:
        _, position = self._go(self._pipette(p.pipette_id), p)
        return Plan(MOVE + extra, lambda _share, _at: position)

    def _prepare(self, p: c.OfPipette) -> Plan:
        self._with_tip(p)
        return Plan(0.5)

    def _probe(self, p: c.AtWell, *, must: bool = True) -> Plan:
        pipette = self._with_tip(p)
        if not self.robot.is_flex:
            raise CommandFailed("UnsupportedHardwareCommand", "Liquid probing needs a Flex pipette.")
        place, position = self._go(pipette, p)

        def finish(_share: float, _at: float) -> dict[str, Any]:
            depth = self.robot.depth(place)
            if depth is None and must:
                raise CommandFailed("liquidNotFound", "No liquid was found in the well.", "2017", defined=True)
            return position | {"z_position": None if depth is None else position["position"]["z"]}

        return Plan(MOVE + _PROBE, finish)

    def _rail_lights(self, p: c.SetRailLights) -> Plan:
        def finish(_share: float, _at: float) -> dict[str, Any]:
            self.robot.memory["lights"] = p.on
            return {}

        return Plan(0.0, finish)


def _done(share: float, before: float, pumping: float) -> float:
    """Which share of the pumping was done when so much of the whole command was."""
    if share >= 1 or pumping <= 0:
        return share if pumping > 0 else 1.0
    return max(0.0, share * (before + pumping) - before) / pumping
