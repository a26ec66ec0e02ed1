"""What every action of a run has in common: its place in the journal, the rows of its data, and its ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import structlog

from labd.journal import Journal, NewEvent, SignalStore
from labd.lab.lab import Lab
from labd.run.outcomes import Did, Order
from labd.run.recorder import Recorder, Rows
from labd.run.reservations import Bound
from labd.sdk import Call, DeviceError, Effect, Intent

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Work:
    """One order under way, over all its attempts."""

    order: Order
    task: asyncio.Task[Any]
    until: float  # of the performer's stopwatch
    attempting: bool = False
    intent: Intent | None = None  # of the present attempt
    sent: bool = False
    accepted: bool = False
    told: bool = False  # the journal holds an outcome of the intent, `unknown` included
    unknown: bool = False  # and that is what it says
    left: str | None = None  # why the run does not wait for it any more
    waits: bool = False  # for its device to come back; nothing of it is on the wire
    given_up: asyncio.Event = field(default_factory=asyncio.Event)  # set when the run ends
    quiet: asyncio.Event = field(default_factory=asyncio.Event)  # set while nothing of it is on the wire

    def begin(self) -> None:
        self.attempting, self.intent = True, None
        self.sent = self.accepted = self.told = self.unknown = False
        self.quiet.clear()

    def end(self) -> None:
        self.attempting = False
        self.quiet.set()


class Hands:
    """Writes down what becomes of a run's actions, ends them, and makes their units safe.

    Args:
        lab: where it acts.
        journal: where it writes.
        signals: where data go.
    """

    def __init__(self, lab: Lab, journal: Journal, signals: SignalStore) -> None:
        self.lab = lab
        self.journal = journal
        self.recorder = Recorder(lab, journal, signals)
        self.unknown: list[str] = []
        """Actions that were cut, and may have happened."""
        self._works: list[Work] = []
        self._ending: str | None = None  # why nothing new is begun any more

    async def _done(self, work: Work, intent: Intent, rows: Rows, did: Did, **more: Any) -> Did:
        """Journals what was done, after its rows; a cancellation meanwhile does not lose it."""
        try:
            await rows.close()
        finally:
            work.told, work.unknown = True, False
            conflict = self.recorder.done(work.order, intent, did.result, **more)
        return Did(did.result, conflict)

    def _call(self, work: Work, intent: Intent, rows: Rows) -> Call:
        def accepted(evidence: Any) -> None:
            work.accepted = True
            self.recorder.post(work.order, "action.accepted", intent, evidence=dict(evidence))

        return Call(intent.id, intent.unit, intent.baseline, on_accepted=accepted, on_row=rows.append)

    def _tell(self, work: Work, kind: str, intent: Intent, **data: Any) -> None:
        work.told, work.unknown = True, kind == "action.unknown"
        self.recorder.failed(work.order, kind, intent, **data)

    def _cut_off(self, work: Work, intent: Intent) -> None:
        """Journals what is known of an action whose task is cancelled; nothing when the daemon dies, as in a crash."""
        why = self._ending or work.left
        if why is not None and work.unknown:
            self.unknown.append(work.order.name)
        if why is None or work.told:
            return
        if not work.sent:
            self._tell(work, "action.failed", intent, error="cancelled", message=f"{why}; nothing was sent")
        elif work.order.action.effect is Effect.ONCE:
            self._tell(work, "action.unknown", intent, message=why)
            self.unknown.append(work.order.name)
        elif work.left is not None:
            self._tell(work, "action.failed", intent, error="cancelled", message=why)
        else:
            self._tell(work, "action.failed", intent, error="cancelled", message=self._ending)

    async def _end_early(self, work: Work, why: str, *, safe: bool = True) -> None:
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

    async def make_safe(self, bound: Bound, run: str, cause: str | None = None) -> None:
        """Brings one unit to its safe state, and journals how that went and, if told, why it was needed."""
        problem = await bound.device.make_safe(bound.unit or None, cause or f"the end of {run}")
        data = {"device": bound.device.id, "unit": bound.unit, "problem": problem}
        if cause is not None:
            data["cause"] = cause
        self.journal.post(NewEvent("device.safe_state", data, run))
