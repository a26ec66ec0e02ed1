"""What a broker in trouble costs a run's steps, and what the backlog's drain costs live signals.

A step is what lies between a device's done and the next action's first call. For each kind of trouble the same steps
are made in turn with and without telemetry, slice by slice, while 100 signal messages a second are told; brokers and
proxies are in processes of their own. What the machine does to a step comes with and without: so the worst of all is
told for both, and the goal is on what 999 of 1,000 steps keep to.
"""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path

import aiomqtt

from benchmarks._figures import Figures
from benchmarks._troubled import KINDS, Kind
from benchmarks.engine import Instant, protocol
from benchmarks.mqtt.brokers import DATA, NODELAY, VALUES, broker
from benchmarks.mqtt.commanding import Person, person
from labd import clock
from labd.journal import Journal, NewEvent, SignalStore
from labd.lab.background import background
from labd.lab.bus import Bus, SignalsRead
from labd.lab.config import Broker, LabConfig, Mqtt
from labd.lab.lab import Lab
from labd.run.engine import Engine
from labd.telemetry.service import Telemetry

STEPS = 100  # of a run
WORST = 50.0  # ms; the most that a broker may delay a step
SLICES = 3  # with the broker, each beside one without
SIGNALS = 100  # messages/s


@contextmanager
def troubled(kind: Kind, port: int) -> Iterator[int]:
    """The port of a proxy before a broker."""
    command = [sys.executable, "-m", "benchmarks._troubled", kind, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def live(bus: Bus, devices: int = 10) -> None:
    """Polls, told as devices would."""
    seq = 0
    while True:
        seq += 1
        for device in range(devices):
            bus.tell(SignalsRead(f"d{device}", seq, clock.stamp(), VALUES))
        await asyncio.sleep(devices / SIGNALS)


async def steps(lab: Lab, engine: Engine, seconds: float) -> list[float]:
    """Seconds between steps, of runs one after the other, for so long."""
    press = lab.devices["press"].driver
    assert isinstance(press, Instant)
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        press.called.clear()
        press.done.clear()
        run = await engine.start(protocol(STEPS), "steps.yaml", {}, by="bench")
        await engine.wait(run.id)
        found += [called - done for done, called in zip(press.done, press.called[1:], strict=False)]
    return found


@asynccontextmanager
async def lab_at_work(directory: Path) -> AsyncIterator[tuple[Lab, Engine, Journal]]:
    """A lab with a press, polled."""
    config = LabConfig.model_validate(
        {"labd": 1, "lab": "bench", "store": directory, "devices": {"press": {"driver": "instant"}}}
    )
    lab = Lab(config, find=lambda _: Instant)
    async with AsyncExitStack() as stack:
        journal = await Journal.open(directory / "journal.sqlite")
        stack.push_async_callback(journal.close)
        signals = await SignalStore.open(directory / "signals.sqlite")
        stack.push_async_callback(signals.close)
        engine = Engine(lab, journal, signals)
        for name, work in (("press", lab.devices["press"].run()), ("engine", engine.run()), ("live", live(lab.bus))):
            await stack.enter_async_context(background(work, name))
        await engine.ready.wait()
        await lab.devices["press"].wait_ready()
        yield lab, engine, journal


async def delays(directory: Path, mqtt: Mqtt, seconds: float) -> tuple[list[float], list[float]]:
    """The steps in ms, sorted: with the broker, and without."""
    with_it: list[float] = []
    alone: list[float] = []
    async with lab_at_work(directory) as (lab, engine, journal):
        await steps(lab, engine, 0.5)  # warm
        for _ in range(SLICES):
            alone += await steps(lab, engine, seconds / SLICES)
            telemetry = Telemetry("bench", mqtt, lab.bus, journal, "boot", "0", engine=engine)
            async with background(telemetry.run(), "telemetry"):
                with_it += await steps(lab, engine, seconds / SLICES)
    return sorted(step * 1e3 for step in with_it), sorted(step * 1e3 for step in alone)


@asynccontextmanager
async def listened(port: int) -> AsyncIterator[None]:
    """A subscriber of all events, in a process of its own."""
    program = shutil.which("mosquitto_sub")
    if program is None:
        yield
        return
    command = (program, "-p", str(port), "-q", "1", "-t", "labd/1/bench/run/+/event", "-F", "")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def latest(client: aiomqtt.Client, delays: list[float]) -> None:
    """Notes how old each signal message is when it comes."""
    async for message in client.messages:
        assert isinstance(message.payload, bytes)
        at = datetime.fromisoformat(json.loads(message.payload)["at"])
        delays.append((clock.now() - at).total_seconds())


async def commands(one: Person, spent: list[float]) -> None:
    """Gives one command after the other, and notes how long each waits for `accepted`."""
    while True:
        start = time.perf_counter()
        await one.command("hold")
        while (await one.answer())["state"] != "accepted":
            pass
        spent.append(time.perf_counter() - start)
        await asyncio.sleep(0.25)


async def drain(port: int, number: int, figures: Figures) -> None:
    """A backlog of so many events drains while signals are told, and commands answered."""
    config = Mqtt(broker=Broker(host="127.0.0.1", port=port))
    late: list[float] = []
    answered: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with lab_at_work(Path(folder)) as (lab, engine, journal):
            for first in range(0, number, 500):
                await journal.append(*(NewEvent("action.intended", DATA, f"r{first // 500 % 20}") for _ in range(500)))
            async with listened(port), aiomqtt.Client("127.0.0.1", port, socket_options=NODELAY) as client:
                await client.subscribe("labd/1/bench/device/+/signal")
                async with background(latest(client, late), "signals"), person(port) as one:
                    start = time.perf_counter()
                    telemetry = Telemetry("bench", config, lab.bus, journal, "boot", "0", engine=engine)
                    async with background(telemetry.run(), "telemetry"):
                        await telemetry.connected.wait()
                        async with background(commands(one, answered), "commands"):
                            while await journal.mark("mqtt") < number:  # noqa: ASYNC110 - nobody tells of it
                                await asyncio.sleep(0.1)
                            rate = number / (time.perf_counter() - start)
    figures.add("drain", rate, "messages/s", goal=5000)
    figures.add("drain.signals", len(late), "messages")
    figures.add("drain.signal_latest", max(late), "s", goal=1.0, better="lower")
    figures.add("drain.commands", len(answered), "commands")
    figures.add("drain.command_p50", statistics.median(answered) * 1e3, "ms")
    figures.add("drain.command_latest", max(answered), "s", goal=1.0, better="lower")


def run(smoke: bool, figures: Figures) -> None:
    with broker() as port:
        if port is None:
            print("mqtt_troubles: mosquitto is not installed, nothing is measured: apt-get install mosquitto")
            return
        clock.run(drain(port, 10_000 if smoke else 200_000, figures))
        for kind in KINDS:
            with troubled(kind, port) as before, tempfile.TemporaryDirectory() as directory:
                mqtt = Mqtt(broker=Broker(host="127.0.0.1", port=before))
                with_it, alone = clock.run(delays(Path(directory), mqtt, 1.0 if smoke else 30.0))
            _tell(kind, with_it, alone, figures)


def _tell(kind: Kind, with_it: list[float], alone: list[float], figures: Figures) -> None:
    """Of all steps, with and without the broker."""
    figures.add(f"{kind}.steps", len(with_it), "steps")
    figures.add(f"{kind}.worst_step", with_it[-1], "ms")
    figures.add(f"{kind}.worst_step_alone", alone[-1], "ms")
    figures.add(f"{kind}.p999_step", _p999(with_it), "ms", goal=WORST, better="lower")
    figures.add(f"{kind}.p999_step_alone", _p999(alone), "ms")


def _p999(steps: list[float]) -> float:
    return steps[math.ceil(len(steps) * 0.999) - 1]
