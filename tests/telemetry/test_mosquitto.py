"""Telemetry over MQTT 5 with mosquitto and mosquitto_sub, in real time."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from labd.clock import LabLoop, Timeline
from labd.journal import Journal
from labd.lab.bus import Bus
from labd.lab.config import Broker, Mqtt
from labd.telemetry.broker import EmbeddedBroker
from tests.telemetry import parts
from tests.telemetry.mosquitto import mosquitto, subscribed

DAEMON = """
import asyncio, sys
from pathlib import Path
from labd import clock
from labd.journal import Journal
from labd.lab.bus import Bus
from labd.lab.config import Broker, Mqtt
from labd.telemetry.service import Telemetry

async def main(port, folder):
    journal = await Journal.open(Path(folder) / "victim.db")
    config = Mqtt(broker=Broker(host="127.0.0.1", port=port))
    telemetry = Telemetry("lab", config, Bus(), journal, "boot-of-the-victim", "0.1.0")
    async with asyncio.TaskGroup() as group:
        group.create_task(telemetry.run())
        await telemetry.connected.wait()
        print("connected", flush=True)

clock.run(main(int(sys.argv[1]), sys.argv[2]))
"""


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


def at(port: int) -> Mqtt:
    return Mqtt(broker=Broker(host="127.0.0.1", port=port))


async def test_birth_signals_events_and_a_clean_end(bus: Bus, journal: Journal, tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, subscribed(broker.port, "-V", "5") as watcher:
        async with parts.telling(at(broker.port), bus, journal):
            bus.tell(parts.ABOUT)
            bus.tell(parts.device_state())
            await watcher.first("status", state="online", boot_id="boot-1")
            await watcher.first("device/press/about", role="crimper")
            await watcher.first("device/press/state", health="ok")
            bus.tell(parts.poll(1))
            signal = await watcher.first("device/press/signal", seq=1)
            assert signal.qos == 0
            times = await parts.journal_steps(journal, "r1", 1, 200)
            await watcher.first("run/r1/event", seq=200)
            events = watcher.of("run/r1/event")
            assert [event["seq"] for event in events] == list(range(1, 201))
            assert [event["at"] for event in events] == times
        await watcher.first("status", state="offline", boot_id="boot-1")
        async with subscribed(broker.port) as later:
            assert (await later.first("status", state="offline")).retained


async def test_a_killed_broker_costs_no_event_and_all_is_told_anew(bus: Bus, journal: Journal, tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, parts.telling(at(broker.port), bus, journal) as telemetry:
        bus.tell(parts.ABOUT)
        bus.tell(parts.run_state())
        await parts.connected(telemetry)
        times = await parts.journal_steps(journal, "r1", 1, 20)
        await broker.kill()
        times += await parts.journal_steps(journal, "r1", 21, 120)
        bus.tell(parts.device_state("down", "unplugged"))
        await broker.start()
        async with subscribed(broker.port, "-V", "5") as watcher:
            await watcher.first("status", state="online")
            await watcher.first("device/press/about")
            await watcher.first("device/press/state", health="down")
            await watcher.first("run/r1/state")
            # What mosquitto took before the subscription is not for this subscriber; what it did not take is.
            times += await parts.journal_steps(journal, "r1", 121, 121)
            await watcher.first("run/r1/event", seq=121)
            events = watcher.of("run/r1/event")
            assert events[0]["seq"] <= 21
            assert [event["seq"] for event in events] == list(range(events[0]["seq"], 122))
            assert [event["at"] for event in events] == times[-len(events) :]


async def test_the_broker_says_lost_when_the_daemon_dies(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, subscribed(broker.port) as watcher:
        command = (sys.executable, "-c", DAEMON, str(broker.port), str(tmp_path))
        victim = await asyncio.create_subprocess_exec(*command, stdout=PIPE, env={**os.environ})
        assert victim.stdout is not None
        while await victim.stdout.readline() != b"connected\n":
            assert victim.returncode is None
        await watcher.first("status", state="online")
        victim.kill()
        await victim.wait()
        assert (await watcher.first("status", state="lost")).data == {"state": "lost", "boot_id": "boot-of-the-victim"}
        async with subscribed(broker.port) as later:
            assert (await later.first("status")).data["state"] == "lost"


async def test_an_event_that_the_broker_refuses_waits_until_it_is_allowed(
    bus: Bus, journal: Journal, tmp_path: Path
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite labd/1/lab/status\ntopic readwrite ready\n")
    async with mosquitto(tmp_path) as broker:
        await broker.kill()
        await broker.start(f"acl_file {acl}")
        async with parts.telling(at(broker.port), bus, journal) as telemetry:
            await parts.connected(telemetry)
            await parts.journal_steps(journal, "r1", 1, 5)
            bus.tell(parts.device_state())
            await asyncio.sleep(0.2)  # the refusals arrive
            assert await journal.mark("mqtt") == 0
            assert telemetry.connected.is_set()
            await broker.kill()
            await broker.start()
            async with subscribed(broker.port) as watcher:
                await parts.journal_steps(journal, "r1", 6, 6)
                await watcher.first("run/r1/event", seq=6)
                await watcher.first("device/press/state")
    assert await journal.mark("mqtt") >= (await journal.events())[-2].seq


class TestScaled:
    """The lab's hour is a machine's minute; the broker's other clients know nothing of that."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return "asyncio", {"loop_factory": lambda: LabLoop(Timeline(factor=600))}

    async def test_a_subscriber_outlives_its_keep_alive_by_the_labs_clock(self, bus: Bus, journal: Journal) -> None:
        config = Mqtt(broker="embedded", port=0)
        async with parts.telling(config, bus, journal) as telemetry:
            port = await parts.connected(telemetry)
            async with subscribed(port, "-k", "5") as watcher:
                begun = clock.monotonic()
                for seq in range(1, 20):
                    bus.tell(parts.poll(seq))
                    await asyncio.sleep(60)
                assert clock.monotonic() - begun > 100 * 5
                await watcher.first("device/press/signal", seq=19)

    async def test_a_broker_that_cannot_start_says_so(self) -> None:
        async with EmbeddedBroker() as broker:
            with pytest.raises(Exception, match="cannot be had"):
                async with EmbeddedBroker(broker.port):
                    pass
