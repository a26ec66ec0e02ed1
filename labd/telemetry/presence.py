"""What the broker should hold of a lab: the daemon's birth and end, devices, runs, campaigns, the queue, alarms.

All retained.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from labd import clock
from labd.lab.bus import (
    Alarm,
    CampaignAsk,
    CampaignState,
    DeviceAbout,
    DeviceState,
    Happening,
    QueuedJob,
    QueueState,
    RunState,
)
from labd.telemetry import payloads
from labd.telemetry.outgoing import Retained
from labd.telemetry.publisher import Message
from labd.telemetry.topics import Topics

KEPT_AFTER_END = timedelta(hours=24)
LOOK_AGAIN = 60.0  # s; how far runs are is told so often at most, where nothing else is to be told of them
A_STEP_ON = 0.005  # of progress
MOVED = 60.0  # s; of a run's expected end


class Presence:
    """Turns what holds in a lab into retained messages.

    Args:
        topics: of the lab.
        boot_id: distinguishes this life of the daemon from the one before.
        version: the daemon's.
        safe_mode: why nothing runs, or None.
    """

    def __init__(
        self, topics: Topics, boot_id: str, version: str, safe_mode: Callable[[], str | None] = lambda: None
    ) -> None:
        self.retained = Retained()
        self._topics = topics
        self._boot_id, self._version, self._safe_mode = boot_id, version, safe_mode
        self._ends: dict[str, datetime] = {}  # topics of ended runs, and when they are cleared
        self._ends_changed = asyncio.Event()
        self._at: dict[str, RunState] = {}  # runs under way as they were told last

    # ── the daemon itself ────────────────────────────────────────────────────────────────────────────────────────
    def will(self) -> Message:
        """What the broker is to say when the daemon goes without a word.

        It has no delay: that would need a session that outlives its connection, and such a session takes commands for
        a daemon that is not there. Who wants no notice of short gaps waits a little for the `online` after a `lost`.
        """
        return Message(self._topics.status, payloads.LastWill(boot_id=self._boot_id).encode(), qos=1, retain=True)

    def status(self, state: str) -> Message:
        """`online` or `offline`, from now."""
        told = {
            "state": state,
            "boot_id": self._boot_id,
            "version": self._version,
            "at": clock.stamp(),
            "safe_mode": self._safe_mode(),
        }
        return Message(self._topics.status, payloads.Status.model_validate(told).encode(), qos=1, retain=True)

    def tell_status(self) -> None:
        """Says anew that the daemon is there, and how."""
        self.retained.tell_once(self.status("online"))

    # ── what it is there for ─────────────────────────────────────────────────────────────────────────────────────
    def take(self, happening: Happening) -> None:
        """Takes what holds from now on. Raises TopicError or ValueError for what the contract has no words for."""
        topics = self._topics
        match happening:
            case DeviceState():
                self._put(topics.device_state(happening.device), _model(payloads.State, happening, "device"))
            case DeviceAbout():
                self._put(topics.device_about(happening.device), _model(payloads.About, happening, "device"))
            case RunState():
                self._take_run(happening)
            case QueueState():
                jobs = tuple(_model(payloads.Job, job) for job in happening.jobs)
                queue = {"jobs": jobs, "more": happening.more, "paused": happening.paused}
                self._put(topics.queue, payloads.Queue.model_validate(queue))
            case CampaignState() | CampaignAsk():
                self._take_campaign(happening)
            case Alarm(ended=True):
                self.retained.clear(topics.alarm(happening.id))
            case Alarm():
                self._put(topics.alarm(happening.id), _model(payloads.Alarm, happening, "id", "ended"))

    def _take_run(self, run: RunState) -> None:
        topic = self._topics.run_state(run.run)
        if run.ended is None:
            self._at[run.run] = run
        else:
            self._at.pop(run.run, None)
        if self._lasts(topic, run.ended):
            self._put(topic, _model(payloads.Run, run, "run"))

    def _take_campaign(self, happening: CampaignState | CampaignAsk) -> None:
        if isinstance(happening, CampaignState):
            topic = self._topics.campaign_state(happening.campaign)
            if self._lasts(topic, happening.ended):
                self._put(topic, _model(payloads.Campaign, happening, "campaign"))
            return
        topic = self._topics.campaign_ask(happening.campaign)
        if happening.ask:
            self._put(topic, _model(payloads.CampaignAsk, happening, "campaign"))
        else:
            self.retained.clear(topic)

    def _lasts(self, topic: str, ended: str | None) -> bool:
        """Whether it is told still: until a day after its end. Later what the broker holds of it is taken away."""
        if ended is None:
            return True
        due = datetime.fromisoformat(ended) + KEPT_AFTER_END
        if due <= clock.now():
            self._ends.pop(topic, None)
            if self.retained.stands(topic):
                self.retained.clear(topic)
            return False
        self._ends[topic] = due
        self._ends_changed.set()
        return True

    def _put(self, topic: str, payload: payloads.Payload) -> None:
        self.retained.put(Message(topic, payload.encode(), qos=1, retain=True))

    # ── with time ────────────────────────────────────────────────────────────────────────────────────────────────
    async def clear_ended_runs(self) -> None:
        """Takes the states of runs away from the broker a day after their end, until cancelled."""
        while True:
            self._ends_changed.clear()
            now = clock.now()
            for topic in [topic for topic, due in self._ends.items() if due <= now]:
                del self._ends[topic]
                self.retained.clear(topic)
            wait = min(((due - now).total_seconds() for due in self._ends.values()), default=None)
            try:
                async with asyncio.timeout(wait):
                    await self._ends_changed.wait()
            except TimeoutError:
                pass

    async def tell_how_far(self, under_way: Callable[[], Iterable[RunState]]) -> None:
        """Tells how far the runs under way are, where they have come on since they were told, until cancelled.

        Within a state of hours nothing happens that would be told otherwise.
        """
        while True:
            await asyncio.sleep(LOOK_AGAIN)
            for run in under_way():
                before = self._at.get(run.run)
                if run.ended is None and before is not None and _has_come_on(before, run):
                    self.take(run)


def _has_come_on(before: RunState, now: RunState) -> bool:
    if now.progress - before.progress >= A_STEP_ON:
        return True
    if before.expected_end is None or now.expected_end is None:
        return before.expected_end != now.expected_end
    later = datetime.fromisoformat(now.expected_end) - datetime.fromisoformat(before.expected_end)
    return abs(later.total_seconds()) >= MOVED


def _model(model: type[payloads.Payload], happening: Happening | QueuedJob, *left_out: str) -> payloads.Payload:
    """A happening as its payload: the same fields, without those that the topic says."""
    fields: dict[str, Any] = {name: getattr(happening, name) for name in type(happening).__dataclass_fields__}
    return model.model_validate({name: value for name, value in fields.items() if name not in left_out})
