"""A bench of machines that take the time that AutoBASS's and Aurora's took, and sometimes fail: a shift on it.

The machines are drivers without a wire; queue, stock, plan, runs and journal are labd's own. A cell takes AutoBASS
477 s and Aurora 10.2 min from its first part to its place in the rack; how these part into steps is not published, and
is set here so that their sums agree (`AUTOBASS`, `AURORA`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from labd import clock
from labd.sdk import (
    About,
    Arm,
    Call,
    Crimper,
    Driver,
    Intent,
    Outcome,
    OutcomeUnknown,
    PipettingRobot,
    Setup,
    Signals,
    Temperature,
    Thermostat,
    Verdict,
)
from labd.sdk.roles import (
    ArmSignals,
    CrimperSignals,
    CrimpResult,
    MoveResult,
    PickResult,
    PipettingSignals,
    PlaceResult,
    TransferResult,
)

AUTOBASS = {"pick": 13.0, "place": 13.0, "arm.home": 2.5, "transfer": 21.0, "robot.home": 3.0, "crimp": 45.0}
"""s by step: 11 carries, 2 doses and a crimp are 477 s with what opens and homes at the begin."""

AURORA = {"pick": 19.0, "place": 19.0, "arm.home": 2.5, "transfer": 30.0, "robot.home": 3.0, "crimp": 70.0}
"""s by step: 10 carries, 2 doses and a crimp are 10.2 min."""

MISSES = 0.02  # of picks that come up empty
STUCK = 0.005  # of crimps after which the press stays busy
STUCK_FOR = 120.0  # s until somebody has freed it


@dataclass(slots=True)
class Pace:
    """How long steps take on one bench, and its luck."""

    seconds: Mapping[str, float]
    luck: random.Random
    hiccups: bool
    missed: int = 0
    stuck: int = 0
    busy: dict[str, float] = field(default_factory=dict)  # s by device

    def unlucky(self, chance: float) -> bool:
        return self.hiccups and self.luck.random() < chance


class Machine(Driver):
    """Does nothing but take its time."""

    pace: ClassVar[Pace]
    """Of the bench that is at work; one at a time."""

    async def connect(self) -> About:
        return About()

    async def close(self) -> None: ...

    async def safe_state(self, unit: str | None = None) -> None: ...

    async def take(self, step: str, device: str) -> None:
        pace = Machine.pace
        seconds = pace.seconds.get(step, 1.0)
        pace.busy[device] = pace.busy.get(device, 0.0) + seconds
        await asyncio.sleep(seconds)


class Robot(Machine, PipettingRobot):
    async def read_state(self) -> Signals:
        return PipettingSignals()

    async def home(self, call: Call) -> None:  # noqa: ARG002
        await self.take("robot.home", "robot")

    async def transfer(self, call: Call, **values: Any) -> TransferResult:  # type: ignore[override]  # noqa: ARG002
        await self.take("transfer", "robot")
        return TransferResult(
            volume=values["volume"], source=values["source"], destination=values["destination"], tip=""
        )

    async def mix(self, call: Call, **values: Any) -> None:  # type: ignore[override]
        raise NotImplementedError


class Carrier(Machine, Arm):
    async def read_state(self) -> Signals:
        return ArmSignals()

    async def home(self, call: Call) -> None:  # noqa: ARG002
        await self.take("arm.home", "arm")

    async def pick(self, call: Call, **values: Any) -> PickResult:  # type: ignore[override]  # noqa: ARG002
        await self.take("pick", "arm")
        if Machine.pace.unlucky(MISSES):
            Machine.pace.missed += 1
            return PickResult(gripped=False, width=None)
        return PickResult(gripped=True, width=20.0)

    async def place(self, call: Call, **values: Any) -> PlaceResult:  # type: ignore[override]  # noqa: ARG002
        await self.take("place", "arm")
        return PlaceResult(released=True)

    async def move(self, call: Call, **values: Any) -> MoveResult:
        raise NotImplementedError


class Press(Machine, Crimper):
    """Its counter tells what it did; after a crimp it may stay busy, and labd hears nothing of its end."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.cycles = 0
        self.free_at = 0.0

    def place_of(self, unit: str) -> str:  # noqa: ARG002
        return f"{self.name}/nest"

    async def read_state(self) -> Signals:
        return CrimperSignals(force=0.0, cycles=self.cycles)

    async def open_ram(self, call: Call) -> None:  # noqa: ARG002
        await asyncio.sleep(max(0.0, self.free_at - clock.monotonic()))
        await self.take("open", "press")

    async def close_ram(self, call: Call) -> None:  # noqa: ARG002
        await self.take("close", "press")

    async def baseline(self, action: str, unit: str) -> dict[str, Any]:  # noqa: ARG002
        await asyncio.sleep(max(0.0, self.free_at - clock.monotonic()))
        return {"cycles": self.cycles}

    async def crimp(self, call: Call, **values: Any) -> CrimpResult:  # type: ignore[override]
        call.accepted()
        await self.take("crimp", "press")
        self.cycles += 1
        if Machine.pace.unlucky(STUCK):
            Machine.pace.stuck += 1
            self.free_at = clock.monotonic() + STUCK_FOR
            raise OutcomeUnknown("the press stays busy")
        return CrimpResult(peak_force=values["force"], dwell=2.0, displacement=None, cycles=self.cycles)

    async def outcome(self, intent: Intent) -> Outcome:
        return Outcome(Verdict.UNKNOWN, f"it is busy since {intent.id}")


class Bath(Machine, Thermostat):
    temperature = 25.0

    async def read_state(self) -> Signals:
        return type(self).Signals(temperature=self.temperature, setpoint=self.temperature)

    async def set_temperature(self, call: Call, temperature: Temperature) -> None:  # noqa: ARG002
        self.temperature = temperature


MACHINES: Mapping[str, type[Driver]] = {"robot": Robot, "arm": Carrier, "press": Press, "bath": Bath}
