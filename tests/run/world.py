"""Toy devices with a world of their own: what was ordered goes on when the daemon dies, and is known afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from labd import clock
from labd.sdk import (
    Call,
    Driver,
    Duration,
    Force,
    Intent,
    Outcome,
    OutcomeUnknown,
    Place,
    Result,
    Setup,
    Signals,
    Unreachable,
    Verdict,
    action,
)
from labd.sdk.roles import CrimpResult, MoveResult, OpenCircuitResult, PickResult, PlaceResult
from tests.toys import ToyArm, ToyPress, ToyStat


@dataclass
class World:
    """What physically happens, whoever listens.

    Args:
        ends: when each order ends, by its action's id.
        effects: what happened, `press.crimp`, once for each time that it did.
        mute: devices that cannot tell what became of an order.
        down: devices that cannot be reached.
    """

    ends: dict[str, datetime] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    effects: Counter[str] = field(default_factory=Counter)
    mute: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)

    async def act(self, call: Call, what: str, seconds: float, result: Result) -> Any:
        """An order arrives, and its effect with it; it ends after so many seconds."""
        self.effects[what] += 1
        self.ends[call.id] = clock.now() + timedelta(seconds=seconds)
        self.results[call.id] = result
        call.accepted()
        return await self.wait(call.id)

    async def wait(self, action_id: str) -> Any:
        await asyncio.sleep(max(0.0, (self.ends[action_id] - clock.now()).total_seconds()))
        return self.results[action_id]

    def outcome(self, device: str, intent: Intent) -> Outcome:
        if device in self.mute:
            return Outcome(Verdict.UNKNOWN, "it cannot tell")
        if intent.id not in self.ends:
            return Outcome(Verdict.NOT_DONE, "it has no such order")
        if clock.now() < self.ends[intent.id]:
            return Outcome(Verdict.RUNNING, "it is at it")
        return Outcome(Verdict.DONE, "it is in its list", self.results[intent.id])


WORLD = World()
"""The world of the test that runs now."""


class Real(Driver):
    """What all of them share."""

    async def connect(self) -> Any:
        if self.name in WORLD.down:
            raise Unreachable("nobody answers")
        return await super().connect()  # type: ignore[safe-super]

    async def outcome(self, intent: Intent) -> Outcome:
        return WORLD.outcome(self.name, intent)

    async def attach(self, intent: Intent, call: Call) -> Any:
        if intent.id not in WORLD.ends:
            raise OutcomeUnknown("it has no such order")
        return await WORLD.wait(intent.id)


class RealPress(Real, ToyPress):
    async def read_state(self) -> Signals:
        return (await super().read_state()).model_copy(update={"cycles": WORLD.effects["press.crimp"]})

    async def open_ram(self, call: Call) -> None:
        WORLD.effects["press.open"] += 1
        await asyncio.sleep(1.0)

    async def crimp(self, call: Call, force: Force, dwell: Duration = 2.0) -> CrimpResult:
        result = CrimpResult(peak_force=self.force, dwell=dwell, displacement=1.0, cycles=1)
        return await WORLD.act(call, "press.crimp", 6.0, result)  # type: ignore[no-any-return]


class RealArm(Real, ToyArm):
    async def read_state(self) -> Signals:
        picked, placed = (
            sum(count for what, count in WORLD.effects.items() if what.startswith(f"arm.{kind}"))
            for kind in ("pick", "place")
        )
        return (await super().read_state()).model_copy(update={"gripped": picked > placed})

    async def pick(self, call: Call, place: Place, force: Force = 0.02) -> PickResult:
        return await WORLD.act(call, f"arm.pick {place}", 3.0, PickResult(gripped=True, width=20.0))  # type: ignore[no-any-return]

    async def place(self, call: Call, place: Place) -> PlaceResult:
        return await WORLD.act(call, f"arm.place {place}", 3.0, PlaceResult(released=True))  # type: ignore[no-any-return]

    async def move(self, call: Call, position: Place) -> MoveResult:
        WORLD.effects["arm.move"] += 1
        return MoveResult(position=position)


class RealStat(Real, ToyStat):
    @action(cancellable=True)
    async def open_circuit(self, call: Call, duration: Duration, interval: Duration = 1.0) -> OpenCircuitResult:
        result = OpenCircuitResult(final_voltage=3.1, mean_voltage=3.1)
        return await WORLD.act(call, "stat.open_circuit", duration, result)  # type: ignore[no-any-return]


REAL: dict[str, type[Driver]] = {"press": RealPress, "arm": RealArm, "stat": RealStat}


def fresh() -> World:
    """A world in which nothing has happened."""
    WORLD.__init__()  # type: ignore[misc]
    return WORLD


__all__ = ["REAL", "WORLD", "Setup", "World", "fresh"]
