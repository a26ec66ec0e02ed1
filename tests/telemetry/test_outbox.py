"""The outbox on virtual time, before a broker that a test moves: order, no gaps, duplicates that can be told."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from labd.journal import Event, Journal, NewEvent
from labd.journal.waiting import Written, firsts, stretches, written
from labd.journal.waiting import number as number_of
from labd.lab.backlog import Backlog
from labd.lab.bus import Alarm, Bus, Happening
from labd.lab.config import Mqtt
from labd.telemetry.ahead import FRESH, FRESH_BYTES, Fresh
from labd.telemetry.flight import MOST, MOST_BYTES, Flight, Sent
from labd.telemetry.outbox import encoded
from labd.telemetry.payloads import RunEvent
from labd.telemetry.publisher import ANSWER_LIMIT, Message
from labd.telemetry.service import Telemetry
from tests.telemetry.fake_broker import CUTS, SILENT, TAKES, FakeBroker, Follower


@asynccontextmanager
async def telling(
    bus: Bus, journal: Journal, broker: FakeBroker, backlog: Backlog | None = None
) -> AsyncIterator[None]:
    config = Mqtt(broker="embedded", backlog=backlog or Backlog())
    telemetry = Telemetry("lab", config, bus, journal, "boot-1", "0.1.0", publisher=broker)
    task = asyncio.create_task(telemetry.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


class Told:
    """The alarms that a bus tells."""

    def __init__(self, bus: Bus) -> None:
        self.all: list[Alarm] = []
        bus.subscribe(self._hear, Alarm)

    def _hear(self, happening: Happening) -> None:
        assert isinstance(happening, Alarm)
        self.all.append(happening)

    def texts(self, alarm_id: str) -> list[str]:
        return [alarm.text for alarm in self.all if alarm.id == alarm_id and not alarm.ended]

    def ended(self, alarm_id: str) -> bool:
        found = [alarm for alarm in self.all if alarm.id == alarm_id]
        return bool(found) and found[-1].ended


async def work(journal: Journal, runs: int, steps: int, size: int = 10) -> list[Event]:
    """Events of several runs, interleaved, with some of no run between; gives those of runs."""
    events = []
    for number in range(steps):
        new = [NewEvent("step.done", {"number": number, "x": "y" * size}, f"r{run}") for run in range(runs)]
        events += await journal.append(*new, NewEvent("clock.checked", {}))
        await asyncio.sleep(1)
    return [event for event in events if event.run is not None]


def whole(follower: Follower, events: list[Event]) -> None:
    """Every event was taken, in the order of the journal within each run, and is what was journaled."""
    by_run: dict[str, list[Event]] = {}
    for event in events:
        by_run.setdefault(str(event.run), []).append(event)
    assert set(follower.events) == set(by_run)
    for run, wanted in by_run.items():
        got = follower.events[run]
        assert [(one["at"], one["kind"], one["data"], one["hash"]) for one in got] == [
            (event.at, event.kind, event.data, event.hash) for event in wanted
        ]


async def test_events_come_in_the_journals_order_across_runs(bus: Bus, journal: Journal) -> None:
    follower = Follower()
    broker = FakeBroker(listener=follower.hear)
    async with telling(bus, journal, broker):
        events = await work(journal, 3, 40)
        await follower.until(120)
    whole(follower, events)
    assert follower.runs_in_order == [event.run for event in events]
    assert (follower.duplicates, follower.ahead) == (0, 0)


async def test_a_refusal_in_the_middle_keeps_what_is_behind_it_waiting_and_is_told(bus: Bus, journal: Journal) -> None:
    follower, told, refusals = Follower(), Told(bus), Counter[str]()

    def answer(message: Message) -> str:
        thirtieth = message.topic.endswith("r0/event") and json.loads(message.payload)["seq"] == 30
        if thirtieth and refusals["r0"] < 3:
            refusals["r0"] += 1
            return "Not authorized"
        return TAKES

    broker = FakeBroker(answer=answer, listener=follower.hear)
    events = await work(journal, 2, 100)
    async with telling(bus, journal, broker):
        await follower.until(200)
        whole(follower, events)
        assert follower.ahead > 0, "those behind it were under way"
        (text,) = set(told.texts("mqtt-refused"))
        assert "refuses event 30 of r0: Not authorized" in text
        await asyncio.sleep(2)
        assert told.ended("mqtt-refused")
        assert await journal.mark("mqtt") == (await journal.events())[-1].seq


async def test_nothing_leaves_the_outbox_before_it_was_taken(bus: Bus, journal: Journal) -> None:
    broker = FakeBroker(answer=lambda message: "Not authorized" if "/event" in message.topic else TAKES)
    async with telling(bus, journal, broker):
        await work(journal, 1, 20)
        await asyncio.sleep(3600)
        assert await journal.mark("mqtt") == 0


@pytest.mark.parametrize("seed", range(12))
async def test_cuts_and_refusals_by_chance_lose_nothing(bus: Bus, journal: Journal, seed: int) -> None:
    rng, follower = random.Random(seed), Follower()
    events = await work(journal, 3, 100)

    def answer(message: Message) -> str:
        if "/event" not in message.topic:
            return TAKES
        return rng.choices([TAKES, CUTS, "Quota exceeded"], [0.97, 0.02, 0.01])[0]

    async with telling(bus, journal, FakeBroker(answer=answer, listener=follower.hear)):
        events += await work(journal, 3, 60)
        await follower.until(480, 24 * 3600)
    whole(follower, events)


async def test_a_crash_between_acknowledgement_and_mark_sends_again_and_leaves_no_gap(
    bus: Bus, journal: Journal
) -> None:
    follower = Follower()
    events = await work(journal, 2, 50)
    async with telling(bus, journal, FakeBroker(listener=follower.hear)):
        await follower.until(100)
    await journal.set_mark("mqtt", 31)  # as it stood in the journal when the daemon was killed
    async with telling(bus, journal, FakeBroker(listener=follower.hear)):
        events += await work(journal, 2, 5)
        await follower.until(110)
    whole(follower, events)
    assert follower.duplicates == len([event for event in events[:100] if event.seq > 31])
    assert follower.ahead == 0


async def test_after_a_restart_runs_are_counted_without_reading_them(
    bus: Bus, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower()
    async with telling(bus, journal, FakeBroker(listener=follower.hear)):
        events = await work(journal, 3, 30)
        await follower.until(90)

    real = journal.events

    async def of_no_run(run: str | None = None, **more: Any) -> list[Event]:
        assert run is None, "a run was read whole"
        return await real(**more)

    with monkeypatch.context() as patched:
        patched.setattr(journal, "events", of_no_run)
        async with telling(bus, journal, FakeBroker(listener=follower.hear)):
            events += await work(journal, 3, 1)
            await follower.until(93)
    whole(follower, events)


async def test_a_broker_that_acknowledges_nothing_is_left_and_connected_to_anew(bus: Bus, journal: Journal) -> None:
    follower = Follower()
    broker = FakeBroker(answer=lambda message: SILENT if "/event" in message.topic else TAKES, listener=follower.hear)
    async with telling(bus, journal, broker):
        events = await work(journal, 1, 20)
        await asyncio.sleep(ANSWER_LIMIT * 3)
        assert broker.tries >= 2
        broker.answer = lambda _: TAKES
        await follower.until(20)
    whole(follower, events)


# ── what can never pass ──────────────────────────────────────────────────────────────────────────────────────────────
async def with_a_large_one(journal: Journal, size: int) -> list[Event]:
    return await journal.append(
        NewEvent("step.done", {"number": 1}, "r1"),
        NewEvent("run.begun", {"text": "x" * size}, "r1"),
        NewEvent("step.done", {"number": 3}, "r1"),
    )


def shortened(follower: Follower, events: list[Event]) -> bool:
    got = follower.events["r1"]
    assert [one["hash"] for one in got] == [event.hash for event in events]
    assert [one["data"] for one in got if "omitted" not in one] == [events[0].data, events[2].data]
    short = RunEvent.model_validate(got[1])
    assert (short.data, short.at, short.kind) == ({}, events[1].at, "run.begun")
    return short.omitted is not None and f"/api/v1/runs/r1/events?after={events[1].seq - 1}&limit=1" in short.omitted


async def test_an_event_beyond_the_brokers_limit_is_sent_without_its_data(bus: Bus, journal: Journal) -> None:
    follower, told = Follower(), Told(bus)
    broker = FakeBroker(largest=1000, listener=follower.hear)
    async with telling(bus, journal, broker):
        events = await with_a_large_one(journal, 2000)
        await follower.until(3)
    assert shortened(follower, events)
    assert "event 2 of r1 was sent over MQTT without its data" in told.texts("mqtt-large")[0]
    assert max(len(message.payload) for message in broker.got if "/event" in message.topic) < 1000


async def test_an_event_that_is_refused_as_too_large_is_sent_without_its_data(bus: Bus, journal: Journal) -> None:
    follower = Follower()

    def answer(message: Message) -> str:
        return "Packet too large" if len(message.payload) > 1000 else TAKES

    async with telling(bus, journal, FakeBroker(answer=answer, listener=follower.hear)):
        events = await with_a_large_one(journal, 2000)
        await follower.until(3)
    assert shortened(follower, events)


async def test_a_large_event_that_ends_every_connection_is_sent_without_its_data(bus: Bus, journal: Journal) -> None:
    follower = Follower()
    broker = FakeBroker()

    def answer(message: Message) -> str:
        if len(message.payload) > 100_000:
            assert broker.session is not None
            broker.session.cut()
            return SILENT
        return TAKES

    broker.answer, broker.listener = answer, follower.hear
    async with telling(bus, journal, broker):
        events = await with_a_large_one(journal, 200_000)
        await follower.until(3)
    assert shortened(follower, events)


async def test_an_event_that_is_taken_in_no_form_holds_up_nobody(bus: Bus, journal: Journal) -> None:
    seen: list[int] = []
    told = Told(bus)

    def answer(message: Message) -> str:
        if "/event" not in message.topic:
            return TAKES
        seen.append(json.loads(message.payload)["seq"])
        return "Payload format invalid" if seen[-1] == 2 else TAKES

    async with telling(bus, journal, FakeBroker(answer=answer)):
        await with_a_large_one(journal, 10)
        await asyncio.sleep(60)
        assert await journal.mark("mqtt") == 3
    assert seen[-1] == 3
    assert "event 2 of r1 is not sent over MQTT" in told.texts("mqtt-large")[-1]


# ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "data", [{}, {"a": 1.5e-7, "ü": '°C " \\ \n', "none": None, "deep": [{"x": [1, True]}]}, {"text": "y" * 5000}]
)
async def test_what_is_sent_is_the_payload_of_the_contract(journal: Journal, data: dict[str, Any]) -> None:
    (event,) = await journal.append(NewEvent('odd "kind".ü', data, "r1"))
    (row,) = await journal.ask(lambda rows: written(rows, 0, 10, 10**6))
    wanted = RunEvent(seq=7, at=event.at, kind=event.kind, data=event.data, hash=event.hash)
    assert RunEvent.model_validate_json(encoded(row, 7)) == wanted
    assert Fresh().add(event) == row


async def test_reading_is_bounded_by_events_and_by_bytes(journal: Journal) -> None:
    await journal.append(*(NewEvent("a", {"x": "y" * 1000}, "r1") for _ in range(20)))
    assert len(await journal.ask(lambda rows: written(rows, 0, 5, 10**6))) == 5
    assert [event.seq for event in await journal.ask(lambda rows: written(rows, 3, 100, 2500))] == [4, 5]
    assert len(await journal.ask(lambda rows: written(rows, 0, 5, 1))) == 1


async def test_stretches_and_numbers_are_those_of_the_events(journal: Journal) -> None:
    await work(journal, 2, 400)
    found = await journal.ask(lambda rows: stretches(rows, 10, 3))
    assert [(one.first, one.last) for one in found] == [(11, 250), (251, 500), (501, 750), (751, 760)]
    rows = await journal.ask(lambda rows: written(rows, 10, 10_000, 10**9))
    assert sum(one.size for one in found) == sum(row.size for row in rows if row.seq <= found[-1].last)
    assert await journal.ask(lambda rows: firsts(rows, 6, 12)) == {"r0": (7, 2), "r1": (8, 2)}
    assert await journal.ask(lambda rows: number_of(rows, "r1", 8)) == 3


def test_what_is_kept_at_hand_is_bounded() -> None:
    fresh = Fresh()
    for seq in range(1, FRESH * 2):
        fresh.add(Event(seq, "2026-01-01T00:00:00Z", "r1", "a", {}, "h"))
    assert fresh.after(10) == []
    assert fresh.after(FRESH * 2 - 10)[0].seq == FRESH * 2 - 9
    for seq in range(FRESH * 2, FRESH * 2 + 50):
        fresh.add(Event(seq, "2026-01-01T00:00:00Z", "r1", "a", {"x": "y" * (FRESH_BYTES // 10)}, "h"))
    assert fresh.after(FRESH * 2 + 39) == []
    assert len(fresh.after(FRESH * 2 + 44)) == 5


def an_event(seq: int) -> Written:
    return Written(seq, "2026-01-01T00:00:00Z", "r1", "a", "{}", "h")


async def under_way(trip: float, size: int, messages: int = 1500) -> int:
    """The most messages under way, in the end, where each is acknowledged after so many s."""
    flight, loop = Flight(), asyncio.get_running_loop()
    most: list[int] = []
    for seq in range(1, messages):
        while not flight.has_room():
            await flight.some()
            flight.settle()
        future: asyncio.Future[None] = loop.create_future()
        loop.call_later(trip, future.set_result, None)
        flight.add(Sent(an_event(seq), seq, future, size))
        most.append(len(flight))
    return max(most[-messages // 3 :])


@pytest.mark.parametrize(
    ("trip", "size", "least", "most"),
    [(0.01, 300, MOST, MOST), (0.01, 3000, 20, MOST_BYTES // 3000 + 1), (2.0, 300, 1, 2), (0.01, 10**6, 1, 1)],
)
async def test_what_is_under_way_is_bounded_and_follows_the_broker(
    trip: float, size: int, least: int, most: int
) -> None:
    assert least <= await under_way(trip, size) <= most


async def test_acknowledgements_out_of_order_are_waited_for_and_taken_in_order() -> None:
    flight, loop = Flight(), asyncio.get_running_loop()
    futures: list[asyncio.Future[None]] = [loop.create_future() for _ in range(12)]
    for seq, future in enumerate(futures, 1):
        flight.add(Sent(an_event(seq), seq, future, 10))
    taken: list[int] = []

    async def take() -> None:
        while flight:
            await flight.some()
            taken.append(flight.settle())

    task = asyncio.create_task(take())
    for number in (3, 7, 1, 0, 2, 11, 10, 9, 8, 6, 5, 4):
        await asyncio.sleep(1)
        futures[number].set_result(None)
    await task
    assert next(seq for seq in taken if seq) == 2, "those behind one that is not acknowledged stay"
    assert taken == sorted(taken, key=lambda seq: seq or 2)
    assert taken[-1] == 12


@pytest.mark.parametrize("turns", range(10))
async def test_an_end_that_meets_a_lost_connection_is_an_end(bus: Bus, journal: Journal, turns: int) -> None:
    broker = FakeBroker()
    telemetry = Telemetry("lab", Mqtt(broker="embedded"), bus, journal, "boot-1", "0.1.0", publisher=broker)
    task = asyncio.create_task(telemetry.run())
    await work(journal, 1, 3)
    broker.go()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=300)
    assert task.cancelled()
