"""A day without a broker on virtual time: a lab of 50 devices is polled, and runs work; what it came to, as JSON.

A process of its own (`python -m tests.telemetry.outage FOLDER HOURS`), so that its memory is its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import structlog

from labd import clock
from labd.clock import VirtualTimeline
from labd.journal import Journal, SignalStore
from labd.lab.background import background
from labd.lab.config import LabConfig, Mqtt
from labd.lab.lab import Lab
from labd.run.engine import Engine
from labd.telemetry.service import Telemetry
from tests.telemetry.fake_broker import FakeBroker, Follower
from tests.toys import TOYS

DEVICES = 50
RUNS = 12
POLL = "120 s"
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
          - wait: 150 s
    next: done
  done: {{end: complete}}
"""


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * 4096


def lab_of(folder: Path) -> Lab:
    polled = {"driver": "press", "simulator": {}, "poll": {"idle": POLL, "busy": POLL}}
    names = [f"press-{number}" for number in range(DEVICES)]
    config = {"labd": 1, "lab": "toys", "store": folder / "store", "devices": dict.fromkeys(names, polled)}
    return Lab(LabConfig.model_validate(config), find=TOYS.__getitem__)


async def day(folder: Path, hours: float) -> dict[str, Any]:
    lab, follower = lab_of(folder), Follower()
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
        broker = FakeBroker(listener=follower.hear)
        telemetry = Telemetry("lab", Mqtt(broker="embedded"), lab.bus, journal, "boot", "0", publisher=broker)
        await stack.enter_async_context(background(telemetry.run(), "telemetry"))
        runs = [(await engine.start(PROTOCOL, "long.yaml", {}, by="test")).id for _ in range(RUNS)]
        await asyncio.sleep(BEFORE)
        broker.got.clear()
        broker.keep = False
        broker.go()
        await asyncio.sleep(600)
        gc.collect()
        held, had = resident(), follower.count
        await asyncio.sleep(hours * 3600)
        gc.collect()
        grown = resident() - held
        away = had == follower.count and broker.tries > 100
        waiting = len(await journal.events(after=await journal.mark("mqtt")))
        broker.up = broker.keep = True
        await asyncio.sleep(AFTER)
        journaled = {run: await journal.events(run=run) for run in runs}
        states = [one.topic for one in broker.got if one.topic.endswith("/state") and "/run/" in one.topic]
        return {
            "away": away,
            "waiting": waiting,
            "grown": grown,
            "equal": all(
                [(one["at"], one["hash"]) for one in follower.events[run]] == [(one.at, one.hash) for one in events]
                for run, events in journaled.items()
            ),
            "duplicates": follower.duplicates,
            "dropped": telemetry.dropped,
            "states_first": sorted(set(states[:RUNS])) == sorted(f"labd/1/lab/run/{run}/state" for run in runs),
        }


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    sys.stdout.write(json.dumps(clock.run(day(Path(sys.argv[1]), float(sys.argv[2])), VirtualTimeline())))
