"""Telemetry against the bare client library: the same messages to the same broker and subscriber, in this process.

Wall time is what a subscriber sees, but broker and subscriber have part in it; the processor's time is what the daemon
itself costs. Each is a ratio within a pair that runs one after the other, and the median of all pairs.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiomqtt

from benchmarks._figures import Figures
from benchmarks.mqtt.brokers import DATA, NODELAY, VALUES, broker
from benchmarks.mqtt.counting import Counter, counted
from labd import clock
from labd.journal import Journal, NewEvent
from labd.lab.bus import Bus, SignalsRead
from labd.lab.config import Broker, Mqtt
from labd.telemetry.outgoing import SIGNALS
from labd.telemetry.payloads import RunEvent
from labd.telemetry.service import Telemetry
from labd.telemetry.signals import encode

UNDER_WAY = 20  # of QoS 1, as paho sends them
AHEAD = SIGNALS // 2  # signals told before the subscriber has them: the queue is not to overflow


@dataclass(frozen=True, slots=True)
class Speed:
    """Messages/s, and s of this process's processor a message."""

    rate: float
    cost: float


async def timed(number: int, work: Callable[[], Awaitable[None]]) -> Speed:
    """Times the sending of so many messages."""
    began, had = time.perf_counter(), time.process_time()
    await work()
    return Speed(number / (time.perf_counter() - began), (time.process_time() - had) / number)


async def bare(port: int, qos: int, payload: bytes, number: int) -> Speed:
    """aiomqtt alone, as its documentation shows it; at QoS 1 with 20 under way."""
    client = aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, socket_options=NODELAY)
    async with counted(port, "bare/#") as counter, client:
        client.pending_calls_threshold = 100

        async def some(number: int) -> None:
            for _ in range(number):
                await client.publish("bare/x", payload, qos=qos)

        async def send() -> None:
            # At QoS 1 each that is acknowledged makes room for the next: nobody waits for the last of a lot.
            senders = UNDER_WAY if qos else 1
            await asyncio.gather(*(some(number // senders) for _ in range(senders)))
            await counter.until(number)

        return await timed(number, send)


@asynccontextmanager
async def telling(config: Mqtt, bus: Bus, journal: Journal) -> AsyncIterator[Telemetry]:
    """Telemetry at work."""
    telemetry = Telemetry("bench", config, bus, journal, "boot", "0")
    task = asyncio.create_task(telemetry.run())
    try:
        yield telemetry
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _events(port: int, number: int, journal: Journal) -> tuple[Speed, Speed]:
    """The journal's events of a run, to a subscriber; and the bare library with the same bytes."""
    for _ in range(0, number, 500):
        await journal.append(*(NewEvent("action.intended", DATA, "r1") for _ in range(500)))
    event = (await journal.events(limit=1))[0]
    payload = RunEvent(seq=1, at=event.at, kind=event.kind, data=event.data, hash=event.hash).encode()
    reference = await bare(port, 1, payload, number)
    async with counted(port, "labd/1/bench/run/+/event") as counter:

        async def send() -> None:
            async with telling(Mqtt(broker=Broker(host="127.0.0.1", port=port)), Bus(), journal):
                await counter.until(number)

        return await timed(number, send), reference


async def _signals(port: int, number: int, journal: Journal) -> tuple[Speed, Speed, int]:
    """Polls told on the bus, to a subscriber; the bare library with the same bytes; and what was dropped."""
    bus = Bus()
    read = SignalsRead("stat1", number, clock.stamp(), VALUES)
    reference = await bare(port, 0, encode(read, "boot"), number)
    config = Mqtt(broker=Broker(host="127.0.0.1", port=port))
    async with telling(config, bus, journal) as telemetry, counted(port, "labd/1/bench/device/+/signal") as counter:
        await telemetry.connected.wait()
        speed = await timed(number, lambda: _tell(bus, counter, number))
        return speed, reference, telemetry.dropped


async def _tell(bus: Bus, counter: Counter, number: int) -> None:
    """As fast as it goes; two lots are under way, so that nobody waits for the other."""
    arrived: asyncio.Task[None] | None = None
    for first in range(0, number, AHEAD // 2):
        for seq in range(first, first + AHEAD // 2):
            bus.tell(SignalsRead("stat1", seq, clock.stamp(), VALUES))
            if seq % 10 == 9:
                await asyncio.sleep(0)  # polls come from many tasks, and not all in one turn of the loop
        if arrived is not None:
            await arrived
        arrived = asyncio.create_task(counter.until(AHEAD // 2))
    if arrived is not None:
        await arrived


async def against_the_bare_library(port: int, number: int, pairs: int, figures: Figures) -> None:
    events, polls, dropped = [], [], 0
    for _ in range(pairs):
        with tempfile.TemporaryDirectory() as folder:
            journal = await Journal.open(Path(folder) / "journal.db")
            events.append(await _events(port, number, journal))
            mine, other, lost = await _signals(port, number, journal)
            polls.append((mine, other))
            dropped += lost
            await journal.close()
    _figures("backlog", events, figures, goal=5000)
    _figures("signals", polls, figures, goal=None)
    figures.add("signals_dropped", dropped, "messages", goal=0, better="lower")


def _figures(name: str, pairs: list[tuple[Speed, Speed]], figures: Figures, goal: float | None) -> None:
    figures.add(name, statistics.median(mine.rate for mine, _ in pairs), "messages/s", goal=goal)
    figures.add(
        f"{name}_to_bare", statistics.median(mine.rate / other.rate for mine, other in pairs), "ratio", goal=0.8
    )
    figures.add(f"{name}_processor", statistics.median(mine.cost for mine, _ in pairs) * 1e6, "µs/message")
    cost = statistics.median(mine.cost / other.cost for mine, other in pairs)
    figures.add(f"{name}_processor_to_bare", cost, "ratio", goal=1.25, better="lower")


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
            number, pairs = (1000, 1) if smoke else (20_000, 3)
            clock.run(against_the_bare_library(port, number, pairs, figures))
