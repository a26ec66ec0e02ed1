"""What is measured beside each other: the daemon with many devices, and a loop written by hand that does the same.

`python -m benchmarks.mqtt._lab daemon LAB`, `… loop PORT DEVICES PERIOD FOLDER` and `… embedded …` are processes of
their own. Their devices answer at once, in the process itself: what is left is what daemon and loop cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import sys
import time
import types
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt
import structlog

from benchmarks.mqtt.brokers import NODELAY
from labd.sdk import About, Current, Driver, Settings, Setup, Signals, Temperature, Voltage

KIND = "benchmark_instant"  # the driver's name in lab.yaml
FLUSH = 10.0  # s; how long samples wait for the disk, as in labd's signal store
SHOWN = ("voltage", "current", "temperature", "count", "replied")


class InstantSignals(Signals):
    voltage: Voltage | None = None
    current: Current | None = None
    temperature: Temperature | None = None
    count: int | None = None
    replied: float | None = None  # s since the epoch: when the device answered


class InstantDevice(Driver):
    """A device that answers at once."""

    role = "sensor"
    Settings = Settings
    Signals = InstantSignals

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._count = 0

    async def connect(self) -> About:
        return About(model="instant")

    async def close(self) -> None:
        """There is nothing to close."""

    async def safe_state(self, unit: str | None = None) -> None:
        """It moves nothing."""

    async def read_state(self) -> Signals:
        self._count += 1
        return InstantSignals(
            voltage=3.7 + self._count % 7 * 0.01,
            current=1.25e-3,
            temperature=25.0,
            count=self._count,
            replied=time.time(),
        )


def daemon(lab: Path) -> int:
    """The whole daemon."""
    from labd.daemon import serve

    module: Any = types.ModuleType(f"drivers.{KIND}")
    module.DRIVER = InstantDevice
    sys.modules[module.__name__] = module
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    return serve(lab, log_format="json")


# ── by hand ──────────────────────────────────────────────────────────────────────────────────────────────────────────
class Loop:
    """What somebody writes in an afternoon: a task a device, a table, a client."""

    def __init__(self, client: aiomqtt.Client, folder: Path, period: float) -> None:
        self._client = client
        self._period = period
        self._rows: list[Sequence[Any]] = []
        self._database = sqlite3.connect(folder / "samples.sqlite", check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        columns = ", ".join(f"{name} REAL" for name in SHOWN)
        self._database.execute(f"CREATE TABLE samples (device TEXT, at REAL, {columns})")

    async def device(self, name: str, after: float) -> None:
        """One device, `after` so many s: as those of a lab, they do not all answer in the same moment."""
        await asyncio.sleep(after)
        topic, seq = f"labd/1/bench/device/{name}/signal", 0
        while True:
            seq += 1
            now = time.time()
            read = {
                "voltage": (3.7 + seq % 7 * 0.01, "V"),
                "current": (1.25e-3, "A"),
                "temperature": (25.0, "°C"),
                "count": (seq, ""),
                "replied": (now, ""),
            }
            at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            self._rows.append((name, now, *(value for value, _ in read.values())))
            values = {name: {"v": value, "u": unit, "q": "good"} for name, (value, unit) in read.items()}
            payload = json.dumps({"seq": seq, "boot_id": "0123456789ab", "at": at, "values": values})
            await self._client.publish(topic, payload, qos=0)
            await asyncio.sleep(self._period)

    async def keep(self) -> None:
        while True:
            await asyncio.sleep(FLUSH)
            rows, self._rows = self._rows, []
            await asyncio.to_thread(self._write, rows)

    def _write(self, rows: list[Sequence[Any]]) -> None:
        with self._database:
            marks = ", ".join("?" * (2 + len(SHOWN)))
            self._database.executemany(f"INSERT INTO samples VALUES ({marks})", rows)


async def loop(port: int, devices: int, period: float, folder: Path, *, embedded: bool) -> None:
    """Goes on for ever; with a broker of its own, if it is to have one."""
    async with contextlib.AsyncExitStack() as stack:
        if embedded:
            from labd.telemetry.broker import EmbeddedBroker

            await stack.enter_async_context(EmbeddedBroker(port))
        version = aiomqtt.ProtocolVersion.V311 if embedded else aiomqtt.ProtocolVersion.V5
        client = aiomqtt.Client("127.0.0.1", port, protocol=version, socket_options=NODELAY)
        client.pending_calls_threshold = devices  # it logs a line for each that waits beyond
        by_hand = Loop(await stack.enter_async_context(client), folder, period)
        async with asyncio.TaskGroup() as group:
            group.create_task(by_hand.keep())
            for number in range(devices):
                group.create_task(by_hand.device(f"d{number:03}", period * number / devices))


if __name__ == "__main__":
    if sys.argv[1] == "daemon":
        sys.exit(daemon(Path(sys.argv[2])))
    port, devices, period, folder = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), Path(sys.argv[5])
    asyncio.run(loop(port, devices, period, folder, embedded=sys.argv[1] == "embedded"))
