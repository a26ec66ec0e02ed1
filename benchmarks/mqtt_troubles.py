"""What a broker in trouble costs a run's steps, and what the backlog's drain costs live signals.

A step is what lies between a device's done and the next action's first call. For each kind of trouble the same steps
are made in turn with and without telemetry, while 100 signal messages a second are told; brokers and proxies are in
processes of their own.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
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
from labd import clock
from labd.journal import Journal, NewEvent, SignalStore
from labd.lab.background import background
from labd.lab.bus import Bus, SignalsRead, Value
from labd.lab.config import Broker, LabConfig, Mqtt
from labd.lab.lab import Lab
from labd.run.engine import Engine
from labd.telemetry.service import Telemetry

STEPS = 100  # of a run
WORST = 50.0  # ms; the most that a broker may delay a step
TRIES = 3
SIGNALS = 100  # messages/s
NODELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
DATA = {"step": "crimp", "action": "press.crimp", "parameters": {"force": 7.8, "dwell": 2.0}, "token": "t" * 40}
VALUES = {name: Value(3.7, "V", "good") for name in ("voltage", "current", "range", "overload", "temperature")}


@contextmanager
def broker() -> Iterator[int | None]:
    """mosquitto's port; None where it is not installed."""
    found = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mosquitto.conf"
        lines = (f"listener {port} 127.0.0.1", "allow_anonymous true", "set_tcp_nodelay true", "max_queued_messages 0")
        config.write_text("\n".join(lines))
        with subprocess.Popen([found, "-c", str(config)], stderr=subprocess.DEVNULL) as process:
            try:
                while True:
                    try:
                        socket.create_connection(("127.0.0.1", port)).close()
                        break
                    except OSError:
                        time.sleep(0.02)
                yield port
            finally:
                process.kill()


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


async def delay(directory: Path, mqtt: Mqtt, seconds: float) -> tuple[float, float]:
    """The worst step in ms: with the broker, and without."""
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
        await steps(lab, engine, 0.5)  # warm
        alone = await steps(lab, engine, seconds / 2)
        telemetry = Telemetry("bench", mqtt, lab.bus, journal, "boot", "0", engine=engine)
        async with background(telemetry.run(), "telemetry"):
            with_it = await steps(lab, engine, seconds)
        alone += await steps(lab, engine, seconds / 2)
    return max(with_it) * 1e3, max(alone) * 1e3


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


async def drain(port: int, number: int, figures: Figures) -> None:
    """A backlog of so many events drains while signals are told."""
    config, bus = Mqtt(broker=Broker(host="127.0.0.1", port=port)), Bus()
    delays: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        journal = await Journal.open(Path(folder) / "journal.db")
        for first in range(0, number, 500):
            await journal.append(*(NewEvent("action.intended", DATA, f"r{first // 500 % 20}") for _ in range(500)))
        async with listened(port), aiomqtt.Client("127.0.0.1", port, socket_options=NODELAY) as client:
            await client.subscribe("labd/1/bench/device/+/signal")
            async with background(latest(client, delays), "signals"), background(live(bus), "live"):
                start = time.perf_counter()
                telemetry = Telemetry("bench", config, bus, journal, "boot", "0")
                async with background(telemetry.run(), "telemetry"):
                    while await journal.mark("mqtt") < number:  # noqa: ASYNC110 - nobody tells of it
                        await asyncio.sleep(0.1)
                    rate = number / (time.perf_counter() - start)
        await journal.close()
    figures.add("drain", rate, "messages/s", goal=5000)
    figures.add("drain.signals", len(delays), "messages")
    figures.add("drain.signal_latest", max(delays), "s", goal=1.0, better="lower")


def run(smoke: bool, figures: Figures) -> None:
    with broker() as port:
        if port is None:
            print("mqtt_troubles: mosquitto is not installed, nothing is measured: apt-get install mosquitto")
            return
        clock.run(drain(port, 10_000 if smoke else 200_000, figures))
        for kind in KINDS:
            worst, alone = _least(kind, port, 1.0 if smoke else 15.0)
            figures.add(f"{kind}.worst_step", worst, "ms")
            figures.add(f"{kind}.worst_step_alone", alone, "ms")
            figures.add(f"{kind}.step_delay", max(worst - alone, 0.0), "ms", goal=WORST, better="lower")


def _least(kind: Kind, port: int, seconds: float) -> tuple[float, float]:
    """`delay` of the best of some tries: what the machine does to a step comes once, what a broker does comes again."""
    found: list[tuple[float, float]] = []
    while not found or (found[-1][0] - found[-1][1] > WORST and len(found) < TRIES):
        with troubled(kind, port) as before, tempfile.TemporaryDirectory() as directory:
            mqtt = Mqtt(broker=Broker(host="127.0.0.1", port=before))
            found.append(clock.run(delay(Path(directory), mqtt, seconds)))
    return min(found, key=lambda pair: pair[0] - pair[1])
