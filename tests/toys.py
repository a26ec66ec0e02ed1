"""Toy devices whose every answer a test can script: the drivers of a lab without wires."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labd.lab.config import LabConfig
from labd.lab.lab import Lab
from labd.sdk import (
    About,
    Arm,
    Call,
    Crimper,
    Driver,
    Duration,
    Effect,
    Force,
    Fraction,
    Intent,
    Outcome,
    Place,
    Potentiostat,
    Rejected,
    Setup,
    Signals,
    Verdict,
    action,
)
from labd.sdk.roles import (
    ArmSignals,
    ConstantCurrentResult,
    ConstantVoltageResult,
    CrimperSignals,
    CrimpResult,
    CycleResult,
    ImpedanceResult,
    MoveResult,
    OpenCircuitResult,
    PickResult,
    PlaceResult,
    PotentiostatSignals,
    VoltammetryResult,
)


class Toy(Driver):
    """What all toys share: they count what physically happened, and do once what `script` says for an action.

    A script entry is an exception to raise (before the effect), ("after", exception) to raise after the effect,
    ("accepted", exception) to raise between, or a number of seconds to take instead of one.
    """

    quirks = ("It is a toy.",)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.script: dict[str, list[Any]] = defaultdict(list)
        self.happened: list[str] = []
        self.asked: list[str] = []
        self.reads: dict[str, Any] = {}  # signals that it reads, by name, instead of the usual ones
        self.safe: list[str | None] = []
        self.verdict = Outcome(Verdict.UNKNOWN, "a toy cannot tell")
        self.refuse_connect: Exception | None = None
        self.refuse_poll: Exception | None = None
        self.refuse_close: Exception | None = None
        self.baselines: list[Exception] = []
        self.safe_takes = 0.0
        self.connects = 0

    async def connect(self) -> About:
        self.connects += 1
        if self.refuse_connect:
            raise self.refuse_connect
        return About(model="toy", serial=self.name, firmware="1")

    async def close(self) -> None:
        if self.refuse_close:
            raise self.refuse_close

    async def read_state(self) -> Signals:
        if self.refuse_poll:
            raise self.refuse_poll
        return type(self).Signals()

    async def safe_state(self, unit: str | None = None) -> None:
        await asyncio.sleep(self.safe_takes)
        self.safe.append(unit)

    async def baseline(self, action: str, unit: str) -> dict[str, Any]:
        if self.baselines:
            raise self.baselines.pop(0)
        return {"happened": len(self.happened)}

    async def outcome(self, intent: Intent) -> Outcome:
        self.asked.append(intent.id)
        return self.verdict

    async def act(self, call: Call, name: str) -> None:
        step = self.script[name].pop(0) if self.script[name] else 1.0
        if isinstance(step, Exception):
            raise step
        call.accepted()
        if isinstance(step, tuple) and step[0] == "accepted":
            raise step[1]
        await asyncio.sleep(step if isinstance(step, float) else 1.0)
        self.happened.append(name)
        if isinstance(step, tuple):
            raise step[1]


class ToyPress(Toy, Crimper):
    force = 7.8

    def place_of(self, unit: str) -> str | None:
        return f"{self.name}/nest"

    async def read_state(self) -> Signals:
        await super().read_state()
        usual = {"force": 0.0, "guard_closed": True, "estop": False, "cycles": len(self.happened)}
        return CrimperSignals(**{**usual, **self.reads})

    async def open_ram(self, call: Call) -> None:
        await self.act(call, "open")

    async def close_ram(self, call: Call) -> None:
        await self.act(call, "close")

    async def crimp(self, call: Call, force: Force, dwell: Duration = 2.0) -> CrimpResult:
        await self.act(call, "crimp")
        return CrimpResult(peak_force=self.force, dwell=dwell, displacement=1.0, cycles=1)


class ToyArm(Toy, Arm):
    gripped = True

    async def read_state(self) -> Signals:
        await super().read_state()
        picked = [name for name in self.happened if name in ("pick", "place")][-1:] == ["pick"]
        return ArmSignals(**{"gripped": picked and self.gripped, "moving": False, "error": False, **self.reads})

    async def home(self, call: Call) -> None:
        await self.act(call, "home")

    async def pick(self, call: Call, place: Place, force: Force = 0.02) -> PickResult:
        await self.act(call, "pick")
        return PickResult(gripped=self.gripped, width=20.0)

    async def place(self, call: Call, place: Place) -> PlaceResult:
        await self.act(call, "place")
        return PlaceResult(released=True)

    async def move(self, call: Call, position: Place) -> MoveResult:
        await self.act(call, "move")
        return MoveResult(position=position)


class ToyStat(Toy, Potentiostat):
    cancelled: asyncio.Event | None = None
    refuse_cancel: Exception | None = None

    def place_of(self, unit: str) -> str | None:
        return f"{self.name}/cell"

    async def read_state(self) -> Signals:
        await super().read_state()
        return PotentiostatSignals(**{"voltage": 3.1, "current": 0.0, **self.reads})

    @action(cancellable=True)
    async def open_circuit(self, call: Call, duration: Duration, interval: Duration = 1.0) -> OpenCircuitResult:
        return await self._rest(call, 0, int(duration / interval), interval)

    async def _rest(self, call: Call, done: int, rows: int, interval: float) -> OpenCircuitResult:
        self.cancelled = asyncio.Event()
        lost = self.script["open_circuit"].pop(0) if self.script["open_circuit"] else None
        for row in range(done, rows):
            if self.cancelled.is_set():
                break
            if lost and row == lost[0]:
                raise lost[1]
            call.row(row * interval, 3.1, 0.0)
            await asyncio.sleep(interval)
        self.happened.append("open_circuit")
        return OpenCircuitResult(final_voltage=3.1, mean_voltage=3.1)

    async def attach(self, intent: Intent, call: Call) -> OpenCircuitResult:
        return await self._rest(call, 30, 60, 60.0)

    async def cancel(self, action_id: str) -> None:
        if self.refuse_cancel:
            raise self.refuse_cancel
        assert self.cancelled is not None
        self.cancelled.set()

    async def safe_state(self, unit: str | None = None) -> None:
        await super().safe_state(unit)
        if self.cancelled is not None:
            self.cancelled.set()

    async def constant_current(self, call: Call, **values: Any) -> ConstantCurrentResult:
        raise Rejected("a toy has no constant_current")

    async def constant_voltage(self, call: Call, **values: Any) -> ConstantVoltageResult:
        raise Rejected("a toy has no constant_voltage")

    async def cycle(self, call: Call, **values: Any) -> CycleResult:
        raise Rejected("a toy has no cycle")

    async def cyclic_voltammetry(self, call: Call, **values: Any) -> VoltammetryResult:
        raise Rejected("a toy has no cyclic_voltammetry")

    async def impedance(self, call: Call, **values: Any) -> ImpedanceResult:
        raise Rejected("a toy has no impedance")

    async def cell_off(self, call: Call) -> None:
        await self.act(call, "cell_off")


class BoxSignals(Signals):
    oxygen: Fraction | None = None
    pumping: bool | None = None


class ToyBox(Toy):
    """A glovebox, with a relay for the power of what stands in it."""

    role = "glovebox"
    Signals = BoxSignals

    async def read_state(self) -> Signals:
        await super().read_state()
        return BoxSignals(**{"oxygen": 1.0, "pumping": False, **self.reads})

    @action(effect=Effect.STATE, timeout=5)
    async def cut(self, call: Call, outlet: str = "press") -> None:
        """Takes an outlet's power."""
        await asyncio.sleep(self.script["cut"].pop(0) if self.script["cut"] else 0.0)
        self.happened.append(f"cut {outlet}")


TOYS: dict[str, type[Driver]] = {"press": ToyPress, "arm": ToyArm, "stat": ToyStat, "box": ToyBox}


def toy_lab(tmp_path: Path, devices: dict[str, str], toys: Mapping[str, type[Driver]] = TOYS, /, **more: Any) -> Lab:
    """A lab of toys: kind (`press`, `arm`, `stat`, `box`) by device name; `more` of lab.yaml."""
    config = LabConfig.model_validate(
        {
            "labd": 1,
            "lab": "toys",
            "store": tmp_path / "store",
            "devices": {name: {"driver": kind, "simulator": {}} for name, kind in devices.items()},
            **more,
        }
    )
    return Lab(config, find=toys.__getitem__)
