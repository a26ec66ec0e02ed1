"""What waits to be sent. It never grows with the length of an outage, and putting something in never waits."""

from __future__ import annotations

import asyncio
from collections import deque

from labd.lab.bus import SignalsRead
from labd.telemetry.publisher import Message

SIGNALS = 2_000  # messages; 2 s of 100 devices at 10 Hz


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
        """Those that wait, oldest first; at least one."""
        while not self._reads:
            self._filled.clear()
            await self._filled.wait()
        return [self._reads.popleft() for _ in range(min(limit, len(self._reads)))]


class Retained:
    """The last message of each retained topic: what the broker should hold, and what of it must still be told.

    An empty payload clears the topic at the broker; it is forgotten here once the broker has it.
    """

    def __init__(self) -> None:
        self._last: dict[str, Message] = {}
        self._untold: dict[str, Message] = {}
        self._filled = asyncio.Event()

    def put(self, message: Message) -> None:
        self._last[message.topic] = self._untold[message.topic] = message
        self._filled.set()

    def tell_once(self, message: Message) -> None:
        """For what a new connection begins with anyway."""
        self._untold[message.topic] = message
        self._filled.set()

    def clear(self, topic: str) -> None:
        """Takes a topic away from the broker, if anything stands there."""
        self.put(Message(topic, b"", qos=1, retain=True))

    def tell_all_anew(self) -> None:
        """For a new connection: the broker may have forgotten everything."""
        self._untold = dict(self._last)
        self._filled.set()

    @property
    def waiting(self) -> int:
        return len(self._untold)

    async def get(self) -> Message:
        """The message that waits longest; a newer one of its topic has taken its place."""
        while not self._untold:
            self._filled.clear()
            await self._filled.wait()
        return self._untold.pop(next(iter(self._untold)))

    def told(self, message: Message) -> None:
        """The broker has it."""
        if not message.payload and self._last.get(message.topic) is message:
            del self._last[message.topic]
