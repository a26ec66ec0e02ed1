"""A toy pipetting robot beside the other toys, and a deck for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labd.sdk import Call, FlowRate, Parameters, PipettingRobot, Place, Signals, Source, TipRange, Volume
from labd.sdk.roles import NewTip, PipettingSignals, TransferResult
from tests.run.conftest import at_work
from tests.toys import TOYS, Toy

DECK = [
    {"place": "robot/1", "labware": "opentrons_96_tiprack_20ul"},
    {
        "place": "robot/2",
        "labware": "vials_8x20ml",
        "contents": {"A1": {"material": "LP57", "lot": "L-1", "volume": "1100 µL", "dead": "1000 µL"}},
    },
    {"place": "tray/lids", "labware": "lid_tray_8", "fill": "lid"},
    {"place": "tray/cells", "labware": "cell_tray_36"},
]

DOSE = """\
labd: 1
protocol: dose
version: 1.0.0
summary: Wait a minute, and give a dose.
parameters:
  volume: {type: quantity, default: 35 µL, min: 1 µL, max: 100 µL}
roles: {robot: pipetting_robot}
start: wait
states:
  wait: {summary: Wait., wait: 60 s, next: dose}
  dose:
    summary: Dose it.
    do: robot.transfer
    with: {source: LP57, destination: =sample.position, volume: =volume}
    as: dosed
    next: done
  done: {end: complete}
"""

CRIMP = """\
labd: 1
protocol: crimp
version: 1.0.0
summary: Crimp.
roles: {press: crimper}
start: crimp
states:
  crimp: {summary: Crimp., do: press.crimp, with: {force: 7 kN}, next: done}
  done: {end: complete}
"""

LID = """\
labd: 1
protocol: lid
version: 1.0.0
summary: Wait a minute, and take a lid.
roles: {arm: arm}
start: wait
states:
  wait: {summary: Wait., wait: 60 s, next: take}
  take:
    summary: Take it.
    steps:
      - do: arm.pick
        with: {place: tray/lids/A1}
      - do: arm.place
        with: {place: =sample.position}
    next: done
  done: {end: complete}
"""


class ToyRobot(Toy, PipettingRobot):
    """It keeps no book of its tips: it tells which it has taken, and takes the next each time."""

    taken = 0

    async def read_state(self) -> Signals:
        await super().read_state()
        return PipettingSignals(**self.reads)

    def tips_by_volume(self) -> tuple[TipRange, ...]:
        return (TipRange(20, 0.0, 20.0),)

    def racks_for(self, action: str, parameters: Parameters) -> tuple[str, ...]:
        return (f"{self.name}/1",) if action == "transfer" else ()

    async def home(self, call: Call) -> None:
        await self.act(call, "home")

    async def transfer(
        self,
        call: Call,
        source: Source,
        destination: Place,
        volume: Volume,
        new_tip: NewTip = "always",
        flow_rate: FlowRate | None = None,
        mix_after: int = 0,
    ) -> TransferResult:
        await self.act(call, "transfer")
        tip = f"{self.name}/1/{'ABCDEFGH'[self.taken % 8]}{self.taken // 8 + 1}"
        self.taken += 1
        return TransferResult(volume=volume, source=source, destination=destination, tip=tip)

    async def mix(self, call: Call, place: Place, volume: Volume, times: int) -> None:
        await self.act(call, "mix")


DEVICES = {"robot": "robot", "arm": "arm", "press": "press"}


def lab(path: Path, deck: list[dict[str, Any]] | None = None, **more: Any) -> Any:
    """That lab at work for the time of a block."""
    toys: Mapping[str, Any] = {**TOYS, "robot": ToyRobot}
    return at_work(path, DEVICES, toys, lab_yaml={"deck": DECK if deck is None else deck, **more})
