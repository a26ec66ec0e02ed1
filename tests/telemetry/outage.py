"""A day without a broker on virtual time: 50 devices are polled and runs work; what it came to, as JSON.

A process of its own (`python -m tests.telemetry.outage FOLDER HOURS`), so that its memory is its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from pathlib import Path
from typing import Any

import structlog

from labd import clock
from labd.clock import VirtualTimeline
from labd.journal import Journal, NewEvent
from labd.lab.bus import Bus, DeviceState, RunState, SignalsRead, Value
from labd.lab.config import Mqtt
from labd.telemetry.service import Telemetry
from tests.telemetry.fake_broker import FakeBroker, Follower

DEVICES = 50
RUNS = 12
POLL = 60.0  # s
STEP = 40.0  # s; between two events of a run
BEFORE, AFTER = 600.0, 600.0  # s with a broker
NAMES = ("voltage", "current", "temperature", "force", "state")


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def polls(bus: Bus, number: int) -> None:
    device, seq = f"d{number}", 0
    await asyncio.sleep(number * POLL / DEVICES)
    while True:
        seq += 1
        values = {name: Value(seq * 0.1, "V", "good") for name in NAMES}
        bus.tell(SignalsRead(device, seq, clock.stamp(), values))
        if seq % 60 == 0:
            bus.tell(DeviceState(device, "ok", None, clock.stamp(), ()))
        await asyncio.sleep(POLL)


async def steps(bus: Bus, journal: Journal, run: str, until: float) -> None:
    number = 0
    while clock.monotonic() < until:
        number += 1
        data = {"step": "crimp", "action": "press.crimp", "number": number, "token": "t" * 100}
        intended, sent = NewEvent("action.intended", data, run), NewEvent("action.sent", {"number": number}, run)
        await journal.append(intended, sent)
        state = RunState(run, "cell", "1", "s", "Execute", f"s{number}", clock.stamp(), 0.5, None, None, None, None)
        bus.tell(state)
        await asyncio.sleep(STEP)


async def day(folder: Path, hours: float) -> dict[str, Any]:
    bus, follower = Bus(), Follower()
    journal = await Journal.open(folder / "journal.db")
    broker = FakeBroker(listener=follower.hear)
    telemetry = Telemetry("lab", Mqtt(broker="embedded"), bus, journal, "boot", "0", publisher=broker)
    runs = [f"r{run}" for run in range(RUNS)]
    end = clock.monotonic() + BEFORE + hours * 3600 + AFTER
    tasks = [asyncio.create_task(polls(bus, number)) for number in range(DEVICES)]
    tasks += [asyncio.create_task(steps(bus, journal, run, end)) for run in runs]
    publishing = asyncio.create_task(telemetry.run())
    await asyncio.sleep(BEFORE)
    broker.got.clear()
    gc.collect()
    held, had = resident(), follower.count
    broker.keep = False
    broker.go()
    await asyncio.sleep(hours * 3600)
    gc.collect()
    grown = resident() - held
    assert follower.count == had
    broker.up = broker.keep = True
    await asyncio.sleep(AFTER)
    states = [message for message in broker.got if message.topic.endswith("/state") and "/run/" in message.topic]
    await asyncio.wait(tasks[DEVICES:])
    await asyncio.sleep(5)
    for task in (*tasks, publishing):
        task.cancel()
    await asyncio.wait([*tasks, publishing])
    journaled = {run: await journal.events(run=run) for run in runs}
    await journal.close()
    return {
        "waited": sum(map(len, journaled.values())) - had,
        "grown": grown,
        "equal": all(
            [(one["at"], one["hash"]) for one in follower.events[run]] == [(event.at, event.hash) for event in events]
            for run, events in journaled.items()
        ),
        "duplicates": follower.duplicates,
        "ahead": follower.ahead,
        "dropped": telemetry.dropped,
        "first_states": sorted({message.topic for message in states[:RUNS]}),
        "tries": broker.tries,
    }


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    sys.stdout.write(json.dumps(clock.run(day(Path(sys.argv[1]), float(sys.argv[2])), VirtualTimeline())))
