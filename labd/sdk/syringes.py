"""A pump that drives syringes: what all of them have in common, for their drivers to build on.

Every move is to an absolute position of the plunger, one stroke an order, and its end is read back: so plunger and
valve tell after a crash whether a volume was given, and how much of it.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import JsonValue

from labd import clock
from labd.sdk.actions import Call, Result
from labd.sdk.driver import Intent, Outcome, Setup, Verdict
from labd.sdk.errors import DeviceError, Fault, OutcomeUnknown, Rejected, Unreachable
from labd.sdk.quantities import Bounds, FlowRate, Volume
from labd.sdk.roles.handling import Pump, PumpResult, PumpSignals
from labd.sdk.strokes import Stroke, Strokes, Syringe

POLL = 0.2  # s between two looks whether it is ready
SPARE = 10.0  # s beyond what a stroke takes by its speed: valve, ramps, start
LONGEST = 590.0  # s; what one action may take by its speed
LOOKS = 3  # answers in a row that may be lost while it is waited for
VOLUMES = frozenset({"aspirate", "dispense", "prime"})

Amount = Annotated[Volume, Bounds(min=0.001)]
Rate = Annotated[FlowRate, Bounds(min=0.001)] | None

Order = Callable[[Stroke], Awaitable[None]]


class SyringeSignals(PumpSignals):
    """Beside the role's: `initialised`, whether it knows where its plunger is; its `valve`; its `error` in words."""

    initialised: bool | None = None
    valve: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What a pump tells of one syringe.

    Args:
        ready: nothing moves.
        position: of the plunger in steps; None while it moves, or where the pump does not know it.
        valve: `in`, `out` or wherever else it stands; None: there is none, or it cannot tell.
        problem: why it takes no order, as the error that it means.
    """

    ready: bool
    position: int | None = None
    valve: str | None = None
    problem: DeviceError | None = None


@dataclass(slots=True)
class _Running:
    id: str
    cancelled: bool = False


class SyringePump(Pump):
    """A pump whose driver knows how to look at a syringe, to order one stroke of it, and to halt it."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.running: dict[str, _Running] = {}

    # ── what a driver knows ──────────────────────────────────────────────────────────────────────────────────────
    @abstractmethod
    def syringe(self, unit: str) -> Syringe:
        """What is mounted there."""

    @abstractmethod
    async def look(self, unit: str, port: int | None = None, action: str = "") -> Look:
        """One look. `port`, `action`: where an action goes through another port than the usual, that one is its way."""

    @abstractmethod
    async def halt(self, unit: str) -> None:
        """Stops the plunger where it is."""

    @abstractmethod
    async def arrived(self) -> None:
        """Returns when no order that was sent before can still arrive."""

    # ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────
    async def where(self, unit: str) -> int:
        """The position of a syringe that can take an order.

        Raises:
            Unreachable: it does not answer; nothing was ordered yet.
            Rejected, Fault: why it takes none.
        """
        try:
            now = await self.look(unit)
        except OutcomeUnknown as error:
            raise Unreachable(f"{error.message}, before the order: nothing was moved", sent=error.sent) from error
        if now.problem is not None:
            raise now.problem
        if not now.ready or now.position is None:
            raise Rejected("the pump is busy")
        return now.position

    async def carry_out(self, call: Call, plan: Strokes, order: Order, rate: float) -> PumpResult:
        """Orders the strokes of a plan, each once and when the one before has ended.

        Args:
            call: of the action.
            plan: its strokes.
            order: sends one of them.
            rate: steps a second.

        Raises:
            Rejected: it would take too long, or the pump refused before anything moved.
            Fault: the pump stopped itself, or refused in the midst.
            OutcomeUnknown: it does not answer any more, or somebody stopped it.
        """
        seconds = sum(one.steps for one in plan.strokes) / rate
        if seconds > LONGEST:
            raise Rejected(f"at this rate it takes {seconds / 60:.0f} min; one action may take ten: give it in parts")
        running = self.running[call.unit] = _Running(call.id)
        syringe = self.syringe(call.unit)
        try:
            for number, stroke in enumerate(plan.strokes):
                if running.cancelled:
                    return PumpResult(volume=syringe.volume(plan.before(number)))
                at = await self._stroke(call, number, stroke, order, stroke.steps / rate + SPARE)
                if at != stroke.end and running.cancelled:
                    return PumpResult(volume=syringe.volume(plan.moved(number, at)))
                if at != stroke.end:
                    raise OutcomeUnknown(f"the plunger stands at {at} steps, not at {stroke.end}: it was stopped")
        finally:
            del self.running[call.unit]
        return PumpResult(volume=syringe.volume(plan.total))

    async def _stroke(self, call: Call, number: int, stroke: Stroke, order: Order, limit: float) -> int:
        """Orders one stroke, once, and gives where the plunger then rests."""
        begun = number > 0
        try:
            try:
                await order(stroke)
            except OutcomeUnknown:
                if not await self._took(call.unit, stroke):
                    raise
            begun = True
            call.accepted(stroke=number + 1, position=stroke.end)
            return await self.rest(call.unit, limit)
        except Rejected as error:
            if begun:
                raise Fault(f"{error.message}, in the midst of the order", received=error.received) from error
            raise
        except Unreachable as error:
            if begun:
                raise OutcomeUnknown(f"{error.message}, in the midst of the order", sent=error.sent) from error
            raise

    async def _took(self, unit: str, stroke: Stroke) -> bool:
        """Whether an order whose answer was lost is seen to be under way, or at its end. It is not sent again."""
        now = await self.look(unit)
        return not now.ready or now.position == stroke.end

    async def rest(self, unit: str, limit: float) -> int:
        """Where the plunger rests once nothing moves. Raises as `until_ready`, and what keeps it from orders."""
        now = await self.until_ready(unit, limit)
        if now.problem is not None:
            raise now.problem
        if now.position is None:
            raise OutcomeUnknown("the pump does not tell its position")
        return now.position

    async def until_ready(self, unit: str, limit: float) -> Look:
        """Waits until nothing moves.

        Raises:
            Fault: it does for longer than so many seconds.
            OutcomeUnknown: the pump does not answer any more.
        """
        end, lost = clock.monotonic() + limit, 0
        while True:
            try:
                now, lost = await self.look(unit), 0
            except OutcomeUnknown:
                lost += 1
                if lost == LOOKS:
                    raise
                continue
            if now.ready:
                return now
            if clock.monotonic() > end:
                raise Fault(f"the pump is still busy after {limit:.0f} s: look at it")
            await asyncio.sleep(POLL)

    async def cancel(self, action_id: str) -> None:
        """Stops the plunger; the action then gives what really moved."""
        for unit, running in self.running.items():
            if running.id == action_id:
                running.cancelled = True
                await self.halt(unit)
                return
        raise Rejected(f"{action_id} cannot be cancelled: it is not running")

    # ── after the fact ───────────────────────────────────────────────────────────────────────────────────────────
    async def baseline(self, action: str, unit: str) -> dict[str, JsonValue]:
        """Where plunger and valve are before the order; nothing where the pump does not know."""
        if action not in VOLUMES:
            return {}
        now = await self.look(unit)
        return {} if now.position is None else {"position": now.position, "valve": now.valve}

    async def outcome(self, intent: Intent) -> Outcome:
        """By where plunger and valve are now, against where they were."""
        start = intent.baseline.get("position")
        if intent.action not in VOLUMES:
            return await super().outcome(intent)
        if not isinstance(start, int):
            return Outcome(Verdict.UNKNOWN, "the plunger's position was not known before the order")
        found = await self._judged(intent, start)
        if found.verdict is Verdict.NOT_DONE:
            await self.arrived()  # an order on an earlier connection may still be on its way
            found = await self._judged(intent, start)
        return found

    async def _judged(self, intent: Intent, start: int) -> Outcome:
        now = await self.look(intent.unit, getattr(intent.parameters, "port", None), intent.action)
        if not now.ready:
            return Outcome(Verdict.RUNNING, "the plunger moves")
        if now.problem is not None or now.position is None:
            why = f"{now.problem.message if now.problem else 'no position'}: where the plunger is proves nothing"
            return Outcome(Verdict.UNKNOWN, why)
        before, plan = intent.baseline.get("valve"), self._plan(intent, start)
        possible = plan.possible(now.position, now.valve, before if isinstance(before, str) else None)
        said = f"the plunger went from {start} to {now.position} steps"
        if len(possible) != 1:
            return Outcome(Verdict.UNKNOWN, f"{said}, which does not tell how much was moved")
        moved = min(possible)
        if moved == 0:
            return Outcome(Verdict.NOT_DONE, f"{said}: nothing was moved")
        verdict = Verdict.DONE if moved == plan.total else Verdict.PARTIAL
        return Outcome(verdict, said, PumpResult(volume=self.syringe(intent.unit).volume(moved)))

    def _plan(self, intent: Intent, start: int) -> Strokes:
        volume: Any = getattr(intent.parameters, "volume", None)
        syringe = self.syringe(intent.unit)
        return syringe.aspiration(start, volume) if intent.action == "aspirate" else syringe.delivery(start, volume)

    async def attach(self, intent: Intent, call: Call) -> Result:
        """Waits until the stroke that is under way has ended; more strokes of the order are not begun."""
        del call
        await self.until_ready(intent.unit, LONGEST)
        outcome = await self.outcome(intent)
        if outcome.verdict is not Verdict.DONE or outcome.result is None:
            raise OutcomeUnknown(outcome.why)
        return outcome.result
