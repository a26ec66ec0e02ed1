"""Events of runs, from the journal to the broker: in order, with their own times, each until it is acknowledged.

The journal itself is the outbox: its mark `mqtt` is the last event that the broker has taken (or that is no run's).
An outage therefore costs no memory, and a crash between a message and the moved mark sends that message twice (QoS 1:
at least once; `seq` tells the second). What an outage may come to is bounded all the same: see `Keeper`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from functools import cache, partial

import structlog

from labd import clock
from labd.journal import Event, Journal, JournalError
from labd.journal.waiting import Written, number
from labd.lab.alarms import Alarms
from labd.lab.backlog import Backlog
from labd.telemetry.ahead import Ahead, Fresh
from labd.telemetry.flight import Flight, Sent
from labd.telemetry.keeper import MARK, Keeper
from labd.telemetry.publisher import Backoff, ConnectionLost, Message, PublishRefused, Session
from labd.telemetry.topics import Topics
from labd.telemetry.unsendable import Unsendable

log = structlog.get_logger(__name__)

MARK_EVERY = 1.0  # s of the machine between two marks for the journal; a kill sends again what was acknowledged since
MARK_AFTER = 10_000  # or so many events
RUNS = 5_000  # whose numbers are remembered; of others they are counted anew


class Outbox:
    """Sends what the journal holds for the broker. `listen()` is at work as long as anything is to be sent.

    Args:
        journal: where the events are.
        topics: of the lab.
        alarms: where it tells what a person should know.
        budget: what may wait.
    """

    def __init__(self, journal: Journal, topics: Topics, alarms: Alarms, budget: Backlog) -> None:
        self._journal = journal
        self._topics = topics
        self._keeper = Keeper(journal, alarms, budget)
        self._unsendable = Unsendable(alarms)
        self._fresh = Fresh()
        self._committed = asyncio.Event()
        self._numbers: dict[str, int] = {}  # of the last event sent, by run
        self._given_up = 0  # up to here, as far as it was heard of
        self._marked = 0  # the mark as the journal was told it last
        self._marked_at = 0.0

    async def listen(self) -> None:
        """Hears of every commit, and keeps the backlog within its budget, until cancelled."""
        forget = self._journal.on_commit(self._on_commit)
        try:
            await self._keeper.run()
        finally:
            forget()

    def _on_commit(self, events: Sequence[Event]) -> None:
        for event in events:
            self._keeper.came(self._fresh.add(event))
        self._committed.set()

    async def send(self, session: Session) -> None:
        """Sends what waits, and then what comes. Raises ConnectionLost."""
        backoff, stood = Backoff(), self._keeper.mark
        self._unsendable.connected(session.largest)
        if self._unsendable.look:
            await asyncio.sleep(self._unsendable.look)
            self._unsendable.looked()
        try:
            while True:
                self._committed.clear()
                try:
                    await self._drain(session)
                except PublishRefused as refused:
                    if self._keeper.mark > stood:
                        backoff, stood = Backoff(), self._keeper.mark
                    if not self._unsendable.settled(refused):
                        await asyncio.sleep(clock.of_machine(backoff.ended(0.0)))
                    continue
                await self._wait_for_more()
        finally:
            self._mark()

    async def drain(self, session: Session) -> None:
        """Sends what waits. Raises ConnectionLost or PublishRefused; the mark then stands at the last one taken."""
        try:
            await self._drain(session)
        finally:
            self._mark()

    async def _wait_for_more(self) -> None:
        """The mark of what was sent may wait for a moment: what comes meanwhile shares its commit."""
        try:
            async with asyncio.timeout(clock.of_machine(MARK_EVERY) if self._marked != self._keeper.mark else None):
                await self._committed.wait()
        except TimeoutError:
            self._mark()
            await self._committed.wait()

    async def _drain(self, session: Session) -> None:
        await self._keeper.ready.wait()
        ahead, flight = Ahead(self._journal, self._fresh, self._keeper.mark), Flight()
        try:
            while True:
                await self._fill(session, ahead, flight)
                if flight:
                    await self._take(flight)
                elif not await ahead.more():
                    break
        except BaseException as error:  # the end of a connection may come as a cancel as well
            self._take_what_is_there(flight)
            oldest = flight.oldest
            self._unsendable.met((oldest.error if oldest is not None else None) or error, oldest)
            raise
        finally:
            self._take_what_is_there(flight)
            self._count_back(flight)
            ahead.end()

    async def _fill(self, session: Session, ahead: Ahead, flight: Flight) -> None:
        """Sends as much as may be under way."""
        if self._given_up != self._keeper.given_up:
            self._given_up = self._keeper.given_up
            for run, newest in self._keeper.lost().items():
                if run in self._numbers:  # it goes on behind what was given up, or is there already
                    self._numbers[run] = max(self._numbers[run], newest)
            ahead.skip(self._given_up)
        while flight.has_room(alone=self._unsendable.alone) and (event := ahead.next()) is not None:
            if event.seq <= self._keeper.mark:
                continue
            flight.add(await self._send(session, event))

    async def _take(self, flight: Flight) -> None:
        """Waits for the broker to take something of what is under way."""
        await flight.some()
        self._take_up_to(flight.settle())
        if self._keeper.mark - self._marked >= MARK_AFTER or clock.monotonic() - self._marked_at >= clock.of_machine(
            MARK_EVERY
        ):
            self._mark()

    def _take_what_is_there(self, flight: Flight) -> None:
        with contextlib.suppress(ConnectionLost, PublishRefused):  # of the oldest: whoever calls this knows of it
            self._take_up_to(flight.settle())

    def _count_back(self, flight: Flight) -> None:
        """The numbers ran ahead of the mark; the next time begins behind it."""
        for sent in reversed(tuple(flight)):
            if sent.event.run is None:
                continue
            if sent.event.seq > self._keeper.mark:
                self._numbers[sent.event.run] = sent.number - 1
            else:  # it was given up: what comes next of its run is counted anew
                self._numbers.pop(sent.event.run, None)

    def _take_up_to(self, seq: int) -> None:
        if seq:
            self._keeper.taken(seq)
            self._unsendable.taken(seq)

    def _mark(self) -> None:
        """Hands the mark to the journal, and waits for nothing: it goes with the next commit."""
        self._marked_at = clock.monotonic()
        if self._marked == self._keeper.mark:
            return
        self._marked = self._keeper.mark
        try:
            self._journal.post_mark(MARK, self._marked)
        except JournalError as error:  # what is told of the mark is sent again; the daemon hears of the journal itself
            log.warning("the mark of what the broker has was not kept", problem=str(error))

    async def _send(self, session: Session, event: Written) -> Sent:
        if event.run is None:
            return Sent(event)
        if event.run not in self._numbers:
            if len(self._numbers) > RUNS:
                self._numbers.clear()
            counted = partial(number, run=event.run, seq=event.seq)
            self._numbers[event.run] = await self._journal.ask(counted) - 1
        self._numbers[event.run] += 1
        count = self._numbers[event.run]
        if self._unsendable.skips(event, count):
            return Sent(event, count)
        topic = self._topics.run_event(event.run)
        payload = encoded(event, count)
        if self._unsendable.needs_less(event, topic, payload):
            payload = self._unsendable.shortened(event, count, len(payload))
        size = len(payload) + len(topic)
        return Sent(event, count, session.send(Message(topic, payload, qos=1)), size)


def encoded(event: Written, count: int) -> bytes:
    """The payload RunEvent, from the text that stands in the journal: read and written anew it costs six times as much.

    Args:
        event: as it was written.
        count: its number among the run's.
    """
    head = f'{{"seq":{count},"at":"{event.at}","kind":{_quoted(event.kind)},"data":'
    return f'{head}{event.data},"hash":"{event.hash}"}}'.encode()


@cache
def _quoted(kind: str) -> str:
    return json.dumps(kind)
