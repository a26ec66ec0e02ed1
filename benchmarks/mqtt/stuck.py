"""A broker that takes nothing any more: the queue is bounded, never the memory.

`python -m benchmarks.mqtt.stuck SIGNALS` is the process that is weighed.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import structlog

from benchmarks._figures import Figures
from benchmarks.mqtt._subscriber import _packets
from benchmarks.mqtt.bare import telling
from benchmarks.mqtt.brokers import VALUES
from labd import clock
from labd.journal import Journal
from labd.lab.bus import Bus, SignalsRead
from labd.lab.config import Broker, Mqtt

FIRST = 10_000  # signals until queue and socket are full
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * PAGE


async def _taken_in(over: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A broker that greets, takes what comes first, and then reads no more until it is over."""
    buffer = bytearray()
    for _ in range(50):
        buffer += await reader.read(4096)
        found = bytes(buffer)
        for kind, begin, end in _packets(buffer):
            body = found[begin:end]
            if kind == 1:
                writer.write(b"\x20\x03\x00\x00\x00")
            elif kind == 8:
                writer.write(b"\x90\x04" + body[:2] + b"\x00\x01")
            elif kind == 3 and found[begin - 2] & 0x06:  # a short one of QoS 1: the status
                length = int.from_bytes(body[:2], "big")
                writer.write(b"\x40\x02" + body[2 + length : 4 + length])
    await over.wait()
    writer.transport.abort()


async def weigh(signals: int) -> dict[str, float]:
    """Bytes that so many signals leave behind, µs that each takes, and how many were dropped."""
    bus, over = Bus(), asyncio.Event()
    server = await asyncio.start_server(partial(_taken_in, over), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        journal = await Journal.open(Path(folder) / "journal.db")
        async with telling(Mqtt(broker=Broker(host="127.0.0.1", port=port)), bus, journal) as telemetry:
            await telemetry.connected.wait()
            await _tell(bus, FIRST)
            before, began = resident(), time.perf_counter()
            await _tell(bus, signals)
            spent, grown = time.perf_counter() - began, resident() - before
            found = {"grown": grown, "each": spent / signals, "dropped": telemetry.dropped}
            server.close()
            over.set()
            while telemetry.connected.is_set():  # noqa: ASYNC110 - else it would wait to say good-bye
                await asyncio.sleep(0.01)
        await journal.close()
    return found


async def _tell(bus: Bus, number: int) -> None:
    for seq in range(number):
        bus.tell(SignalsRead("stat1", seq, clock.stamp(), dict(VALUES)))
        if seq % 100 == 99:
            await asyncio.sleep(0)


def run(smoke: bool, figures: Figures) -> None:
    signals = 50_000 if smoke else 1_000_000
    command = [sys.executable, "-m", "benchmarks.mqtt.stuck", str(signals)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=600).stdout)
    figures.add("stuck_broker_memory", found["grown"] / 2**20, "MiB", goal=5.0, better="lower")
    figures.add("stuck_broker_signal", found["each"] * 1e6, "µs")
    figures.add("stuck_broker_dropped", found["dropped"] / (signals + FIRST) * 100, "% of signals")


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    print(json.dumps(clock.run(weigh(int(sys.argv[1])))))
