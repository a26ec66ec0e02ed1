"""What the tests of telemetry share: a lab's happenings, and a subscriber that remembers."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiomqtt

from labd import clock
from labd.journal import Journal, NewEvent
from labd.lab.bus import Alarm, Bus, DeviceAbout, DeviceState, RunState, SignalsRead, Value
from labd.lab.config import Mqtt
from labd.telemetry.service import Telemetry

ABOUT = DeviceAbout("press", "plc_crimper", "crimper", "HSDC-20", "0042", "3.1", (), {"crimp": {}}, {"force": "kN"})


def device_state(health: str = "ok", problem: str | None = None) -> DeviceState:
    return DeviceState("press", health, problem, clock.stamp(), ())  # type: ignore[arg-type]


def poll(seq: int) -> SignalsRead:
    values = {"force": Value(7.8, "kN", "good"), "estop": Value(False, "", "good"), "ram": Value(None, "mm", "bad")}
    return SignalsRead("press", seq, clock.stamp(), values)


def run_state(state: str = "Execute", ended: str | None = None) -> RunState:
    begun = RunState("r1", "coin_cell", "1", "cell-1", state, "fill", clock.stamp(), 0.25, None, None, None, None)
    return replace(begun, ended=ended)


def alarm(*, ended: bool = False) -> Alarm:
    return Alarm("press-down", "problem", "press", "the press does not answer", clock.stamp(), ended=ended)


@dataclass(frozen=True)
class Got:
    topic: str
    data: Any
    retained: bool
    qos: int


@dataclass
class Watcher:
    """Every message of the lab, in the order of receipt; topics without the lab's prefix."""

    prefix: str
    got: list[Got] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, topic: str, payload: bytes, *, retained: bool, qos: int) -> None:
        data = json.loads(payload) if payload else None
        self.got.append(Got(topic.removeprefix(self.prefix), data, retained, qos))
        self._more.set()

    async def until(self, true: Callable[[], bool], seconds: float = 60) -> None:
        async with asyncio.timeout(clock.of_machine(seconds)):
            while not true():
                self._more.clear()
                await self._more.wait()

    async def first(self, topic: str, **fields: Any) -> Got:
        """Waits for a message of this topic with these fields."""
        await self.until(lambda: any(self._fits(got, topic, fields) for got in self.got))
        return next(got for got in self.got if self._fits(got, topic, fields))

    def of(self, topic: str) -> list[Any]:
        return [got.data for got in self.got if got.topic == topic]

    @staticmethod
    def _fits(got: Got, topic: str, fields: dict[str, Any]) -> bool:
        if got.topic != topic:
            return False
        return all(isinstance(got.data, dict) and got.data.get(name) == value for name, value in fields.items())


def peer(port: int) -> aiomqtt.Client:
    """Another client of the broker."""
    # Without NODELAY the kernel holds the second PUBACK back for 40 ms: on virtual time, for as long as it likes.
    nodelay = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    return aiomqtt.Client("127.0.0.1", port, keepalive=0 if clock.is_virtual() else 60, socket_options=nodelay)


@asynccontextmanager
async def watching(port: int, lab: str = "lab") -> AsyncIterator[Watcher]:
    watcher = Watcher(f"labd/1/{lab}/")

    async def listen(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            watcher.take(message.topic.value, message.payload, retained=message.retain, qos=message.qos)

    async with peer(port) as client:
        await client.subscribe(f"labd/1/{lab}/#", qos=1)
        task = asyncio.create_task(listen(client))
        try:
            yield watcher
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def telling(config: Mqtt, bus: Bus, journal: Journal, boot_id: str = "boot-1") -> AsyncIterator[Telemetry]:
    """Telemetry at work, ended in order."""
    telemetry = Telemetry("lab", config, bus, journal, boot_id, "0.1.0")
    task = asyncio.create_task(telemetry.run())
    try:
        yield telemetry
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def connected(telemetry: Telemetry) -> int:
    """Waits for a connection, and gives the broker's port."""
    async with asyncio.timeout(clock.of_machine(120)):
        await telemetry.connected.wait()
    assert telemetry.address is not None
    return telemetry.address[1]


async def journal_steps(journal: Journal, run: str, first: int, last: int) -> list[str]:
    """Journals steps of a run, a second apart, with an event of no run between; gives their times."""
    times = []
    for number in range(first, last + 1):
        events = await journal.append(NewEvent("step.done", {"number": number}, run), NewEvent("clock.checked", {}))
        times.append(events[0].at)
        if clock.is_virtual():
            await asyncio.sleep(1)
    return times
