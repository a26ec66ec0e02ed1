"""A lab of devices on a plain line protocol over TCP: their driver, all of them in one process, and their daemon.

`python -m benchmarks._lines devices`, `… daemon LAB SECONDS` and `… by_hand PORT DEVICES PERIOD` (who reads them as
often, and does nothing else) are processes of their own, as equipment and labd are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from labd.io.tcp import TcpLink, host_and_port
from labd.journal import schema
from labd.sdk import About, Call, Driver, Duration, Effect, Result, Settings, Setup, Signals, Voltage, action

KIND = "benchmark_line"  # the driver's name in lab.yaml


class Worked(Result):
    """What `work` gives."""

    done: bool


class LineSettings(Settings):
    address: str


class LineSignals(Signals):
    value: Voltage | None = None


class LineDevice(Driver):
    """`ID name`, `READ`, `RUN` are answered; `STOP` and `CANCEL` are taken at any time, and are not."""

    role = "worker"
    Settings = LineSettings
    Signals = LineSignals
    settings: LineSettings

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._link = TcpLink(*host_and_port(self.settings.address, 0))
        self._over = asyncio.Event()

    def own_link(self) -> str | None:
        """All are at one address; each connection is a device."""
        return f"{self.settings.address} {self.name}"

    async def connect(self) -> About:
        await self._link.open()
        return About(model=await self._ask(f"ID {self.name}"))

    async def close(self) -> None:
        await self._link.close()

    async def read_state(self) -> Signals:
        return LineSignals(value=float(await self._ask("READ")))

    async def safe_state(self, unit: str | None = None) -> None:  # noqa: ARG002 - it has one
        await self._link.write(b"STOP\n")
        self._over.set()

    async def cancel(self, action_id: str) -> None:  # noqa: ARG002 - it does one thing at a time
        await self._link.write(b"CANCEL\n")
        self._over.set()

    @action(effect=Effect.ONCE, timeout=4000, cancellable=True)
    async def work(self, call: Call, duration: Duration) -> Worked:
        """Works for a while."""
        self._over.clear()
        await self._ask("RUN")
        call.accepted()
        try:
            async with asyncio.timeout(duration):
                await self._over.wait()
        except TimeoutError:
            pass
        return Worked(done=True)

    @action(effect=Effect.ONCE, timeout=4000)
    async def step(self, call: Call, duration: Duration) -> Worked:  # noqa: ARG002 - what it says it does not need
        """Has the device work for a while, and tell when it is done."""
        await self._ask(f"STEP {duration}", duration + 5.0)
        return Worked(done=True)

    async def _ask(self, line: str, limit: float = 2.0) -> str:
        async with self._link.exchange(limit) as exchange:
            await exchange.write(line.encode() + b"\n")
            return await exchange.read_line()


# ── the devices ──────────────────────────────────────────────────────────────────────────────────────────────────────
DONE: dict[str, float] = {}  # when each device was done last
BETWEEN: list[float] = []  # s from a device's done to the first byte of its next step
READ: dict[int, list[float]] = {}  # by connection: when it was read


async def _device(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    name, reads = "-", READ.setdefault(id(writer), [])
    while line := (await reader.readline()).decode().strip():
        if line in ("STOP", "CANCEL"):
            print(line, name, time.monotonic(), flush=True)  # the clock of all processes of this machine
            continue
        if line == "REPORT":
            writer.write(json.dumps({"between": BETWEEN, "done": DONE, "reads": list(READ.values())}).encode() + b"\n")
            BETWEEN.clear()
            for one in READ.values():
                one.clear()
            continue
        if line == "READ":
            reads.append(time.monotonic())
        if line.startswith("STEP "):
            if name in DONE:
                BETWEEN.append(time.monotonic() - DONE[name])
            await asyncio.sleep(float(line.removeprefix("STEP ")))
            DONE[name] = time.monotonic()
        if line.startswith("ID "):
            name = line.removeprefix("ID ")
        if not (name.startswith("silent") and line == "READ"):
            writer.write(b"1.5\n")
    writer.close()


async def _until_gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        await _device(reader, writer)


async def devices() -> None:
    server = await asyncio.start_server(_until_gone, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# ── the daemon ───────────────────────────────────────────────────────────────────────────────────────────────────────
def daemon(lab: Path, slow_disk: float) -> int:
    """The daemon itself; each commit takes so many seconds longer."""
    from labd.daemon import serve

    module: Any = types.ModuleType(f"drivers.{KIND}")
    module.DRIVER = LineDevice
    sys.modules[module.__name__] = module
    if slow_disk:
        transaction = schema.transaction

        @contextmanager
        def slow(connection: Any) -> Iterator[Any]:
            with transaction(connection) as found:
                yield found
                time.sleep(slow_disk)

        schema.transaction = slow  # type: ignore[assignment]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    return serve(lab, log_format="json")


# ── by hand ──────────────────────────────────────────────────────────────────────────────────────────────────────────
async def by_hand(port: int, count: int, period: float) -> None:
    """Reads as many devices as often, and does nothing else."""

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due = time.monotonic() + period * number / count
        while True:
            await asyncio.sleep(due - time.monotonic())
            writer.write(b"READ\n")
            await writer.drain()
            float(await reader.readline())
            due += period

    await asyncio.gather(*(one(number) for number in range(count)))


if __name__ == "__main__":
    with contextlib.suppress(PermissionError):
        os.nice(-10)  # as the service's unit says
    if sys.argv[1] == "devices":
        asyncio.run(devices())
    elif sys.argv[1] == "by_hand":
        asyncio.run(by_hand(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
    else:
        sys.exit(daemon(Path(sys.argv[2]), float(sys.argv[3])))
