"""Which tips are used and which are on a pipette, as the robot's own list of commands tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from drivers.opentrons.robot import Command, no_tip

FRESH = ":fresh"  # ends the key of a loadLabware that stands for a new, full rack


@dataclass(frozen=True, slots=True)
class Tip:
    """A tip on a pipette: where and in which run it was taken, and what it was dipped in first."""

    slot: str
    well: str
    run: str
    source: tuple[str, str] | None = None


@dataclass(slots=True)
class Tips:
    """`used` by slot; `on` by mount. Fed with every command that ended."""

    used: dict[str, set[str]] = field(default_factory=dict)
    on: dict[str, Tip] = field(default_factory=dict)

    def note(self, command: Command, run: str, mounts: Mapping[str, str], slots: Mapping[str, str]) -> None:
        """Takes in one finished command; `mounts` and `slots` are by pipette and labware id."""
        params, kind = command.params, command.command_type
        mount = mounts.get(str(params.get("pipetteId")))
        slot = slots.get(str(params.get("labwareId")))
        well = str(params.get("wellName"))
        if kind == "loadLabware" and command.status == "succeeded" and command.key.endswith(FRESH):
            location = params.get("location")
            if isinstance(location, Mapping):
                self.used.pop(str(location.get("slotName")), None)
        elif kind == "pickUpTip" and slot and (command.status == "succeeded" or no_tip(command)):
            self.used.setdefault(slot, set()).add(well)
            if mount and command.status == "succeeded":
                self.on[mount] = Tip(slot, well, run)
        elif kind in {"dropTip", "dropTipInPlace", "unsafe/dropTipInPlace"} and command.status == "succeeded":
            self.on.pop(mount or "", None)
        elif kind == "aspirate" and mount in self.on and slot:
            tip = self.on[mount]
            self.on[mount] = replace(tip, source=tip.source or (slot, well))
