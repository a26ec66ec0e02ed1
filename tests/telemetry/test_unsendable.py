"""What the broker does not take, and what only looks so: nothing is left out, or loses its data, without need."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Literal

import pytest

from labd import clock
from labd.journal import Event, Journal, NewEvent
from labd.lab.alarms import Alarms
from labd.lab.backlog import Backlog
from labd.lab.bus import Bus
from labd.telemetry.outbox import Outbox
from labd.telemetry.publisher import Message, TakenOver
from labd.telemetry.topics import Topics
from tests.telemetry.fake_broker import SILENT, TAKES, FakeBroker, FakeSession, Follower
from tests.telemetry.test_outbox import Told, telling, whole


async def some(journal: Journal, number: int, size: int = 10) -> list[Event]:
    return await journal.append(*(NewEvent("step.done", {"x": "y" * size}, "r1") for _ in range(number)))


def seq_of(message: Message) -> int:
    """The number of an event; 0 of what is none."""
    return int(json.loads(message.payload)["seq"]) if message.topic.endswith("/event") else 0


async def test_a_neighbours_refusal_says_nothing_of_the_oldest(bus: Bus, journal: Journal) -> None:
    follower, told, tries = Follower(), Told(bus), Counter[int]()

    def answer(message: Message) -> str:
        seq = seq_of(message)
        tries[seq] += 1
        if seq == 1 and tries[1] <= 3:
            return "Not authorized"
        if 4 <= seq <= 8 and json.loads(message.payload)["data"]:
            return "Payload format invalid"
        return TAKES

    events = await some(journal, 40)
    async with telling(bus, journal, FakeBroker(answer=answer, listener=follower.hear)):
        await follower.until(40, 600)
        await asyncio.sleep(2)
        assert await journal.mark("mqtt") == events[-1].seq
    got = follower.events["r1"]
    assert [one["hash"] for one in got] == [event.hash for event in events]
    assert [one["seq"] for one in got if "omitted" in one] == [4, 5, 6, 7, 8]
    assert not told.texts("mqtt-gap")
    assert "refuses event 1 of r1: Not authorized" in told.texts("mqtt-refused")[0]


@pytest.mark.parametrize("trouble", ["flapping", "silent", "contested"])
async def test_a_broker_in_trouble_costs_an_event_nothing_of_its_data(
    bus: Bus, journal: Journal, trouble: Literal["flapping", "silent", "contested"]
) -> None:
    follower, told, broker = Follower(), Told(bus), FakeBroker()

    def answer(message: Message) -> str:
        if not seq_of(message):
            return TAKES
        if trouble == "contested":
            assert broker.session is not None
            broker.session.cut(TakenOver("there is another"))
        return SILENT

    async def flaps() -> None:
        """The line holds for a moment, whatever is sent."""
        while True:
            await asyncio.sleep(0.3)
            if broker.session is not None:
                broker.session.cut()

    broker.answer, broker.listener = answer, follower.hear
    events = await some(journal, 3, 3000)
    async with telling(bus, journal, broker):
        flapping = asyncio.create_task(flaps()) if trouble == "flapping" else None
        while broker.tries < 20:
            await asyncio.sleep(1)
        broker.answer = lambda _: TAKES
        if flapping is not None:
            flapping.cancel()
        await follower.until(3)
        await asyncio.sleep(2)
    whole(follower, events)
    assert not told.texts("mqtt-large")
    if trouble == "silent":
        assert (
            "has acknowledged nothing on 3 connections in a row: event 1 of r1 waits" in told.texts("mqtt-refused")[0]
        )
        assert told.ended("mqtt-refused")


async def test_what_is_suspected_is_sent_alone_on_a_connection_that_has_stood(bus: Bus, journal: Journal) -> None:
    follower, broker = Follower(), FakeBroker()
    sent: list[list[int]] = []
    after: list[float] = []

    def answer(message: Message) -> str:
        while len(sent) < broker.tries:
            sent.append([])
        if not (seq := seq_of(message)):
            connected.setdefault(broker.tries, clock.monotonic())
            return TAKES
        if not sent[-1]:
            after.append(clock.monotonic() - connected[broker.tries])
        sent[-1].append(seq)
        if len(message.payload) > 1000:
            asyncio.get_running_loop().call_later(0.2, cut, broker.session)
            return SILENT
        return TAKES

    def cut(session: FakeSession) -> None:
        session.cut()

    connected: dict[int, float] = {}
    broker.answer, broker.listener = answer, follower.hear
    events = await journal.append(
        NewEvent("run.begun", {"text": "x" * 2000}, "r1"), *(NewEvent("step.done", {}, "r1") for _ in range(5))
    )
    async with telling(bus, journal, broker):
        await follower.until(6)
    assert [one["hash"] for one in follower.events["r1"]] == [event.hash for event in events]
    assert [bool(one.get("omitted")) for one in follower.events["r1"]] == [True, *[False] * 5]
    assert [len(one) for one in sent[:5]] == [6, 6, 6, 1, 1], "from the third end on it goes alone"
    assert max(after[:3]) < 0.1
    assert min(after[3:5]) > 1.0


async def test_waits_start_anew_once_something_was_taken(bus: Bus, journal: Journal) -> None:
    tries: dict[int, list[float]] = {}

    def answer(message: Message) -> str:
        if seq := seq_of(message):
            tries.setdefault(seq, []).append(clock.monotonic())
            if len(tries[seq]) < (9 if seq == 1 else 2):
                return "Quota exceeded"
        return TAKES

    await some(journal, 1)
    follower = Follower()
    async with telling(bus, journal, FakeBroker(answer=answer, listener=follower.hear)):
        await follower.until(1)
        await some(journal, 1)
        await follower.until(2)
    assert tries[1][-1] - tries[1][-2] > 10.0
    assert tries[2][1] - tries[2][0] <= 0.5


async def test_the_end_is_an_end_when_the_mark_can_no_longer_be_kept(bus: Bus, journal: Journal) -> None:
    broker, outbox = FakeBroker(), Outbox(journal, Topics("lab"), Alarms(bus), Backlog())
    tasks = [asyncio.create_task(outbox.listen()), asyncio.create_task(outbox.send(FakeSession(broker)))]
    await some(journal, 3)
    await until(lambda: len(broker.got) == 3)
    await asyncio.sleep(0.1)
    await journal.close()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [True, True]


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError


async def test_a_broker_that_keeps_up_costs_no_reading(
    bus: Bus, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower, asked = Follower(), Counter[str]()
    async with telling(bus, journal, FakeBroker(listener=follower.hear)):
        await some(journal, 2)
        await follower.until(2)
        real = journal.ask

        async def counting(query: Callable[..., object]) -> object:
            asked[str(getattr(query, "func", query))] += 1
            return await real(query)

        monkeypatch.setattr(journal, "ask", counting)
        for number in range(50):
            await some(journal, 2)
            await asyncio.sleep(0.1 * (number % 3))
        await follower.until(102)
    assert not asked
