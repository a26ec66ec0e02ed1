"""The backlog's budget: what is given up when it is full, who is told, and how a subscriber gets it all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from labd.files import InputErrors
from labd.journal import Event, Journal, NewEvent
from labd.journal.waiting import OVERHEAD, STRETCH, Written
from labd.journal.waiting import number as number_of
from labd.lab.alarms import Alarms
from labd.lab.backlog import Backlog
from labd.lab.bus import Bus
from labd.lab.config import load_lab
from labd.telemetry.backlog import Gaps, Waiting
from labd.telemetry.keeper import FULL, GAP, Keeper
from tests.telemetry.fake_broker import SILENT, TAKES, FakeBroker, Follower
from tests.telemetry.test_outbox import Told, telling

MEGABYTE = Backlog.model_validate({"size": "1 MB"})
HOUR = Backlog.model_validate({"age": "1 h"})


async def fill(journal: Journal, runs: int, events: int, size: int = 1000) -> list[Event]:
    """So many events of each of some runs."""
    found = []
    for first in range(0, events, 50):
        count = min(50, events - first)
        new = [NewEvent("step.done", {"x": "y" * size}, f"r{run}") for _ in range(count) for run in range(runs)]
        found += await journal.append(*new)
        await asyncio.sleep(0.01)
    return found


@asynccontextmanager
async def keeping(journal: Journal, alarms: Alarms, budget: Backlog) -> AsyncIterator[Keeper]:
    keeper = Keeper(journal, alarms, budget)

    def hear(events: Sequence[Event]) -> None:
        for event in events:
            keeper.came(Written(event.seq, event.at, event.run, event.kind, "x" * 1000, event.hash))

    forget = journal.on_commit(hear)
    task = asyncio.create_task(keeper.run())
    try:
        await keeper.ready.wait()
        yield keeper
    finally:
        forget()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


def texts(alarms: Alarms, alarm_id: str) -> list[str]:
    return [alarm.text for alarm in alarms.active if alarm.id == alarm_id]


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError


# ── when it bites ────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_full_backlog_gives_up_its_oldest_and_says_which(bus: Bus, journal: Journal) -> None:
    told, follower = Told(bus), Follower()
    broker = FakeBroker(up=False)
    async with telling(bus, journal, broker, MEGABYTE):
        events = await fill(journal, 2, 800)
        await asyncio.sleep(1)
        broker.up, broker.listener = True, follower.hear
        await until(lambda: broker.tries > 0 and len(broker.of("run/r1/event")) > 0)
        await asyncio.sleep(60)
    for run in ("r0", "r1"):
        of_run = [event for event in events if event.run == run]
        got = broker.of(f"run/{run}/event")
        first = got[0]["seq"]
        # What came is the newest without a gap, and is numbered as it always would have been.
        assert [one["hash"] for one in got] == [event.hash for event in of_run[first - 1 :]]
        assert 300 < len(got) < 450
        assert f"{run} seq 1 to {first - 1}" in told.texts(GAP)[-1]
        # And what is missing is what REST gives for the alarm's own words.
        missing = await journal.events(run=run, skip=0, limit=first - 1)
        assert [event.hash for event in missing] == [event.hash for event in of_run[: first - 1]]
    assert "GET /api/v1/runs/r" in told.texts(GAP)[-1]
    assert "?skip=0&limit=" in told.texts(GAP)[-1]
    assert [alarm.severity for alarm in told.all if alarm.id == GAP][-1] == "problem"
    retained = [message for message in broker.got if message.topic == "labd/1/lab/alarm/mqtt-gap"]
    assert retained
    assert retained[-1].retain


async def test_a_warning_comes_before_it_bites_and_ends_when_it_has_drained(bus: Bus, journal: Journal) -> None:
    alarms = Alarms(bus)
    async with keeping(journal, alarms, MEGABYTE) as keeper:
        await fill(journal, 1, 500)
        assert not texts(alarms, FULL)
        events = await fill(journal, 1, 200)
        await until(lambda: bool(texts(alarms, FULL)))
        assert "beyond 1 MB or 30 days the oldest are not sent any more" in texts(alarms, FULL)[0]
        assert not texts(alarms, GAP)
        assert keeper.mark == 0
        keeper.taken(events[-1].seq)
        await until(lambda: not texts(alarms, FULL))


async def test_events_that_wait_for_too_long_are_given_up_and_not_the_young(bus: Bus, journal: Journal) -> None:
    alarms = Alarms(bus)
    async with keeping(journal, alarms, HOUR) as keeper:
        await fill(journal, 1, STRETCH)
        await asyncio.sleep(0.85 * 3600)
        assert texts(alarms, FULL)
        young = await fill(journal, 1, 10)
        assert not texts(alarms, GAP)
        await asyncio.sleep(0.2 * 3600)
        assert "r0 seq 1 to 250" in texts(alarms, GAP)[0]
        assert keeper.mark == young[0].seq - 1
        assert await journal.mark("mqtt") == keeper.mark


async def test_what_waits_is_counted_after_a_restart_and_bites_at_once(bus: Bus, journal: Journal) -> None:
    alarms = Alarms(bus)
    await fill(journal, 3, 500)
    async with keeping(journal, alarms, MEGABYTE) as keeper:
        assert keeper.mark > 0
        assert len(texts(alarms, GAP)) == 1
        before = keeper.mark
    async with keeping(journal, alarms, MEGABYTE) as keeper:
        assert keeper.mark == before


async def test_what_was_given_up_is_told_after_a_restart_until_a_person_has_seen_it(bus: Bus, journal: Journal) -> None:
    await fill(journal, 1, 1500)
    async with keeping(journal, Alarms(bus), MEGABYTE):
        pass
    alarms = Alarms(bus)
    async with keeping(journal, alarms, Backlog()) as keeper:
        assert "r0 seq 1 to" in texts(alarms, GAP)[0]
        keeper.taken((await journal.events())[-1].seq)
        await asyncio.sleep(1)
        assert texts(alarms, GAP), "nobody has seen it"
        alarms.acknowledge(GAP, "eva")
        await until(lambda: not texts(alarms, GAP))
        assert await journal.kept("mqtt/") == {}
    async with keeping(journal, alarms, Backlog()):
        assert not texts(alarms, GAP)


async def test_an_alarm_that_was_seen_stands_while_the_broker_is_away(bus: Bus, journal: Journal) -> None:
    alarms = Alarms(bus)
    async with keeping(journal, alarms, MEGABYTE):
        await fill(journal, 1, 1500)
        await until(lambda: bool(texts(alarms, GAP)))
        alarms.acknowledge(GAP, "eva")
        await fill(journal, 1, 500)
        assert texts(alarms, GAP)
        assert alarms.active[-1].acknowledged_by == "eva"


async def test_a_refused_event_holds_up_the_others_no_longer_than_the_budget(bus: Bus, journal: Journal) -> None:
    def answer(message: Any) -> str:
        refused = message.topic == "labd/1/lab/run/r0/event"
        return "Not authorized" if refused else TAKES

    broker = FakeBroker(answer=answer)
    async with telling(bus, journal, broker, HOUR):
        await fill(journal, 1, STRETCH)
        await asyncio.sleep(3000)
        (event,) = await journal.append(NewEvent("step.done", {}, "other"))
        await asyncio.sleep(1000)
    assert broker.of("run/other/event")[0]["hash"] == event.hash


async def test_what_is_given_up_under_way_leaves_the_numbers_of_its_run_as_they_are(bus: Bus, journal: Journal) -> None:
    broker = FakeBroker(answer=lambda message: SILENT if "/event" in message.topic else TAKES)
    async with telling(bus, journal, broker, HOUR):
        await fill(journal, 1, STRETCH)
        await asyncio.sleep(3000)
        events = await fill(journal, 1, 20)
        await asyncio.sleep(1000)
        broker.answer = lambda _: TAKES
        await asyncio.sleep(300)
    got = [(one["seq"], one["hash"]) for one in broker.of("run/r0/event")]
    assert got == [(number, event.hash) for number, event in enumerate(events, STRETCH + 1)]


async def test_what_the_broker_takes_while_it_is_counted_is_no_gap(
    bus: Bus, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms, real, taken = Alarms(bus), journal.ask, 0
    async with keeping(journal, alarms, HOUR) as keeper:
        events = await fill(journal, 1, STRETCH)
        await asyncio.sleep(3500)

        async def meanwhile(query: Any) -> Any:
            nonlocal taken
            found = await real(query)
            if taken < 2:
                taken += 1
                keeper.taken(events[100 * taken - 1].seq)
            return found

        monkeypatch.setattr(journal, "ask", meanwhile)
        await asyncio.sleep(200)
        assert taken == 2
        assert f"r0 seq 201 to {STRETCH}" in texts(alarms, GAP)[0]


async def test_a_run_of_which_nothing_was_given_up_is_not_counted_anew(
    bus: Bus, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, real = [], journal.ask

    async def seen(query: Any) -> Any:
        if getattr(query, "func", None) is number_of:
            counted.append(query.keywords["run"])
        return await real(query)

    broker = FakeBroker()
    async with telling(bus, journal, broker, HOUR):
        await journal.append(NewEvent("step.done", {}, "young"))
        await fill(journal, 1, STRETCH)
        await asyncio.sleep(10)
        monkeypatch.setattr(journal, "ask", seen)
        broker.answer = lambda message: "Quota exceeded" if "r0/event" in message.topic else TAKES
        await fill(journal, 1, STRETCH)
        await asyncio.sleep(3000)
        (event,) = await journal.append(NewEvent("step.done", {}, "young"))
        await asyncio.sleep(1000)
        broker.answer = lambda _: TAKES
        (last,) = await journal.append(NewEvent("step.done", {}, "r0"))
        await asyncio.sleep(10)
    assert broker.of("run/young/event")[-1] == {**broker.of("run/young/event")[-1], "seq": 2, "hash": event.hash}
    assert broker.of("run/r0/event")[-1] == {**broker.of("run/r0/event")[-1], "seq": 501, "hash": last.hash}
    assert counted == ["r0"], "by the keeper, of what was given up"


# ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_waits_is_counted_by_stretches() -> None:
    waiting = Waiting(Backlog())
    for seq in range(1, 601):
        waiting.add(Written(seq, "2026-01-01T00:00:00Z", None, "a", "{}", "h"))
    assert waiting.size == 600 * (OVERHEAD + 2)
    waiting.taken(STRETCH - 1)
    assert waiting.size == 600 * (OVERHEAD + 2)
    waiting.taken(STRETCH)
    assert waiting.size == 350 * (OVERHEAD + 2)
    waiting.taken(600)
    assert not waiting
    assert waiting.size == 0
    assert waiting.next_look() is None


def test_gaps_of_a_run_are_joined_where_they_touch_and_stay_apart_where_not() -> None:
    gaps = Gaps()
    for first, last in ((1, 5), (6, 9), (9, 12), (20, 21)):
        gaps.add("r1", first, last)
    assert gaps.ranges == {"r1": [[1, 12], [20, 21]]}
    assert Gaps.of(gaps.kept()) == gaps
    for number in range(3000):
        gaps.add("r2", 10 * number, 10 * number + 1)
    assert len(gaps.ranges["r2"]) == 1000
    assert gaps.ranges["r2"][0][0] == 0


def test_an_alarm_names_the_runs_that_lack_most_and_counts_the_others() -> None:
    gaps = Gaps()
    for run in range(9):
        gaps.add(f"r{run}", 5, 5 + run)
    text = gaps.told()
    assert "r8 seq 5 to 13" in text
    assert "and of 4 more runs" in text
    assert "GET /api/v1/runs/r8/events?skip=4&limit=9" in text


# ── lab.yaml ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def lab(tmp_path: Path, backlog: str) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(f"labd: 1\nlab: lab\nstore: store\nmqtt: {{broker: embedded{backlog}}}\ndevices: {{}}\n")
    return path


@pytest.mark.parametrize(
    ("written", "size", "age"),
    [("", 10**9, 30 * 86400), (", backlog: {size: 5 MB, age: 2 d}", 5 * 10**6, 2 * 86400)],
)
def test_a_backlog_is_written_as_size_and_age(tmp_path: Path, written: str, size: int, age: float) -> None:
    config = load_lab(lab(tmp_path, written))
    assert config.mqtt is not None
    assert (config.mqtt.backlog.size, config.mqtt.backlog.age) == (size, age)


@pytest.mark.parametrize("wrong", ["{size: 100 kB}", "{age: 1 min}", "{size: 5}", "{events: 5}"])
def test_a_backlog_that_is_none_is_told(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(InputErrors):
        load_lab(lab(tmp_path, f", backlog: {wrong}"))
