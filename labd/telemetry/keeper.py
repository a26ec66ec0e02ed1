"""The backlog's keeper: knows what waits, gives up the oldest where that exceeds its budget, and says so.

What is given up is not lost: it stands in the journal, and REST has it. It is not sent over MQTT any more.
"""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from labd.journal import Journal
from labd.journal.waiting import STRETCH, Written, firsts, number, stretches
from labd.lab.alarms import Alarms
from labd.lab.backlog import Backlog
from labd.lab.bus import Alarm, Happening
from labd.telemetry.backlog import Gaps, Waiting
from labd.telemetry.unsendable import LARGE

log = structlog.get_logger(__name__)

MARK = "mqtt"
KEPT = "mqtt/gaps"
FULL, GAP = "mqtt-backlog", "mqtt-gap"
"""Alarms: the backlog is nearly full; events were given up."""

COUNTED = 40  # stretches counted at a time, so that nobody else waits long for the journal


class Keeper:
    """Keeps the backlog within its budget.

    Attributes:
        mark: the seq up to which nothing waits any more.
        given_up: the seq up to which events were given up last.
        ready: set once it is known what waits.
    """

    def __init__(self, journal: Journal, alarms: Alarms, budget: Backlog) -> None:
        self._journal = journal
        self._alarms = alarms
        self._waiting = Waiting(budget)
        self._gaps = Gaps()
        self._newest = 0  # seq that was committed
        self._counted = False
        self._warned = False
        self._look = asyncio.Event()
        self._lost: dict[str, int] = {}
        self.mark = 0
        self.given_up = 0
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Counts what waits, and then looks whenever something may have changed, until cancelled."""
        forget = self._alarms.bus.subscribe(self._hear, Alarm)
        try:
            await self._count()
            while True:
                self._look.clear()
                await self._give_up()
                self._tell()
                self.ready.set()
                try:
                    async with asyncio.timeout(self._waiting.next_look()):
                        await self._look.wait()
                except TimeoutError:
                    pass
        finally:
            forget()

    def came(self, event: Written) -> None:
        """An event was committed."""
        self._newest = event.seq
        if not self._counted:
            return  # it will be read with those before it
        before = bool(self._waiting)
        self._waiting.add(event)
        if not before or self._waiting.size > self._waiting.budget.size or self._waiting.nearly != self._warned:
            self._look.set()

    def taken(self, seq: int) -> None:
        """The broker has all up to this one."""
        self.mark = max(self.mark, seq)
        self._waiting.taken(seq)
        if (self._warned and not self._waiting.nearly) or (self._gaps and not self._waiting):
            self._look.set()

    async def _count(self) -> None:
        """Counts what was committed before."""
        self.mark = await self._journal.mark(MARK)
        self._gaps = Gaps.of((await self._journal.kept(KEPT)).get(KEPT))
        counted = self.mark
        while True:
            found = await self._journal.ask(partial(stretches, after=counted, most=COUNTED))
            for stretch in found:
                self._waiting.found(stretch)
            counted = max(counted, self._waiting.last)
            if not found and counted >= self._newest:
                self._counted = True
                return

    async def _give_up(self) -> None:
        last = self._waiting.beyond()
        lost: dict[str, tuple[int, int]] = {}
        while (after := self.mark) < last:
            lost = await self._numbers(after, last)
            if self.mark == after:
                break  # else the broker has taken some of them meanwhile: those are no gap
        else:
            return
        for run, (first, newest) in lost.items():
            self._gaps.add(run, first, newest)
            self._lost[run] = newest
        self._waiting.taken(last)
        self.mark = self.given_up = max(self.mark, last)
        with self._journal.together():
            self._journal.keep(KEPT, self._gaps.kept())
            self._journal.post_mark(MARK, self.mark)
        log.warning("the backlog for the broker is full: its oldest are given up", up_to=last, runs=len(lost))

    async def _numbers(self, after: int, last: int) -> dict[str, tuple[int, int]]:
        """By run: the numbers of its first and its last event after one seq and up to another.

        It is asked for piece by piece: a backlog is long, and so are runs.
        """
        found: dict[str, tuple[int, int]] = {}
        for begin in range(after, last, COUNTED * STRETCH):
            end = min(begin + COUNTED * STRETCH, last)
            for run, (first, count) in (await self._journal.ask(partial(firsts, after=begin, last=end))).items():
                if run in found:
                    found[run] = found[run][0], found[run][1] + count
                else:
                    before = await self._journal.ask(partial(number, run=run, seq=first)) - 1
                    found[run] = before + 1, before + count
        return found

    def lost(self) -> dict[str, int]:
        """By run: the number of the last event that was given up, since this was asked last."""
        lost, self._lost = self._lost, {}
        return lost

    def _tell(self) -> None:
        if self._waiting.nearly:
            self._alarms.tell(FULL, "warning", "lab", self._waiting.told())
        elif self._warned:
            self._alarms.end(FULL)
        self._warned = self._waiting.nearly
        if self._seen(LARGE):
            self._alarms.end(LARGE)
        if not self._gaps:
            return
        if not self._waiting and self._seen(GAP):
            self._gaps = Gaps()
            self._journal.keep(KEPT, None)
            self._alarms.end(GAP)
        else:
            self._alarms.tell(GAP, "problem", "lab", self._gaps.told())

    def _seen(self, alarm_id: str) -> bool:
        return any(alarm.id == alarm_id and alarm.acknowledged_by is not None for alarm in self._alarms.active)

    def _hear(self, happening: Happening) -> None:
        if isinstance(happening, Alarm) and happening.id in (GAP, LARGE) and happening.acknowledged_by is not None:
            self._look.set()
