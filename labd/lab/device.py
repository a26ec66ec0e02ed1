"""One device of the lab: its actions, handed to its driver and looked after, and what it says became of them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import structlog

from labd import clock
from labd.lab.evidence import BEFORE_LIMIT, NoEvidence
from labd.lab.limit import Limit
from labd.lab.supervision import POLL_LIMIT, SAFE_LIMIT, Poll, Supervised
from labd.sdk import (
    Action,
    Call,
    DeviceError,
    Effect,
    Fault,
    Intent,
    Outcome,
    OutcomeUnknown,
    Parameters,
    Result,
    Unreachable,
    Verdict,
)

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

CATCH_UP_LIMIT = 600.0  # s; the rows of a long test are many


class TimeLimit(DeviceError):
    """A READ or STATE action did not end within its time limit."""

    @property
    def kind(self) -> str:
        return "timeout"


class Device(Supervised):
    """A configured device, and what the runtime asks of it."""

    __slots__ = ()

    async def baseline(self, action: Action, unit: str, parameters: Parameters) -> dict[str, Any]:
        """What `outcome` and the evidence will compare against. Raises DeviceError: it cannot be told."""
        found = await self._guard(action.name, POLL_LIMIT, lambda: self.driver.baseline(action.name, unit))
        seen = await self._within(action.name, BEFORE_LIMIT, self.witnesses.before(action, unit, parameters))
        return {**found, **seen}

    async def invoke(self, action: Action, parameters: Parameters, call: Call, run: str, limit: Limit) -> Result:
        """Runs an action within a time limit, and looks for the evidence of it.

        Raises:
            DeviceError: as the driver does, with device and action filled in.
            TimeLimit: a READ or STATE action was late.
            OutcomeUnknown: a ONCE action was late: it may have happened.
            NoEvidence: it was called done, and does not show.
        """
        if not self.connected:
            raise self._named(Unreachable(f"the device is down: {self.problem}"), action.name)
        self._begin(call.id, run)
        self._owed.begin(call.id, call.unit, action)
        try:
            result = await self._carry_out(action, parameters, call, limit)
            await self._prove(action, call.unit, parameters, call.baseline, result)
            return result
        finally:
            self._ended(call.id)

    async def _carry_out(self, action: Action, parameters: Parameters, call: Call, limit: Limit) -> Result:
        try:
            async with limit:
                result = await self._bounded(action.name, self.driver.invoke(action, parameters, call), None)
        except TimeoutError as error:
            late = f"no outcome within {limit.whole:g} s"
            kind = OutcomeUnknown if action.effect is Effect.ONCE else TimeLimit
            raise self._named(kind(late), action.name) from error
        except DeviceError as error:
            if isinstance(error, (Unreachable, OutcomeUnknown)):
                self._wake.set()  # polls at once, so that a lost link shows soon
            if not isinstance(error, OutcomeUnknown):
                self._owed.settle(call.id)
            raise self._named(error, action.name) from error.__cause__
        except Exception as error:
            log.exception("driver failed", device=self.id, action=action.name)
            raise self._named(Fault(f"its driver failed: {error!r}"), action.name) from error
        self._owed.end_well(call.id)
        return result

    async def _prove(
        self, action: Action, unit: str, parameters: Parameters, baseline: Mapping[str, Any], result: Result
    ) -> None:
        try:
            await self.witnesses.prove(action, unit, parameters, baseline, result)
        except NoEvidence as error:
            raise self._named(error, action.name) from None

    def _begin(self, action_id: str, run: str) -> None:
        self._acting[action_id] = run
        self._wake.set()
        self.bus.tell(self.state())

    def _ended(self, action_id: str) -> None:
        self._acting.pop(action_id, None)  # two may want the same of it at once: that it makes another device safe
        self._wake.set()
        self.bus.tell(self.state())

    async def outcome(self, intent: Intent) -> Outcome:
        """Asks the device what became of an action; UNKNOWN when it cannot be asked, or its `done` does not show."""
        try:
            outcome = await self._guard(intent.action, POLL_LIMIT, lambda: self.driver.outcome(intent))
        except DeviceError as error:
            return Outcome(Verdict.UNKNOWN, f"the device could not be asked: {error.message}")
        if outcome.verdict not in (Verdict.UNKNOWN, Verdict.RUNNING):
            self._owed.settle(intent.id)
        else:  # also one of a daemon before
            self._owed.begin(intent.id, intent.unit, self.driver.actions[intent.action])
        if outcome.verdict is Verdict.DONE and outcome.result is not None:
            try:
                await self._prove_intent(intent, outcome.result)
            except NoEvidence as error:
                return Outcome(Verdict.UNKNOWN, f"{outcome.why}; {error.message}", outcome.result)
        return outcome

    async def _prove_intent(self, intent: Intent, result: Result) -> None:
        action = self.driver.actions[intent.action]
        await self._prove(action, intent.unit, intent.parameters, intent.baseline, result)

    async def attach(self, intent: Intent, call: Call, run: str, limit: float) -> Result:
        """Takes up an action that is still running, and looks for its evidence. Raises as `invoke` does."""
        self._begin(call.id, run)
        self._owed.begin(call.id, call.unit, self.driver.actions[intent.action])
        try:
            result = await self._guard(intent.action, limit, lambda: self.driver.attach(intent, call))
            self._owed.end_well(call.id)
            await self._prove_intent(intent, result)
            return result
        finally:
            self._ended(call.id)

    async def clock_offset(self) -> float | None:
        """S that its clock is ahead of this machine's; None where it has none, or cannot be asked. Never raises."""
        try:
            told = await self._guard("time", POLL_LIMIT, self.driver.time)
        except DeviceError:
            return None
        return None if told is None else (told.astimezone(dt.UTC) - clock.outside()).total_seconds()

    async def pose(self) -> tuple[float, ...] | None:
        """Where an arm stands, mm and degrees; None where its driver cannot tell. Raises DeviceError."""
        return await self._guard("pose", POLL_LIMIT, self.driver.pose)

    async def catch_up(self, intent: Intent, call: Call) -> None:
        """Has the device tell what it kept of an action's data that nobody has heard. Raises DeviceError."""
        await self._guard(intent.action, CATCH_UP_LIMIT, lambda: self.driver.catch_up(intent, call))

    async def cancel(self, action_id: str) -> None:
        """Ends a running action in order. Raises Rejected where the device has no way to."""
        await self._guard("cancel", SAFE_LIMIT, lambda: self.driver.cancel(action_id))

    async def safe_state(self, unit: str | None = None) -> str | None:
        """Makes a unit safe; gives what went wrong, or None. Never raises."""
        try:
            await self._guard("safe_state", SAFE_LIMIT, lambda: self.driver.safe_state(unit))
        except DeviceError as error:
            log.warning("safe state failed", device=self.id, unit=unit, problem=str(error))
            return str(error)
        self._owed.made_safe(unit)
        return None

    async def make_safe(self, unit: str | None, cause: str, *, others: bool = True) -> str | None:
        """Makes a unit safe through whatever path is left; gives what went wrong with its own, or None. Never raises.

        One that cannot be told is told as soon as it can be, before it is used again.

        Args:
            unit: None: all of them.
            cause: why.
            others: whether another device may do it (`safe_by`), which ends what the device's other units do.
        """
        problem = await self.safe_state(unit)
        if problem is not None:
            self.owe_safe(cause, unit)
            if others:
                await self.on_unsafe(self.id, cause)
        return problem

    async def _within(self, what: str, limit: float, work: Awaitable[_T]) -> _T:
        """Waits for what may concern other devices, too: each of their drivers has its own deadline."""
        try:
            async with asyncio.timeout(limit):
                return await work
        except TimeoutError as error:
            raise self._named(OutcomeUnknown(f"no answer within {limit:g} s"), what) from error
        except DeviceError as error:
            raise self._named(error, what) from error.__cause__
        except Exception as error:
            log.exception("evidence failed", device=self.id, what=what)
            raise self._named(Fault(f"what was before it could not be read: {error!r}"), what) from error

    async def _guard(self, what: str, limit: float, work: Callable[[], Awaitable[_T]]) -> _T:
        """Runs one exchange with a deadline; whatever goes wrong comes out as a DeviceError."""
        if not self.connected:
            raise self._named(Unreachable(f"the device is down: {self.problem}"), what)
        try:
            return await self._bounded(what, work(), limit)
        except TimeoutError as error:
            raise self._named(OutcomeUnknown(f"no answer within {limit:g} s"), what) from error
        except DeviceError as error:
            raise self._named(error, what) from error.__cause__
        except Exception as error:
            log.exception("driver failed", device=self.id, what=what)
            raise self._named(Fault(f"its driver failed: {error!r}"), what) from error

    def _named(self, error: DeviceError, action: str) -> DeviceError:
        error.device, error.action = self.id, action
        return error


__all__ = ["POLL_LIMIT", "SAFE_LIMIT", "Device", "Poll", "TimeLimit"]
