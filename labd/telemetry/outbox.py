"""Events of runs, from the journal to the broker: in order, with their own times, each until it is acknowledged.

The journal itself is the outbox: its mark `mqtt` is the last event that the broker has taken (or that is no run's).
An outage therefore costs no memory, and a crash between a message and the moved mark sends that message twice (QoS 1:
at least once; `seq` tells the second).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice

import structlog

from labd.journal import Event, Journal
from labd.telemetry.payloads import RunEvent
from labd.telemetry.publisher import Backoff, Message, PublishRefused, Session
from labd.telemetry.topics import Topics

log = structlog.get_logger(__name__)

MARK = "mqtt"
BATCH = 500  # events read, sent and acknowledged before the mark moves
FRESH = 2_000  # newest events kept at hand, so that a broker that keeps up costs no reading


class Outbox:
    def __init__(self, journal: Journal, topics: Topics) -> None:
        self._journal = journal
        self._topics = topics
        self._fresh: deque[Event] = deque(maxlen=FRESH)
        self._committed = asyncio.Event()
        self._numbers: dict[str, int] = {}  # of the last event sent, by run

    async def listen(self) -> None:
        """Hears of every commit until cancelled."""
        forget = self._journal.on_commit(self._on_commit)
        try:
            await asyncio.Event().wait()
        finally:
            forget()

    def _on_commit(self, events: Sequence[Event]) -> None:
        self._fresh.extend(events)
        self._committed.set()

    async def send(self, session: Session) -> None:
        """Sends what waits, and then what comes. Raises ConnectionLost."""
        backoff = Backoff()
        while True:
            self._committed.clear()
            try:
                await self.drain(session)
            except PublishRefused as refused:
                log.warning("event refused; it is kept and tried again", topic=refused.topic, reason=refused.reason)
                await asyncio.sleep(backoff.ended(0.0))
                continue
            await self._committed.wait()

    async def drain(self, session: Session) -> None:
        """Sends what waits. Raises ConnectionLost or PublishRefused; the mark then stands at the last one taken."""
        mark = await self._journal.mark(MARK)
        while events := await self._after(mark):
            taken = mark
            try:
                # Many are under way at once; they are acknowledged, and the mark moves, in their order.
                sent = [(event, await self._send(session, event)) for event in events]
                for event, acknowledged in sent:
                    if acknowledged is not None:
                        await acknowledged
                    taken = event.seq
            except BaseException:
                self._numbers.clear()  # they ran ahead of the mark
                raise
            finally:
                if taken != mark:
                    await self._journal.set_mark(MARK, taken)
            mark = taken

    async def _after(self, mark: int) -> list[Event]:
        """The next events: from those at hand if they follow without a gap, else read."""
        while self._fresh and self._fresh[0].seq <= mark:
            self._fresh.popleft()
        if self._fresh and self._fresh[0].seq == mark + 1:
            return list(islice(self._fresh, BATCH))
        return await self._journal.events(after=mark, limit=BATCH)

    async def _send(self, session: Session, event: Event) -> asyncio.Future[None] | None:
        if event.run is None:
            return None
        if event.run not in self._numbers:
            self._numbers[event.run] = sum(one.seq < event.seq for one in await self._journal.events(run=event.run))
        self._numbers[event.run] += 1
        number = self._numbers[event.run]
        payload = RunEvent(seq=number, at=event.at, kind=event.kind, data=event.data, hash=event.hash)
        return session.send(Message(self._topics.run_event(event.run), payload.encode(), qos=1))
