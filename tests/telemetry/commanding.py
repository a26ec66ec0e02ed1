"""A lab of toys that hears commands over MQTT, and a client that gives them."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from labd import clock
from labd.journal import Journal, SignalStore
from labd.lab.access import Role
from labd.lab.background import background
from labd.lab.config import Mqtt
from labd.lab.lab import Lab
from labd.run.engine import Engine
from labd.telemetry.service import Telemetry
from tests.toys import Toy, toy_lab

WAITING = """\
labd: 1
protocol: waiting
version: 1.0.0
summary: Open a press, and wait.
roles: {press: crimper}
start: open
states:
  open: {do: press.open, within: 1 h, next: wait}
  wait: {wait: 10 min, next: done}
  done: {end: complete}
"""


@dataclass
class Commander:
    """A client that gives commands, and collects the answers to each."""

    client: aiomqtt.Client
    user: str = "eva"
    prefix: str = "labd/1/toys"
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    elsewhere: list[tuple[str, bytes | None]] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            told = json.loads(message.payload)
            if message.topic.value.startswith(f"{self.prefix}/reply/{self.user}/"):
                self.answers.setdefault(told["command_id"], []).append(told)
            else:
                correlation = getattr(message.properties, "CorrelationData", None)
                self.elsewhere.append((message.topic.value, correlation))
            self._more.set()

    async def give(
        self, command_id: str, verb: str, *, topic_verb: str | None = None, retain: bool = False, **more: Any
    ) -> None:
        arguments = more.pop("arguments", {})
        issued = clock.outside() + timedelta(seconds=more.pop("issued", 0.0))
        life = timedelta(seconds=more.pop("life", 20.0))
        payload = {"command_id": command_id, "issued_at": issued.isoformat(), "verb": verb, "arguments": arguments}
        payload |= {"expires_at": (issued + life).isoformat(), **more.pop("fields", {})}
        properties = None
        if "answer_to" in more:
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic, properties.CorrelationData = more["answer_to"], more.get("with_data", b"\x01\x02")
        if "expiry" in more:
            properties = properties or Properties(PacketTypes.PUBLISH)
            properties.MessageExpiryInterval = more["expiry"]
        topic = f"{self.prefix}/cmd/{self.user}/{topic_verb or verb}"
        await self.client.publish(topic, json.dumps(payload), qos=1, retain=retain, properties=properties)

    async def answered(self, command_id: str, number: int = 1) -> list[dict[str, Any]]:
        """Waits for so many answers to a command."""
        async with asyncio.timeout(3600):
            while len(self.answers.get(command_id, ())) < number:
                self._more.clear()
                await self._more.wait()
        return self.answers[command_id]

    async def states(self, command_id: str, number: int) -> list[str]:
        return [told["state"] for told in await self.answered(command_id, number)]


@asynccontextmanager
async def commander(port: int, *topics: str, v5: bool = False, user: str = "eva") -> AsyncIterator[Commander]:
    nodelay = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    protocol = aiomqtt.ProtocolVersion.V5 if v5 else aiomqtt.ProtocolVersion.V311
    keepalive = 0 if clock.is_virtual() else 60
    async with aiomqtt.Client(
        "127.0.0.1", port, protocol=protocol, keepalive=keepalive, socket_options=nodelay
    ) as client:
        for topic in (f"labd/1/toys/reply/{user}/+", *topics):
            await client.subscribe(topic, qos=1)
        found = Commander(client, user)
        task = asyncio.create_task(found.listen())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.wait([task])


@dataclass
class Bench:
    lab: Lab
    engine: Engine
    journal: Journal
    telemetry: Telemetry

    @property
    def press(self) -> Toy:
        driver = self.lab.devices["press"].driver
        assert isinstance(driver, Toy)
        return driver

    @property
    def port(self) -> int:
        assert self.telemetry.address is not None
        return self.telemetry.address[1]

    async def start(self) -> str:
        run = await self.engine.start(WAITING, "waiting.yaml", {}, by="test")
        return run.id


@asynccontextmanager
async def hearing(tmp_path: Path, config: Mqtt, users: Mapping[str, Role] | None = None) -> AsyncIterator[Bench]:
    """The lab at work, connected to its broker; the same folder again is the same lab after a restart."""
    lab = toy_lab(tmp_path, {"press": "press"})
    async with AsyncExitStack() as stack:
        journal = await Journal.open(tmp_path / "journal.sqlite")
        stack.push_async_callback(journal.close)
        signals = await SignalStore.open(tmp_path / "signals.sqlite")
        stack.push_async_callback(signals.close)
        for device in lab.devices.values():
            await stack.enter_async_context(background(device.run(), device.id))
            await device.wait_ready()
        engine = Engine(lab, journal, signals)
        await stack.enter_async_context(background(engine.run(), "engine"))
        await engine.ready.wait()
        telemetry = Telemetry("toys", config, lab.bus, journal, "boot-1", "0.1.0", engine=engine, users=users)
        await stack.enter_async_context(background(telemetry.run(), "telemetry"))
        async with asyncio.timeout(120):
            await telemetry.connected.wait()
        yield Bench(lab, engine, journal, telemetry)
