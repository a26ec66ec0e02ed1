"""A day without a broker on virtual time: a lab of 50 devices is polled, and runs work; what it came to, as JSON.

A process of its own (`python -m tests.telemetry.outage FOLDER HOURS`), so that its memory is its own.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from labd import clock
from labd.clock import VirtualTimeline
from labd.journal import Journal, NewEvent, SignalStore
from labd.lab.background import background
from labd.lab.config import LabConfig, Mqtt
from labd.lab.lab import Lab
from labd.run.engine import Engine
from labd.telemetry.publisher import Message
from labd.telemetry.service import Telemetry
from tests.telemetry.fake_broker import FakeBroker
from tests.toys import TOYS

DEVICES = 50
RUNS = 12
POLL = "300 s"
MORE = 600  # events an hour beside those of the runs: cheap ones, of runs that nobody makes
STEPS = 2_000
BEFORE, AFTER = 3600.0, 600.0  # s with a broker; the first fills what has a bound
PROTOCOL = f"""\
labd: 1
protocol: long
version: 1.0.0
summary: Open a press again and again.
roles: {{press: crimper}}
start: work
states:
  work:
    steps:
      - repeat: {{times: {STEPS}}}
        steps:
          - do: press.open
            within: 1 h
          - wait: 300 s
    next: done
  done: {{end: complete}}
"""


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * 4096


@dataclass(slots=True)
class Slim:
    """A subscriber that takes the next event only, and keeps but a digest of each run: it is weighed as well."""

    digests: dict[str, Any] = field(default_factory=lambda: defaultdict(hashlib.sha256))
    counts: Counter[str] = field(default_factory=Counter)
    states: list[str] = field(default_factory=list)
    duplicates: int = 0
    most: int = 0  # bytes that the process held at most, looked at now and then

    def hear(self, message: Message) -> None:
        if "/run/" not in message.topic:
            return
        run, what = message.topic.split("/")[-2:]
        if what == "state" and len(self.states) < RUNS:
            self.states.append(run)
        if what != "event":
            return
        event = json.loads(message.payload)
        if event["seq"] == self.counts[run] + 1:
            self.counts[run] += 1
            self.digests[run].update(told(event["at"], event["hash"]))
            if self.counts[run] % 20 == 0:
                self.most = max(self.most, resident())
        elif event["seq"] <= self.counts[run]:
            self.duplicates += 1

    def has(self, run: str, events: Iterable[Any]) -> bool:
        """Whether it has them all, in their order, and no others."""
        digest = hashlib.sha256()
        for event in events:
            digest.update(told(event.at, event.hash))
        return bool(digest.digest() == self.digests[run].digest())


def told(at: str, digest: str) -> bytes:
    return f"{at} {digest}\n".encode()


async def chatter(journal: Journal) -> None:
    """Events beside those of the runs."""
    while True:
        await journal.append(
            *(NewEvent("step.done", {"number": number, "x": "y" * 200}, f"r{number % 12}") for number in range(MORE))
        )
        await asyncio.sleep(3600)


def lab_of(folder: Path) -> Lab:
    polled = {"driver": "press", "simulator": {}, "poll": {"idle": POLL, "busy": POLL}}
    names = [f"press-{number}" for number in range(DEVICES)]
    config = {"labd": 1, "lab": "toys", "store": folder / "store", "devices": dict.fromkeys(names, polled)}
    return Lab(LabConfig.model_validate(config), find=TOYS.__getitem__)


async def day(folder: Path, hours: float) -> dict[str, Any]:
    lab, follower = lab_of(folder), Slim()
    async with AsyncExitStack() as stack:
        journal = await Journal.open(folder / "journal.sqlite")
        stack.push_async_callback(journal.close)
        signals = await SignalStore.open(folder / "signals.sqlite")
        stack.push_async_callback(signals.close)
        engine = Engine(lab, journal, signals)
        for device in lab.devices.values():
            await stack.enter_async_context(background(device.run(), device.id))
        await stack.enter_async_context(background(engine.run(), "engine"))
        await engine.ready.wait()
        broker = FakeBroker(listener=follower.hear, keep=False)
        telemetry = Telemetry("lab", Mqtt(broker="embedded"), lab.bus, journal, "boot", "0", publisher=broker)
        await stack.enter_async_context(background(telemetry.run(), "telemetry"))
        runs = [(await engine.start(PROTOCOL, "long.yaml", {}, by="test")).id for _ in range(RUNS)]
        await stack.enter_async_context(background(chatter(journal), "chatter"))
        await asyncio.sleep(BEFORE)
        broker.go()
        await asyncio.sleep(600)
        gc.collect()
        held, had = resident(), follower.counts.total()
        await asyncio.sleep(hours * 3600)
        gc.collect()
        grown = resident() - held
        away = had == follower.counts.total() and broker.tries > 100
        follower.states.clear()
        follower.most = 0
        broker.up = True
        await asyncio.sleep(AFTER)
        drained = follower.counts.total() - had
        every = [*runs, *(f"r{number}" for number in range(12))]
        journaled = {run: await journal.events(run=run) for run in every}
        return {
            "away": away,
            "drained": drained,
            "grown": grown,
            "weighed_in_drain": follower.most > 0,
            "grown_in_drain": follower.most - held,
            "equal": all(follower.has(run, events) for run, events in journaled.items()),
            "duplicates": follower.duplicates,
            "dropped": telemetry.dropped,
            "states_first": sorted(follower.states) == sorted(runs),
        }


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    sys.stdout.write(json.dumps(clock.run(day(Path(sys.argv[1]), float(sys.argv[2])), VirtualTimeline())))
