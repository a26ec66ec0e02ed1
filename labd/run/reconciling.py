"""Actions that nobody knows about: what their devices say of them, at once or after a restart of the daemon."""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections.abc import Callable

import structlog

from labd.lab.evidence import NoEvidence
from labd.run.hands import Hands, Work
from labd.run.outcomes import Did, Failed, Order, Settled, Unsettled
from labd.run.recorder import Rows
from labd.sdk import Call, DeviceError, Intent, OnLoss, Outcome, OutcomeUnknown, Verdict

log = structlog.get_logger(__name__)

ASK_AGAIN = (0.0, 2.0, 5.0)  # s; waits before asking a device once more what became of an action
RECONNECT_LIMIT = 300.0  # s; how long a device may take to come back after a restart, before a person is asked


class Reconciler(Hands):
    """Settles actions with an unknown outcome."""

    on_unsent: Callable[[str], None]
    on_quiet: Callable[[], None]

    @abstractmethod
    async def perform(self, order: Order) -> Settled:
        """Orders an action."""

    async def _reconcile(self, work: Work, intent: Intent, rows: Rows, error: DeviceError) -> Settled | DeviceError:
        """Asks the device. The error comes back when it proves that nothing happened: it may be ordered again."""
        self._tell(work, "action.unknown", intent, message=str(error))
        if isinstance(error, NoEvidence):  # the device has said what it can: a person must look
            return Unsettled("unknown", intent, str(error), error.result)
        outcome = await self._learn(work, intent, rows)
        more = {"by": "device", "why": outcome.why}
        if outcome.verdict is Verdict.NOT_DONE:
            work.unknown = False
            self.recorder.settle(work.order, intent, "not_done", **more)
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
        work = Work(order, task, math.inf, attempting=True, intent=intent, sent=True, left=left)
        self._works.append(work)
        try:
            settled = await self._settle_anew(work, intent, OutcomeUnknown(why))
        except asyncio.CancelledError:
            self._cut_off(work, intent)
            raise
        finally:
            work.end()
            self._works.remove(work)
        if isinstance(settled, Unsettled) and order.action.on_loss is OnLoss.STOP:
            # whatever it still does was to stop with the daemon that ordered it; nobody may have told it
            await self.make_safe(order.bound, order.run, why)
        if not isinstance(settled, DeviceError):
            return settled
        self.on_unsent(order.step)
        self.on_quiet()
        if work.left is not None:  # also when its state was left meanwhile
            return Failed("cancelled", work.left)
        if order.stale is not None:
            return Unsettled("unknown", intent, f"it was not done, the device says, and {order.stale}")
        return await self.perform(order)

    async def _settle_anew(self, work: Work, intent: Intent, error: DeviceError) -> Settled | DeviceError:
        rows = self.recorder.rows(work.order, intent)
        try:
            await self._back(work)
            if work.left is not None:
                await self._end_early(work, work.left, safe=False)
            return await self._reconcile(work, intent, rows, error)
        finally:
            await rows.close()

    async def _back(self, work: Work) -> None:
        """Waits until its device is back, RECONNECT_LIMIT at most, or the run ends."""
        device = work.order.bound.device
        if device.connected:
            return
        work.waits = True
        self.on_quiet()
        ready = asyncio.ensure_future(device.wait_ready())
        given_up = asyncio.ensure_future(work.given_up.wait())
        try:
            await asyncio.wait({ready, given_up}, timeout=RECONNECT_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.waits = False
            ready.cancel()
            given_up.cancel()

    @property
    def settling(self) -> str | None:
        """Which devices are waited for to tell what became of an action, in words, or None."""
        waiting = [work.order for work in self._works if work.waits]
        told = [f"waits for {order.bound.device.id} to tell what became of {order.name}" for order in waiting]
        return "; ".join(told) or None

    async def ask(self, order: Order, intent: Intent) -> Outcome:
        """Asks the device once more what became of an action that nobody knows about."""
        outcome = await order.bound.device.outcome(intent)
        if outcome.verdict is Verdict.DONE:
            rows = self.recorder.rows(order, intent)
            try:
                await self._catch_up(order, intent, rows)
            finally:
                await rows.close()
        return outcome

    async def _ask_device(self, order: Order, intent: Intent) -> Outcome:
        outcome = Outcome(Verdict.UNKNOWN, "the device was not asked")
        for wait in ASK_AGAIN:
            await asyncio.sleep(wait)
            outcome = await order.bound.device.outcome(intent)
            if outcome.verdict is not Verdict.UNKNOWN:
                break
        return outcome

    async def _learn(self, work: Work, intent: Intent, rows: Rows) -> Outcome:
        """What its device knows of an action; one that runs is taken up till it ends, also over broken links."""
        order, loop = work.order, asyncio.get_running_loop()
        outcome = await self._hear(order, intent, rows)
        seconds = order.action.time_limit(order.parameters)
        end, taken = loop.time() + seconds, False
        while outcome.verdict is Verdict.RUNNING:
            if taken and loop.time() >= end:
                return Outcome(Verdict.UNKNOWN, f"it was running, and had not ended {seconds:g} s later")
            taken = True
            outcome = await self._take_up(work, intent, rows, max(end - loop.time(), 0.0))
        return outcome

    async def _take_up(self, work: Work, intent: Intent, rows: Rows, seconds: float) -> Outcome:
        device = work.order.bound.device
        try:
            call = self._call(work, intent, rows)
            call.rows_before = await rows.count()
            result = await device.attach(intent, call, work.order.run, seconds)
        except DeviceError as failure:
            why = f"it was running, but {failure.message}"
            if not isinstance(failure, OutcomeUnknown) or isinstance(failure, NoEvidence):
                return Outcome(Verdict.UNKNOWN, why, failure.result if isinstance(failure, NoEvidence) else None)
            later = await self._hear(work.order, intent, rows)  # it went unheard: how it ended, its device may know
            if later.verdict in (Verdict.UNKNOWN, Verdict.NOT_DONE):  # it ran: an order that is gone proves nothing
                return Outcome(Verdict.UNKNOWN, f"{why}; {later.why}", later.result)
            return later
        return Outcome(Verdict.DONE, "it was taken up again and ended", result)

    async def _hear(self, order: Order, intent: Intent, rows: Rows) -> Outcome:
        """Asks the device, and gets the rows of what has ended."""
        outcome = await self._ask_device(order, intent)
        if outcome.verdict in (Verdict.DONE, Verdict.PARTIAL):
            await self._catch_up(order, intent, rows)
        return outcome

    async def _catch_up(self, order: Order, intent: Intent, rows: Rows) -> None:
        """Gets the rows that the device has kept of what ended unheard; its outcome is known without them."""
        try:
            call = Call(intent.id, intent.unit, intent.baseline, on_row=rows.append, rows_before=await rows.count())
            await order.bound.device.catch_up(intent, call)
        except DeviceError as error:
            log.warning("rows of an action are missing", action=intent.id, problem=str(error))
