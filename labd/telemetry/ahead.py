"""The events to be sent, in order: from those at hand, else read from the journal while others are under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import islice

from labd.journal import Event, Journal
from labd.journal.events import encode
from labd.journal.waiting import Written, written

BATCH = 500  # events read at a time
BATCH_BYTES = 1_000_000
FRESH = 2_000  # newest events kept at hand, so that a broker that keeps up costs no reading
FRESH_BYTES = 2_000_000


class Fresh:
    """The newest events, as they were committed."""

    def __init__(self) -> None:
        self._events: deque[Written] = deque()
        self._size = 0
        self.newest = 0  # seq that was committed, as far as known; 0: nothing is known

    def add(self, event: Event) -> Written:
        told = Written(event.seq, event.at, event.run, event.kind, encode(event.kind, event.data), event.hash)
        self._events.append(told)
        self.newest = told.seq
        self._size += told.size
        while len(self._events) > FRESH or self._size > FRESH_BYTES:
            self._drop()
        return told

    def after(self, seq: int) -> list[Written]:
        """The next ones, if they follow without a gap. Those before are forgotten."""
        while self._events and self._events[0].seq <= seq:
            self._drop()
        if self._events and self._events[0].seq == seq + 1:
            return list(islice(self._events, BATCH))
        return []

    def _drop(self) -> None:
        self._size -= self._events.popleft().size


class Ahead:
    """Events after a seq, read ahead of their use. Ask `next` until it gives none, then `more`."""

    def __init__(self, journal: Journal, fresh: Fresh, after: int) -> None:
        self._journal = journal
        self._fresh = fresh
        self._after = after
        self._events: deque[Written] = deque()
        self._reading: asyncio.Task[list[Written]] | None = None

    def next(self) -> Written | None:
        """The next event that is at hand."""
        if self._reading is not None and self._reading.done():
            self._take(self._reading.result())
            self._reading = None
        if len(self._events) < BATCH // 2:
            self._begin()
        return self._events.popleft() if self._events else None

    async def more(self) -> bool:
        """Waits until there is a next one; False: there is none yet."""
        if not self._events:
            self._begin()
        if not self._events and self._reading is not None:
            self._take(await asyncio.shield(self._reading))
            self._reading = None
        return bool(self._events)

    def end(self) -> None:
        """What is still being read is not wanted any more."""
        if self._reading is not None:
            self._reading.add_done_callback(lambda reading: reading.cancelled() or reading.exception())

    def skip(self, seq: int) -> None:
        """Events up to this one are not wanted any more."""
        while self._events and self._events[0].seq <= seq:
            self._events.popleft()
        if not self._events and self._reading is None:
            self._after = max(self._after, seq)

    def _begin(self) -> None:
        if self._reading is not None or self._after >= self._fresh.newest > 0:
            return
        found = self._fresh.after(self._after)
        if found:
            self._take(found)
            return
        query = partial(written, after=self._after, most=BATCH, most_bytes=BATCH_BYTES)
        self._reading = asyncio.get_running_loop().create_task(self._journal.ask(query), name="mqtt read ahead")

    def _take(self, found: Sequence[Written]) -> None:
        self._events += found
        if found:
            self._after = found[-1].seq
        else:
            self._fresh.newest = max(self._fresh.newest, self._after)
