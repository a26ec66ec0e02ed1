"""Brokers in trouble, on virtual time: a run does not notice, nothing is lost, and nothing grows without end."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks._troubled import KINDS, Kind, Troubled
from labd import clock
from labd.journal import Event, Journal, NewEvent, SignalStore
from labd.lab.access import Tls
from labd.lab.background import background
from labd.lab.bus import SignalsRead, Value
from labd.lab.config import Broker, Mqtt
from labd.lab.lab import Lab
from labd.run.engine import Engine
from labd.telemetry.broker import EmbeddedBroker
from labd.telemetry.client import Address, AiomqttPublisher
from labd.telemetry.outgoing import SIGNALS
from labd.telemetry.publisher import ConnectionLost, Message
from labd.telemetry.service import Telemetry
from tests.telemetry import parts
from tests.toys import toy_lab

STEPS = 30
LARGE = 3000  # bytes of one event: brokers that have a limit have a larger one
LINES = "".join(f"  s{number}: {{do: press.open, within: 1 h, next: w{number}}}\n" for number in range(STEPS))
WAITS = "".join(f"  w{number}: {{wait: 20 s, next: s{number + 1}}}\n" for number in range(STEPS))
PROTOCOL = f"""\
labd: 1
protocol: many
version: 1.0.0
summary: Open a press many times.
roles: {{press: crimper}}
start: s0
states:
{LINES}{WAITS}  s{STEPS}: {{end: complete}}
"""


async def polls(lab: Lab) -> None:
    seq = 0
    while True:
        seq += 1
        for device in range(10):
            lab.bus.tell(SignalsRead(f"d{device}", seq, clock.stamp(), {"v": Value(seq * 0.1, "V", "good")}))
        await asyncio.sleep(1)


async def work(folder: Path, mqtt: Mqtt | None, well_again: Callable[[Telemetry], Awaitable[None]]) -> list[Event]:
    """A run of many steps, and its events; then the broker is well again."""
    folder.mkdir()
    lab = toy_lab(folder, {"press": "press"})
    async with AsyncExitStack() as stack:
        journal = await Journal.open(folder / "journal.sqlite")
        stack.push_async_callback(journal.close)
        signals = await SignalStore.open(folder / "signals.sqlite")
        stack.push_async_callback(signals.close)
        engine = Engine(lab, journal, signals)
        await stack.enter_async_context(background(lab.devices["press"].run(), "press"))
        await stack.enter_async_context(background(engine.run(), "engine"))
        await engine.ready.wait()
        await lab.devices["press"].wait_ready()
        await stack.enter_async_context(background(polls(lab), "polls"))
        await journal.append(NewEvent("note", {"text": "x" * LARGE}, "before"))  # the oldest when it goes wrong
        telemetry = Telemetry("lab", mqtt or Mqtt(broker="embedded"), lab.bus, journal, "boot", "0", engine=engine)
        if mqtt is not None:
            await stack.enter_async_context(background(telemetry.run(), "telemetry"))
        run = await engine.start(PROTOCOL, "many.yaml", {}, by="test")
        await engine.wait(run.id)
        assert (await engine.state(run.id)).outcome == "complete"
        if mqtt is not None:
            await well_again(telemetry)
        return await journal.events(run=run.id)


def shape(events: list[Event]) -> list[tuple[str, Any]]:
    """What happened and when, as it is the same in each run."""
    begun = datetime.fromisoformat(events[0].at)
    return [(event.kind, round((datetime.fromisoformat(event.at) - begun).total_seconds(), 1)) for event in events]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_run_goes_on_as_without_a_broker_and_all_is_told_once_it_is_well(tmp_path: Path, kind: Kind) -> None:
    async def nothing(_: Telemetry) -> None: ...

    alone = await work(tmp_path / "alone", None, nothing)
    async with (
        EmbeddedBroker() as broker,
        Troubled(kind, broker.port) as troubled,
        parts.watching(broker.port) as watcher,
    ):

        async def well_again(telemetry: Telemetry) -> None:
            assert troubled.connections > 1 or kind == "slow"
            # what waits is bounded, whatever the broker does
            assert len(telemetry._signals) <= SIGNALS
            await troubled.mend()
            await watcher.until(lambda: any(is_end(got) for got in watcher.got), 3600)

        mqtt = Mqtt(broker=Broker(host="127.0.0.1", port=troubled.port))
        events = await work(tmp_path / "troubled", mqtt, well_again)
    assert shape(events) == shape(alone)
    told: list[str] = []
    for got in watcher.got:
        if got.topic.endswith("/event"):
            assert "omitted" not in got.data
        if got.topic.endswith(f"{events[0].run}/event") and got.data["seq"] == len(told) + 1:
            told.append(got.data["hash"])
    assert any(got.topic.endswith("run/before/event") for got in watcher.got)
    assert told == [event.hash for event in events]


def is_end(got: parts.Got) -> bool:
    return got.topic.endswith("/event") and got.data["kind"] == "run.ended"


async def test_names_are_looked_up_and_connections_made_outside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops, seen = threading.current_thread(), Counter[str]()

    def watch(module: Any, name: str) -> None:
        real = getattr(module, name)

        def watched(*args: Any, **options: Any) -> Any:
            if threading.current_thread() is loops:
                seen[f"{name} in the loop"] += 1
            seen[name] += 1
            return real(*args, **options)

        monkeypatch.setattr(module, name, watched)

    async with EmbeddedBroker() as broker, Troubled("stuck", broker.port) as troubled:
        address = Broker(host="localhost", port=troubled.port, tls=Tls())
        publisher = AiomqttPublisher(Address(address, "test"))
        for module, name in (
            (socket, "getaddrinfo"),
            (socket, "create_connection"),
            (ssl, "create_default_context"),
            (ssl.SSLContext, "wrap_socket"),
        ):
            watch(module, name)
        with pytest.raises(ConnectionLost):
            async with publisher.connect(Message("t", b"")):
                pass
    assert seen["create_connection"] > 0
    assert seen["getaddrinfo"] > 0
    assert seen["wrap_socket"] > 0
    assert not [name for name in seen if name.endswith("in the loop")]
