"""What waits to be sent. It never grows with the length of an outage, and putting something in never waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice

from labd.lab.bus import SignalsRead
from labd.telemetry.publisher import Message

SIGNALS = 2_000  # messages; 2 s of 100 devices at 10 Hz
CROWD = 300  # messages; when more wait, the broker is behind, and older ones of a device only hold up its newest


class Signals:
    """The newest polls, for QoS 0; a full queue drops its oldest and counts it.

    They are put into words when they are sent: what is dropped, or has no broker, costs nothing but its place.
    """

    def __init__(self, limit: int = SIGNALS) -> None:
        self._reads: deque[SignalsRead] = deque(maxlen=limit)
        self._filled = asyncio.Event()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._reads)

    def put(self, read: SignalsRead) -> None:
        if len(self._reads) == self._reads.maxlen:
            self.dropped += 1
        self._reads.append(read)
        self._filled.set()

    async def get(self, limit: int = 100) -> list[SignalsRead]:
        """Those that wait, oldest first; at least one. Of a crowd, the newest of each device."""
        while not self._reads:
            self._filled.clear()
            await self._filled.wait()
        if len(self._reads) > CROWD:
            self._thin_out()
        return [self._reads.popleft() for _ in range(min(limit, len(self._reads)))]

    def _thin_out(self) -> None:
        newest = {read.device: read for read in self._reads}
        kept = [read for read in self._reads if newest[read.device] is read]
        self.dropped += len(self._reads) - len(kept)
        self._reads.clear()
        self._reads.extend(kept)


class Retained:
    """The last message of each retained topic: what the broker should hold, and what of it must still be told.

    An empty payload clears the topic at the broker; it is forgotten here once the broker has it.

    Attributes:
        on_first: called with a topic that anything is put to for the first time.
        on_gone: called with a topic that the broker has cleared.
    """

    def __init__(self) -> None:
        self._last: dict[str, Message] = {}
        self._untold: dict[str, Message] = {}
        self._refused: dict[str, Message] = {}  # to be tried again
        self._filled = asyncio.Event()
        self.on_first: Callable[[str], None] = lambda _: None
        self.on_gone: Callable[[str], None] = lambda _: None

    def __contains__(self, topic: str) -> bool:
        """Whether it is known what should stand there, be it nothing."""
        return topic in self._last

    def put(self, message: Message) -> None:
        if message.payload and not self.stands(message.topic):
            self.on_first(message.topic)
        self._last[message.topic] = self._untold[message.topic] = message
        self._filled.set()

    def stands(self, topic: str) -> bool:
        """Whether anything should stand there."""
        last = self._last.get(topic)
        return last is not None and bool(last.payload)

    def tell_once(self, message: Message) -> None:
        """For what a new connection begins with anyway."""
        self._untold[message.topic] = message
        self._filled.set()

    def clear(self, topic: str) -> None:
        """Takes a topic away from the broker, if anything stands there."""
        self.put(Message(topic, b"", qos=1, retain=True))

    def tell_all_anew(self) -> None:
        """For a new connection: the broker may have forgotten everything. What a lab is goes before what it does."""
        self._refused.clear()
        self._untold = {topic: self._last[topic] for topic in sorted(self._last, key=_turn)}
        self._filled.set()

    @property
    def known(self) -> int:
        """Topics of which is known what should stand there."""
        return len(self._last)

    @property
    def waiting(self) -> int:
        return len(self._untold)

    async def get(self) -> Message:
        """The message that waits longest; a newer one of its topic has taken its place."""
        while not self._untold:
            self._filled.clear()
            await self._filled.wait()
        return self._untold.pop(next(iter(self._untold)))

    def take(self, limit: int) -> list[Message]:
        """Those that wait, the first first."""
        topics = list(islice(self._untold, limit))
        return [self._untold.pop(topic) for topic in topics]

    def told(self, message: Message) -> None:
        """The broker has it."""
        if not message.payload and self._last.get(message.topic) is message:
            del self._last[message.topic]
            self.on_gone(message.topic)

    def refused(self, message: Message) -> None:
        """The broker does not take it: it waits for `try_again`, or for a newer one in its place."""
        self._refused[message.topic] = message

    def try_again(self) -> None:
        """What was refused is told again, where it still holds."""
        refused, self._refused = self._refused, {}
        for topic, message in refused.items():
            if self._last.get(topic) is message:
                self._untold[topic] = message
                self._filled.set()


TURNS = ("device", "run", "queue", "campaign", "alarm")


def _turn(topic: str) -> tuple[int, str]:
    """A device's `about` and `state` first, then runs, the queue, campaigns, alarms, and what is not labd's own."""
    part = topic.split("/")[3] if topic.startswith("labd/") else ""
    return TURNS.index(part) if part in TURNS else len(TURNS), topic
