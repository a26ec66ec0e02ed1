"""A real mosquitto with strangers' messages, an ACL of another lab, and limits. Real time."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from labd.journal import Journal, JournalError
from labd.lab.alarms import Alarms
from labd.lab.background import background
from labd.lab.bus import Bus
from labd.lab.config import Broker
from labd.telemetry.client import Address, AiomqttPublisher
from labd.telemetry.publisher import Message, PublishRefused
from labd.telemetry.service import Telemetry
from tests.telemetry import parts
from tests.telemetry.mosquitto import mosquitto, subscribed
from tests.telemetry.test_mosquitto import at

COMMAND = "labd/1/lab/cmd/ben/hold"
WILL = Message("labd/1/lab/status", b"lost", qos=1, retain=True)


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


def unreadable() -> Properties:
    """What mosquitto hands on, and paho does not read."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = ("x\ufeffy", "1")
    return properties


@pytest.mark.parametrize("standing", [True, False])
async def test_a_message_that_cannot_be_read_costs_itself_only(tmp_path: Path, *, standing: bool) -> None:
    async with mosquitto(tmp_path) as broker:
        publisher = AiomqttPublisher(Address(Broker(host="127.0.0.1", port=broker.port), "labd-lab"))
        async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as ben:
            await ben.publish(COMMAND, "{}", qos=1, retain=True, properties=unreadable())
            async with publisher.connect(WILL) as session:
                await session.listen_to("labd/1/lab/cmd/+/+", standing=standing)
                for _ in range(30):  # more than mosquitto sends before the first is acknowledged
                    await ben.publish(COMMAND, "{}", qos=1, properties=unreadable())
                await ben.publish(COMMAND, "good", qos=1)
                async with asyncio.timeout(30):
                    assert (await anext(session.incoming())).payload == b"good"


async def test_what_stood_there_is_no_command(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        publisher = AiomqttPublisher(Address(Broker(host="127.0.0.1", port=broker.port), "labd-lab"))
        async with aiomqtt.Client("127.0.0.1", broker.port) as ben:
            await ben.publish(COMMAND, "stood", qos=1, retain=True)
            async with publisher.connect(WILL) as session:
                await session.listen_to("labd/1/lab/cmd/+/+")
                await ben.publish(COMMAND, "comes", qos=1, retain=True)
                async with asyncio.timeout(30):
                    came = await anext(session.incoming())
                assert (came.payload, came.retained) == (b"comes", True)


async def test_a_daemon_that_breaks_is_lost_and_not_online_for_ever(
    bus: Bus, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = asyncio.Event()

    async def send(_: object) -> None:
        await broken.wait()
        raise JournalError("the disk is gone")

    async with mosquitto(tmp_path) as broker, subscribed(broker.port) as watcher:
        telemetry = Telemetry("lab", at(broker.port), bus, journal, "boot-1", "0")
        monkeypatch.setattr(telemetry._outbox, "send", send)
        task = asyncio.create_task(telemetry.run())
        await watcher.first("status", state="online")
        broken.set()
        await watcher.first("status", state="lost")
        await asyncio.wait([task])
        assert isinstance(task.exception(), BaseExceptionGroup)


async def test_a_daemon_that_breaks_while_it_ends_says_offline(
    bus: Bus, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise JournalError("the disk is gone")

    async with mosquitto(tmp_path) as broker, subscribed(broker.port) as watcher:
        telemetry = Telemetry("lab", at(broker.port), bus, journal, "boot-1", "0")
        monkeypatch.setattr(telemetry._outbox, "send", send)
        task = asyncio.create_task(telemetry.run())
        await watcher.first("status", state="online")
        await parts.connected(telemetry)
        await asyncio.sleep(0.1)
        task.cancel()
        await watcher.first("status", state="offline")
        await asyncio.wait([task])


async def test_an_acl_of_another_lab_is_told_and_once_it_is_mended_all_is_there(
    bus: Bus, journal: Journal, tmp_path: Path
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite labd/1/other/#\ntopic read labd/1/lab/#\ntopic readwrite ready\n")
    alarms = Alarms(bus)
    async with mosquitto(tmp_path) as broker:
        await broker.kill()
        await broker.start(f"acl_file {acl}")
        telemetry = Telemetry("lab", at(broker.port), bus, journal, "boot-1", "0", alarms=alarms)
        async with subscribed(broker.port) as watcher, background(telemetry.run(), "telemetry"):
            bus.tell(parts.device_state())
            async with asyncio.timeout(30):
                while not alarms.active:
                    await asyncio.sleep(0.02)
            assert [alarm.id for alarm in alarms.active] == ["mqtt-refused"]
            assert not telemetry.connected.is_set()
            acl.write_text("topic readwrite labd/1/lab/#\ntopic readwrite ready\n")
            assert broker.process is not None
            broker.process.send_signal(signal.SIGHUP)
            await watcher.first("status", state="online")
            await watcher.first("device/press/state")
            await parts.connected(telemetry)
            async with asyncio.timeout(30):
                while alarms.active or telemetry.info()["problem"]:
                    await asyncio.sleep(0.02)


async def test_a_state_above_the_brokers_limit_keeps_no_other_away(bus: Bus, journal: Journal, tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        await broker.kill()
        await broker.start("max_packet_size 8000")
        async with subscribed(broker.port) as watcher, parts.telling(at(broker.port), bus, journal) as telemetry:
            bus.tell(replace(parts.ABOUT, model="x" * 9_700))
            bus.tell(parts.device_state())
            await watcher.first("device/press/state")
            await parts.connected(telemetry)
            assert "Packet too large" in telemetry.info()["problem"]
            bus.tell(parts.poll(1))
            await watcher.first("device/press/signal")


async def test_up_to_its_limit_a_broker_is_sent_everything(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        await broker.kill()
        await broker.start("max_packet_size 8000")
        publisher = AiomqttPublisher(Address(Broker(host="127.0.0.1", port=broker.port), "labd-lab"))
        async with publisher.connect(WILL) as session:
            assert session.largest == 8_000
            frame = 1 + 2 + 2 + len("t") + 2 + 1
            await session.send(Message("t", b"x" * (8_000 - frame)))
            for message in (Message("t", b"x" * (8_001 - frame)), Message("t", b"x" * 8_000, qos=0)):
                with pytest.raises(PublishRefused, match="Packet too large"):
                    await session.send(message)
            await session.send(Message("t", b"still there"))


async def test_an_emptied_status_is_told_anew(bus: Bus, journal: Journal, tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        subscribed(broker.port) as watcher,
        parts.telling(at(broker.port), bus, journal) as telemetry,
    ):
        await parts.connected(telemetry)
        async with parts.peer(broker.port) as stranger:
            for text in ("", '{"state": "fine"}'):
                told = len(watcher.of("status"))
                await stranger.publish("labd/1/lab/status", text, qos=1, retain=True)
                await watcher.until(lambda told=told: len(watcher.of("status")) >= told + 2)  # type: ignore[misc]
                assert watcher.of("status")[-1]["state"] == "online"
