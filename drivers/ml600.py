"""Hamilton Microlab 600 dispensers and diluters, one or two syringes, by their serial protocol.

The line is 9600 7O1. `1a` gives the instrument its address, and is sent twice: the first may end what was left of an
earlier line. After it every command begins with `a`, names a syringe by B (left) or C (right) where there are two, and
ends with R and CR: `aUR`, `aBIM24000S10R`. The answer is ACK with what was asked for, or NAK, and CR. `aF` tells
whether it is done: Y, N, or `*` for an error. A full stroke has 48,000 steps; S is the seconds that one would take.

The instrument forgets where its plungers are with its power; initialising pushes out what the syringes hold. That is
never done unasked: `prime` does it, since it fills the lines anyway, and `initialise`.

Source: Microlab 600 Series manual (Hamilton 61569-01), chapter communication.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated

from pydantic import field_validator, model_validator

from labd.io.address import Line, StreamAddress
from labd.io.arrival import Orders
from labd.sdk import (
    About,
    Bounds,
    Call,
    DeviceError,
    Effect,
    Fault,
    FlowRate,
    OutcomeUnknown,
    Rejected,
    Settings,
    Setup,
    Unreachable,
    Volume,
    action,
)
from labd.sdk.quality import Quality
from labd.sdk.roles import PumpResult, PumpSignals
from labd.sdk.strokes import Stroke, Strokes, Syringe
from labd.sdk.syringes import SPARE, Look, SyringePump

FACTORY = Line(9600, bytesize=7, parity="O")
ANSWER_LIMIT = 1.0  # s; answers come within 50 ms
ACK, NAK = "\x06", "\x15"
END = b"\r"
STEPS = 48_000
FASTEST, SLOWEST = 2, 3692  # s for a full stroke
USUAL = 10  # s for a full stroke
HOME_LIMIT = 90.0  # s
STILL = 1.5  # s; a plunger that has not moved for so long rests, and no valve turns for so long
_PREFIX = {"": "", "left": "B", "right": "C"}
_VALVES = {"1": "in", "2": "out"}

Amount = Annotated[Volume, Bounds(min=0.001)]
Rate = Annotated[FlowRate, Bounds(min=0.001)] | None
Capacity = Annotated[Volume, Bounds(min=10, max=50_000)]


class Ml600Settings(Settings):
    """Where the instrument is, and which syringes are on it.

    Args:
        address: `/dev/serial/by-id/…`, `serial:///dev/…?baudrate=9600&bytesize=7&parity=O` or `tcp://host:port`; the
            factory's line is 9600 7O1.
        syringe: what the syringe holds, or the left one of two.
        right: what the right one holds; left out: there is one syringe. With it the units are `left` and `right`.
        rate: unless an action says otherwise; left out: a full stroke in 10 s.
    """

    address: str
    syringe: Capacity
    right: Capacity | None = None
    rate: Annotated[FlowRate, Bounds(min=0.001)] | None = None

    @field_validator("address")
    @classmethod
    def _address(cls, text: str) -> str:
        StreamAddress.parse(text, FACTORY)
        return text

    @model_validator(mode="after")
    def _can_be_done(self) -> Ml600Settings:
        try:
            for unit in ("left", "right") if self.right else ("",):
                self.seconds(unit, None)
        except Rejected as error:
            raise ValueError(f"rate: {error.message}") from error
        return self

    def drive(self, unit: str) -> Syringe:
        """A syringe with the steps of its drive."""
        return Syringe(self.right if unit == "right" and self.right else self.syringe, STEPS)

    def seconds(self, unit: str, rate: float | None) -> int:
        """A rate (µL/s), or the setting's, as seconds of a full stroke. Raises Rejected: it cannot do it."""
        rate = self.rate if rate is None else rate
        if rate is None:
            return USUAL
        capacity = self.drive(unit).capacity
        seconds = round(capacity / rate)
        if not FASTEST <= seconds <= SLOWEST:
            least, most = capacity / SLOWEST, capacity / FASTEST
            raise Rejected(f"{rate:g} µL/s: with this syringe the pump does {least:.3g} to {most:.3g} µL/s")
        return seconds


