"""The outbox before a real broker, in real time: a daemon that is killed, and messages that are too large."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from labd.journal import Journal, NewEvent
from labd.lab.bus import Bus
from labd.lab.config import Broker, Mqtt
from tests.telemetry import parts
from tests.telemetry.mosquitto import Mosquitto, mosquitto, subscribed
from tests.telemetry.test_outbox import Told

KILLED = 9
VICTIM = """
import asyncio, os, sys
from pathlib import Path
from labd import clock
from labd.journal import Journal, NewEvent
from labd.lab.bus import Bus
from labd.lab.config import Broker, Mqtt
from labd.telemetry import outbox
from labd.telemetry.service import Telemetry

def die(self):
    '''What was acknowledged is not marked yet.'''
    if self._keeper.mark:
        os._exit(9)

async def main(port, folder):
    outbox.Outbox._mark = die
    journal = await Journal.open(Path(folder) / "victim.db")
    for number in range(300):
        await journal.append(NewEvent("step.done", {"number": number}, f"r{number % 3}"))
    await Telemetry("lab", Mqtt(broker=Broker(host="127.0.0.1", port=port)), Bus(), journal, "boot-1", "0").run()

clock.run(main(int(sys.argv[1]), sys.argv[2]))
"""


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


def at(broker: Mosquitto) -> Mqtt:
    return Mqtt(broker=Broker(host="127.0.0.1", port=broker.port))


def heard(watcher: parts.Watcher) -> int:
    return sum(got.topic.endswith("/event") for got in watcher.got)


def followed(watcher: parts.Watcher) -> list[Any]:
    """The events of r1 as a subscriber has them that takes only the next."""
    taken: list[Any] = []
    for one in watcher.of("run/r1/event"):
        if one["seq"] == len(taken) + 1:
            taken.append(one)
    return taken


async def test_a_kill_between_acknowledgement_and_mark_doubles_events_and_loses_none(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, subscribed(broker.port) as watcher:
        command = (sys.executable, "-c", VICTIM, str(broker.port), str(tmp_path))
        victim = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env={**os.environ})
        _, complaint = await victim.communicate()
        assert victim.returncode == KILLED, complaint.decode()
        journal = await Journal.open(tmp_path / "victim.db")
        try:
            assert await journal.mark("mqtt") == 0
            told = [got for got in watcher.got if got.topic.endswith("/event")]
            assert told, "the broker had some of them"
            async with parts.telling(at(broker), Bus(), journal):
                await watcher.until(lambda: heard(watcher) >= len(told) + 300)  # all of them, since none is marked
            events = [await journal.events(run=f"r{run}") for run in range(3)]
        finally:
            await journal.close()
    for run, wanted in enumerate(events):
        got = watcher.of(f"run/r{run}/event")
        by_seq = {one["seq"]: one["hash"] for one in got}
        assert list(by_seq) == list(range(1, 101))
        assert [by_seq[seq] for seq in range(1, 101)] == [event.hash for event in wanted]
        assert all(by_seq[one["seq"]] == one["hash"] for one in got), "a duplicate is the same event"


@pytest.mark.parametrize("line", ["message_size_limit 1000", "max_packet_size 1000"])
async def test_what_is_too_large_for_mosquitto_comes_without_its_data(
    bus: Bus, journal: Journal, tmp_path: Path, line: str
) -> None:
    told = Told(bus)
    async with mosquitto(tmp_path) as broker:
        await broker.kill()
        await broker.start(line)
        async with subscribed(broker.port) as watcher, parts.telling(at(broker), bus, journal):
            large = NewEvent("run.begun", {"text": "x" * 2000}, "r1")
            small = [NewEvent("step.done", {"number": number}, "r1") for number in range(5)]
            events = await journal.append(small[0], large, small[1], large, *small[2:])
            await watcher.until(lambda: len(followed(watcher)) == 7)
            got = dict(enumerate(followed(watcher), 1))
    assert [got[seq]["hash"] for seq in range(1, 8)] == [event.hash for event in events]
    assert [seq for seq in got if "omitted" in got[seq]] == [2, 4]
    assert got[2]["data"] == {}
    assert "event 4 of r1 was sent over MQTT without its data" in told.texts("mqtt-large")[-1]
