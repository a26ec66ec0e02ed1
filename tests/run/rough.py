"""A world in which things go wrong, and the truth about it: devices whose orders arrive or not, whoever hears of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from labd import clock
from labd.sdk import (
    About,
    Call,
    Driver,
    Duration,
    Fault,
    Force,
    Intent,
    Outcome,
    OutcomeUnknown,
    Place,
    Rejected,
    Result,
    Signals,
    Unreachable,
    Verdict,
    action,
)
from labd.sdk.roles import CrimpResult, MoveResult, OpenCircuitResult, PickResult, PlaceResult
from tests.toys import ToyArm, ToyPress, ToyStat

TRAVEL = 0.05  # s; an order's way to its device, and its answer's way back

TROUBLES = (
    "refused",  # nothing happens, and it says so
    "unreachable",  # nothing is sent
    "dropped",  # the order is lost on its way, and nobody knows
    "lost",  # it happens, and its answer is lost
    "strays",  # it is taken, and then the link breaks
    "fault",  # it happens, and the device stops itself after it
    "early fault",  # the device stops itself before it
    "hangs",  # it happens, and no answer ever comes
    "deaf",  # nothing happens, and no answer ever comes
    "mistaken",  # its driver has an error
    "slow",  # it takes far longer than it should
)


@dataclass
class Order:
    """What a device has of an order that arrived."""

    device: str
    what: str
    ends: datetime
    result: Result
    cut: bool = False


@dataclass
class Rough:
    """What physically happens, whoever listens.

    Args:
        orders: what arrived, by the action's id.
        twice: orders that arrived a second time under one id.
        mute: devices that cannot tell what became of an order.
        down: devices that cannot be reached.
        trouble: what goes wrong next, by device.
        reads: signals by device.
        emptied: of the arm's orders, so many were there when somebody last took out what it held.
        safe: devices that were made safe, in order.
        safe_takes: seconds that making a device safe takes.
    """

    orders: dict[str, Order] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    mute: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    trouble: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    reads: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    emptied: int = 0
    safe: list[str] = field(default_factory=list)
    safe_takes: float = 0.0
    _links: dict[str, set[asyncio.Future[None]]] = field(default_factory=lambda: defaultdict(set))

    # ── links ────────────────────────────────────────────────────────────────────────────────────────────────────
    def lose(self, device: str) -> None:
        """Its link breaks: who waits for it hears so."""
        self.down.add(device)
        self._break(device)

    def _break(self, device: str) -> None:
        for waiting in list(self._links[device]):
            if not waiting.done():
                waiting.set_exception(Unreachable("the link broke"))

    def check(self, device: str) -> None:
        if device in self.down:
            raise Unreachable("nobody answers")

    async def wait(self, device: str, seconds: float) -> None:
        """Waits for something that comes over the link."""
        loop = asyncio.get_running_loop()
        ends: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(max(0.0, seconds), lambda: ends.done() or ends.set_result(None))
        self._links[device].add(ends)
        try:
            await ends
        finally:
            timer.cancel()
            self._links[device].discard(ends)

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────
    async def act(self, device: str, call: Call, what: str, seconds: float, result: Result) -> Any:
        """An order, from its being sent to its end, with what goes wrong on the way."""
        self.check(device)
        trouble = self.trouble[device].pop(0) if self.trouble[device] else ""
        self._before(trouble)
        await self.wait(device, TRAVEL)
        if trouble == "early fault":
            raise Fault("it stopped itself before")
        if trouble in ("dropped", "deaf"):
            await self.wait(device, TRAVEL if trouble == "dropped" else 1e6)
            raise OutcomeUnknown("no answer")
        self._arrive(device, call.id, what, 4000.0 if trouble == "slow" else seconds, result)
        if trouble in ("lost", "hangs"):
            await self.wait(device, TRAVEL if trouble == "lost" else 1e6)
            raise OutcomeUnknown("no answer")
        await self.wait(device, TRAVEL)
        call.accepted()
        if trouble == "fault":
            await self.wait(device, seconds / 2)
            self.end(device)
            raise Fault("it stopped itself")
        if trouble == "strays":
            raise Unreachable("the link broke")
        return await self.outcome_of(call.id)

    def _before(self, trouble: str) -> None:
        match trouble:
            case "refused":
                raise Rejected("no")
            case "unreachable":
                raise Unreachable("nobody answers")
            case "mistaken":
                raise ValueError("a mistake in the driver")

    def _arrive(self, device: str, action_id: str, what: str, seconds: float, result: Result) -> None:
        if action_id in self.orders:
            self.twice.append(action_id)
        self.orders[action_id] = Order(device, what, clock.now() + timedelta(seconds=seconds), result)

    async def outcome_of(self, action_id: str) -> Any:
        """The result of an order at its end."""
        order = self.orders[action_id]
        while (left := (order.ends - clock.now()).total_seconds()) > 0:
            await self.wait(order.device, min(left, 60.0))
        return order.result

    def of(self, device: str) -> list[Order]:
        """What a device was ordered, in order."""
        return [order for order in self.orders.values() if order.device == device]

    def end(self, device: str) -> None:
        """All that it does ends now, as far as it has come."""
        for order in self.orders.values():
            if order.device == device and order.ends > clock.now():
                order.ends, order.cut = clock.now(), True
        for waiting in list(self._links[device]):
            if not waiting.done():
                waiting.set_result(None)

    def outcome(self, device: str, intent: Intent) -> Outcome:
        """What the device says of an order."""
        self.check(device)
        if device in self.mute:
            return Outcome(Verdict.UNKNOWN, "it cannot tell")
        order = self.orders.get(intent.id)
        if order is None:
            return Outcome(Verdict.NOT_DONE, "it has no such order")
        if clock.now() < order.ends:
            return Outcome(Verdict.RUNNING, "it is at it")
        verdict = Verdict.PARTIAL if order.cut else Verdict.DONE
        return Outcome(verdict, "it is in its list", order.result)


WORLD = Rough()
"""The world of the history that is made now."""


@contextmanager
def rough() -> Iterator[Rough]:
    """A world in which nothing has happened."""
    WORLD.__init__()  # type: ignore[misc]
    yield WORLD


class Real(Driver):
    """What all of them share."""

    async def connect(self) -> About:
        WORLD.check(self.name)
        await WORLD.wait(self.name, TRAVEL)
        return await super().connect()  # type: ignore[safe-super]

    async def read_state(self) -> Signals:
        WORLD.check(self.name)
        self.reads = WORLD.reads[self.name]
        return await super().read_state()  # type: ignore[safe-super,return-value]

    async def outcome(self, intent: Intent) -> Outcome:
        WORLD.check(self.name)
        await WORLD.wait(self.name, TRAVEL)
        return WORLD.outcome(self.name, intent)

    async def attach(self, intent: Intent, call: Call) -> Any:
        WORLD.check(self.name)
        if intent.id not in WORLD.orders:
            raise OutcomeUnknown("it has no such order")
        return await WORLD.outcome_of(intent.id)

    async def safe_state(self, unit: str | None = None) -> None:
        WORLD.check(self.name)
        await WORLD.wait(self.name, WORLD.safe_takes)
        WORLD.safe.append(self.name)
        WORLD.end(self.name)

    async def act(self, call: Call, name: str) -> None:
        """Of what may be repeated nothing is kept."""
        WORLD.check(self.name)
        trouble = WORLD.trouble[self.name].pop(0) if WORLD.trouble[self.name] else ""
        WORLD._before(trouble)
        await WORLD.wait(self.name, 1.0 if trouble not in ("hangs", "deaf") else 1e6)
        if trouble in ("dropped", "lost", "strays"):
            raise OutcomeUnknown("no answer")
        if trouble in ("fault", "early fault"):
            raise Fault("it stopped itself")
        call.accepted()


class RoughPress(Real, ToyPress):
    async def read_state(self) -> Signals:
        WORLD.reads[self.name]["cycles"] = len(WORLD.of(self.name))
        return await super().read_state()

    async def crimp(self, call: Call, force: Force, dwell: Duration = 2.0) -> CrimpResult:
        result = CrimpResult(peak_force=self.force, dwell=dwell, displacement=1.0, cycles=1)
        return await WORLD.act(self.name, call, "crimp", 6.0, result)  # type: ignore[no-any-return]


class RoughArm(Real, ToyArm):
    async def read_state(self) -> Signals:
        orders = WORLD.of(self.name)
        WORLD.reads[self.name]["gripped"] = len(orders) > WORLD.emptied and "pick" in orders[-1].what
        return await super().read_state()

    async def pick(self, call: Call, place: Place, force: Force = 0.02) -> PickResult:
        return await WORLD.act(self.name, call, f"pick {place}", 3.0, PickResult(gripped=True, width=20.0))  # type: ignore[no-any-return]

    async def place(self, call: Call, place: Place) -> PlaceResult:
        return await WORLD.act(self.name, call, f"place {place}", 3.0, PlaceResult(released=True))  # type: ignore[no-any-return]

    async def move(self, call: Call, position: Place) -> MoveResult:
        await self.act(call, "move")
        return MoveResult(position=position)


class RoughStat(Real, ToyStat):
    @action(cancellable=True)
    async def open_circuit(self, call: Call, duration: Duration, interval: Duration = 1.0) -> OpenCircuitResult:
        result = OpenCircuitResult(final_voltage=3.1, mean_voltage=3.1)
        return await WORLD.act(self.name, call, "open_circuit", duration, result)  # type: ignore[no-any-return]

    async def cancel(self, action_id: str) -> None:
        WORLD.check(self.name)
        if action_id not in WORLD.orders:
            raise Rejected("it has no such order")
        await WORLD.wait(self.name, TRAVEL)
        WORLD.end(self.name)


ROUGH: dict[str, type[Driver]] = {"press": RoughPress, "arm": RoughArm, "stat": RoughStat}
