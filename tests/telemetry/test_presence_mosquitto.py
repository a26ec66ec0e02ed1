"""Birth, state and death with a real mosquitto: kills, takeovers, restarts with and without its memory. Real time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labd.journal import Journal
from labd.lab.alarms import Alarms
from labd.lab.background import background
from labd.lab.bus import Alarm, Bus, Happening
from labd.lab.config import Broker
from labd.telemetry.client import Address, AiomqttPublisher
from labd.telemetry.presence import Presence
from labd.telemetry.service import Telemetry
from labd.telemetry.topics import Topics
from tests.telemetry import parts
from tests.telemetry.mosquitto import Mosquitto, mosquitto, subscribed
from tests.telemetry.test_mosquitto import DAEMON, at


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


@asynccontextmanager
async def victim(broker: Mosquitto, folder: Path) -> AsyncIterator[Process]:
    """A daemon's telemetry in a process of its own, connected."""
    command = (sys.executable, "-c", DAEMON, str(broker.port), str(folder))
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, env={**os.environ})
    assert process.stdout is not None
    while await process.stdout.readline() != b"connected\n":
        assert process.returncode is None
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def standing(port: int, last: str = "status") -> dict[str, Any]:
    """What stands at the broker for a subscriber that comes now; `last` is known to stand there."""
    async with subscribed(port) as later:
        await later.first(last)
        return {got.topic: got.data for got in later.got if got.retained}


def words(watcher: parts.Watcher) -> list[tuple[str, str]]:
    return [(told["state"], told["boot_id"]) for told in watcher.of("status")]


