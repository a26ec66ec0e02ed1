"""A transfer as the robot's commands: pure, and the same every time, so that it can be taken up in the middle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.opentrons.robot import Command
from labd.sdk import Rejected, Verdict

MOST_STROKES = 20
LONGEST = 300.0  # s; that one command may take
ABOVE_BOTTOM = 1.0  # mm
# µL/s; Opentrons' own defaults (opentrons/shared-data, pipette definitions)
_FLOW = {"p10": 5.0, "p20": 7.56, "p50": 25.0, "p300": 92.86, "p1000": 274.7, "flex_p50": 35.0, "flex_p1000": 160.0}
CORE = frozenset({"aspirate", "dispense", "mix-aspirate", "mix-dispense"})


@dataclass(frozen=True, slots=True)
class Pipette:
    """A pipette with the volumes (µL) that it takes with the tips on the deck."""

    mount: str
    name: str
    least: float
    most: float

    @property
    def flow_rate(self) -> float:
        """µL/s."""
        family = self.name.partition("_")[0]
        return _FLOW.get(f"flex_{family}" if self.name.endswith("flex") else family, 50.0)

    def __str__(self) -> str:
        return f"{self.mount} {self.name}: {self.least:g} to {self.most:g} µL"


@dataclass(frozen=True, slots=True)
class Step:
    """One command; `what` stands in its key."""

    what: str
    kind: str
    params: Mapping[str, Any]
    limit: float = 60.0  # s

    @property
    def core(self) -> bool:
        return self.what in CORE


@dataclass(frozen=True, slots=True)
class Well:
    """A well by the robot's id of its labware."""

    labware: str
    name: str


def nominal(pipette: str) -> float | None:
    """The greatest volume (µL) that a pipette's name tells, `p300_single_gen2`; None for a name that tells none."""
    digits = pipette.partition("_")[0].removeprefix("p")
    return float(digits) if digits.isdigit() else None


def choose(pipettes: Sequence[Pipette], volume: float) -> tuple[Pipette, int]:
    """The smallest pipette that takes the volume at once; else the largest that takes it in equal strokes.

    Raises:
        Rejected: none does; the ranges are in the words.
    """
    by_size = sorted((one for one in pipettes if one.most > 0), key=lambda pipette: pipette.most)
    for pipette in by_size:
        if pipette.least <= volume <= pipette.most:
            return pipette, 1
    for pipette in reversed(by_size):
        count = strokes(volume, pipette)
        if 1 < count <= MOST_STROKES and volume / count >= pipette.least:
            return pipette, count
    ranges = "; ".join(str(pipette) for pipette in by_size) or "none is attached that has tips on the deck"
    raise Rejected(f"{volume:g} µL is outside what the pipettes take ({ranges}), also in {MOST_STROKES} strokes")


def strokes(volume: float, pipette: Pipette) -> int:
    """In how many equal strokes a pipette moves a volume."""
    return max(1, math.ceil(volume / pipette.most))


def _liquid(what: str, pipette: str, well: Well, volume: float, flow_rate: float) -> Step:
    kind = what.removeprefix("mix-")
    place = {"origin": "bottom", "offset": {"x": 0, "y": 0, "z": ABOVE_BOTTOM}}
    params = {"pipetteId": pipette, "labwareId": well.labware, "wellName": well.name, "wellLocation": place}
    return Step(what, kind, {**params, "flowRate": flow_rate, "volume": volume}, 60.0 + 2 * volume / flow_rate)


def transfer(
    pipette: str, source: Well, destination: Well, volumes: Sequence[float], flow_rate: float, mixes: int
) -> list[Step]:
    """Strokes from source to destination, then so many mixing strokes there."""
    steps: list[Step] = []
    for volume in volumes:
        steps.append(_liquid("aspirate", pipette, source, volume, flow_rate))
        steps.append(_liquid("dispense", pipette, destination, volume, flow_rate))
    return steps + mix(pipette, destination, volumes[-1], flow_rate, mixes)


def mix(pipette: str, well: Well, volume: float, flow_rate: float, times: int) -> list[Step]:
    """Draws in and gives back in one well."""
    pair = [_liquid(f"mix-{kind}", pipette, well, volume, flow_rate) for kind in ("aspirate", "dispense")]
    return pair * times


def pick_up(pipette: str, rack: str, well: str) -> Step:
    return Step("pick-up-tip", "pickUpTip", {"pipetteId": pipette, "labwareId": rack, "wellName": well})


def drop(pipette: str, trash: str, *, unknown_to_the_robot: bool = False) -> list[Step]:
    """Over the trash, then off; a tip that the robot's present run knows nothing of goes by its unsafe command."""
    over = {
        "pipetteId": pipette,
        "addressableAreaName": trash,
        "offset": {"x": 0, "y": 0, "z": 0},
        "alternateDropLocation": False,
    }
    off = "unsafe/dropTipInPlace" if unknown_to_the_robot else "dropTipInPlace"
    return [
        Step("to-trash", "moveToAddressableAreaForDropTip", over),
        Step("drop-tip", off, {"pipetteId": pipette}),
    ]


def what_of(command: Command) -> str:
    """The last part of a key `<action id>:<n>:<what>`."""
    return command.key.rpartition(":")[2]


def judge(commands: Sequence[Command], core_steps: int) -> tuple[Verdict, str, float]:
    """What an action's own commands say about it, and the µL that were dispensed.

    Args:
        commands: those with the action's key, in their order; none at all is for the caller to judge.
        core_steps: how many commands that move liquid the action consists of.
    """
    dispensed = sum(
        float(command.params.get("volume", 0.0))
        for command in commands
        if what_of(command) == "dispense" and command.status == "succeeded"
    )
    under_way = next((command for command in commands if not command.finished), None)
    if under_way is not None:
        return Verdict.RUNNING, f"{under_way.command_type} is {under_way.status}", dispensed
    core = [command for command in commands if what_of(command) in CORE]
    done = sum(command.status == "succeeded" for command in core)
    failed = next((command for command in commands if command.status == "failed"), None)
    why = f"{done} of its {core_steps} commands that move liquid were done"
    if failed is not None and failed.error is not None:
        why += f"; {failed.command_type} failed: {failed.error.detail or failed.error.error_type}"
    if done == core_steps:
        return Verdict.DONE, why, dispensed
    if not core:
        return Verdict.NOT_DONE, why, dispensed
    if done == 0 and failed is core[0] and failed.error and failed.error.error_type == "TipNotAttachedError":
        return Verdict.NOT_DONE, why, dispensed
    return Verdict.PARTIAL, why, dispensed
