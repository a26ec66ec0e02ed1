"""A run's actions from intent to outcome: journaled before the first byte, tried again only where the table allows."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import structlog

from labd import clock
from labd.journal import Journal, NewEvent, SignalStore
from labd.lab.evidence import NoEvidence
from labd.lab.lab import Lab
from labd.lab.limit import Limit, Stopwatch
from labd.run.outcomes import Did, Failed, Order, Settled, Unsettled
from labd.run.policy import Reaction, backoff, failure_kind, reaction
from labd.run.recorder import Recorder, Rows
from labd.run.reservations import Bound, UnitKey
from labd.sdk import Call, DeviceError, Effect, Intent, OnLoss, Outcome, OutcomeUnknown, Unreachable, Verdict

log = structlog.get_logger(__name__)

UNREACHABLE_LIMIT = 120.0  # s; how long a device that cannot be reached is tried, where the step sets no limit
ASK_AGAIN = (0.0, 2.0, 5.0)  # s; waits before asking a device once more what became of an action
RECONNECT_LIMIT = 300.0  # s; how long a device may take to come back after a restart, before a person is asked
LET_GO = 0.1  # s; how long drivers may take to let go of what is cut, before their devices are made safe all the same
LEAVE_LIMIT = 60.0  # s; how long an action may take to its outcome when the daemon is stopped
CUT_LIMIT = 5.0  # s; how long the slowest of them is waited for


@dataclass(slots=True)
class _Work:
    """One order under way, over all its attempts."""

    order: Order
    task: asyncio.Task[Any]
    until: float  # of the performer's stopwatch
    attempting: bool = False
    intent: Intent | None = None  # of the present attempt
    sent: bool = False
    accepted: bool = False
    told: bool = False  # the journal holds an outcome of the intent, `unknown` included
    left: str | None = None  # why the run does not wait for it any more
    quiet: asyncio.Event = field(default_factory=asyncio.Event)  # set while nothing of it is on the wire

    def begin(self) -> None:
        self.attempting, self.intent = True, None
        self.sent = self.accepted = self.told = False
        self.quiet.clear()

    def end(self) -> None:
        self.attempting = False
        self.quiet.set()


class Performer:
    """Carries out the actions of one run.

    Args:
        lab, journal, signals: where it acts and writes.
        generator: for the jitter of retries.
        on_quiet: called when an attempt has ended and another waits: nothing of it is on the wire.
        on_sent: called with the step of an order that is on its way to its device.
        on_unsent: called with it when that order has come to nothing for certain, and may be given again.
        before: how many actions the run has had already.
    """

    def __init__(
        self,
        lab: Lab,
        journal: Journal,
        signals: SignalStore,
        generator: random.Random,
        on_quiet: Callable[[], None] = lambda: None,
        on_sent: Callable[[str], None] = lambda _: None,
        on_unsent: Callable[[str], None] = lambda _: None,
        before: int = 0,
    ) -> None:
        self.lab = lab
        self.journal = journal
        self.recorder = Recorder(lab, journal, signals)
        self.on_quiet = on_quiet
        self.on_sent = on_sent
        self.on_unsent = on_unsent
        self._generator = generator
        self._numbers: Iterator[int] = itertools.count(before + 1)
        self._works: list[_Work] = []
        self._limits: set[Limit] = set()
        self._watch = Stopwatch()
        self._open = asyncio.Event()  # new attempts may begin
        self._open.set()
        self._ending: str | None = None  # why nothing new is begun any more

    @property
    def quiet(self) -> bool:
        """Whether nothing is on the wire, nor about to be."""
        return not any(work.attempting for work in self._works)

    # ── one order ────────────────────────────────────────────────────────────────────────────────────────────────
    async def perform(self, order: Order) -> Settled:
        """Does it, under the table of errors and effects. Never raises a DeviceError."""
        task = asyncio.current_task()
        assert task is not None
        patience = order.within if order.within is not None else UNREACHABLE_LIMIT
        work = _Work(order, task, self._watch.elapsed + patience)
        self._works.append(work)
        try:
            return await self._until_settled(work)
        except asyncio.CancelledError:
            if work.left is None or self._ending is not None:
                raise
            task.uncancel()
            return Failed("cancelled", work.left)
        finally:
            self._works.remove(work)

    async def _until_settled(self, work: _Work) -> Settled:
        for attempt in itertools.count():
            await self._open.wait()
            if self._ending is not None:
                return Failed("rejected", f"{self._ending}: nothing new is begun")
            if work.left is not None:
                return Failed("cancelled", work.left)
            work.begin()
            try:
                settled = await self._attempt(work, attempt)
            finally:
                work.end()
            if not isinstance(settled, DeviceError):
                return settled
            if work.sent and (work.order.action.effect is Effect.ONCE or isinstance(settled, Unreachable)):
                self.on_unsent(work.order.step)
            self.on_quiet()
            wait = backoff(attempt, self._generator)
            if self._watch.elapsed + wait > work.until:
                return Failed(failure_kind(settled), str(settled))
            await asyncio.sleep(wait)
        raise AssertionError("the loop above has no end")

    async def _attempt(self, work: _Work, attempt: int) -> Settled | DeviceError:
        """One attempt: what came of it, or the error after which it may be tried again."""
        order = work.order
        device, action, unit = order.bound.device, order.action, order.bound.unit
        try:
            once = action.effect is Effect.ONCE
            baseline = await device.baseline(action, unit, order.parameters) if once else {}
        except DeviceError as error:
            return await self._not_begun(order, error)
        action_id = f"{order.run}-{next(self._numbers):03d}"
        intent = Intent(action_id, action.name, unit, order.parameters, baseline, clock.now())
        work.intent = intent
        try:
            await self.recorder.intend(order, intent, attempt)
            rows = self.recorder.rows(order, intent)
            try:
                return await self._invoke(work, intent, rows)
            except DeviceError as error:
                return await self._react(work, intent, rows, error)
            finally:
                await rows.close()
        except asyncio.CancelledError:
            self._cut_off(work, intent)
            raise

    async def _not_begun(self, order: Order, error: DeviceError) -> Settled | DeviceError:
        """The device could not even be asked for its baseline: nothing was intended, nothing was sent."""
        match reaction(error, order.action.effect):
            case Reaction.MAKE_SAFE:
                await self.make_safe(order.bound, order.run)
                return Failed(failure_kind(error), str(error))
            case Reaction.FAIL:
                return Failed(failure_kind(error), str(error))
            case _:
                return error

    async def _invoke(self, work: _Work, intent: Intent, rows: Rows) -> Settled:
        order = work.order
        seconds = order.action.time_limit(order.parameters)
        limit = Limit(seconds)
        if order.within is not None:
            left = work.until - self._watch.elapsed
            if left <= 0:
                message = f"its {order.within:g} s were over before it could be sent"
                self._tell(work, "action.failed", intent, error="timeout", message=message)
                return Failed("timeout", f"{order.name}: {message}")
            limit = Limit(left, max(left, seconds), order.within)
            self._limits.add(limit)
            if not self._open.is_set():
                limit.pause()
        work.sent = True
        self.on_sent(order.step)
        try:
            result = await order.bound.device.invoke(
                order.action, order.parameters, self._call(work, intent, rows), order.run, limit
            )
        finally:
            self._limits.discard(limit)
        return await self._done(work, intent, rows, Did(result))

    async def _done(self, work: _Work, intent: Intent, rows: Rows, did: Did, **more: Any) -> Did:
        """Journals what was done, after its rows; a cancellation meanwhile does not lose it."""
        try:
            await rows.close()
        finally:
            work.told = True
            conflict = self.recorder.done(work.order, intent, did.result, **more)
        return Did(did.result, conflict)

    def _call(self, work: _Work, intent: Intent, rows: Rows) -> Call:
        def accepted(evidence: Any) -> None:
            work.accepted = True
            self.recorder.post(work.order, "action.accepted", intent, evidence=dict(evidence))

        return Call(intent.id, intent.unit, intent.baseline, on_accepted=accepted, on_row=rows.append)

    async def _react(self, work: _Work, intent: Intent, rows: Rows, error: DeviceError) -> Settled | DeviceError:
        order = work.order
        what = reaction(error, order.action.effect, accepted=work.accepted)
        if what is Reaction.RECONCILE:
            return await self._reconcile(work, intent, rows, error)
        self._tell(work, "action.failed", intent, error=error.kind, message=str(error))
        if what is Reaction.RETRY:
            return error
        if what is Reaction.MAKE_SAFE:
            await self.make_safe(order.bound, order.run)
            if order.action.effect is Effect.ONCE:
                return Unsettled("fault", intent, str(error))
        return Failed(failure_kind(error), str(error))

    def _tell(self, work: _Work, kind: str, intent: Intent, **data: Any) -> None:
        work.told = True
        self.recorder.post(work.order, kind, intent, **data)

    def _cut_off(self, work: _Work, intent: Intent) -> None:
        """Journals what is known of an action whose task is cancelled; nothing when the daemon dies, as in a crash."""
        why = self._ending or work.left
        if why is None or work.told:
            return
        if not work.sent:
            self._tell(work, "action.failed", intent, error="cancelled", message=f"{why}; nothing was sent")
        elif work.order.action.effect is Effect.ONCE:
            self._tell(work, "action.unknown", intent, message=why)
        elif work.left is not None:
            self._tell(work, "action.failed", intent, error="cancelled", message=why)
        else:
            self._tell(work, "action.failed", intent, error="cancelled", message=self._ending)

    # ── unknown outcomes ─────────────────────────────────────────────────────────────────────────────────────────
    async def _reconcile(self, work: _Work, intent: Intent, rows: Rows, error: DeviceError) -> Settled | DeviceError:
        """Asks the device. The error comes back when it proves that nothing happened: it may be ordered again."""
        self._tell(work, "action.unknown", intent, message=str(error))
        if isinstance(error, NoEvidence):  # the device has said what it can: a person must look
            return Unsettled("unknown", intent, str(error), error.result)
        outcome = await self._ask_device(work.order, intent)
        if outcome.verdict is Verdict.RUNNING:
            outcome = await self._take_up(work, intent, rows)
        more = {"by": "device", "why": outcome.why}
        if outcome.verdict is Verdict.NOT_DONE:
            self.recorder.post(work.order, "action.reconciled", intent, verdict="not_done", **more)
            return error
        # What was ended on purpose is settled by what the device has of it; else a person must say what it is worth.
        ends = self._ending is not None or work.left is not None
        settles = {Verdict.DONE, Verdict.PARTIAL} if ends else {Verdict.DONE}
        if outcome.verdict in settles and outcome.result is not None:
            return await self._done(work, intent, rows, Did(outcome.result), verdict=outcome.verdict.value, **more)
        return Unsettled("unknown", intent, f"{error}; {outcome.why}", outcome.result)

    async def resume(self, order: Order, intent: Intent, why: str, left: str | None = None) -> Settled:
        """Settles a ONCE action that was under way when the daemon ended, by what its device has of it.

        Only where the device proves that nothing happened is it ordered again.

        Args:
            order: as it was given.
            intent: of its attempt.
            why: what had become of the daemon.
            left: why the run does not wait for it any more; then it is ended where it can be, and never ordered again.
        """
        task = asyncio.current_task()
        assert task is not None
        work = _Work(order, task, math.inf, attempting=True, intent=intent, sent=True, left=left)
        self._works.append(work)
        try:
            settled = await self._settle_anew(work, intent, OutcomeUnknown(why))
        finally:
            work.end()
            self._works.remove(work)
        if not isinstance(settled, DeviceError):
            return settled
        self.on_unsent(order.step)
        return Failed("cancelled", left) if left is not None else await self.perform(order)

    async def _settle_anew(self, work: _Work, intent: Intent, error: DeviceError) -> Settled | DeviceError:
        rows = self.recorder.rows(work.order, intent)
        try:
            work.quiet.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RECONNECT_LIMIT):
                    await work.order.bound.device.wait_ready()
            work.quiet.clear()
            if work.left is not None:
                await self._end_early(work, work.left, safe=False)
            return await self._reconcile(work, intent, rows, error)
        finally:
            await rows.close()

    async def ask(self, order: Order, intent: Intent) -> Outcome:
        """Asks the device once more what became of an action that nobody knows about."""
        return await order.bound.device.outcome(intent)

    async def _ask_device(self, order: Order, intent: Intent) -> Outcome:
        outcome = Outcome(Verdict.UNKNOWN, "the device was not asked")
        for wait in ASK_AGAIN:
            await asyncio.sleep(wait)
            outcome = await order.bound.device.outcome(intent)
            if outcome.verdict is not Verdict.UNKNOWN:
                break
        return outcome

    async def _take_up(self, work: _Work, intent: Intent, rows: Rows) -> Outcome:
        order = work.order
        seconds = order.action.time_limit(order.parameters)
        try:
            call = self._call(work, intent, rows)
            result = await order.bound.device.attach(intent, call, order.run, seconds)
        except DeviceError as failure:
            known = failure.result if isinstance(failure, NoEvidence) else None
            return Outcome(Verdict.UNKNOWN, f"it was running, but {failure.message}", known)
        return Outcome(Verdict.DONE, "it was taken up again and ended", result)

    # ── hold, stop, abort ────────────────────────────────────────────────────────────────────────────────────────
    @property
    def held(self) -> bool:
        return not self._open.is_set()

    def hold(self) -> None:
        """Begins no new attempt, and lets every `within` stand still. What runs is left to its outcome."""
        self._open.clear()
        self._watch.pause()
        for limit in self._limits:
            limit.pause()

    def unhold(self) -> None:
        self._watch.resume()
        for limit in self._limits:
            limit.resume()
        self._open.set()

    def keep(self, limit: Limit) -> Callable[[], None]:
        """Lets a limit of the run's own (a question's) stand still with the others; call what is given to end that."""
        self._limits.add(limit)
        if self.held:
            limit.pause()
        return lambda: self._limits.discard(limit)

    async def end(self, why: str) -> None:
        """Ends in order: cuts what may be repeated, ends what can be ended, and leaves the rest to its outcome."""
        self._ending = why
        self.unhold()
        works = list(self._works)
        for work in works:
            if not work.sent or not work.attempting or work.order.action.effect is not Effect.ONCE:
                work.task.cancel()
        await asyncio.gather(*(self._end_early(work, why) for work in works if not work.task.cancelling()))
        if works:
            await asyncio.wait([work.task for work in works])

    async def leave(self, step: str, why: str) -> None:
        """A step is not waited for any more: what is not on the wire, or only reads, is cut; the rest ends in order.

        A ONCE action is ended by its own `cancel` where it has one, else left to its outcome; its device is never
        made safe for that, and neither are others. The journal says which.
        """
        for work in [work for work in self._works if work.order.step == step]:
            work.left = why
            if not work.attempting or not work.sent or work.order.action.effect is Effect.READ:
                work.task.cancel()
            elif work.intent is not None and work.order.action.cancellable:
                await self._end_early(work, why, safe=False)
            elif work.intent is not None:
                self.recorder.post(work.order, "action.left", work.intent, because=why)

    async def _end_early(self, work: _Work, why: str, *, safe: bool = True) -> None:
        """Ends a ONCE action by the driver's own `cancel`; what cannot be ended so is made `safe`, or left."""
        if work.intent is None or not work.order.action.cancellable:
            return
        self.recorder.post(work.order, "action.cancelled", work.intent, because=why)
        try:
            await work.order.bound.device.cancel(work.intent.id)
        except DeviceError as error:
            log.warning("an action could not be cancelled", action_id=work.intent.id, problem=str(error))
            if safe:
                await self.make_safe(work.order.bound, work.order.run, f"{error}")
            else:
                self.recorder.post(work.order, "action.left", work.intent, because=f"{error}")

    async def leave_off(self) -> set[UnitKey]:
        """Begins nothing new and waits for what acts, LEAVE_LIMIT at most; not for what goes on without labd.

        Gives the units of that.
        """
        self._open.clear()
        acting = [work for work in self._works if work.attempting]
        goes_on = [work for work in acting if work.order.action.on_loss is OnLoss.CONTINUE]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_LIMIT):
                for work in acting:
                    if work not in goes_on:
                        await work.quiet.wait()
        return {work.order.bound.key for work in goes_on if work.attempting}

    def reopen(self) -> None:
        """New actions may begin once more, after `end` or `cut`: those of the protocol's cleanup."""
        self._ending = None

    async def cut(self, why: str) -> None:
        """Cuts everything at once; returns when drivers have let go, or after LET_GO in any case."""
        self._ending = why
        self.unhold()
        for work in self._works:
            work.task.cancel()
        await self._let_go(LET_GO)

    async def late(self) -> bool:
        """Whether a driver had not let go when `cut` returned; waits until it has, or CUT_LIMIT is over."""
        was = bool(self._works)
        await self._let_go(CUT_LIMIT)
        return was

    async def _let_go(self, limit: float) -> None:
        if self._works:
            await asyncio.wait([work.task for work in self._works], timeout=limit)

    async def make_safe(self, bound: Bound, run: str, cause: str | None = None) -> None:
        """Brings one unit to its safe state, and journals how that went and, if told, why it was needed."""
        problem = await bound.device.safe_state(bound.unit or None)
        data = {"device": bound.device.id, "unit": bound.unit, "problem": problem}
        if cause is not None:
            data["cause"] = cause
        self.journal.post(NewEvent("device.safe_state", data, run))
