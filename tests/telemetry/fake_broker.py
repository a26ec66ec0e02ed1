"""A broker that a test moves (away, refusing, cutting, silent), and a subscriber that keeps to the contract's rule."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from labd import clock
from labd.telemetry.publisher import ConnectionLost, Incoming, Message, PublishRefused, Session

TAKES = "takes"
CUTS = "cuts"  # the message has arrived, its acknowledgement has not
SILENT = "silent"


class FakeSession:
    """A connection to a `FakeBroker`."""

    def __init__(self, broker: FakeBroker) -> None:
        self.largest = broker.largest
        self.beside = False
        self._broker = broker
        self._under_way: set[asyncio.Future[None]] = set()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._why = ConnectionLost("the connection is cut")

    def send(self, message: Message) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self.lost.done():
            _fail(future, ConnectionLost("the connection is cut"))
            return future
        self._under_way.add(future)
        loop.call_soon(self._answer, message, future)
        return future

    def _answer(self, message: Message, future: asyncio.Future[None]) -> None:
        if self.lost.done():
            return
        how = self._broker.answer(message)
        if how == SILENT:
            return
        if how in (TAKES, CUTS):
            self._broker.take(message)
        if how == CUTS:
            self.cut()
        elif not future.done():
            self._under_way.discard(future)
            if how == TAKES:
                future.set_result(None)
            else:
                _fail(future, PublishRefused(message.topic, how))

    def cut(self, why: ConnectionLost | None = None) -> None:
        if not self.lost.done():
            self._why = why or self._why
            self.lost.set_result(None)
        for future in self._under_way:
            if not future.done():
                _fail(future, self._why)

    def send_all(self, messages: Sequence[Message]) -> asyncio.Future[None]:
        return [self.send(message) for message in messages][-1]

    def flush(self) -> None: ...

    async def listen_to(self, pattern: str, *, standing: bool = False) -> None: ...

    async def incoming(self) -> AsyncIterator[Incoming]:
        await asyncio.Event().wait()
        yield Incoming("", b"")

    async def wait_lost(self) -> None:
        await asyncio.wait([self.lost])
        raise self._why


@dataclass
class FakeBroker:
    """A Publisher. `answer` says of each message whether it is taken, or the reason why it is refused."""

    answer: Callable[[Message], str] = lambda _: TAKES
    up: bool = True
    largest: int | None = None
    got: list[Message] = field(default_factory=list)
    listener: Callable[[Message], None] = lambda _: None
    keep: bool = True
    tries: int = 0
    session: FakeSession | None = None

    @asynccontextmanager
    async def connect(self, will: Message) -> AsyncIterator[Session]:
        self.tries += 1
        if not self.up:
            raise ConnectionLost("nobody is there")
        self.session = FakeSession(self)
        try:
            yield self.session
        finally:
            self.session.cut()

    def take(self, message: Message) -> None:
        if self.keep:
            self.got.append(message)
        self.listener(message)

    def go(self) -> None:
        """It is away from now on."""
        self.up = False
        if self.session is not None:
            self.session.cut()

    def of(self, topic: str) -> list[Any]:
        """What came to a topic of the lab, oldest first."""
        return [_data(message) for message in self.got if message.topic == f"labd/1/lab/{topic}"]


@dataclass
class Follower:
    """A subscriber of events by the rule: the next number is taken, an old one is a duplicate.

    A later one is not taken: it must come again, or what is missing be asked for.
    """

    events: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    duplicates: int = 0
    ahead: int = 0
    runs_in_order: list[str] = field(default_factory=list)

    def hear(self, message: Message) -> None:
        kind, _, run = message.topic.removeprefix("labd/1/lab/").partition("/")
        run, _, what = run.partition("/")
        if kind != "run" or what != "event":
            return
        event, taken = _data(message), self.events[run]
        if event["seq"] == len(taken) + 1:
            taken.append(event)
            self.runs_in_order.append(run)
        elif event["seq"] <= len(taken):
            assert taken[event["seq"] - 1]["hash"] == event["hash"], "a duplicate must be the same event"
            self.duplicates += 1
        else:
            self.ahead += 1

    @property
    def count(self) -> int:
        return sum(map(len, self.events.values()))

    async def until(self, count: int, seconds: float = 3600) -> None:
        """Waits for so many events, for so many s of lab time at most."""
        end = clock.monotonic() + seconds
        while self.count < count:
            assert clock.monotonic() < end, f"{self.count} of {count} events came in {seconds} s"
            await asyncio.sleep(0.5)


def _data(message: Message) -> Any:
    return json.loads(message.payload) if message.payload else None


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    future.set_exception(error)
    future.exception()
