"""Telemetry against the bare client library with the same broker, subscriber and messages, in one process."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiomqtt

from benchmarks._figures import Figures
from labd import clock
from labd.journal import Journal, NewEvent
from labd.lab.bus import Bus, SignalsRead, Value
from labd.lab.config import Broker, Mqtt
from labd.telemetry.payloads import RunEvent
from labd.telemetry.service import Telemetry

NODELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
DATA = {"step": "crimp", "action": "press.crimp", "parameters": {"force": 7.8, "dwell": 2.0}, "token": "t" * 40}
VALUES = {name: Value(3.7, "V", "good") for name in ("voltage", "current", "range", "overload", "temperature")}


@contextmanager
def broker() -> Iterator[int | None]:
    """mosquitto's port; None where it is not installed."""
    found = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mosquitto.conf"
        lines = (f"listener {port} 127.0.0.1", "allow_anonymous true", "set_tcp_nodelay true", "max_queued_messages 0")
        config.write_text("\n".join(lines))
        with subprocess.Popen([found, "-c", str(config)], stderr=subprocess.DEVNULL) as process:
            try:
                while True:
                    try:
                        socket.create_connection(("127.0.0.1", port)).close()
                        break
                    except OSError:
                        time.sleep(0.02)
                yield port
            finally:
                process.kill()


class Counter:
    """How many messages a subscriber has got."""

    def __init__(self) -> None:
        self.got = 0
        self._more = asyncio.Event()

    async def listen(self, client: aiomqtt.Client) -> None:
        async for _ in client.messages:
            self.got += 1
            self._more.set()

    async def until(self, number: int) -> None:
        while self.got < number:
            self._more.clear()
            await self._more.wait()


@asynccontextmanager
async def counted(port: int, topic: str) -> AsyncIterator[Counter]:
    async with aiomqtt.Client("127.0.0.1", port, socket_options=NODELAY) as client:
        await client.subscribe(topic, qos=1)
        counter = Counter()
        task = asyncio.create_task(counter.listen(client))
        try:
            yield counter
        finally:
            task.cancel()
            await asyncio.wait([task])


async def bare(port: int, qos: int, payload: bytes, number: int) -> float:
    """Messages/s of aiomqtt alone; at QoS 1 with 20 under way, as paho sends them."""
    async with counted(port, "bare/#") as counter, aiomqtt.Client("127.0.0.1", port, socket_options=NODELAY) as client:
        client.pending_calls_threshold = 100
        start = time.perf_counter()
        if qos == 0:
            for _ in range(number):
                await client.publish("bare/x", payload)
        else:
            for _ in range(0, number, 20):
                await asyncio.gather(*(client.publish("bare/x", payload, qos=1) for _ in range(20)))
        await counter.until(number)
        return number / (time.perf_counter() - start)


@asynccontextmanager
async def telling(config: Mqtt, bus: Bus, journal: Journal) -> AsyncIterator[Telemetry]:
    telemetry = Telemetry("bench", config, bus, journal, "boot", "0")
    task = asyncio.create_task(telemetry.run())
    try:
        yield telemetry
    finally:
        task.cancel()
        await asyncio.wait([task])


async def against_the_bare_library(port: int, number: int, figures: Figures) -> None:
    config, bus = Mqtt(broker=Broker(host="127.0.0.1", port=port)), Bus()
    with tempfile.TemporaryDirectory() as folder:
        journal = await Journal.open(Path(folder) / "journal.db")
        for _ in range(0, number, 500):
            await journal.append(*(NewEvent("action.intended", DATA, "r1") for _ in range(500)))
        event = (await journal.events(limit=1))[0]
        payload = RunEvent(seq=1, at=event.at, kind=event.kind, data=event.data, hash=event.hash).encode()
        reference = await bare(port, 1, payload, number)
        async with counted(port, "labd/1/bench/run/+/event") as counter:
            start = time.perf_counter()
            async with telling(config, bus, journal):
                await counter.until(number)
            drained = number / (time.perf_counter() - start)
        figures.add("backlog", drained, "messages/s", goal=5000)
        figures.add("backlog_to_bare", drained / reference, "ratio", goal=0.8)
        async with (
            telling(config, bus, journal) as telemetry,
            counted(port, "labd/1/bench/device/+/signal") as counter,
        ):
            await telemetry.connected.wait()
            size = len(payload)
            reference = await bare(port, 0, b"x" * size, number)
            start = time.perf_counter()
            for seq in range(number):
                bus.tell(SignalsRead("stat1", seq, clock.stamp(), VALUES))
                if seq % 100 == 99:
                    await counter.until(seq - 1000)  # as fast as it goes, without filling the queue
            await counter.until(number - telemetry.dropped)
            live = number / (time.perf_counter() - start)
            figures.add("signals", live, "messages/s")
            figures.add("signals_to_bare", live / reference, "ratio", goal=0.8)
            figures.add("signals_dropped", telemetry.dropped, "messages", goal=0, better="lower")
        await journal.close()


async def idle(hours: float) -> float:
    """Machine seconds of so many connected lab hours with a device polled every 10 s, and nobody listening."""
    bus = Bus()
    with tempfile.TemporaryDirectory() as folder:
        journal = await Journal.open(Path(folder) / "journal.db")
        async with telling(Mqtt(broker="embedded", port=0), bus, journal) as telemetry:
            await telemetry.connected.wait()
            start = time.perf_counter()
            for seq in range(int(hours * 360)):
                bus.tell(SignalsRead("stat1", seq, clock.stamp(), VALUES))
                await asyncio.sleep(10)
            spent = time.perf_counter() - start
        await journal.close()
    return spent


def run(smoke: bool, figures: Figures) -> None:
    hours = 1.0 if smoke else 10.0
    spent = clock.run(idle(hours), clock.timeline_of("virtual"))
    figures.add("embedded_ten_hours", spent * 10 / hours, "s", goal=2.0, better="lower")
    with broker() as port:
        if port is None:
            print("mqtt: mosquitto is not installed, nothing is measured against it: apt-get install mosquitto")
        else:
            clock.run(against_the_bare_library(port, 1000 if smoke else 20_000, figures))
