"""Answers on their way to the broker: in order, bounded in time, and none in the way of the others."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
import structlog

from labd import clock
from labd.lab.background import background
from labd.telemetry.payloads import Reply
from labd.telemetry.publisher import ANSWER_LIMIT, ConnectionLost, Incoming, Message, PublishRefused
from labd.telemetry.replies import AT_ONCE, MOST_OWN_LOSSES, Replies
from labd.telemetry.topics import Topics


class Wire:
    """A session that acknowledges what it is told to, or ends over it."""

    def __init__(self, ends_over: Callable[[Message], bool] = lambda _: False, largest: int | None = None) -> None:
        self.sent: list[Message] = []
        self.under_way: list[asyncio.Future[None]] = []
        self.largest = largest
        self.acknowledges = True
        self._ends_over = ends_over
        self._ended = False

    def send(self, message: Message) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent.append(message)
        if self._ended or self._ends_over(message):
            self._ended = True
            future.set_exception(ConnectionLost("the broker ended it"))
            future.exception()
        elif self.acknowledges:
            asyncio.get_running_loop().call_soon(future.set_result, None)
        else:
            self.under_way.append(future)
        return future

    def send_all(self, messages: Sequence[Message]) -> asyncio.Future[None]:
        raise NotImplementedError

    def flush(self) -> None: ...

    async def listen_to(self, pattern: str, *, standing: bool = False) -> None:
        raise NotImplementedError

    def incoming(self) -> AsyncIterator[Incoming]:
        raise NotImplementedError

    async def wait_lost(self) -> None:
        raise NotImplementedError

    @property
    def topics(self) -> list[str]:
        return [message.topic.removeprefix("labd/1/toys/reply/eva/") for message in self.sent]


def reply(number: int, **more: object) -> Reply:
    return Reply.model_validate({"command_id": f"c{number}", "state": "done", **more})


def filled(*numbers: int, answer_to: str | None = None) -> Replies:
    replies = Replies(Topics("toys"))
    for number in numbers:
        replies.put(reply(number), "eva", answer_to, b"x")
    return replies


async def test_the_users_own_topic_goes_before_what_he_asks_for_besides() -> None:
    wire = Wire()
    await filled(1, answer_to="flows/7").drain(wire)
    assert wire.topics == ["c1", "flows/7"]


async def test_many_are_under_way_before_the_first_is_acknowledged_and_what_comes_goes_out_at_once() -> None:
    replies, wire = filled(*range(AT_ONCE + 50)), Wire()
    wire.acknowledges = False
    async with background(replies.send(wire), "answers"):
        await asyncio.sleep(1)
        assert len(wire.sent) == AT_ONCE
        wire.acknowledges = True
        for future in wire.under_way:
            future.set_result(None)
        await asyncio.sleep(1)
        assert wire.topics == [f"c{number}" for number in range(AT_ONCE + 50)]
        replies.put(reply(999), "eva", None, None)
        assert wire.topics[-1] == "c999", "without a turn of the loop between"
        await asyncio.sleep(1)
        assert len(replies) == 0


async def test_an_answer_over_which_connections_end_is_left_out_and_the_others_come() -> None:
    replies, wires = filled(1, 2, 3, answer_to="flows/7"), []
    with structlog.testing.capture_logs() as lines:
        while len(replies):
            wires.append(Wire(lambda message: message.topic == "flows/7"))
            with contextlib.suppress(ConnectionLost):
                await replies.drain(wires[-1])
    assert len(wires) <= 3 * 3 + 1
    told = [topic for wire in wires for topic in wire.topics if topic != "flows/7"]
    assert list(dict.fromkeys(told)) == ["c1", "c2", "c3"]
    assert [line["topic"] for line in lines] == ["flows/7"] * 3


async def test_a_users_own_answer_outlives_more_connections_than_one_elsewhere() -> None:
    replies = filled(1)
    for _ in range(MOST_OWN_LOSSES - 1):
        with pytest.raises(ConnectionLost):
            await replies.drain(Wire(lambda _: True))
    wire = Wire()
    await replies.drain(wire)
    assert wire.topics == ["c1"]


async def test_a_broker_that_acknowledges_nothing_is_given_up() -> None:
    replies, wire, began = filled(1), Wire(), clock.monotonic()
    wire.acknowledges = False
    with pytest.raises(ConnectionLost):
        await replies.drain(wire)
    assert clock.monotonic() - began == pytest.approx(ANSWER_LIMIT, rel=0.2)
    again = Wire()
    await replies.drain(again)
    assert again.topics == ["c1"]


async def test_what_the_broker_refuses_is_told_and_the_next_goes_on() -> None:
    class Refusing(Wire):
        def send(self, message: Message) -> asyncio.Future[None]:
            if message.topic.endswith("c1"):
                raise PublishRefused(message.topic, "Not authorized")
            return super().send(message)

    wire = Refusing()
    await filled(1, 2).drain(wire)
    assert wire.topics == ["c2"]


async def test_what_the_client_itself_does_not_send_is_refused_too() -> None:
    class Particular(Wire):
        def send(self, message: Message) -> asyncio.Future[None]:
            if message.topic.endswith("c1"):
                raise ValueError("invalid topic")
            return super().send(message)

    wire = Particular()
    await filled(1, 2).drain(wire)
    assert wire.topics == ["c2"]


async def test_an_answer_larger_than_the_broker_takes_is_given_in_short() -> None:
    replies, wire = Replies(Topics("toys")), Wire(largest=500)
    replies.put(reply(1, result={"jobs": ["job-0001"] * 200}), "eva", "flows/7", None)
    replies.put(reply(2), "eva", None, None)
    await replies.drain(wire)
    assert wire.topics == ["c1", "c2"]
    told = json.loads(wire.sent[0].payload)
    assert (told["state"], told["result"], "the broker takes 500" in told["reason"]) == ("done", None, True)


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("flows/7", True),
        ("flüsse/7", True),
        ("labd/1/toys/reply/eva/flows/7", True),
        ("labd/1/toys/reply/ben/flows/7", False),
        ("labd/1/toys/cmd/eva/abort", False),
        ("homeassistant/status", False),
        ("$share/a/b", False),
        ("flows/#", False),
        ("flows/+", False),
        ("/".join("x" * 20), True),
        ("/".join("x" * 21), False),
        ("labd/1/toys/reply/eva/" + "/".join("x" * 250), False),
        ("x" * 256, True),
        ("ü" * 129, False),
        ("flows/\0", False),
        ("flows/\x7f", False),
        ("flows/\ufdd0", False),
        ("flows/\U0001ffff", False),
        ("flows/\ud800", False),
    ],
)
async def test_where_answers_may_go(topic: str, allowed: bool) -> None:
    assert Replies(Topics("toys")).allowed(topic, "eva") is allowed