async def test_after_a_kill_the_next_life_is_the_last_word(bus: Bus, journal: Journal, tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, subscribed(broker.port, "-V", "5") as watcher:
        async with victim(broker, tmp_path) as killed:
            killed.kill()
            await watcher.first("status", state="lost")
        async with parts.telling(at(broker.port), bus, journal):
            await watcher.first("status", boot_id="boot-1")
            assert words(watcher) == [
                ("online", "boot-of-the-victim"),
                ("lost", "boot-of-the-victim"),
                ("online", "boot-1"),
            ]
            assert (await standing(broker.port))["status"]["state"] == "online"
        await watcher.first("status", state="offline")
        assert words(watcher)[3:] == [("offline", "boot-1")]


async def test_a_half_open_connection_is_taken_over_and_its_will_is_not_the_last_word(
    bus: Bus, journal: Journal, tmp_path: Path
) -> None:
    """The one before is stopped in its tracks: its socket stays open, and the broker has not noticed anything."""
    async with (
        mosquitto(tmp_path) as broker,
        subscribed(broker.port, "-V", "5") as watcher,
        victim(broker, tmp_path) as stopped,
    ):
        stopped.send_signal(signal.SIGSTOP)
        async with parts.telling(at(broker.port), bus, journal) as telemetry:
            await parts.connected(telemetry)
            await watcher.first("status", boot_id="boot-1")
            await watcher.first("status", state="lost")
            assert words(watcher)[-1] == ("online", "boot-1")
            assert (await standing(broker.port))["status"]["boot_id"] == "boot-1"
            stopped.kill()
            await stopped.wait()
            assert (await standing(broker.port))["status"]["state"] == "online"


async def test_a_half_open_connection_of_this_life_is_not_the_last_word_either(
    bus: Bus, journal: Journal, tmp_path: Path
) -> None:
    will = Presence(Topics("lab"), "boot-1", "0").will()
    async with mosquitto(tmp_path) as broker, subscribed(broker.port, "-V", "5") as watcher:
        before = AiomqttPublisher(Address(Broker(host="127.0.0.1", port=broker.port), "labd-lab"))
        async with before.connect(will), parts.telling(at(broker.port), bus, journal) as telemetry:
            await parts.connected(telemetry)
            await watcher.first("status", state="online")
            await watcher.first("status", state="lost")
            assert words(watcher) == [("lost", "boot-1"), ("online", "boot-1")]
            assert (await standing(broker.port))["status"]["state"] == "online"


async def test_two_daemons_of_one_name_are_told_of_each_other_and_one_makes_way(
    journal: Journal, tmp_path: Path
) -> None:
    first, second = Bus(), Bus()
    other = await Journal.open(tmp_path / "other.db")
    async with mosquitto(tmp_path) as broker:
        one = Telemetry("lab", at(broker.port), first, journal, "boot-1", "0", alarms=Alarms(first))
        two = Telemetry("lab", at(broker.port), second, other, "boot-2", "0", alarms=Alarms(second))
        told = alarm_of(first), alarm_of(second)
        async with background(one.run(), "one"):
            await parts.connected(one)
            async with background(two.run(), "two"):
                # The one comes back once, and thereby hears of the other; the other does the same, and is let be.
                async with asyncio.timeout(60):
                    assert "another daemon (boot-2) speaks to the MQTT broker as lab 'lab'" in await told[0]
                    assert "another daemon (boot-1)" in await told[1]
                await parts.connected(two)
                assert one.info()["twin"]
                await parts.journal_steps(journal, "r1", 1, 3)  # the lab goes on
    await other.close()


def alarm_of(bus: Bus) -> asyncio.Future[str]:
    """The text of the alarm that there is another daemon of the lab's name, once it is told."""
    text: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def listen(happening: Happening) -> None:
        if isinstance(happening, Alarm) and happening.id == "mqtt-same-name" and not text.done():
            text.set_result(happening.text)

    bus.subscribe(listen)
    return text


async def test_what_was_cleared_while_a_broker_with_a_memory_was_away_does_not_come_back(
    bus: Bus, journal: Journal, tmp_path: Path
) -> None:
    memory = ("persistence true", f"persistence_location {tmp_path}/")
    async with mosquitto(tmp_path) as broker:
        await broker.kill()
        await broker.start(*memory)
        async with parts.telling(at(broker.port), bus, journal) as telemetry:
            bus.tell(parts.device_state())
            bus.tell(parts.alarm())
            bus.tell(replace(parts.alarm(), id="stays"))
            await parts.connected(telemetry)
            await still_told(broker, "alarm/press-down", "alarm/stays", "device/press/state")
            await stop(broker)
            bus.tell(parts.alarm(ended=True))
            bus.tell(parts.device_state("down", "unplugged"))
            await broker.start(*memory)
            await parts.connected(telemetry)
            found = await standing(broker.port)
            assert set(found) == {"status", "device/press/state", "alarm/stays"}
            assert found["device/press/state"]["health"] == "down"


async def test_what_a_broker_remembers_from_before_a_power_cut_is_cleared_again(
    bus: Bus, journal: Journal, tmp_path: Path
) -> None:
    memory = ("persistence true", f"persistence_location {tmp_path}/")
    async with mosquitto(tmp_path) as broker:
        await broker.kill()
        await broker.start(*memory)
        async with parts.telling(at(broker.port), bus, journal) as telemetry:
            bus.tell(parts.alarm())
            await parts.connected(telemetry)
            await still_told(broker, "alarm/press-down")
            await stop(broker)
            saved = (tmp_path / "mosquitto.db").read_bytes()
            await broker.start(*memory)
            bus.tell(parts.alarm(ended=True))
            await until_stands(broker, {"status"})
            await broker.kill()
            (tmp_path / "mosquitto.db").write_bytes(saved)
            await broker.start(*memory)
            await until_stands(broker, {"status"})


async def test_what_ended_while_the_daemon_was_off_is_cleared_by_the_next(
    bus: Bus, journal: Journal, tmp_path: Path
) -> None:
    async with mosquitto(tmp_path) as broker:
        async with parts.telling(at(broker.port), bus, journal) as telemetry:
            bus.tell(parts.ABOUT)
            bus.tell(parts.device_state())
            bus.tell(parts.run_state())
            bus.tell(parts.alarm())
            await parts.connected(telemetry)
            await still_told(broker, "alarm/press-down", "run/r1/state")
        async with subscribed(broker.port) as watcher, parts.telling(at(broker.port), Bus(), journal, "boot-2"):
            gone = ("device/press/about", "device/press/state", "run/r1/state", "alarm/press-down")
            await watcher.until(lambda: all(None in watcher.of(topic) for topic in gone))
            assert set(await standing(broker.port)) == {"status"}


async def test_leftovers_are_cleared_at_a_broker_that_lets_the_daemon_write_only(
    bus: Bus, journal: Journal, tmp_path: Path
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic write labd/1/lab/#\n")
    memory = ("persistence true", f"persistence_location {tmp_path}/")
    async with mosquitto(tmp_path) as broker:
        await broker.kill()
        await broker.start(*memory, f"acl_file {acl}")
        async with parts.telling(at(broker.port), bus, journal) as telemetry:
            await parts.connected(telemetry)
            bus.tell(parts.device_state())
            bus.tell(parts.alarm())
        assert await journal.kept("retained/") != {}
        async with parts.telling(at(broker.port), Bus(), journal, "boot-2") as telemetry:
            await parts.connected(telemetry)
        assert await journal.kept("retained/") == {}
        await stop(broker)
        await broker.start(*memory)
        assert set(await standing(broker.port)) == {"status"}


async def test_thousands_of_leftovers_are_all_cleared(bus: Bus, journal: Journal, tmp_path: Path) -> None:
    """More than mosquitto queues for one subscriber at QoS 1."""
    number = 3000
    async with mosquitto(tmp_path) as broker:
        async with parts.peer(broker.port) as client:
            for index in range(number):
                await client.publish(f"labd/1/lab/run/run-{index:04}/state", "{}", retain=True)
            await client.publish("labd/1/other/queue", "{}", qos=1, retain=True)
        async with parts.telling(at(broker.port), bus, journal), asyncio.timeout(60):
            while set(await standing(broker.port)) != {"status"}:
                await asyncio.sleep(0.2)


async def test_a_broker_of_mqtt_3_is_swept_too_and_ones_own_words_are_not_taken_for_anothers(
    bus: Bus, journal: Journal, tmp_path: Path
) -> None:
    async with mosquitto(tmp_path) as broker:
        async with parts.peer(broker.port) as client:
            await client.publish("labd/1/lab/alarm/over", "{}", qos=1, retain=True)
        old = AiomqttPublisher(Address(Broker(host="127.0.0.1", port=broker.port), "labd-lab", embedded=True))
        alarms = Alarms(bus)
        telemetry = Telemetry("lab", at(broker.port), bus, journal, "boot-1", "0", publisher=old, alarms=alarms)
        async with subscribed(broker.port) as watcher, background(telemetry.run(), "telemetry"):
            await watcher.until(lambda: None in watcher.of("alarm/over"))
            for number in range(20):
                bus.tell(parts.run_state("Execute" if number % 2 else "Held"))
                bus.tell(replace(parts.alarm(), id=f"a{number}"))
            await watcher.first("alarm/a19")
            bus.tell(replace(parts.alarm(), id="last"))
            await watcher.first("alarm/last")  # the echoes of those before have come
            topics = {"status", "run/r1/state", "alarm/last"} | {f"alarm/a{number}" for number in range(20)}
            assert set(await standing(broker.port)) == topics
            assert words(watcher) == [("online", "boot-1")]
            assert alarms.active == ()


async def still_told(broker: Mosquitto, *topics: str) -> None:
    """Waits until what was told stands at the broker."""
    async with subscribed(broker.port) as watcher:
        for topic in topics:
            await watcher.first(topic)


async def until_stands(broker: Mosquitto, topics: set[str]) -> None:
    """Waits until just this stands at the broker."""
    async with asyncio.timeout(60):
        while set(await standing(broker.port)) != topics:
            pass


async def stop(broker: Mosquitto) -> None:
    """An end in order: it writes its memory."""
    assert broker.process is not None
    broker.process.terminate()
    await broker.process.wait()
