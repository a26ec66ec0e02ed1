"""The contract at mosquitto: the same document, with the quality of service and what the broker says for a dead one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from labd.journal import Journal
from labd.lab.bus import Bus, QueueState
from labd.lab.config import Broker, Mqtt
from labd.telemetry.asyncapi import document
from tests.telemetry import parts
from tests.telemetry.documented import Document
from tests.telemetry.mosquitto import mosquitto
from tests.telemetry.test_contract import recording
from tests.telemetry.test_home_assistant import PRESS


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


async def test_all_that_is_said_is_in_the_document(bus: Bus, journal: Journal, tmp_path: Path) -> None:
    told = Document(document(), exact=True)
    async with mosquitto(tmp_path) as broker, recording(broker.port) as heard, parts.watching(broker.port) as watcher:
        config = Mqtt(broker=Broker(host="127.0.0.1", port=broker.port), home_assistant=True)
        async with parts.telling(config, bus, journal) as telemetry:
            for happening in (PRESS, parts.device_state(), parts.run_state(), parts.alarm(), QueueState((), 0, None)):
                bus.tell(happening)
            await parts.connected(telemetry)
            bus.tell(parts.poll(1))
            await parts.journal_steps(journal, "r1", 1, 3)
            await watcher.first("run/r1/event", seq=3)
            bus.tell(parts.alarm(ended=True))
            await watcher.until(lambda: None in watcher.of("alarm/press-down"))
            async with aiomqtt.Client("127.0.0.1", broker.port, identifier="labd-lab"):
                await watcher.first("status", state="lost")  # the broker's word for a connection that is gone
    assert {told.take(one) for one in heard} == {
        "status",
        "lost",
        "device_about",
        "device_state",
        "device_signal",
        "run_state",
        "run_event",
        "queue",
        "alarm",
        "alarm_cleared",
        "summary",
        "home_assistant_device",
        "home_assistant_lab",
    }


async def test_home_assistants_start_is_heard(bus: Bus, journal: Journal, tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, recording(broker.port) as heard, parts.watching(broker.port) as watcher:
        config = Mqtt(broker=Broker(host="127.0.0.1", port=broker.port), home_assistant=True)
        async with parts.telling(config, bus, journal) as telemetry:
            bus.tell(PRESS)
            await parts.connected(telemetry)
            bus.tell(parts.poll(1))
            await watcher.first("device/press/signal", seq=1)
            heard.clear()
            async with aiomqtt.Client("127.0.0.1", broker.port) as home_assistant:
                await home_assistant.publish("homeassistant/status", "online")
            async with asyncio.timeout(60):
                while sum("/config" in one.topic for one in heard) < 2:
                    await asyncio.sleep(0.02)
        devices = [json.loads(one.payload)["dev"]["name"] for one in heard if "/config" in one.topic]
    assert devices == ["lab press", "labd lab"]
