"""Hamilton Microlab 600 dispensers and diluters, one or two syringes, by their serial protocol (Protocol 1/RNO+).

The line is 9600 7O1. `1a` gives the instrument its address, and is sent twice: the first may end what was left of an
earlier line. After it every line begins with `a`, names a syringe by B (left) or C (right) where there are two, and
ends with CR: `aF`, `aBIM24000S10R`. Only R carries out what stands before it, and all that was in the buffer; a
question goes without. The answer is ACK with what was asked for, or NAK, and CR. `aF` tells Y (done), N (at rest,
orders wait in the buffer) or `*` (busy). What is wrong stands in `aE2`, two characters a side; an overload is told
there once. A full stroke has 48,000 steps; S is the seconds that one would take.

The instrument forgets where its plungers are with its power, and then acknowledges moves and makes none; initialising
pushes out what the syringes hold. That is never done unasked: `prime` does it, since it fills the lines anyway, and
`initialise`.

Source: Microlab 600 RS-232 Communication Manual (Hamilton), chapters 2 and 3; `1a` twice: flowchem's `ml600.py`.
"""

from __future__ import annotations

import asyncio
import contextlib

from drivers.ml600.settings import FACTORY, STEPS, Ml600Settings
from labd.io.address import StreamAddress
from labd.io.arrival import Orders
from labd.sdk import (
    About,
    Call,
    DeviceError,
    Effect,
    Fault,
    OutcomeUnknown,
    Rejected,
    Setup,
    Unreachable,
    action,
    each,
)
from labd.sdk.quality import Quality
from labd.sdk.roles import PumpResult
from labd.sdk.strokes import Stroke, Strokes, Syringe
from labd.sdk.syringes import SPARE, Amount, Look, Rate, SyringePump, SyringeSignals

ANSWER_LIMIT = 1.0  # s; answers come within 50 ms
ACK, NAK = "\x06", "\x15"
END = b"\r"
HOME_LIMIT = 90.0  # s
STILL = 1.5  # s; a plunger that has not moved for so long rests, and no valve turns for so long
DONE, WAITS, BUSY = "Y", "N", "*"
_PREFIX = {"": "", "left": "B", "right": "C"}
_SAME = {11: ("1", "7"), 12: ("1", "6"), 13: ("1", "4"), 14: ("1", "4"), **dict.fromkeys((15, 16, 17), ("1", "3"))}
_LEFT = {**_SAME, 18: ("1", "3"), 19: ("1", "2"), 20: ("1", "2")}
# the manual's angles for the right valve of type 20 do not part input and output
_RIGHT = {**_SAME, 18: ("2", "1"), 19: ("2", "1")}
"""What `LQP` says at the input and at the output, by the type of valve (`LQT`)."""

_UNINITIALISED = 0x01
_SYRINGE = {0x02: "its plunger is overloaded", 0x04: "a stroke was too large", 0x08: "its plunger could not initialise"}
_VALVE = {0x02: "its valve could not initialise", 0x04: "its valve is overloaded"}


