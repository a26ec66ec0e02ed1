"""One device's wire, and the mischief on it: what is lost, late, spoilt or doubled, whatever protocol it carries.

A message is what is sent at once, one way: of a text protocol a line, of Modbus a frame, of HTTP a whole answer. A wire
without faults costs one look at a flag.
"""

from __future__ import annotations

import asyncio
import random
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal

Way = Literal["requests", "replies"]  # to the device, from the device

current: ContextVar[Wire | None] = ContextVar("wire", default=None)
"""The wire of the device that is being started: its servers and ptys are laid along it, without knowing of it."""

_SOON = 1e-6  # s; timers fire up to one tick of the clock early


class Watcher(ABC):
    """What looks at each message, and may begin something before it is passed on."""

    @abstractmethod
    def saw(self, way: Way, data: bytes) -> None: ...

    @abstractmethod
    def connected(self) -> None: ...


class Mischief:
    """One fault that happens to messages.

    Args:
        word: drop, delay, corrupt, duplicate, reply_lost.
        given: what it takes.
        rng: its own chances.
        chance: of each message; None: every one.
        happened: is told each time.
    """

    def __init__(
        self, word: str, given: Any, rng: random.Random, chance: float | None, happened: Callable[[], None]
    ) -> None:
        self.word = word
        self._given = given
        self._rng = rng
        self._chance = chance
        self._happened = happened
        self._way = given.get("way") or ("requests" if word == "reply_lost" else "replies")
        self._pattern = pattern(given.get("matching"))

    def meets(self, way: Way, data: bytes) -> bool:
        """Whether it happens to this message."""
        if self._way not in (way, "both") or (self._pattern is not None and not self._pattern.search(data)):
            return False
        return self._chance is None or self._rng.random() < self._chance

    def do(self, line: Line, pieces: list[bytes], late: float) -> tuple[list[bytes], float]:
        """What becomes of a message's pieces."""
        match self.word:
            case "drop":
                pieces = []
            case "duplicate":
                pieces = pieces * 2
            case "corrupt":
                pieces = [self._spoil(piece) for piece in pieces]
            case "delay":
                late += float(self._given["delay"])
            case "reply_lost":
                line.owed += 1
        self._happened()
        return pieces, late

    def _spoil(self, data: bytes) -> bytes:
        spoilt = bytearray(data)
        for at in self._rng.sample(range(8 * len(spoilt)), min(int(self._given["bits"]), 8 * len(spoilt))):
            spoilt[at // 8] ^= 1 << at % 8
        return bytes(spoilt)


def pattern(text: str | None) -> re.Pattern[bytes] | None:
    """A regular expression over a message's bytes."""
    return None if text is None else re.compile(text.encode("latin-1", "replace"), re.DOTALL)


class Wire:
    """All connections of one device, and what happens to them."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.mischief: list[Mischief] = []
        self.watchers: list[Watcher] = []
        self.is_cut = 0  # so many faults keep it cut
        self.is_dead = 0  # so many keep it silent
        self._same: Wire | None = None
        self.kept = 0.0  # s that a dead connection is kept by the device after its client has gone

    @property
    def real(self) -> Wire:
        """The wire itself, where several devices are on one."""
        return self if self._same is None else self._same.real

    def joins(self, other: Wire) -> None:
        """Its device is on the other's wire: what happens to one happens to both."""
        if other.real is not self.real:
            self.real._same = other.real  # noqa: SLF001 - another of its own kind

    @property
    def calm(self) -> bool:
        """Whether nothing looks at messages."""
        return not self.mischief and not self.watchers

    def meet(self, line: Line, way: Way, data: bytes) -> tuple[list[bytes], float]:
        """What is passed on of a message, and how much later, s."""
        for watcher in list(self.watchers):
            watcher.saw(way, data)
        pieces, late = [data], 0.0
        if way == "replies" and line.owed:
            line.owed -= 1
            return [], 0.0
        for one in list(self.mischief):
            if pieces and one.meets(way, data):
                pieces, late = one.do(line, pieces, late)
        return pieces, late

    def laid(self, line: Line) -> None:
        """A line stands."""
        self.lines.append(line)
        for watcher in list(self.watchers):
            watcher.connected()

    def cut(self) -> None:
        """Resets every connection."""
        for line in list(self.lines):
            line.cut()

    def deaden(self) -> None:
        """Lets nothing through the connections that stand."""
        for line in list(self.lines):
            line.deaden()

    def mend(self) -> None:
        """Lets serial lines stand and speak again, where nothing else keeps them from it."""
        for line in list(self.lines):
            line.mend()

    def hang_up(self) -> None:
        """The device loses its power: connections that it knows nothing of end as well."""
        for line in list(self.lines):
            line.hang_up()


class Line(ABC):
    """One connection or one serial line of a device."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.dead = False
        self.owed = 0  # replies that get lost
        self._queues: dict[Way, deque[tuple[float, Callable[[], None]]]] = {"requests": deque(), "replies": deque()}
        self._timers: dict[Way, asyncio.TimerHandle] = {}

    def carry(self, way: Way, data: bytes) -> None:
        """Passes a message on as well as it may."""
        if self.dead:
            return
        if self.wire.calm and not self.owed:
            if self._queues[way]:
                self.in_order(way, lambda: self.hand_over(way, data))
            else:
                self.hand_over(way, data)
            return
        pieces, late = self.wire.meet(self, way, data)
        if self.dead or self.gone:  # what has just begun
            return
        for piece in pieces:
            self.in_order(way, lambda piece=piece: self.hand_over(way, piece), late)  # type: ignore[misc]

    def in_order(self, way: Way, do: Callable[[], None], late: float = 0.0) -> None:
        """Does something to this way of the line, after all that waits there."""
        queue = self._queues[way]
        if not queue and late <= 0:
            do()
            return
        now = asyncio.get_running_loop().time()
        queue.append((max(now + late, queue[-1][0] if queue else 0.0), do))
        self._arm(way)

    def _arm(self, way: Way) -> None:
        queue = self._queues[way]
        if queue and way not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[way] = loop.call_at(queue[0][0] + _SOON, self._due, way)

    def _due(self, way: Way) -> None:
        del self._timers[way]
        queue, now = self._queues[way], asyncio.get_running_loop().time()
        while queue and queue[0][0] <= now:
            _, do = queue.popleft()
            if not self.dead:
                do()
        self._arm(way)

    def forget(self) -> None:
        """Drops what waits."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for queue in self._queues.values():
            queue.clear()

    @property
    @abstractmethod
    def gone(self) -> bool:
        """Whether nothing can be passed on any more."""

    @abstractmethod
    def hand_over(self, way: Way, data: bytes) -> None:
        """Gives bytes to the device, or to its client."""

    @abstractmethod
    def cut(self) -> None:
        """Ends the connection at once, for both ends."""

    def deaden(self) -> None:
        """Nothing comes through it any more."""
        self.dead = True

    @abstractmethod
    def mend(self) -> None:
        """The wire is as it was: a serial line stands again; a connection that was lost stays so."""

    @abstractmethod
    def hang_up(self) -> None:
        """The device loses its power: what it knows nothing of ends here."""
