"""What telemetry asks of an MQTT client, so that another one can follow."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from labd import clock


class PublishError(Exception):
    """A message did not reach the broker."""


class ConnectionLost(PublishError):
    """There is no connection, or it ended before the message was acknowledged."""


class TakenOver(ConnectionLost):
    """The broker ended it for another connection under the same client id (MQTT 5 says so)."""


class Unanswered(ConnectionLost):
    """It was given up here, since the broker said no word any more: it has not closed it."""


TOO_LARGE = "Packet too large"  # MQTT 5's name of the reason


class PublishRefused(PublishError):
    """The broker does not take a message: `reason` is its own word, or MQTT 5's for what is not even sent."""

    def __init__(self, topic: str, reason: str) -> None:
        self.topic, self.reason = brief(topic), reason
        super().__init__(f"{self.topic}: the broker refuses it: {reason}")


LONGEST = 160  # characters; a lab's own topics are shorter, but for answers


def brief(topic: str) -> str:
    """A topic for a log or a person: others may have made it as long as they like."""
    return topic if len(topic) <= LONGEST else f"{topic[: LONGEST - 1]}…"


@dataclass(frozen=True, slots=True)
class Message:
    topic: str
    payload: bytes
    qos: Literal[0, 1] = 1
    retain: bool = False
    correlation: bytes | None = None
    """MQTT 5's correlation data: what belongs to which request, in the words of whoever asked."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that came. `answer_to` and `correlation` are MQTT 5's response topic and correlation data."""

    topic: str
    payload: bytes
    retained: bool = False
    answer_to: str | None = None
    correlation: bytes | None = None


class Session(Protocol):
    """One connection to a broker, from CONNACK to its end.

    Attributes:
        largest: bytes of a packet that the broker takes; None: it has said none.
        beside: the broker runs on this machine, in a process of its own.
    """

    largest: int | None
    beside: bool

    def send(self, message: Message) -> asyncio.Future[None]:
        """Hands a message over; the future ends on PUBACK (QoS 1), or when the socket has taken it (QoS 0).

        The future raises:
            ConnectionLost: the connection ended before.
            PublishRefused: the broker answered with a failure, or the message is above its `largest`.
        """
        ...

    def send_all(self, messages: Sequence[Message]) -> asyncio.Future[None]:
        """Hands over many of QoS 0 at once; the future ends when the socket has taken the last. Raises as `send`'s."""
        ...

    def flush(self) -> None:
        """Has what was handed over leave now, and not at the end of this turn of the loop."""
        ...

    async def listen_to(self, pattern: str, *, standing: bool = False) -> None:
        """Asks for the messages of these topics, at QoS 1, or 0 for what stands there.

        Args:
            pattern: the topics. Without `standing` nothing comes that stood there, where the broker knows MQTT 5.
            standing: it is about what stands there. It comes first, and `retained` says of a message that it stood
                there, not that it was published to stay; one's own do not come, where the broker knows MQTT 5.

        Raises:
            ConnectionLost: there is no connection any more.
            PublishRefused: the broker does not allow it.
        """
        ...

    def incoming(self) -> AsyncIterator[Incoming]:
        """What comes, as it comes. Raises ConnectionLost."""
        ...

    async def wait_lost(self) -> None:
        """Waits for the end of the connection. Raises ConnectionLost, with the cause."""
        ...


class Publisher(Protocol):
    """Makes connections to one broker."""

    def connect(self, will: Message) -> AbstractAsyncContextManager[Session]:
        """A session. An end in order, or a cancellation, says good-bye to the broker, so that the will is not sent.

        Any other exception leaves the broker without a word, so that it is.

        Raises:
            ConnectionLost: the broker cannot be reached, or refuses.
        """
        ...


STEADY = 10.0  # s of the machine; a connection that lived so long was a good one
ANSWER_LIMIT = 60.0  # s of the machine; a broker that acknowledges nothing for so long is stuck


async def acknowledged(future: asyncio.Future[None]) -> None:
    """Waits for what `send` gave. Raises what it raises; Unanswered when the broker is stuck."""
    if not future.done():
        await asyncio.wait([future], timeout=clock.of_machine(ANSWER_LIMIT))
    if not future.done():
        raise Unanswered(f"the broker has acknowledged nothing for {ANSWER_LIMIT:g} s")
    future.result()


@dataclass(slots=True)
class Backoff:
    """Waits between tries to connect: doubled each time, jittered so that a hall of labs does not knock at once.

    Args:
        least, greatest: s.
        steady: s; a connection that lived so long was a good one, and the waits start anew.
    """

    least: float = 0.5
    greatest: float = 30.0
    steady: float = STEADY
    _tries: int = 0
    _random: random.Random = field(default_factory=random.Random)

    def ended(self, lived: float) -> float:
        """Seconds to wait after a try whose connection lived so many seconds (0: none came about)."""
        self._tries = 1 if lived >= self.steady else self._tries + 1
        ceiling: float = min(self.greatest, self.least * 2 ** min(self._tries - 1, 16))
        return ceiling * self._random.uniform(0.5, 1.0)