class Ml600Signals(PumpSignals):
    """Beside the role's: where its `valve` stands, and whether the instrument tells an `error`."""

    valve: str | None = None
    error: bool | None = None


class Ml600(SyringePump):
    """One instrument. Connecting gives it its address and moves nothing."""

    quality = Quality("simulated")
    quirks = (
        "It hears nothing until it was given its address, which it forgets with its power.",
        "`F` speaks for both syringes: while one moves, the other one is at rest when its plunger stands still.",
        "Initialising moves both syringes, and empties them.",
    )
    Settings = Ml600Settings
    settings: Ml600Settings
    found_at = {"{port}": 0}
    Signals = Ml600Signals

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._link = StreamAddress.parse(self.settings.address, FACTORY).link()
        self._orders = Orders()

    @property
    def units(self) -> tuple[str, ...]:
        """`left` and `right` where it has two syringes."""
        return ("left", "right") if self.settings.right else ("",)

    def place_of(self, unit: str) -> str:
        """`<name>/outlet`, or `<name>/left` and `<name>/right`: where an arm may put a cell."""
        return f"{self.name}/{unit or 'outlet'}"

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def connect(self) -> About:
        """Opens the link, gives the instrument its address, and asks for its firmware.

        Raises:
            Unreachable: no port, or no instrument answers.
        """
        await self._link.open()
        self._orders.written()
        try:
            await self._call_up()
            firmware = await self._ask("UR")
        except (OutcomeUnknown, Rejected) as error:
            await self.close()
            raise Unreachable(
                f"{self.settings.address}: no Microlab 600 answers; is it on, and do baud rate, 7 bits and odd parity "
                f"agree? ({error.message})",
                received=error.received,
            ) from error
        return About(model="Microlab 600", firmware=firmware)

    async def _call_up(self) -> None:
        """`1a`, twice; the first answer counts for nothing."""
        async with self._link.exchange(ANSWER_LIMIT) as exchange:
            await exchange.write(b"1a" + END)
            await self._link.drain(0.2)
            await exchange.write(b"1a" + END)
            answer = (await exchange.read_until(END)).decode("ascii", "backslashreplace")
        if not answer.startswith("1"):
            self._link.dirty = True
            raise OutcomeUnknown("this is no answer to 1a", sent="1a", received=answer)

    async def close(self) -> None:
        await self._link.close()

    async def read_state(self) -> Ml600Signals | dict[str, Ml600Signals]:
        """Positions and valves; an error is a value, not an error of the line."""
        done = await self._ask("F")
        found = {unit: await self._signals(unit, done) for unit in self.units}
        return found if self.settings.right else found[""]

    async def _signals(self, unit: str, done: str) -> Ml600Signals:
        position = None if done == "*" else await self._position(unit)
        return Ml600Signals(
            position=None if position is None else self.syringe(unit).volume(position),
            busy=done == "N" and (not self.settings.right or unit in self.running),
            valve=None if done == "*" else await self._valve(unit),
            error=done == "*",
        )

    async def safe_state(self, unit: str | None = None) -> None:
        """Stops a plunger, or both, and drops what was still to come.

        Raises:
            Unreachable, OutcomeUnknown: the line is cut; a plunger that moves goes on to its end.
            Fault: it moves on, whatever it is told.
        """
        units = self.units if unit is None else (unit,)
        for one in units:
            await self.halt(one)
        for one in units:
            await self.until_ready(one, SPARE)

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    @action(cancellable=True)
    async def aspirate(self, call: Call, volume: Amount, rate: Rate = None) -> PumpResult:
        """Draws a volume in from the inlet.

        Rejected: the syringe has no room for it. Fault: the instrument tells an error, or is not initialised.
        """
        seconds = self.settings.seconds(call.unit, rate)
        return await self._move(call, self.syringe(call.unit).aspiration(await self.where(call.unit), volume), seconds)

    @action(cancellable=True)
    async def dispense(self, call: Call, volume: Amount, rate: Rate = None) -> PumpResult:
        """Gives a volume to the outlet: of what it holds; where that is less it fills itself.

        Fault: the instrument tells an error, or is not initialised.
        """
        seconds = self.settings.seconds(call.unit, rate)
        return await self._move(call, self.syringe(call.unit).delivery(await self.where(call.unit), volume), seconds)

    @action(cancellable=True)
    async def prime(self, call: Call, volume: Amount | None = None, rate: Rate = None) -> PumpResult:
        """Fills its lines from the inlet to the outlet: one full stroke, or a volume. Initialises it before if needed.

        With two syringes initialising moves both.
        """
        try:
            done = await self._ask("F")
        except OutcomeUnknown as error:
            raise Unreachable(f"{error.message}, before the order: nothing was moved", sent=error.sent) from error
        if done == "*":
            await self._initialise()
        return await self.dispense(call, volume if volume is not None else self.syringe(call.unit).capacity, rate)

    @action(effect=Effect.STATE, timeout=120, duration=15)
    async def initialise(self, call: Call) -> None:
        """Finds the zero of plungers and valves, of both syringes. What they hold goes to their outlets."""
        del call
        await self._initialise()

    async def _initialise(self) -> None:
        if self.settings.right and len(self.running) > 0:
            raise Rejected("the other syringe is at work, and initialising moves both")
        self._orders.written()
        with contextlib.suppress(OutcomeUnknown):  # whether it was heard shows below
            await self._ask("XR")
        for unit in self.units:
            await self.rest(unit, HOME_LIMIT)

    async def _move(self, call: Call, plan: Strokes, seconds: int) -> PumpResult:
        async def order(stroke: Stroke) -> None:
            self._orders.written()
            valve = "I" if stroke.way == "in" else "O"
            await self._ask(f"{_PREFIX[call.unit]}{valve}M{stroke.end}S{seconds}R")

        return await self.carry_out(call, plan, order, STEPS / seconds)

    # ── what a SyringePump knows ─────────────────────────────────────────────────────────────────────────────────
    def syringe(self, unit: str) -> Syringe:
        return self.settings.drive(unit)

    async def look(self, unit: str, port: int | None = None, action: str = "") -> Look:
        """By `F`, which speaks for both syringes; while the other one moves, one that stands still is ready."""
        del port, action
        done = await self._ask("F")
        if done == "*":
            return Look(ready=True, problem=_problem())
        alone = not self.settings.right or (unit in self.running and len(self.running) == 1)
        if done == "N" and (alone or not await self._stands(unit)):
            return Look(ready=False)
        return Look(ready=True, position=await self._position(unit), valve=await self._valve(unit))

    async def _stands(self, unit: str) -> bool:
        """Whether a plunger does not move for a while."""
        was = await self._position(unit)
        await asyncio.sleep(STILL)
        return was == await self._position(unit)

    async def halt(self, unit: str) -> None:
        await self._ask(f"{_PREFIX[unit]}KR")
        await self._ask(f"{_PREFIX[unit]}VR")

    async def arrived(self) -> None:
        await self._orders.arrived()

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def _ask(self, command: str) -> str:
        """One command, once; what stands after ACK.

        Raises:
            Rejected: NAK; it was not taken.
            Unreachable: nothing was sent.
            OutcomeUnknown: no answer, or one that is none.
        """
        async with self._link.exchange(ANSWER_LIMIT) as exchange:
            await exchange.write(b"a" + command.encode() + END)
            answer = (await exchange.read_until(END)).decode("ascii", "backslashreplace").strip("\r\n")
            if answer[:1] not in {ACK, NAK}:
                self._link.dirty = True
                raise OutcomeUnknown("this is no answer of a Microlab 600", sent=f"a{command}", received=answer)
        if answer[0] == NAK:
            raise Rejected(f"the pump does not take {command}", sent=f"a{command}", received="NAK")
        return answer[1:].strip()

    async def _position(self, unit: str) -> int:
        answer = await self._ask(f"{_PREFIX[unit]}YQPR")
        if not answer.isdigit():
            raise OutcomeUnknown("the pump does not tell its position", sent="YQP", received=answer)
        return int(answer)

    async def _valve(self, unit: str) -> str:
        answer = await self._ask(f"{_PREFIX[unit]}LQPR")
        return _VALVES.get(answer, answer)


def _problem() -> DeviceError:
    return Fault(
        "the pump tells an error, or is not initialised, as after power-up: look at it, then give it `prime` or "
        "`initialise`; both push out what the syringes hold"
    )


DRIVER = Ml600
