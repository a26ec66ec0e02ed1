"""Brokers that refuse, cut, flap and answer late: what is told, what is tried again, and what is counted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiomqtt
import pytest
import structlog

from labd import clock
from labd.clock import LabLoop, Timeline
from labd.journal import Journal
from labd.lab.access import Tls
from labd.lab.alarms import Alarms
from labd.lab.background import background
from labd.lab.bus import Bus
from labd.lab.config import Broker, Mqtt
from labd.telemetry.client import Address, AiomqttPublisher, _Client
from labd.telemetry.home_assistant import STATUS
from labd.telemetry.outgoing import CROWD, Signals
from labd.telemetry.publisher import TOO_LARGE, ConnectionLost, Incoming, Message, PublishRefused, Session
from labd.telemetry.service import Telemetry
from tests.telemetry import parts
from tests.telemetry.fake_broker import SILENT, TAKES, FakeBroker

DENIED = "Not authorized"
PREFIX = "labd/1/lab/"
WILL = Message(f"{PREFIX}status", b"lost", qos=1, retain=True)


def by(broker: FakeBroker, bus: Bus, journal: Journal, **more: Any) -> Telemetry:
    config = Mqtt(broker=Broker(host="nowhere.invalid"), home_assistant=more.pop("home_assistant", False))
    return Telemetry("lab", config, bus, journal, "boot-1", "0", publisher=broker, **more)


# ── refused ──────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_refused_states_are_told_once_and_tried_again_until_they_are_taken(bus: Bus, journal: Journal) -> None:
    allowed = False
    broker = FakeBroker(lambda message: TAKES if allowed or message.topic.endswith("status") else DENIED)
    telemetry = by(broker, bus, journal)
    with structlog.testing.capture_logs() as logged:
        async with background(telemetry.run(), "telemetry"):
            for number in range(47):
                bus.tell(replace(parts.alarm(), id=f"a{number}"))
            await telemetry.connected.wait()
            await asyncio.sleep(120)
            problem = telemetry.info()["problem"]
            assert problem.startswith("47 of 48 states refused")
            assert DENIED in problem
            assert [line["problem"] for line in logged if line["log_level"] == "warning"] == [problem]
            allowed = True
            await asyncio.sleep(35)  # no try is later
            assert len({message.topic for message in broker.got}) == 48
            assert telemetry.info()["problem"] is None


async def test_a_refused_status_is_an_alarm_and_no_connection(bus: Bus, journal: Journal) -> None:
    allowed = False
    broker = FakeBroker(lambda _: TAKES if allowed else DENIED)
    alarms = Alarms(bus)
    telemetry = by(broker, bus, journal, alarms=alarms)
    async with background(telemetry.run(), "telemetry"):
        await asyncio.sleep(70)
        told = {alarm.id: alarm.text for alarm in alarms.active}
        assert "refuses labd/1/lab/status: Not authorized" in told["mqtt-refused"]
        assert "this lab is not told of at the MQTT broker" in told["mqtt-broker"]
        assert not telemetry.connected.is_set()
        allowed = True
        await asyncio.sleep(60)
        assert telemetry.connected.is_set()
        assert alarms.active == ()
        assert broker.of("status")[-1]["state"] == "online"
    assert broker.tries == 1


async def test_what_is_too_large_is_told_once_and_waits_until_it_changes(bus: Bus, journal: Journal) -> None:
    tries: list[Message] = []

    def answer(message: Message) -> str:
        if "/about" not in message.topic:
            return TAKES
        tries.append(message)
        return TOO_LARGE if len(message.payload) > 1_000 else TAKES

    broker = FakeBroker(answer)
    telemetry = by(broker, bus, journal)
    with structlog.testing.capture_logs() as logged:
        async with background(telemetry.run(), "telemetry"):
            bus.tell(replace(parts.ABOUT, model="x" * 2_000))
            await telemetry.connected.wait()
            await asyncio.sleep(600)
            assert len(tries) == 1
            assert broker.session is not None
            broker.session.cut()
            await asyncio.sleep(600)
            assert len(tries) == 2  # another connection may be to another broker
            bus.tell(parts.ABOUT)
            await asyncio.sleep(1)
            assert broker.of("device/press/about")
            assert telemetry.info()["problem"] is None
    assert [line["reason"] for line in logged if "reason" in line] == [TOO_LARGE]


def test_a_topic_that_somebody_made_long_is_cut() -> None:
    refused = PublishRefused("x" * 60_000, DENIED)
    assert len(refused.topic) < 200
    assert len(str(refused)) < 300


# ── flapping ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass
class Flapping(FakeBroker):
    """Takes everything, and ends each connection after some seconds."""

    lives: float | None = 3.0
    cuts: list[asyncio.TimerHandle] = field(default_factory=list)

    @asynccontextmanager
    async def connect(self, will: Message) -> AsyncIterator[Session]:
        async with super().connect(will) as session:
            assert self.session is not None
            if self.lives is not None:
                self.cuts.append(asyncio.get_running_loop().call_later(self.lives, self.session.cut))
            yield session


async def test_a_broker_that_flaps_is_an_alarm_until_a_connection_stays(bus: Bus, journal: Journal) -> None:
    broker, alarms = Flapping(), Alarms(bus)
    async with background(by(broker, bus, journal, alarms=alarms).run(), "telemetry"):
        await asyncio.sleep(300)
        assert broker.tries > 5
        (alarm,) = alarms.active
        assert (alarm.id, "the connection is cut" in alarm.text) == ("mqtt-broker", True)
        broker.lives = None
        await asyncio.sleep(60)
        assert alarms.active == ()


# ── signals ──────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_of_a_crowd_of_signals_the_newest_of_each_device_goes_and_the_rest_is_counted() -> None:
    signals = Signals()
    for seq in range(1, CROWD):
        for device in ("press", "arm", "scale"):
            signals.put(replace(parts.poll(seq), device=device))
    got = [(read.device, read.seq) for read in await signals.get()]
    assert got == [(device, CROWD - 1) for device in ("press", "arm", "scale")]
    assert signals.dropped == 3 * (CROWD - 2)


async def test_signals_under_way_when_a_connection_is_cut_are_counted(bus: Bus, journal: Journal) -> None:
    broker = FakeBroker(lambda message: SILENT if message.qos == 0 else TAKES)
    telemetry = by(broker, bus, journal)
    async with background(telemetry.run(), "telemetry"):
        await telemetry.connected.wait()
        for seq in range(7):
            bus.tell(parts.poll(seq))
        await asyncio.sleep(1)
        assert telemetry.dropped == 0
        broker.go()
        await asyncio.sleep(1)
        assert telemetry.dropped == 7


async def test_a_signal_above_the_brokers_limit_is_left_out_and_told_once(bus: Bus, journal: Journal) -> None:
    broker = FakeBroker(largest=1_000)
    telemetry = by(broker, bus, journal)
    large = replace(parts.poll(1), device="large", values={"x" * 2_000: parts.poll(1).values["force"]})
    with structlog.testing.capture_logs() as logged:
        async with background(telemetry.run(), "telemetry"):
            await telemetry.connected.wait()
            for _ in range(3):
                bus.tell(large)
                bus.tell(parts.poll(1))
                await asyncio.sleep(1)
    assert len(broker.of("device/press/signal")) == 3
    assert broker.of("device/large/signal") == []
    assert telemetry.dropped == 3
    assert sum("larger than the broker takes" in line["event"] for line in logged) == 1


# ── others at the broker ─────────────────────────────────────────────────────────────────────────────────────────────
async def test_another_client_of_the_daemons_usual_id_does_not_deafen_it(bus: Bus, journal: Journal) -> None:
    config = Mqtt(broker="embedded", port=0, home_assistant=True)
    async with parts.telling(config, bus, journal) as telemetry:
        port = await parts.connected(telemetry)
        async with aiomqtt.Client("127.0.0.1", port, identifier="labd-lab", keepalive=0), parts.peer(port) as home:
            await asyncio.sleep(60)
            await home.subscribe("homeassistant/device/labd-lab/config", qos=1)
            messages = aiter(home.messages)
            assert (await anext(messages)).retain
            await home.publish(STATUS, "online", qos=1)
            async with asyncio.timeout(60):
                assert not (await anext(messages)).retain


async def test_a_twin_does_not_keep_home_assistant_from_being_told(bus: Bus, journal: Journal) -> None:
    telemetry = by(FakeBroker(), bus, journal, home_assistant=True)
    async with background(telemetry.run(), "telemetry"):
        await telemetry.connected.wait()
        telemetry._twin.suspect("another")
        telemetry._take_incoming(Incoming(STATUS, b"online"))
        assert telemetry.info()["states_waiting"] > 0


# ── the connection ───────────────────────────────────────────────────────────────────────────────────────────────────
@asynccontextmanager
async def answering(*answers: bytes, after: float = 0.0) -> AsyncIterator[Address]:
    """A broker that says this to whoever connects, after some s of the machine, and then nothing."""
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)  # CONNECT
        await asyncio.sleep(clock.of_machine(after))
        writer.write(b"".join(answers))
        await over.wait()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield Address(Broker(host="127.0.0.1", port=server.sockets[0].getsockname()[1]), "labd-lab")
    finally:
        over.set()
        server.close()
        await server.wait_closed()


CONNACK = bytes((0x20, 3, 0, 0, 0))


async def test_an_answer_that_nobody_can_read_ends_the_connection_with_its_cause() -> None:
    flawed = bytes((0x90, 1, 0))  # a SUBACK of one byte
    async with answering(CONNACK, flawed) as address, AiomqttPublisher(address).connect(WILL) as session:
        with pytest.raises(ConnectionLost, match="it sent what cannot be read"):
            await session.wait_lost()
        with pytest.raises(ConnectionLost, match="it sent what cannot be read"):
            await session.listen_to("a")
        with pytest.raises(ConnectionLost, match="it sent what cannot be read"):
            await session.send(Message("a", b""))


async def test_over_tls_the_brokers_address_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        broker = Broker(host="127.0.0.1", port=free.getsockname()[1], tls=Tls())
        with pytest.raises(ConnectionLost, match=r"^mqtts://"):
            async with AiomqttPublisher(Address(broker, "labd-lab")).connect(WILL):
                pass


async def test_after_an_error_of_writing_the_socket_is_watched_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    client = _Client("127.0.0.1", 1)
    with theirs:
        client._client._sock = ours
        client._loop.add_writer(ours.fileno(), client._write)
        client._blocked = True

        def fail() -> None:
            raise ValueError("whatever it is")

        monkeypatch.setattr(client._client, "loop_write", fail)
        client._write()
        assert isinstance(client._disconnected.exception(), ValueError)
        assert not client._loop.remove_writer(ours.fileno())
        await client.abandon()


class TestScaled:
    """The lab's minute is a machine's second; a broker's answer takes as long as ever."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return "asyncio", {"loop_factory": lambda: LabLoop(Timeline(factor=60))}

    async def test_a_broker_that_answers_after_a_moment_is_waited_for(self) -> None:
        async with answering(CONNACK, after=0.3) as address, AiomqttPublisher(address).connect(WILL) as session:
            assert session.largest is None

    async def test_waits_between_tries_are_the_machines(self, bus: Bus, journal: Journal) -> None:
        broker = FakeBroker(up=False)
        async with background(by(broker, bus, journal).run(), "telemetry"):
            await asyncio.sleep(clock.of_machine(1.0))
        assert 1 <= broker.tries <= 4