class Ml600(SyringePump):
    """One instrument. Connecting gives it its address and moves nothing."""

    quality = Quality("simulated")
    quirks = (
        "It hears nothing until it was given its address, which it forgets with its power.",
        "`F` speaks for both syringes: while one moves, the other one is at rest when its plunger stands still.",
        "Initialising moves both syringes, and empties them; before it, moves are acknowledged and not made.",
        "`E2` tells an overload once: labd keeps it until the instrument is initialised, or labd ends.",
        "Where a right valve of type 20 (dual diluter) stands is not known: the manual has one angle for both ports.",
    )
    Settings = Ml600Settings
    settings: Ml600Settings
    found_at = {"{port}": 0}
    Signals = SyringeSignals

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._link = StreamAddress.parse(self.settings.address, FACTORY).link()
        self._orders = Orders()
        self._valves: dict[str, dict[str, str]] = {}  # by unit: what it says of its valve, as `in` and `out`
        self._errors: dict[str, str] = {}  # by unit, since it was initialised

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
            firmware = await self._ask("U")
            for unit in self.units:
                self._valves[unit] = await self._ports(unit)
            await self._look_back()
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

    async def _look_back(self) -> None:
        """An overload of before, which `Z` (plungers) and `G` (valves) tell of both sides together."""
        for request, words in (("Z", "a plunger was overloaded"), ("G", "a valve was overloaded")):
            if await self._ask(request) == "Y":
                for unit in self.units:
                    self._errors.setdefault(unit, words)

    async def close(self) -> None:
        await self._link.close()

    async def read_state(self) -> SyringeSignals | dict[str, SyringeSignals]:
        """Positions and valves; an error is a value, not an error of the line."""
        done, sides = await self._ask("F"), await self._sides()
        found = {unit: await self._signals(unit, done, sides[unit]) for unit in self.units}
        return found if self.settings.right else found[""]

    async def _signals(self, unit: str, done: str, uninitialised: bool) -> SyringeSignals:
        position = None if uninitialised else self.syringe(unit).volume(await self._position(unit))
        return SyringeSignals(
            position=position,
            busy=done == BUSY and (not self.settings.right or unit in self.running),
            initialised=not uninitialised,
            valve=None if uninitialised else await self._valve(unit),
            error=self._errors.get(unit),
        )

    async def safe_state(self, unit: str | None = None) -> None:
        """Stops a plunger, or both, and drops what was still to come.

        Raises:
            Unreachable, OutcomeUnknown: the line is cut; a plunger that moves goes on to its end.
            Fault: it moves on, whatever it is told.
        """
        units = self.units if unit is None else (unit,)
        await each(self.halt, units)  # the other one also where one cannot be
        await each(lambda one: self.until_ready(one, SPARE), units)

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    @action(cancellable=True)
    async def aspirate(self, call: Call, volume: Amount, rate: Rate = None) -> PumpResult:
        """Draws a volume in from the inlet.

        Rejected: the syringe has no room for it, or is not initialised. Fault: plunger or valve is blocked.
        """
        seconds = self.settings.seconds(call.unit, rate)
        return await self._move(call, self.syringe(call.unit).aspiration(await self.where(call.unit), volume), seconds)

    @action(cancellable=True)
    async def dispense(self, call: Call, volume: Amount, rate: Rate = None) -> PumpResult:
        """Gives a volume to the outlet: of what it holds; where that is less it fills itself.

        Rejected: it is not initialised. Fault: plunger or valve is blocked.
        """
        seconds = self.settings.seconds(call.unit, rate)
        return await self._move(call, self.syringe(call.unit).delivery(await self.where(call.unit), volume), seconds)

    @action(cancellable=True)
    async def prime(self, call: Call, volume: Amount | None = None, rate: Rate = None) -> PumpResult:
        """Fills its lines from the inlet to the outlet: one full stroke, or a volume. Initialises it before if needed.

        With two syringes initialising moves both.
        """
        try:
            uninitialised = (await self._sides())[call.unit]
        except OutcomeUnknown as error:
            raise Unreachable(f"{error.message}, before the order: nothing was moved", sent=error.sent) from error
        if uninitialised:
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
        if await self._ask("F") == WAITS:
            await each(self._drop, self.units)
        self._orders.written()
        self._errors.clear()
        with contextlib.suppress(OutcomeUnknown):  # whether it was heard shows below
            await self._ask("XR")
        for unit in self.units:
            await self.rest(unit, HOME_LIMIT)

    async def _move(self, call: Call, plan: Strokes, seconds: int) -> PumpResult:
        async def order(stroke: Stroke) -> None:
            self._orders.written()
            valve = "I" if stroke.way == "in" else "O"
            # M knows no 0: to the upper end it goes by as many steps as it is off
            move = f"M{stroke.end}" if stroke.end else f"D{stroke.begin}"
            await self._ask(f"{_PREFIX[call.unit]}{valve}{move}S{seconds}R")

        return await self.carry_out(call, plan, order, STEPS / seconds)

    # ── what a SyringePump knows ─────────────────────────────────────────────────────────────────────────────────
    def syringe(self, unit: str) -> Syringe:
        return self.settings.drive(unit)

    async def look(self, unit: str, port: int | None = None, action: str = "") -> Look:
        """By `F`, which speaks for both syringes; while the other one moves, one that stands still is ready."""
        del port, action
        done = await self._ask("F")
        others = self.running.keys() - {unit}
        if done == BUSY and (not others or not await self._stands(unit)):
            return Look(ready=False)
        problem = self._problem(unit, uninitialised=(await self._sides())[unit], waits=done == WAITS)
        if problem is not None:
            return Look(ready=True, problem=problem)
        return Look(ready=True, position=await self._position(unit), valve=await self._valve(unit))

    async def _stands(self, unit: str) -> bool:
        """Whether a plunger does not move for a while."""
        was = await self._position(unit)
        await asyncio.sleep(STILL)
        return was == await self._position(unit)

    async def halt(self, unit: str) -> None:
        """Stops the plunger, and drops the rest of its order; R in either line would begin it again."""
        await self._ask(f"{_PREFIX[unit]}K")
        await self._drop(unit)

    async def _drop(self, unit: str) -> None:
        """Clears what waits in the buffer of a side."""
        await self._ask(f"{_PREFIX[unit]}V")

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
        answer = await self._ask(f"{_PREFIX[unit]}YQP")
        if not answer.isdigit():
            raise OutcomeUnknown("the pump does not tell its position", sent="YQP", received=answer)
        return int(answer)

    async def _valve(self, unit: str) -> str | None:
        """`in`, `out`, or the port where it stands; None where its type tells them not apart."""
        ports = self._valves.get(unit)
        if not ports:
            return None
        answer = await self._ask(f"{_PREFIX[unit]}LQP")
        return ports.get(answer, answer)

    async def _ports(self, unit: str) -> dict[str, str]:
        """What `LQP` will say, in our words."""
        answer = await self._ask(f"{_PREFIX[unit]}LQT")
        if not answer.isdigit():
            raise OutcomeUnknown("the pump does not tell the type of its valve", sent="LQT", received=answer)
        ports = (_RIGHT if unit == "right" else _LEFT).get(int(answer), ())
        return dict(zip(ports, ("in", "out"), strict=False))

    async def _sides(self) -> dict[str, bool]:
        """Whether each syringe must be initialised. What else is wrong is told once, and kept."""
        answer = await self._ask("E2")
        if len(answer) != 4 or any(ord(one) & 0xE0 != 0x40 for one in answer):
            raise OutcomeUnknown("the pump does not tell its errors", sent="E2", received=answer)
        found = {}
        for unit in self.units:
            at = 2 if unit == "right" else 0
            syringe, valve = ord(answer[at]), ord(answer[at + 1])
            words = [told for bit, told in _SYRINGE.items() if syringe & bit]
            words += [told for bit, told in _VALVE.items() if valve & bit]
            if words:
                self._errors[unit] = ", ".join(words)
            found[unit] = bool((syringe | valve) & _UNINITIALISED)
        return found

    def _problem(self, unit: str, *, uninitialised: bool, waits: bool) -> DeviceError | None:
        """Why a side takes no order."""
        error = self._errors.get(unit)
        if error is not None and not uninitialised:
            return Fault(f"{error}: look at the pump, then give it `initialise`, which pushes out what it holds")
        if uninitialised:
            return Rejected(
                "the pump is not initialised, as after power-up: give it `prime` or `initialise`; both push out what "
                "the syringes hold"
            )
        if waits:
            return Rejected(
                "orders wait in the pump's buffer, as where somebody else has halted it: look at it, then give it "
                "`initialise`, which drops them"
            )
        return None


DRIVER = Ml600
