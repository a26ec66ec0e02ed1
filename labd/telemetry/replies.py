"""Answers to commands on their way to the broker: in their order, many under way, and none that keeps others back."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import structlog

from labd.telemetry import payloads
from labd.telemetry.publisher import Message, PublishError, PublishRefused, Session, acknowledged, brief
from labd.telemetry.topics import Topics

log = structlog.get_logger(__name__)

CLOSED = ("labd/", "homeassistant/", "$")
"""Nobody has an answer sent there: others take what stands there for the daemon's word, or for a command."""
MOST_LEVELS = 20  # of a response topic: mosquitto ends the connection of whoever publishes to one of 200
MOST_BYTES = 256  # of it
AT_ONCE = 100  # answers under way before the first is acknowledged
MOST_LOSSES = 2  # connections that end over one answer elsewhere before it is left out
MOST_OWN_LOSSES = 5  # the same of a user's own reply topic, which no broker has anything against
FRAME = 64  # bytes of a packet beside topic, payload and correlation data, at most
HEAD_START = 1e-4  # s of the machine; the system makes nearly twice that of it
"""So long the loop stands still after an answer where the broker is another process of this machine: on two processors
it, and who waits for the answer, would stand behind all that is told of the same commit, for longer than that."""
REST_EVERY = 0.01  # s of the machine; between two such rests: a flood of commands costs a fiftieth of the loop


@dataclass(slots=True)
class Waiting:
    """An answer that the broker has not acknowledged.

    Args:
        message: as it is sent.
        reply: what it says, where it goes to the user's own reply topic.
        sent: ends with the broker's acknowledgement; None: it is not under way.
        losses: connections that ended while it was the only one under way.
    """

    message: Message
    reply: payloads.Reply | None
    sent: asyncio.Future[None] | None = None
    losses: int = 0


class Replies:
    """Answers that wait for the broker. Putting one in never waits."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._waiting: deque[Waiting] = deque()
        self._filled = asyncio.Event()
        self._session: Session | None = None  # over which they are under way
        self._direct = False  # what is put in goes out at once
        self._under_way = 0
        self._rested = 0.0  # the machine's monotonic clock
        self._suspects = 0  # the first so many were under way when a connection ended: they go one by one

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Message]:
        return (one.message for one in self._waiting)

    def put(self, reply: payloads.Reply, user: str, answer_to: str | None, correlation: bytes | None) -> None:
        """Puts an answer in for the user's own reply topic, and after that for where he wants it besides.

        Args:
            reply: what is answered.
            user: who gave the command.
            answer_to: MQTT 5's response topic; passed over where it is not `allowed`.
            correlation: what goes back with the answer, unread.
        """
        own, payload = self._topics.reply(user, reply.command_id), reply.encode()
        self._waiting.append(Waiting(Message(own, payload, qos=1, correlation=correlation), reply))
        if answer_to and answer_to != own and self.allowed(answer_to, user):
            self._waiting.append(Waiting(Message(answer_to, payload, qos=1, correlation=correlation), None))
        if self._direct:
            self._hand_over()
        self._filled.set()

    def leave(self) -> None:
        """Has what was put in leave now, before all else that has come of the same commit; see `HEAD_START`."""
        if self._direct and self._session is not None:
            self._session.flush()
            if self._session.beside and time.monotonic() - self._rested > REST_EVERY:
                time.sleep(HEAD_START)
                self._rested = time.monotonic()

    def allowed(self, topic: str, user: str) -> bool:
        """Whether answers to a user may go there; below his own reply topic, always where it is a topic."""
        if len(topic.encode(errors="replace")) > MOST_BYTES or topic.count("/") >= MOST_LEVELS:
            return False
        if any(sign in "+#" or not _speakable(sign) for sign in topic):
            return False
        return topic.startswith(f"{self._topics.prefix}/reply/{user}/") or not topic.startswith(CLOSED)

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def send(self, session: Session) -> None:
        """Sends answers as they come; those of an outage follow it. Raises ConnectionLost."""
        self._take_up(session)
        self._direct = True
        try:
            while True:
                await self.drain(session)
                self._filled.clear()
                await self._filled.wait()
        finally:
            self._direct = False

    async def drain(self, session: Session) -> None:
        """Sends the answers that wait. Raises ConnectionLost, also when the broker acknowledges nothing."""
        self._take_up(session)
        while self._waiting:
            self._hand_over()
            head = self._waiting[0]
            assert head.sent is not None
            try:
                await acknowledged(head.sent)
            except PublishRefused as refused:
                log.warning("answer refused", topic=brief(refused.topic), reason=refused.reason)
            self._waiting.popleft()
            self._under_way -= 1
            self._suspects = max(0, self._suspects - 1)

    def _take_up(self, session: Session) -> None:
        """For a new connection; an answer over which others ended is left out: it may be that no broker takes it."""
        if session is self._session:
            return
        self._session = session
        self._suspects = max(self._suspects, self._under_way)
        if self._under_way == 1:
            head = self._waiting[0]
            head.losses += 1
            if head.losses >= (MOST_LOSSES if head.reply is None else MOST_OWN_LOSSES):
                log.warning("answer left out: the broker ends the connection over it", topic=brief(head.message.topic))
                self._waiting.popleft()
                self._under_way, self._suspects = 0, self._suspects - 1
        for one in islice(self._waiting, self._under_way):
            one.sent = None
        self._under_way = 0

    def _hand_over(self) -> None:
        """Has the first ones under way: as many as may be at a time."""
        assert self._session is not None
        most = 1 if self._suspects else AT_ONCE
        for one in islice(self._waiting, self._under_way, most):
            one.sent = _handed(one, self._session)
            self._under_way += 1


def _handed(one: Waiting, session: Session) -> asyncio.Future[None]:
    if _size(one.message) > (session.largest or _size(one.message)) and one.reply is not None:
        why = f"what there is to say has {_size(one.message)} bytes, the broker takes {session.largest}"
        short = payloads.Reply(command_id=one.reply.command_id, state=one.reply.state, reason=why)
        one.message = Message(one.message.topic, short.encode(), qos=1)
    try:
        if _size(one.message) > (session.largest or _size(one.message)):
            raise PublishRefused(one.message.topic, f"it has {_size(one.message)} bytes, {session.largest} at most")
        return session.send(one.message)
    except (PublishError, ValueError) as error:  # the client has its own view of what can be sent
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        told = isinstance(error, PublishError)
        failed.set_exception(error if told else PublishRefused(one.message.topic, str(error)))
        failed.exception()  # whoever waits for those before it may never come to it
        return failed


def _size(message: Message) -> int:
    return len(message.topic.encode()) + len(message.payload) + len(message.correlation or b"") + FRAME


def _speakable(sign: str) -> bool:
    """Whether MQTT lets it stand in a topic: no control characters, halves of others, or numbers that mean none."""
    code = ord(sign)
    return not (
        code < 0x20
        or 0x7F <= code < 0xA0
        or 0xD800 <= code < 0xE000
        or 0xFDD0 <= code < 0xFDF0
        or code & 0xFFFE == 0xFFFE
    )
