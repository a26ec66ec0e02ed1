"""What the broker is told of a lab's being there, and what is taken away from it: embedded broker, virtual time."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from labd import clock
from labd.journal import Journal, NewEvent
from labd.lab.alarms import Alarms
from labd.lab.background import background
from labd.lab.bus import Bus, Happening, QueueState
from labd.lab.config import Broker, Mqtt
from labd.telemetry.broker import EmbeddedBroker
from labd.telemetry.client import Address, AiomqttPublisher
from labd.telemetry.outgoing import Retained
from labd.telemetry.presence import Presence
from labd.telemetry.publisher import Incoming, Message, PublishRefused, TakenOver
from labd.telemetry.service import Telemetry
from labd.telemetry.sweep import Sweep
from labd.telemetry.topics import Topics
from labd.telemetry.twin import Twin
from tests.telemetry import parts

TOPICS = Topics("lab")
OWN = (
    "labd/1/lab/device/ghost/about",
    "labd/1/lab/device/ghost/state",
    "labd/1/lab/run/r0/state",
    "labd/1/lab/queue",
    "labd/1/lab/alarm/over",
)
OTHERS = (
    "labd/1/lab2/device/ghost/state",
    "labd/1/lab2/queue",
    "labd/1/labs/run/r0/state",
    "labd/2/lab/queue",
    "labd/1/lab/run/r0/event",
    "homeassistant/device/ghost/config",
)


def outside(port: int) -> Mqtt:
    return Mqtt(broker=Broker(host="127.0.0.1", port=port))


async def leave(port: int, *topics: str, text: str = "{}") -> None:
    """What somebody has told a broker long ago."""
    async with parts.peer(port) as client:
        for topic in topics:
            await client.publish(topic, text, qos=1, retain=True)


async def standing(port: int) -> dict[str, Any]:
    """What stands at a broker, by topic."""
    found: dict[str, Any] = {}
    async with parts.peer(port) as client:
        await client.subscribe("#", qos=1)
        await client.publish("end", "", qos=1)
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            if message.retain:
                found[message.topic.value] = json.loads(message.payload)
            elif message.topic.value == "end":
                await asyncio.sleep(1)  # virtual: nothing is under way after it
                return found
    raise AssertionError("the broker has gone")


async def until_cleared(watcher: parts.Watcher, *topics: str) -> None:
    short = [topic.removeprefix(watcher.prefix) for topic in topics]
    await watcher.until(lambda: all(None in watcher.of(topic) for topic in short))


# ── what nobody owns ─────────────────────────────────────────────────────────────────────────────────────────────────
async def test_what_stands_at_the_broker_and_is_nobodys_is_cleared_and_no_other_lab_touched(
    bus: Bus, journal: Journal
) -> None:
    async with EmbeddedBroker() as broker:
        await leave(broker.port, *OWN, *OTHERS)
        async with parts.watching(broker.port) as watcher, parts.telling(outside(broker.port), bus, journal):
            bus.tell(parts.ABOUT)
            bus.tell(parts.device_state())
            bus.tell(parts.run_state())
            await until_cleared(watcher, *OWN)
            found = await standing(broker.port)
        own = {"status", "device/press/about", "device/press/state", "run/r1/state"}
        assert set(found) == {f"labd/1/lab/{topic}" for topic in own} | set(OTHERS)


async def test_what_somebody_else_wrote_over_is_told_anew_at_the_next_connection(bus: Bus, journal: Journal) -> None:
    async with EmbeddedBroker() as broker:
        await leave(broker.port, "labd/1/lab/device/press/state", text='{"health": "fine"}')
        async with parts.watching(broker.port) as watcher, parts.telling(outside(broker.port), bus, journal):
            bus.tell(parts.device_state())
            await watcher.first("device/press/state", health="ok")
            assert (await standing(broker.port))["labd/1/lab/device/press/state"]["health"] == "ok"


async def test_nothing_is_cleared_before_it_is_known_what_the_lab_owns(journal: Journal) -> None:
    retained = Retained()
    sweep = Sweep(TOPICS, retained, journal)
    for topic in OWN:
        sweep.hear(Incoming(topic, b"{}", retained=True))
    assert retained.waiting == 0
    retained.put(Message("labd/1/lab/queue", b"[]", retain=True))
    sweep.settle()
    messages = {message.topic: message.payload for message in retained.take(100)}
    assert messages == {**dict.fromkeys(OWN, b""), "labd/1/lab/queue": b"[]"}


async def test_what_is_only_published_and_what_is_empty_is_not_swept(journal: Journal) -> None:
    retained = Retained()
    sweep = Sweep(TOPICS, retained, journal)
    sweep.settle()
    sweep.hear(Incoming("labd/1/lab/queue", b"{}", retained=False))
    sweep.hear(Incoming("labd/1/lab/queue", b"", retained=True))
    for topic in OTHERS:
        sweep.hear(Incoming(topic, b"{}", retained=True))
    assert retained.waiting == 0


async def test_a_broker_that_lets_nobody_read_is_cleared_from_memory(bus: Bus, journal: Journal) -> None:
    first = FakePublisher()
    async with telling_by(first, bus, journal):
        bus.tell(parts.device_state())
        bus.tell(parts.alarm())
        bus.tell(replace(parts.alarm(), id="over"))
        bus.tell(replace(parts.alarm(ended=True), id="over"))
        await first.until("device/press/state", "alarm/press-down", "alarm/over")
    second = FakePublisher(readable=False)
    async with telling_by(second, Bus(), journal):
        await second.until("device/press/state", "alarm/press-down")
    assert {topic for topic, payload in second.sent if payload == b""} == {"device/press/state", "alarm/press-down"}
    third = FakePublisher(readable=False)
    async with telling_by(third, Bus(), journal):
        await third.until("status")
    assert [topic for topic, _ in third.sent] == ["status", "status"]  # it is forgotten once it is cleared


async def test_a_clear_that_is_refused_is_tried_by_the_next_life(bus: Bus, journal: Journal) -> None:
    async with telling_by(FakePublisher(), bus, journal):
        bus.tell(parts.device_state())
    refusing = FakePublisher(refused="device/press/state")
    async with telling_by(refusing, Bus(), journal) as telemetry:
        await refusing.until("device/press/state")
        assert "not today" in telemetry.info()["problem"]
    allowed = FakePublisher()
    async with telling_by(allowed, Bus(), journal):
        await allowed.until("device/press/state")


@pytest.mark.parametrize(("boot_id", "cleared"), [("ours", True), ("theirs", False)])
async def test_a_former_name_is_cleared_only_where_the_last_word_there_is_ours(
    bus: Bus, journal: Journal, boot_id: str, *, cleared: bool
) -> None:
    await journal.append(NewEvent("daemon.started", {"boot_id": "ours"}))
    journal.keep("retained/labd/1/old/device/press/state", {})
    journal.keep("retained/homeassistant/device/labd-old/config", {})
    async with EmbeddedBroker() as broker:
        await leave(broker.port, "labd/1/old/status", text=json.dumps({"state": "offline", "boot_id": boot_id}))
        await leave(broker.port, "labd/1/old/device/press/state", "labd/1/old/other")
        await leave(broker.port, "homeassistant/device/labd-old/config")
        async with parts.watching(broker.port, "old") as watcher, parts.telling(outside(broker.port), bus, journal):
            if cleared:
                await until_cleared(watcher, "labd/1/old/status", "labd/1/old/device/press/state")
            await asyncio.sleep(60)
            left = {topic for topic in await standing(broker.port) if "old" in topic}
            told = {"labd/1/old/status", "labd/1/old/device/press/state", "homeassistant/device/labd-old/config"}
            assert left == {"labd/1/old/other"} | (set() if cleared else told)
            assert await journal.kept("retained/") == {}


# ── runs that have ended ─────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_run_is_told_until_a_day_after_its_end_over_a_restart_too(bus: Bus, journal: Journal) -> None:
    def ended(run: str, hours: float) -> Happening:
        return replace(parts.run_state("Complete", clock.stamp(clock.now() - timedelta(hours=hours))), run=run)

    past = (ended("r1", 23), ended("r2", 25))
    async with EmbeddedBroker() as broker, parts.watching(broker.port) as watcher:
        telemetry = Telemetry("lab", outside(broker.port), bus, journal, "boot-2", "0", snapshot=lambda: past)
        await leave(broker.port, "labd/1/lab/run/r2/state")
        async with background(telemetry.run(), "telemetry"):
            await watcher.first("run/r1/state", state="Complete")
            await until_cleared(watcher, "labd/1/lab/run/r2/state")
            assert watcher.of("run/r2/state") == [{}, None]  # not told anew
            await asyncio.sleep(3500)
            assert None not in watcher.of("run/r1/state")
            await asyncio.sleep(200)
            assert watcher.of("run/r1/state")[-1] is None


async def test_how_far_a_run_is_is_told_while_nothing_else_happens(bus: Bus) -> None:
    presence = Presence(TOPICS, "boot-1", "0")
    began = clock.monotonic()

    def under_way() -> list[Any]:
        progress = (clock.monotonic() - began) / 36_000
        still = replace(parts.run_state(), run="r2")
        return [replace(parts.run_state(), progress=progress), still, replace(still, run="unknown")]

    for run in under_way()[:2]:
        presence.take(run)
    assert len(presence.retained.take(10)) == 2
    told: list[float] = []
    async with background(presence.tell_how_far(under_way), "how far"):
        for _ in range(60):
            await asyncio.sleep(60)
            for message in presence.retained.take(10):
                assert message.topic == "labd/1/lab/run/r1/state"
                told.append(json.loads(message.payload)["progress"])
    assert told == sorted(told)
    assert 15 <= len(told) <= 20  # by half a percent
    assert told[-1] == pytest.approx(0.1, abs=0.01)


# ── birth, and the order of things ───────────────────────────────────────────────────────────────────────────────────
async def test_commands_are_heard_first_then_birth_then_what_is_then_what_happens(bus: Bus, journal: Journal) -> None:
    publisher = FakePublisher()
    telemetry = Telemetry("lab", outside(1), bus, journal, "boot-1", "0", publisher=publisher)
    bus.tell(parts.alarm())
    bus.tell(QueueState((), 0, None))
    bus.tell(parts.run_state())
    bus.tell(parts.device_state())
    bus.tell(parts.ABOUT)
    bus.tell(parts.poll(1))
    async with background(telemetry.run(), "telemetry"):
        await parts.journal_steps(journal, "r1", 1, 1)
        await publisher.until("run/r1/event", "device/press/signal")
    about_lab = ["device/press/about", "device/press/state", "run/r1/state", "queue", "alarm/press-down"]
    topics = [topic for topic, _ in publisher.sent]
    assert publisher.sent[0][0] == "status"
    assert json.loads(publisher.sent[0][1])["state"] == "online"
    assert topics[1:6] == about_lab
    assert sorted(topics[6:]) == ["device/press/signal", "run/r1/event", "status"]
    assert publisher.heard[0] == "status"
    assert publisher.sent_before_heard == 0


async def test_a_last_word_that_comes_late_does_not_stay_the_last(bus: Bus, journal: Journal) -> None:
    """The will of a half-open connection that the broker says only when the new one stands."""
    async with (
        EmbeddedBroker() as broker,
        parts.watching(broker.port) as watcher,
        parts.telling(outside(broker.port), bus, journal) as telemetry,
    ):
        await parts.connected(telemetry)
        await leave(broker.port, "labd/1/lab/status", text='{"state": "lost", "boot_id": "boot-1"}')
        await watcher.until(lambda: [one["state"] for one in watcher.of("status")][-2:] == ["lost", "online"])
        assert (await standing(broker.port))["labd/1/lab/status"]["state"] == "online"
        await asyncio.sleep(3600)
        assert len(watcher.of("status")) == 3
        assert telemetry.info()["twin"] is None


# ── another daemon of the same name ──────────────────────────────────────────────────────────────────────────────────
def word(state: str, boot_id: str, *, retained: bool = False) -> Incoming:
    payload = json.dumps({"state": state, "boot_id": boot_id}).encode()
    return Incoming("labd/1/lab/status", payload, retained=retained)


def twin_of(bus: Bus) -> tuple[Twin, Alarms]:
    alarms = Alarms(bus)
    twin = Twin("lab", "ours", alarms)
    twin.lives = {"before", "ours"}  # as the journal has them
    return twin, alarms


async def test_what_earlier_lives_and_this_one_have_said_is_no_twin(bus: Bus) -> None:
    twin, alarms = twin_of(bus)
    assert not twin.hear(word("online", "unknown", retained=True))  # before it has stood: a life that no journal knows
    twin.stood()
    assert not twin.hear(word("online", "ours"))
    assert twin.hear(word("lost", "before"))
    assert not twin.hear(word("lost", "before", retained=True))
    assert twin.hear(Incoming("labd/1/lab/status", b"[1"))
    assert twin.hear(Incoming("labd/1/lab/status", b""))
    assert twin.known is None
    assert alarms.active == ()


async def test_a_twin_is_told_and_over_when_it_says_good_bye(bus: Bus) -> None:
    twin, alarms = twin_of(bus)
    twin.suspect()
    (alarm,) = alarms.active
    assert (alarm.id, alarm.severity) == ("mqtt-same-name", "problem")
    twin.stood()
    twin.hear(word("online", "another", retained=True))
    (alarm,) = alarms.active
    assert "another daemon (another) speaks to the MQTT broker as lab 'lab'" in alarm.text
    twin.suspect()
    assert alarms.active == (alarm,)  # who it is stays told
    twin.hear(word("offline", "another", retained=True))
    assert alarms.active == ()


async def test_a_twin_is_made_way_for_and_forgotten_when_it_stirs_no_more(bus: Bus) -> None:
    twin, alarms = twin_of(bus)
    waits = [twin.backoff.ended(1.0) for _ in range(10)]
    assert waits[0] >= 15
    assert all(150 <= wait <= 300 for wait in waits[-3:])
    twin.suspect()
    await twin.watch()
    assert alarms.active == ()
    assert twin.backoff.ended(1.0) <= 30


async def test_while_there_is_a_twin_nothing_is_swept(bus: Bus, journal: Journal) -> None:
    async with EmbeddedBroker() as broker, parts.watching(broker.port) as watcher:
        telemetry = Telemetry("lab", outside(broker.port), bus, journal, "boot-1", "0")
        await leave(broker.port, *OWN)
        telemetry._twin.suspect("another")  # as if it had cut us off
        async with background(telemetry.run(), "telemetry"):
            await parts.connected(telemetry)
            await asyncio.sleep(600)
            assert watcher.of("alarm/over") == [{}]


async def test_a_broker_that_says_so_is_believed_that_another_connection_has_taken_over() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)  # CONNECT
        writer.write(bytes((0x20, 3, 0, 0, 0)))  # CONNACK
        writer.write(bytes((0xE0, 2, 142, 0)))  # DISCONNECT, session taken over
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = Address(Broker(host="127.0.0.1", port=server.sockets[0].getsockname()[1]), "labd-lab")
    async with AiomqttPublisher(address).connect(Message("labd/1/lab/status", b"")) as session:
        with pytest.raises(TakenOver, match=r"[Ss]ession taken over"):
            await session.wait_lost()
    server.close()
    await server.wait_closed()


# ── a broker that is away ────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_broker_that_is_away_for_a_minute_is_an_alarm_until_it_is_back(bus: Bus, journal: Journal) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alarms = Alarms(bus)
    telemetry = Telemetry("lab", outside(port), bus, journal, "boot-1", "0", alarms=alarms)
    async with background(telemetry.run(), "telemetry"):
        await asyncio.sleep(55)
        assert alarms.active == ()
        await asyncio.sleep(10)
        (alarm,) = alarms.active
        assert (alarm.id, alarm.severity) == ("mqtt-broker", "warning")
        assert f"127.0.0.1:{port}" in alarm.text
        info = telemetry.info()
        assert (info["connected"], info["broker"]) == (False, f"127.0.0.1:{port}")
        assert "refused" in info["problem"].lower()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(EmbeddedBroker(port))
            watcher = await stack.enter_async_context(parts.watching(port))
            await parts.connected(telemetry)
            await asyncio.sleep(11)
            assert alarms.active == ()
            assert {got.topic for got in watcher.got} == {"status"}  # here it would never be true
            info = telemetry.info()
            assert (info["connected"], info["problem"]) == (True, None)
            since = info["since"]
            await asyncio.sleep(100)
            assert telemetry.info()["since"] == since
        await asyncio.sleep(30)
        assert telemetry.info()["since"] > since


# ── a broker that is looked into ─────────────────────────────────────────────────────────────────────────────────────
class FakePublisher:
    """A broker that takes all but what it refuses, and remembers what was said to it, in order."""

    largest = None

    def __init__(self, *, readable: bool = True, refused: str = "") -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.heard: list[str] = []
        self.sent_before_heard = 0
        self._readable, self._refused = readable, refused
        self._more = asyncio.Event()

    @asynccontextmanager
    async def connect(self, will: Message) -> AsyncIterator[FakePublisher]:
        assert json.loads(will.payload) == {"state": "lost", "boot_id": "boot-1"}
        assert (will.topic, will.retain, will.qos) == ("labd/1/lab/status", True, 1)
        yield self

    def send(self, message: Message) -> asyncio.Future[None]:
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        topic = message.topic.removeprefix("labd/1/lab/")
        self.sent.append((topic, message.payload))
        if topic == self._refused:
            taken.set_exception(PublishRefused(message.topic, "not today"))
        else:
            taken.set_result(None)
        self._more.set()
        return taken

    def send_all(self, messages: Sequence[Message]) -> asyncio.Future[None]:
        return [self.send(message) for message in messages][-1]

    def flush(self) -> None: ...

    async def listen_to(self, pattern: str, *, standing: bool = False) -> None:
        self.heard.append(pattern.removeprefix("labd/1/lab/"))
        self.sent_before_heard += len(self.sent)
        if standing and not self._readable:
            raise PublishRefused(pattern, "not authorized")

    async def incoming(self) -> AsyncIterator[Incoming]:
        await asyncio.Event().wait()
        yield Incoming("", b"")

    async def wait_lost(self) -> None:
        await asyncio.Event().wait()

    async def until(self, *topics: str) -> None:
        while not set(topics) <= {topic for topic, _ in self.sent}:
            self._more.clear()
            await self._more.wait()


@asynccontextmanager
async def telling_by(publisher: FakePublisher, bus: Bus, journal: Journal) -> AsyncIterator[Telemetry]:
    telemetry = Telemetry("lab", outside(1), bus, journal, "boot-1", "0", publisher=publisher)
    async with background(telemetry.run(), "telemetry"):
        await telemetry.connected.wait()
        yield telemetry
