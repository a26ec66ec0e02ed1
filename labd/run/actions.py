"""One action from intent to outcome: journaled before its first byte, tried again only where the table allows it."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import structlog

from labd import clock
from labd.journal import Journal, NewEvent, SeriesInfo, SignalError, SignalStore
from labd.lab.lab import Lab
from labd.lab.limit import Limit
from labd.protocol.messages import FailureKind
from labd.run.policy import Reaction, backoff, failure_kind, reaction
from labd.run.reservations import Bound
from labd.run.samples import moves
from labd.sdk import Action, Call, DeviceError, Effect, Intent, Outcome, Parameters, Result, Verdict, with_units
from labd.sdk.quantities import unit_of

log = structlog.get_logger(__name__)

UNREACHABLE_LIMIT = 120.0  # s; how long a device that cannot be reached is tried, where the step sets no limit
ASK_AGAIN = (0.0, 2.0, 5.0)  # s; waits before asking a device once more what became of an action


@dataclass(frozen=True, slots=True)
class Order:
    """What a step wants done, with all that is needed to do it."""

    run: str
    sample: str
    state: str
    step: str
    bound: Bound
    action: Action
    parameters: Parameters
    within: float | None


@dataclass(frozen=True, slots=True)
class Did:
    """Done, with its result."""

    result: Result


@dataclass(frozen=True, slots=True)
class Failed:
    """Not done, and known not to be: `kind` is timeout, rejected, fault or unreachable."""

    kind: FailureKind
    message: str


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Nobody knows: a person must say. `kind` is unknown, or fault where a ONCE action may have been cut."""

    kind: str
    intent: Intent
    message: str
    result: Result | None = None


Settled = Did | Failed | Unsettled


