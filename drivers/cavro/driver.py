"""The driver of Cavro syringe pumps.

Every move is to an absolute position of the plunger, one stroke a command, and its end is read back: so position and
valve tell after a crash whether a volume was given, and how much of it. The pump forgets its position with its power,
and with an overload; it must then be initialised, which pushes out what the syringe holds. That is never done unasked:
`prime` does it, since it fills the lines anyway, and `initialise`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, JsonValue

from drivers.cavro.bus import ERRORS, Answer, Bus
from drivers.cavro.settings import HALF, CavroSettings
from labd import clock
from labd.io.arrival import Orders
from labd.sdk import (
    About,
    Bounds,
    Call,
    Effect,
    Fault,
    FlowRate,
    Intent,
    Outcome,
    OutcomeUnknown,
    Pump,
    Rejected,
    Result,
    Setup,
    Unreachable,
    Verdict,
    Volume,
    action,
)
from labd.sdk.roles import PumpResult, PumpSignals
from labd.sdk.strokes import Stroke, Strokes, aspiration, delivery

POLL = 0.2  # s between two looks whether it is ready
SPARE = 10.0  # s beyond what a stroke takes by its speed: valve, ramps, start
HOME_LIMIT = 90.0  # s; initialising a full syringe at its slow speed
LONGEST = 590.0  # s; what one action may take by its speed
LOOKS = 3  # answers in a row that may be lost while it is waited for
NOT_INITIALISED = 7
VOLUMES = frozenset({"aspirate", "dispense", "prime"})

Amount = Annotated[Volume, Bounds(min=0.001)]
Rate = Annotated[FlowRate, Bounds(min=0.001)] | None
Port = Annotated[int, Field(ge=1, le=12)] | None


class CavroSignals(PumpSignals):
    """Beside the role's: whether it knows where its plunger is, where its valve stands, its error in words."""

    initialised: bool | None = None
    valve: str | None = None
    error: str | None = None


@dataclass(slots=True)
class _Running:
    """The action that has the pump."""

    id: str
    cancelled: bool = False


