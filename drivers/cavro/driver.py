"""The driver of Cavro syringe pumps.

The pump forgets its position with its power, and with an overload; it must then be initialised, which pushes out what
the syringe holds. That is never done unasked: `prime` does it, since it fills the lines anyway, and `initialise`.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from drivers.cavro.bus import ERRORS, Answer, Bus
from drivers.cavro.settings import CavroSettings
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
)
from labd.sdk.quality import Quality
from labd.sdk.roles import PumpResult
from labd.sdk.strokes import Stroke, Strokes, Syringe
from labd.sdk.syringes import SPARE, Amount, Look, Rate, SyringePump, SyringeSignals

HOME_LIMIT = 90.0  # s; initialising a full syringe at its slow speed
NOT_INITIALISED = 7
LASTING = frozenset({1, 9, 10})  # stands until it is initialised, though `Q` tells it once
FINE = frozenset({"1", "2"})

Port = Annotated[int, Field(ge=1, le=12)] | None


class Cavro(SyringePump):
    """One pump on its line. Connecting moves nothing."""

    quality = Quality("simulated")
    quirks = (
        "Whether it is busy is told by `Q` alone.",
        "`T` stops the plunger and no valve, and may cost steps: after a stop initialising is recommended.",
        "It forgets its position with its power and with an overload; initialising it then empties the syringe.",
        "One `Q` tells an overload and clears it: labd keeps it until the pump is initialised, or labd ends.",
        "Several pumps on one line have the same address and a number each.",
    )
    Settings = CavroSettings
    settings: CavroSettings
    found_at = {"{port}": 0}
    Signals = SyringeSignals

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._bus: Bus | None = None
        self._kept: Answer | None = None  # an error that was told once, and stands until it is initialised
        self._orders = Orders()

    def place_of(self, unit: str) -> str | None:
        """`<name>/outlet`; None for a pump that gives to a place of another device."""
        del unit
        return None if self.settings.gives_to else f"{self.name}/outlet"

    def own_link(self) -> str | None:
        """The line with the pump's number: it shares the line with other pumps."""
        line = super().own_link()
        return None if line is None else f"{line} pump {self.settings.pump}"

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def connect(self) -> About:
        """Opens the line, unless another pump's driver has, and asks who is there.

        Raises:
            Unreachable: no port, or no pump of that number answers.
            Fault: somebody has set it to count in other steps.
        """
        await self.close()
        self._bus = await Bus.join(self.settings.address)
        self._orders.written()
        try:
            await self._status()
            firmware = await self._ask("&")
            mode = await self._ask("?28")
        except OutcomeUnknown as error:
            await self.close()
            raise Unreachable(
                f"{self.settings.address}: pump {self.settings.pump} does not answer; is it on, does its address "
                f"switch stand at {int(self.settings.pump, 16) - 1:X}, and does the baud rate agree? ({error.message})",
                received=error.received,
            ) from error
        if not mode.error and mode.data.strip() in FINE:
            await self.close()
            raise Fault("the pump counts in fine steps (N1 or N2), and labd in N0: set it back by `N0` or its power")
        return About(model=f"Cavro {self.settings.model}", firmware=firmware.data.strip())

    async def close(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            await bus.leave()

    async def read_state(self) -> SyringeSignals:
        """Position, valve and error; an error is a value, not an error of the line."""
        state = await self._status()
        known = state.error != NOT_INITIALISED
        valve = await self._valve() if known else ""
        return SyringeSignals(
            position=self.settings.drive.volume(await self._position()) if known else None,
            busy=not state.ready,
            initialised=known,
            valve=valve or None,
            error=ERRORS.get(state.error, str(state.error)) if state.error else None,
        )

    async def safe_state(self, unit: str | None = None) -> None:
        """Stops the plunger. A valve that turns goes on to its port: nothing stops it.

        Raises:
            Unreachable, OutcomeUnknown: the line is cut; a plunger that moves goes on to its end.
            Fault: it moves on, whatever it is told.
        """
        await self.halt(unit or "")
        await self.until_ready(unit or "", SPARE)

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    @action(cancellable=True)
    async def aspirate(self, call: Call, volume: Amount, rate: Rate = None, port: Port = None) -> PumpResult:
        """Draws a volume in from the inlet, or from another port.

        Rejected: the syringe has no room for it, or the pump is not initialised. Fault: plunger or valve is blocked.
        """
        speed, turns = self.settings.speed(rate), {"in": self.settings.turn("in", port)}
        plan = self.settings.drive.aspiration(await self.where(call.unit), volume)
        return await self._move(call, plan, speed, turns)

    @action(cancellable=True)
    async def dispense(self, call: Call, volume: Amount, rate: Rate = None, port: Port = None) -> PumpResult:
        """Gives a volume to the outlet, or to another port: of what it holds; where that is less it fills itself.

        Rejected: the pump is not initialised. Fault: plunger or valve is blocked.
        """
        speed = self.settings.speed(rate)
        turns = {"in": self.settings.turn("in", None), "out": self.settings.turn("out", port)}
        plan = self.settings.drive.delivery(await self.where(call.unit), volume)
        return await self._move(call, plan, speed, turns)

    @action(cancellable=True)
    async def prime(self, call: Call, volume: Amount | None = None, rate: Rate = None) -> PumpResult:
        """Fills its lines from the inlet to the outlet: one full stroke, or a volume. Initialises it before if needed.

        Fault: plunger or valve is blocked.
        """
        try:
            state = await self._status()
        except OutcomeUnknown as error:
            raise Unreachable(f"{error.message}, before the order: nothing was moved", sent=error.sent) from error
        if state.error == NOT_INITIALISED:
            await self._initialise()
        return await self.dispense(call, volume if volume is not None else self.settings.syringe, rate)

    @action(effect=Effect.STATE, timeout=120, duration=10)
    async def initialise(self, call: Call) -> None:
        """Finds the plunger's zero and the valve's. What the syringe holds goes to `waste`, or to the outlet."""
        del call
        await self._initialise()

    async def _move(self, call: Call, plan: Strokes, speed: int, turns: dict[str, str]) -> PumpResult:
        async def order(stroke: Stroke) -> None:
            self._orders.written()
            answer = await self._ask(f"V{speed}{turns[stroke.way]}A{stroke.end}R")
            if answer.problem is not None:
                raise answer.problem

        return await self.carry_out(call, plan, order, self.settings.steps_per_second(speed))

    async def _initialise(self) -> None:
        self._orders.written()
        self._kept = None
        with contextlib.suppress(OutcomeUnknown):  # whether it was heard shows below
            answer = await self._ask(f"{self.settings.home}R")
            if answer.problem is not None and answer.error != NOT_INITIALISED:
                raise answer.problem
        await self.rest("", HOME_LIMIT)

    # ── what a SyringePump knows ─────────────────────────────────────────────────────────────────────────────────
    def syringe(self, unit: str) -> Syringe:
        del unit
        return self.settings.drive

    async def look(self, unit: str, port: int | None = None, action: str = "") -> Look:
        """By `Q`, which alone tells whether it is busy; plunger and valve once it is not."""
        del unit
        state = await self._status()
        if not state.ready or state.error:
            return Look(state.ready, problem=_problem(state))
        position, valve = await self._position(), await self._valve()
        return Look(ready=True, position=position, valve=self._way(valve, action, port) if valve else None)

    async def halt(self, unit: str) -> None:
        del unit
        await self._ask("T")

    async def arrived(self) -> None:
        await self._orders.arrived()

    def _way(self, valve: str, action: str, port: int | None) -> str:
        """Where a valve stands, in the words of a plan."""
        if not self.settings.ports:
            return {"i": "in", "o": "out"}.get(valve.lower(), valve)
        ports = {str(self.settings.inlet): "in", str(self.settings.outlet): "out"}
        if port is not None:
            way = "in" if action == "aspirate" else "out"
            ports = {**{at: one for at, one in ports.items() if one != way}, str(port): way}
        return ports.get(valve, valve)

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def _ask(self, command: str) -> Answer:
        if self._bus is None:
            raise Unreachable(f"{self.settings.address} is not open")
        return await self._bus.ask(self.settings.pump, command)

    async def _status(self) -> Answer:
        """By `Q`, with an error of before that it does not tell again."""
        state = await self._ask("Q")
        if state.error in LASTING:
            self._kept = state
        elif not state.error and self._kept is not None:
            return replace(self._kept, ready=state.ready)
        return state

    async def _position(self) -> int:
        answer = await self._ask("?")
        if not answer.data.strip().isdigit():
            raise OutcomeUnknown("the pump does not tell its position", sent="?", received=answer.text)
        return int(answer.data)

    async def _valve(self) -> str:
        return "" if self.settings.initialise == "W" else (await self._ask("?6")).data.strip()


def _problem(state: Answer) -> DeviceError | None:
    """What an error of `Q` means for the next order."""
    if state.error != NOT_INITIALISED:
        return state.problem
    return Rejected(
        "the pump is not initialised, as after power-up: give it `prime` or `initialise`; both push out what the "
        "syringe holds",
        received=state.text,
    )
