"""The whole daemon with 100 devices at 10 Hz beside a loop by hand: processor, latency, what is late or lost."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks._figures import RESULTS, Figures
from benchmarks.mqtt._lab import KIND
from benchmarks.mqtt.brokers import broker, free_port, wait_for
from benchmarks.mqtt.counting import counted

DEVICES = 100
PERIOD = 0.1  # s
SETTLE = 2.0  # s; the daemon's start is not measured
TICKS = os.sysconf("SC_CLK_TCK")
MODULE = (sys.executable, "-m", "benchmarks.mqtt._lab")


@dataclass(slots=True)
class Measured:
    """`cpu` in s of the processor a s, latencies in s, sorted."""

    cpu: float
    rate: float
    polls: float  # a s; as the devices count them
    latencies: list[float]
    lost: int

    @property
    def cost(self) -> float:
        """s of the processor a message."""
        return self.cpu / self.rate

    @property
    def late(self) -> int:
        """Messages that came when the next was due."""
        return sum(latency > PERIOD for latency in self.latencies)

    def quantile(self, part: float) -> float:
        return self.latencies[math.ceil(len(self.latencies) * part) - 1]


def used(pid: int) -> float:
    """Seconds of the processor that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[int]:
    """One of `benchmarks.mqtt._lab`'s, by its pid."""
    with subprocess.Popen([*MODULE, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as started:
        try:
            yield started.pid
        finally:
            started.kill()


@contextlib.contextmanager
def daemon(port: int, *, embedded: bool, devices: int = DEVICES) -> Iterator[int]:
    """The daemon at work, by its pid."""
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:
        names = "".join(
            f"  d{number:03}: {{driver: {KIND}, settings: {{}}, poll: {{idle: {PERIOD} s, busy: {PERIOD} s}}}}\n"
            for number in range(devices)
        )
        where = f"{{broker: embedded, port: {port}}}" if embedded else f"{{broker: {{host: 127.0.0.1, port: {port}}}}}"
        lab = Path(folder) / "lab.yaml"
        lab.write_text(f"labd: 1\nlab: bench\nstore: store\nmqtt: {where}\ndevices:\n{names}", encoding="utf-8")
        with process("daemon", str(lab)) as pid:
            yield pid


@contextlib.contextmanager
def by_hand(port: int, *, embedded: bool) -> Iterator[int]:
    """The loop at work, by its pid."""
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:
        kind = "embedded" if embedded else "loop"
        with process(kind, str(port), str(DEVICES), str(PERIOD), folder) as pid:
            yield pid


async def measured(port: int, pid: int, seconds: float) -> Measured:
    """What a process costs and what comes of it, over so many s."""
    await asyncio.to_thread(wait_for, port)
    async with counted(port, "labd/1/bench/device/+/signal") as counter:
        await counter.until(DEVICES)
        await asyncio.sleep(min(SETTLE, seconds))
        await counter.look()
        began, had = time.monotonic(), used(pid)
        await asyncio.sleep(seconds)
        cpu = (used(pid) - had) / (time.monotonic() - began)
        found = await counter.tell()
    if found["topics"] != DEVICES or found["silent"]:
        raise RuntimeError(
            f"of {DEVICES} devices {found['topics']} were heard, {found['silent']} of them not to the end"
        )
    return Measured(cpu, found["rate"], found["polls"], found["latencies"], found["missing"])


async def _pairs(port: int, seconds: float, pairs: int, *, embedded: bool) -> tuple[list[Measured], list[Measured]]:
    daemons, loops = [], []
    for _ in range(pairs):
        for started, found in ((daemon, daemons), (by_hand, loops)):
            at = free_port() if embedded else port
            with started(at, embedded=embedded) as pid:
                found.append(await measured(at, pid, seconds))
    return daemons, loops


def _tell(name: str, daemons: list[Measured], loops: list[Measured], figures: Figures) -> None:
    figures.add(f"{name}_cpu", statistics.median(one.cpu for one in daemons) * 100, "% of a core")
    figures.add(f"{name}_message", statistics.median(one.cost for one in daemons) * 1e6, "µs")
    figures.add(f"{name}_message_by_hand", statistics.median(one.cost for one in loops) * 1e6, "µs")
    ratio = statistics.median(mine.cost / other.cost for mine, other in zip(daemons, loops, strict=True))
    figures.add(f"{name}_over_by_hand", ratio, "ratio", goal=2.0, better="lower")
    figures.add(f"{name}_polls", statistics.median(one.polls for one in daemons), "polls/s")
    figures.add(f"{name}_messages", statistics.median(one.rate for one in daemons), "messages/s", goal=950)
    figures.add(f"{name}_reply_to_receipt_p50", statistics.median(one.quantile(0.5) for one in daemons) * 1e3, "ms")
    figures.add(f"{name}_reply_to_receipt_p99", statistics.median(one.quantile(0.99) for one in daemons) * 1e3, "ms")
    figures.add(
        f"{name}_reply_to_receipt_p99_by_hand", statistics.median(one.quantile(0.99) for one in loops) * 1e3, "ms"
    )
    figures.add(f"{name}_late", sum(one.late for one in daemons), "messages", goal=0, better="lower")
    figures.add(f"{name}_late_by_hand", sum(one.late for one in loops), "messages")
    figures.add(f"{name}_lost_by_hand", sum(one.lost for one in loops), "messages")
    figures.add(f"{name}_lost", sum(one.lost for one in daemons), "messages", goal=0, better="lower")


def run(smoke: bool, figures: Figures) -> None:
    """With mosquitto, where it is installed, and with the broker in the daemon."""
    seconds, pairs = (0.7, 1) if smoke else (11.0, 3)
    with broker() as port:
        if port is not None:
            _tell("mosquitto", *asyncio.run(_pairs(port, seconds, pairs, embedded=False)), figures)
    _tell("embedded", *asyncio.run(_pairs(0, seconds, pairs, embedded=True)), figures)
