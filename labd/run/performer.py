"""A run's actions from intent to outcome: journaled before the first byte, tried again only where the table allows."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable, Iterator

import structlog

from labd import clock
from labd.journal import Journal, SignalStore
from labd.lab.lab import Lab
from labd.lab.limit import Limit, Stopwatch
from labd.run.hands import Work
from labd.run.outcomes import Did, Failed, Order, Settled, Unsettled
from labd.run.policy import Reaction, backoff, failure_kind, reaction
from labd.run.reconciling import Reconciler
from labd.run.recorder import Rows
from labd.sdk import DeviceError, Effect, Intent, OnLoss, Unreachable

log = structlog.get_logger(__name__)

UNREACHABLE_LIMIT = 120.0  # s; how long a device that cannot be reached is tried, where the step sets no limit
LET_GO = 0.1  # s; how long drivers may take to let go of what is cut, before their devices are made safe all the same
LEAVE_LIMIT = 60.0  # s; how long an action may take to its outcome when the daemon is stopped
CUT_LIMIT = 5.0  # s; how long the slowest of them is waited for


class Performer(Reconciler):
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
        super().__init__(lab, journal, signals)
        self.on_quiet = on_quiet
        self.on_sent = on_sent
        self.on_unsent = on_unsent
        self._generator = generator
        self._numbers: Iterator[int] = itertools.count(before + 1)
        self._limits: set[Limit] = set()
        self._watch = Stopwatch()
        self._open = asyncio.Event()  # new attempts may begin
        self._open.set()
        self._until: dict[str, float] = {}  # by step: when its action's time limit is over, of the stopwatch
        self._leaving = False  # the daemon ends, and the run does not

    @property
    def quiet(self) -> bool:
        """Whether nothing is on the wire, nor about to be."""
        return not any(work.attempting and not work.waits for work in self._works)

    @property
    def elapsed(self) -> float:
        """Lab seconds of the run, less those for which it was held."""
        return self._watch.elapsed

    # ── one order ────────────────────────────────────────────────────────────────────────────────────────────────
    async def perform(self, order: Order) -> Settled:
        """Does it, under the table of errors and effects. Never raises a DeviceError."""
        task = asyncio.current_task()
        assert task is not None
        patience = order.within if order.within is not None else UNREACHABLE_LIMIT
        until = self._until.get(order.step, self._watch.elapsed + patience)
        work = Work(order, task, until)
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
            self._until.pop(order.step, None)

    async def _until_settled(self, work: Work) -> Settled:
        for attempt in itertools.count():
            while self.held:  # an unhold that a hold follows at once lets nothing begin
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

    async def _attempt(self, work: Work, attempt: int) -> Settled | DeviceError:
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

    async def _invoke(self, work: Work, intent: Intent, rows: Rows) -> Settled:
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

    async def _react(self, work: Work, intent: Intent, rows: Rows, error: DeviceError) -> Settled | DeviceError:
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
        if not self._leaving:
            self._open.set()

    def allow(self, step: str, seconds: float) -> None:
        """Says that the action of a step, which is ordered next, may take so many s from now, pauses left out."""
        self._until[step] = self._watch.elapsed + seconds

    @property
    def allowed(self) -> dict[str, float]:
        """The s that are left of the time limits of actions, by step."""
        return {step: max(0.0, until - self._watch.elapsed) for step, until in self._until.items()}

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
            work.given_up.set()
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

    async def leave_off(self) -> None:
        """Begins nothing new and waits for what acts, LEAVE_LIMIT at most; not for what goes on without labd."""
        self._leaving = True
        self._open.clear()
        acting = [work for work in self._works if work.attempting and not work.waits]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_LIMIT):
                for work in acting:
                    if work.order.action.on_loss is not OnLoss.CONTINUE:
                        await work.quiet.wait()

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