@dataclass(slots=True)
class Performer:
    """Carries out the actions of one run."""

    lab: Lab
    journal: Journal
    signals: SignalStore
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    limits: set[Limit] = field(default_factory=set)
    in_flight: dict[str, Order] = field(default_factory=dict)
    generator: random.Random = field(default_factory=random.Random)

    async def perform(self, order: Order) -> Settled:
        """Does it, under the table of errors and effects. Never raises a DeviceError."""
        until = clock.monotonic() + (order.within if order.within is not None else UNREACHABLE_LIMIT)
        for attempt in itertools.count():
            settled, error = await self._attempt(order, attempt)
            if settled is not None or error is None:
                assert settled is not None
                return settled
            wait = backoff(attempt, self.generator)
            if clock.monotonic() + wait > until:
                return Failed(failure_kind(error), str(error))
            await asyncio.sleep(wait)
        raise AssertionError("unreachable: the loop above has no end")

    async def _attempt(self, order: Order, attempt: int) -> tuple[Settled | None, DeviceError | None]:
        """One attempt: what came of it, or None with the error after which it may be tried again."""
        device, action = order.bound.device, order.action
        intent: Intent | None = None
        try:
            baseline = await device.baseline(action.name, order.bound.unit) if action.effect is Effect.ONCE else {}
            intent = await self._intend(order, attempt, baseline)
            self.in_flight[intent.id] = order
            return await self._invoke(order, intent), None
        except DeviceError as error:
            what = reaction(error, action.effect)
            if intent is None:
                # nothing was intended: the device could not even be asked for its baseline
                return (None, error) if what is not Reaction.FAIL else (Failed(failure_kind(error), str(error)), None)
            if what is Reaction.RECONCILE:
                return await self._reconcile(order, intent, error), error
            self._post(order, "action.failed", intent, error=error.kind, message=str(error))
            if what is Reaction.RETRY:
                return None, error
            if what is Reaction.MAKE_SAFE:
                await self.make_safe(order.bound, order.run)
                if action.effect is Effect.ONCE:
                    return Unsettled("fault", intent, str(error)), None
            return Failed(failure_kind(error), str(error)), None
        finally:
            if intent is not None:
                self.in_flight.pop(intent.id, None)

    async def _intend(self, order: Order, attempt: int, baseline: dict[str, Any]) -> Intent:
        """Writes the intent; it is durable when this returns."""
        bound = order.bound
        action_id = f"{order.run}-{next(self.numbers):03d}"
        intent = Intent(action_id, order.action.name, bound.unit, order.parameters, baseline, clock.now())
        intended = NewEvent(
            "action.intended",
            {
                "action_id": action_id,
                "state": order.state,
                "step": order.step,
                "role": bound.role,
                "device": bound.device.id,
                "unit": bound.unit,
                "action": order.action.name,
                "effect": order.action.effect.value,
                "on_loss": order.action.on_loss.value,
                "parameters": with_units(order.parameters),
                "sample": order.sample,
                "attempt": attempt + 1,
                "baseline": baseline,
            },
            order.run,
        )
        await self.journal.append(intended, NewEvent("action.sent", {"action_id": action_id}, order.run))
        return intent

    async def _invoke(self, order: Order, intent: Intent) -> Did:
        seconds = order.within if order.within is not None else order.action.time_limit(order.parameters)
        limit = Limit(seconds)
        if order.within is not None:
            self.limits.add(limit)
        series = self._open_series(order, intent)
        call = Call(
            intent.id,
            intent.unit,
            intent.baseline,
            on_accepted=lambda evidence: self._post(order, "action.accepted", intent, evidence=dict(evidence)),
            on_row=self._row_sink(series),
        )
        try:
            result = await order.bound.device.invoke(order.action, order.parameters, call, order.run, limit)
        finally:
            self.limits.discard(limit)
            await self._close_series(series)
        self.done(order, intent, result)
        return Did(result)

    def done(self, order: Order, intent: Intent, result: Result, **more: Any) -> None:
        """Journals that an action was done, with the move of the sample that follows; never cut by a cancellation."""
        kind = "action.reconciled" if more else "action.done"
        self._post(order, kind, intent, result=with_units(result), **more)
        self.moved(order, result)

    def moved(self, order: Order, result: Result | None) -> None:
        """Journals and applies where the sample is after an arm's action."""
        place = moves(self.lab, order.sample, order.bound, order.action.name, order.parameters, result)
        if place is not None:
            before = self.lab.places.place_of(order.sample)
            data = {"sample": order.sample, "from": before, "to": place}
            self.journal.post(NewEvent("sample.moved", data, order.run))
            self.lab.places.move(order.sample, place)

    async def _reconcile(self, order: Order, intent: Intent, error: DeviceError) -> Settled | None:
        """Asks the device; None when it proves that nothing happened, so that the action may be ordered again."""
        self._post(order, "action.unknown", intent, message=str(error))
        outcome = await self._ask_device(order, intent)
        if outcome.verdict is Verdict.RUNNING:
            try:
                call = Call(intent.id, intent.unit, intent.baseline)
                limit = order.action.time_limit(order.parameters)
                result = await order.bound.device.attach(intent, call, order.run, limit)
                outcome = Outcome(Verdict.DONE, "it was taken up again and ended", result)
            except DeviceError as failure:
                outcome = Outcome(Verdict.UNKNOWN, f"it was running, but {failure.message}")
        if outcome.verdict is Verdict.DONE and outcome.result is not None:
            self.done(order, intent, outcome.result, verdict="done", by="device", why=outcome.why)
            return Did(outcome.result)
        if outcome.verdict is Verdict.NOT_DONE:
            self._post(order, "action.reconciled", intent, verdict="not_done", by="device", why=outcome.why)
            return None
        return Unsettled("unknown", intent, f"{error}; {outcome.why}", outcome.result)

    async def _ask_device(self, order: Order, intent: Intent) -> Outcome:
        outcome = Outcome(Verdict.UNKNOWN, "the device was not asked")
        for wait in ASK_AGAIN:
            await asyncio.sleep(wait)
            outcome = await order.bound.device.outcome(intent)
            if outcome.verdict is not Verdict.UNKNOWN:
                break
        return outcome

    async def make_safe(self, bound: Bound, run: str) -> None:
        """Brings one unit to its safe state, and journals how that went."""
        problem = await bound.device.safe_state(bound.unit or None)
        data = {"device": bound.device.id, "unit": bound.unit, "problem": problem}
        self.journal.post(NewEvent("device.safe_state", data, run))

    def pause_limits(self) -> None:
        """Lets every `within` stand still: the run is held."""
        for limit in self.limits:
            limit.pause()

    def resume_limits(self) -> None:
        for limit in self.limits:
            limit.resume()

    def _open_series(self, order: Order, intent: Intent) -> str | None:
        if order.action.data is None:
            return None
        columns = tuple((name, unit_of(field_) or "") for name, field_ in order.action.data.model_fields.items())
        device = order.bound.device.id
        info = SeriesInfo(
            id=intent.id,
            device=device,
            unit=intent.unit,
            run=order.run,
            action=order.action.name,
            started=clock.stamp(intent.at),
            columns=columns,
        )
        self.signals.create(info)
        return intent.id

    async def _close_series(self, series: str | None) -> None:
        if series is None:
            return
        try:
            await self.signals.finish(series)
        except SignalError as error:
            # The rows are kept in memory and tried again; a disk that is full must not hide that an action was done.
            log.warning("samples are not on the disk yet", series=series, problem=str(error))

    def _row_sink(self, series: str | None) -> Callable[[tuple[float | None, ...]], None]:
        if series is None:
            return lambda _: None
        append = self.signals.append
        return lambda row: append(series, row)

    def _post(self, order: Order, kind: str, intent: Intent, **data: Any) -> None:
        self.journal.post(NewEvent(kind, {"action_id": intent.id, **data}, order.run))
