"""The commands that the server takes, and their parameters with defaults as it fills them in."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Wire(BaseModel):
    # The real server takes fields that it does not know, and forgets them.
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class Offset(_Wire):
    x: float = 0
    y: float = 0
    z: float = 0


class WellLocation(_Wire):
    origin: Literal["top", "bottom", "center", "meniscus"] = "top"
    offset: Offset = Offset()


class DropLocation(_Wire):
    origin: Literal["top", "bottom", "center", "default"] = "default"
    offset: Offset = Offset()


class Nothing(_Wire):
    pass


class Home(_Wire):
    axes: list[str] | None = None
    skip_if_mount_position_ok: str | None = None


class LoadPipette(_Wire):
    pipette_name: str
    mount: Literal["left", "right", "extension"]
    pipette_id: str | None = None


class Slot(_Wire):
    slot_name: str


class LoadLabware(_Wire):
    location: Slot | Literal["offDeck"]
    load_name: str
    namespace: str
    version: int
    labware_id: str | None = None
    display_name: str | None = None


class OfPipette(_Wire):
    pipette_id: str


class AtWell(OfPipette):
    labware_id: str
    well_name: str
    well_location: WellLocation = WellLocation()


class MoveToWell(AtWell):
    force_direct: bool = False
    speed: float | None = None
    minimum_z_height: float | None = None


class Aspirate(AtWell):
    flow_rate: float = Field(gt=0)
    volume: float = Field(ge=0)


class Dispense(Aspirate):
    push_out: float | None = None


class AspirateInPlace(OfPipette):
    flow_rate: float = Field(gt=0)
    volume: float = Field(ge=0)


class DispenseInPlace(AspirateInPlace):
    push_out: float | None = None


class BlowOut(AtWell):
    flow_rate: float = Field(gt=0)


class BlowOutInPlace(OfPipette):
    flow_rate: float = Field(gt=0)


class DropTip(OfPipette):
    labware_id: str
    well_name: str
    well_location: DropLocation = DropLocation()
    home_after: bool | None = None
    alternate_drop_location: bool | None = None


class DropTipInPlace(OfPipette):
    home_after: bool | None = None


class MoveToArea(OfPipette):
    addressable_area_name: str
    offset: Offset = Offset()
    force_direct: bool = False


class MoveToAreaForDropTip(MoveToArea):
    alternate_drop_location: bool = False
    ignore_tip_configuration: bool = True


class WaitForDuration(_Wire):
    seconds: float
    message: str | None = None


class WaitForResume(_Wire):
    message: str | None = None


class Comment(_Wire):
    message: str


class SetRailLights(_Wire):
    on: bool


class VerifyTipPresence(OfPipette):
    expected_state: Literal["present", "absent"]


class Anything(BaseModel):
    """Of commands that are taken but not played here: they fail, and say so."""

    model_config = ConfigDict(extra="allow", frozen=True)


PLAYED: dict[str, type[BaseModel]] = {
    "aspirate": Aspirate,
    "aspirateInPlace": AspirateInPlace,
    "comment": Comment,
    "custom": Anything,
    "dispense": Dispense,
    "dispenseInPlace": DispenseInPlace,
    "blowout": BlowOut,
    "blowOutInPlace": BlowOutInPlace,
    "dropTip": DropTip,
    "dropTipInPlace": DropTipInPlace,
    "unsafe/dropTipInPlace": DropTipInPlace,
    "home": Home,
    "loadLabware": LoadLabware,
    "loadPipette": LoadPipette,
    "moveToWell": MoveToWell,
    "moveToAddressableArea": MoveToArea,
    "moveToAddressableAreaForDropTip": MoveToAreaForDropTip,
    "prepareToAspirate": OfPipette,
    "waitForResume": WaitForResume,
    "pause": WaitForResume,
    "waitForDuration": WaitForDuration,
    "pickUpTip": AtWell,
    "setRailLights": SetRailLights,
    "touchTip": AtWell,
    "verifyTipPresence": VerifyTipPresence,
    "getTipPresence": OfPipette,
    "liquidProbe": AtWell,
    "tryLiquidProbe": AtWell,
}

# In the server's own order: its error message lists them so.
ALL = [
    "aspirate",
    "aspirateInPlace",
    "comment",
    "configureForVolume",
    "configureNozzleLayout",
    "custom",
    "dispense",
    "dispenseInPlace",
    "blowout",
    "blowOutInPlace",
    "dropTip",
    "dropTipInPlace",
    "home",
    "retractAxis",
    "loadLabware",
    "reloadLabware",
    "loadLiquid",
    "loadModule",
    "loadPipette",
    "moveLabware",
    "moveRelative",
    "moveToCoordinates",
    "moveToWell",
    "moveToAddressableArea",
    "moveToAddressableAreaForDropTip",
    "prepareToAspirate",
    "waitForResume",
    "pause",
    "waitForDuration",
    "pickUpTip",
    "savePosition",
    "setRailLights",
    "touchTip",
    "setStatusBar",
    "verifyTipPresence",
    "getTipPresence",
    "liquidProbe",
    "tryLiquidProbe",
    "heaterShaker/waitForTemperature",
    "heaterShaker/setTargetTemperature",
    "heaterShaker/deactivateHeater",
    "heaterShaker/setAndWaitForShakeSpeed",
    "heaterShaker/deactivateShaker",
    "heaterShaker/openLabwareLatch",
    "heaterShaker/closeLabwareLatch",
    "magneticModule/disengage",
    "magneticModule/engage",
    "temperatureModule/setTargetTemperature",
    "temperatureModule/waitForTemperature",
    "temperatureModule/deactivate",
    "thermocycler/setTargetBlockTemperature",
    "thermocycler/waitForBlockTemperature",
    "thermocycler/setTargetLidTemperature",
    "thermocycler/waitForLidTemperature",
    "thermocycler/deactivateBlock",
    "thermocycler/deactivateLid",
    "thermocycler/openLid",
    "thermocycler/closeLid",
    "thermocycler/runProfile",
    "absorbanceReader/initialize",
    "absorbanceReader/measure",
    "calibration/calibrateGripper",
    "calibration/calibratePipette",
    "calibration/calibrateModule",
    "calibration/moveToMaintenancePosition",
    "unsafe/blowOutInPlace",
    "unsafe/dropTipInPlace",
    "unsafe/updatePositionEstimators",
    "unsafe/engageAxes",
]


def unknown(command_type: object) -> str:
    """What the server says to a command that it does not have."""
    allowed = ", ".join(f"'{name}'" for name in ALL)
    return f"No match for discriminator 'commandType' and value '{command_type}' (allowed values: {allowed})"


class Create(_Wire):
    """The body of `POST /runs/{id}/commands`, less its parameters."""

    command_type: str
    params: dict[str, Any]
    intent: Literal["setup", "protocol", "fixit"] = "setup"
    key: str | None = None


def parameters(command_type: str, params: dict[str, Any]) -> BaseModel:
    """The parameters with defaults filled in. Raises pydantic's ValidationError."""
    return PLAYED.get(command_type, Anything).model_validate(params)
