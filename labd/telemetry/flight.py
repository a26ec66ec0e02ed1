"""What is under way to the broker: sent, and not acknowledged yet.

It is bounded, so that a signal which is sent meanwhile has little before it in the buffers of client and kernel. The
bound follows the broker: where an acknowledgement takes long, less is under way at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from labd import clock
from labd.journal.waiting import Written
from labd.telemetry.publisher import PublishRefused, acknowledged

MOST = 40  # messages; twice what paho sends at a time: an answer or a state that comes then has no more before it
MOST_BYTES = 65_536  # beside one message that is larger
AT_FIRST = 20.0  # messages
SLOW = 0.5  # s of the machine; a message that is acknowledged later halves what may be under way


@dataclass(slots=True)
class Sent:
    """An event that is under way. `number` is its seq among the run's; 0 and no future for one that is not sent."""

    event: Written
    number: int = 0
    future: asyncio.Future[None] | None = None
    size: int = 0
    at: float = 0.0

    @property
    def error(self) -> BaseException | None:
        """Why the broker does not have it; None as long as nothing is known of it."""
        if self.future is None or not self.future.done() or self.future.cancelled():
            return None
        return self.future.exception()


@dataclass(slots=True)
class Flight:
    """The events under way, in their order."""

    _sent: deque[Sent] = field(default_factory=deque)
    _size: int = 0
    _messages: int = 0
    _window: float = AT_FIRST
    _slowed: float = 0.0  # messages sent before have told what there was to tell

    def __len__(self) -> int:
        return len(self._sent)

    def __iter__(self) -> Iterator[Sent]:
        return iter(self._sent)

    @property
    def oldest(self) -> Sent | None:
        return self._sent[0] if self._sent else None

    def has_room(self, *, alone: bool = False) -> bool:
        """Whether another one may go. `alone`: only where nothing is under way."""
        return not self._messages or (not alone and self._messages < self._window and self._size < MOST_BYTES)

    def add(self, sent: Sent) -> None:
        sent.at = clock.monotonic()
        self._sent.append(sent)
        if sent.future is not None:
            self._messages += 1
            self._size += sent.size

    async def some(self) -> None:
        """Waits until a quarter is acknowledged: one at a time would cost a turn of the loop for each.

        What was refused is told by `settle` when its turn comes: what is older may wait for another reason.

        Raises:
            ConnectionLost: of one of those.
        """
        oldest = next((sent for sent in self._sent if sent.future), None)
        if oldest is None or oldest.error is not None:
            return
        later = next((sent.future for sent in islice(self._sent, len(self._sent) // 4, None) if sent.future), None)
        if later is None or later.done():  # where acknowledgements come out of order, the oldest is the one to wait for
            later = oldest.future
        if later is not None and not later.done():
            with contextlib.suppress(PublishRefused):
                await acknowledged(later)

    def settle(self) -> int:
        """Takes out, in their order, those that the broker has; gives the last one's seq, or 0.

        Raises:
            PublishRefused, ConnectionLost: of the oldest that is left; what was taken before is asked for first.
        """
        seq, now = 0, clock.monotonic()
        while self._sent:
            sent = self._sent[0]
            if sent.future is not None:
                if not sent.future.done():
                    break
                if error := sent.future.exception():
                    if seq:
                        break
                    raise error
                self._messages -= 1
                self._size -= sent.size
                self._pace(sent.at, now)
            self._sent.popleft()
            seq = sent.event.seq
        return seq

    def _pace(self, sent_at: float, now: float) -> None:
        if now - sent_at <= clock.of_machine(SLOW):
            self._window = min(self._window + 1.0, MOST)
        elif sent_at >= self._slowed:
            self._window = max(self._window / 2, 1.0)
            self._slowed = now