class Cavro(Pump):
    """One pump on its line. Connecting moves nothing."""

    Settings = CavroSettings
    settings: CavroSettings
    Signals = CavroSignals

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._bus: Bus | None = None
        self._running: _Running | None = None
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
        """
        await self.close()
        self._bus = await Bus.join(self.settings.address)
        self._orders.written()
        try:
            await self._ask("Q")
            firmware = await self._ask("&")
        except OutcomeUnknown as error:
            await self.close()
            raise Unreachable(
                f"{self.settings.address}: pump {self.settings.pump} does not answer; is it on, does its address "
                f"switch stand at {int(self.settings.pump, 16) - 1:X}, and does the baud rate agree? ({error.message})",
                received=error.received,
            ) from error
        return About(model=f"Cavro {self.settings.model}", firmware=firmware.data.strip())

    async def close(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            await bus.leave()

    async def read_state(self) -> CavroSignals:
        """Position, valve and error; an error is a value, not an error of the line."""
        state = await self._ask("Q")
        known = state.error != NOT_INITIALISED
        valve = (await self._ask("?6")).data.strip() if known and self.settings.initialise != "W" else ""
        return CavroSignals(
            position=self.settings.volume(await self._position()) if known else None,
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
        del unit
        await self._ask("T")
        await self._until_ready(SPARE)

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    @action(cancellable=True)
    async def aspirate(self, call: Call, volume: Amount, rate: Rate = None, port: Port = None) -> PumpResult:
        """Draws a volume in from the inlet, or from another port.

        Rejected: the syringe has no room for it, or the pump is not initialised. Fault: plunger or valve is blocked.
        """
        speed, turn = self.settings.speed(rate), self.settings.turn("in", port)
        plan = self._aspiration(await self._where(), volume)
        return await self._carry_out(call, plan, speed, {"in": turn})

    @action(cancellable=True)
    async def dispense(self, call: Call, volume: Amount, rate: Rate = None, port: Port = None) -> PumpResult:
        """Gives a volume to the outlet, or to another port: of what it holds; where that is less it fills itself.

        Rejected: the pump is not initialised. Fault: plunger or valve is blocked.
        """
        speed, turn = self.settings.speed(rate), self.settings.turn("out", port)
        plan = self._delivery(await self._where(), volume)
        return await self._carry_out(call, plan, speed, {"in": self.settings.turn("in", None), "out": turn})

    @action(cancellable=True)
    async def prime(self, call: Call, volume: Amount | None = None, rate: Rate = None) -> PumpResult:
        """Fills its lines from the inlet to the outlet: one full stroke, or a volume. Initialises it before if needed.

        Fault: plunger or valve is blocked.
        """
        speed = self.settings.speed(rate)
        if (await self._look("Q")).error == NOT_INITIALISED:
            await self._initialise()
        plan = self._delivery(await self._where(), volume)
        turns = {"in": self.settings.turn("in", None), "out": self.settings.turn("out", None)}
        return await self._carry_out(call, plan, speed, turns)

    @action(effect=Effect.STATE, timeout=120, duration=10)
    async def initialise(self, call: Call) -> None:
        """Finds the plunger's zero and the valve's. What the syringe holds goes to `waste`, or to the outlet."""
        del call
        await self._initialise()

    async def cancel(self, action_id: str) -> None:
        """Stops the plunger; the action then gives what really moved."""
        running = self._running
        if running is None or running.id != action_id:
            raise Rejected(f"{action_id} cannot be cancelled: it is not running")
        running.cancelled = True
        await self._ask("T")

    # ── strokes ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _aspiration(self, start: int, volume: float) -> Strokes:
        steps = self.settings.steps(volume)
        room = self.settings.full - start
        if steps > room:
            raise Rejected(
                f"the syringe has room for {self.settings.volume(room):g} µL more, and {volume:g} µL are asked for"
            )
        return aspiration(start, steps)

    def _delivery(self, start: int, volume: float | None) -> Strokes:
        steps = self.settings.full if volume is None else self.settings.steps(volume)
        return delivery(start, steps, self.settings.full, self.settings.mark)

    async def _carry_out(self, call: Call, plan: Strokes, speed: int, turns: dict[str, str]) -> PumpResult:
        seconds = sum(one.steps for one in plan.strokes) * HALF / speed
        if seconds > LONGEST:
            raise Rejected(
                f"at this rate it takes {seconds / 60:.0f} minutes; one action may take ten: give it in parts"
            )
        self._running = running = _Running(call.id)
        try:
            for number, stroke in enumerate(plan.strokes):
                if running.cancelled:
                    return self._result(plan.before(number))
                at = await self._stroke(call, number, stroke, speed, turns)
                if at != stroke.end and running.cancelled:
                    return self._result(plan.moved(number, at))
                if at != stroke.end:
                    raise OutcomeUnknown(f"the plunger stands at {at} steps, not at {stroke.end}: it was stopped")
        finally:
            self._running = None
        return self._result(plan.total)

    async def _stroke(self, call: Call, number: int, stroke: Stroke, speed: int, turns: dict[str, str]) -> int:
        """Orders one stroke, once, and gives where the plunger then rests."""
        begun = number > 0
        try:
            self._orders.written()
            answer = await self._ask(f"V{speed}{turns[stroke.way]}A{stroke.end}R")
            if answer.problem is not None:
                raise answer.problem
            begun = True
            call.accepted(stroke=number + 1, position=stroke.end)
            await self._at_rest(stroke.steps * HALF / speed + SPARE)
            return await self._position()
        except Rejected as error:
            if begun:
                raise Fault(f"{error.message}, in the midst of the order", received=error.received) from error
            raise
        except Unreachable as error:
            if begun:
                raise OutcomeUnknown(f"{error.message}, in the midst of the order", sent=error.sent) from error
            raise

    async def _initialise(self) -> None:
        self._orders.written()
        answer = await self._ask(f"{self.settings.home}R")
        if answer.problem is not None and answer.error != NOT_INITIALISED:
            raise answer.problem
        await self._at_rest(HOME_LIMIT)

    async def _at_rest(self, limit: float) -> None:
        """Waits until it is ready without an error. Raises as `_until_ready`, and Fault."""
        answer = await self._until_ready(limit)
        if answer.error and answer.error != NOT_INITIALISED:
            raise Fault(ERRORS.get(answer.error, f"it tells error {answer.error}"), received=answer.text)

    async def _until_ready(self, limit: float) -> Answer:
        """Waits until `Q` says that it is ready, with an error or without.

        Raises:
            Fault: it is not within so many seconds.
            OutcomeUnknown: it does not answer any more.
        """
        end, lost = clock.monotonic() + limit, 0
        while True:
            try:
                answer, lost = await self._ask("Q"), 0
            except OutcomeUnknown:
                lost += 1
                if lost == LOOKS:
                    raise
                continue
            if answer.ready:
                return answer
            if clock.monotonic() > end:
                raise Fault(f"the pump is still busy after {limit:.0f} s: look at it", received=answer.text)
            await asyncio.sleep(POLL)

    def _result(self, steps: int) -> PumpResult:
        return PumpResult(volume=self.settings.volume(steps))

    # ── after the fact ───────────────────────────────────────────────────────────────────────────────────────────
    async def baseline(self, action: str, unit: str) -> dict[str, JsonValue]:
        """Where plunger and valve are before the order; nothing where the pump does not know."""
        del unit
        state = await self._ask("Q")
        if action not in VOLUMES or state.error or not state.ready:
            return {}
        return {"position": await self._position(), "valve": await self._valve()}

    async def outcome(self, intent: Intent) -> Outcome:
        """By where plunger and valve are now, against where they were."""
        start = intent.baseline.get("position")
        if intent.action not in VOLUMES:
            return await super().outcome(intent)
        if not isinstance(start, int):
            return Outcome(Verdict.UNKNOWN, "the plunger's position was not known before the order")
        found = await self._judged(intent, start)
        if found.verdict is Verdict.NOT_DONE:
            await self._orders.arrived()  # an order on an earlier connection may still be on its way
            found = await self._judged(intent, start)
        return found

    async def _judged(self, intent: Intent, start: int) -> Outcome:
        state = await self._ask("Q")
        if not state.ready:
            return Outcome(Verdict.RUNNING, "the plunger moves")
        if state.error:
            why = f"{ERRORS.get(state.error, 'the pump has an error')}: where the plunger is proves nothing"
            return Outcome(Verdict.UNKNOWN, why)
        at, plan = await self._position(), self._plan(intent, start)
        possible = plan.possible(at, *(await self._ways(intent)))
        said = f"the plunger went from {start} to {at} steps"
        if len(possible) != 1:
            return Outcome(Verdict.UNKNOWN, f"{said}, which does not tell how much was moved")
        moved = min(possible)
        if moved == 0:
            return Outcome(Verdict.NOT_DONE, f"{said}: nothing was moved")
        verdict = Verdict.DONE if moved == plan.total else Verdict.PARTIAL
        return Outcome(verdict, said, self._result(moved))

    async def attach(self, intent: Intent, call: Call) -> Result:
        """Waits until the stroke that is under way has ended; more strokes of the order are not begun."""
        del call
        await self._at_rest(LONGEST)
        outcome = await self.outcome(intent)
        if outcome.verdict is not Verdict.DONE or outcome.result is None:
            raise OutcomeUnknown(outcome.why)
        return outcome.result

    async def _ways(self, intent: Intent) -> tuple[str | None, str | None]:
        """Where the valve is, and was before the order, in the words of a plan; None for a pump without one."""
        port = getattr(intent.parameters, "port", None)
        now, before = await self._valve(), str(intent.baseline.get("valve") or "")
        action = intent.action
        return (self._way(now, action, port) if now else None), (self._way(before, action, port) if before else None)

    def _plan(self, intent: Intent, start: int) -> Strokes:
        volume: Any = getattr(intent.parameters, "volume", None)
        return self._aspiration(start, volume) if intent.action == "aspirate" else self._delivery(start, volume)

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

    async def _look(self, query: str) -> Answer:
        """Asks before an order: what is not answered has cost nothing. Raises Unreachable."""
        try:
            answer = await self._ask(query)
        except OutcomeUnknown as error:
            raise Unreachable(f"{error.message}, before the order: nothing was moved", sent=error.sent) from error
        if query == "?" and not answer.data.strip().isdigit():
            raise Unreachable("the pump does not tell its position; nothing was moved", received=answer.text)
        return answer

    async def _where(self) -> int:
        """The plunger's position, of a pump that can take an order.

        Raises:
            Unreachable: it does not answer; nothing was ordered yet.
            Rejected, Fault: it is not initialised, busy, blocked.
        """
        state = await self._look("Q")
        if state.error == NOT_INITIALISED:
            raise Rejected(
                "the pump is not initialised, as after power-up: give it `prime` or `initialise`; both push out what "
                "the syringe holds",
                received=state.text,
            )
        if state.problem is not None:
            raise state.problem
        if not state.ready:
            raise Rejected("the pump is busy", received=state.text)
        return int((await self._look("?")).data)

    async def _position(self) -> int:
        answer = await self._ask("?")
        if not answer.data.strip().isdigit():
            raise OutcomeUnknown("the pump does not tell its position", sent="?", received=answer.text)
        return int(answer.data)

    async def _valve(self) -> str:
        return "" if self.settings.initialise == "W" else (await self._ask("?6")).data.strip()
