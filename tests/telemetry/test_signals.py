"""Signals: written as their model says, bounded whatever the broker does, and many as one packet."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.journal import Journal
from labd.lab.bus import Bus, SignalsRead, Value
from labd.lab.config import Broker, Mqtt
from labd.telemetry import payloads
from labd.telemetry.client import Address, AiomqttPublisher
from labd.telemetry.outgoing import SIGNALS, Signals
from labd.telemetry.publisher import ConnectionLost, Incoming, Message, Session
from labd.telemetry.service import Telemetry
from labd.telemetry.signals import encode
from tests.telemetry import parts
from tests.telemetry.mosquitto import mosquitto
from tests.telemetry.secured import secured

WILL = Message("labd/1/lab/status", b"lost", qos=1, retain=True)
ELSEWHERE = Mqtt(broker=Broker(host="nowhere.invalid"))
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(
    st.integers(1, 2**63),
    st.dictionaries(st.text(), st.builds(Value, VALUES, st.text(), st.sampled_from(["good", "stale", "bad"]))),
)
def test_a_poll_is_written_as_its_model_writes_it(seq: int, values: dict[str, Value]) -> None:
    at = "2026-01-01T08:00:00.000000Z"
    written = {name: payloads.Value(v=value.v, u=value.u, q=value.q) for name, value in values.items()}
    model = payloads.Signal(seq=seq, boot_id="0123456789ab", at=at, values=written)
    assert encode(SignalsRead("press", seq, at, values), "0123456789ab") == model.encode()


async def test_a_full_queue_of_signals_drops_its_oldest_and_counts() -> None:
    signals = Signals(limit=3)
    for number in range(5):
        signals.put(parts.poll(number))
    assert [read.seq for read in await signals.get()] == [2, 3, 4]
    assert signals.dropped == 2


class Stuck:
    """A session whose broker acknowledges, and takes no signal any more."""

    def __init__(self) -> None:
        self.signals: list[Message] = []
        self.asked = asyncio.Event()
        self.open = False
        self.largest: int | None = None

    def send(self, message: Message) -> asyncio.Future[None]:
        return self._future(over=True)

    def send_all(self, messages: Sequence[Message]) -> asyncio.Future[None]:
        self.signals.extend(messages)
        self.asked.set()
        return self._future(over=self.open)

    def _future(self, *, over: bool) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if over:
            future.set_result(None)
        return future

    def flush(self) -> None: ...

    async def listen_to(self, pattern: str, *, standing: bool = False) -> None:
        """It has no commands."""

    async def incoming(self) -> AsyncIterator[Incoming]:
        await asyncio.Event().wait()
        yield Incoming("", b"")

    async def wait_lost(self) -> None:
        await asyncio.Event().wait()

    @asynccontextmanager
    async def connect(self, will: Message) -> AsyncIterator[Session]:
        yield self


@asynccontextmanager
async def telling(session: Stuck, bus: Bus, journal: Journal) -> AsyncIterator[Telemetry]:
    telemetry = Telemetry("lab", ELSEWHERE, bus, journal, "boot-1", "0.1.0", publisher=session)
    task = asyncio.create_task(telemetry.run())
    try:
        async with asyncio.timeout(60):
            await telemetry.connected.wait()
        yield telemetry
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_broker_that_is_stuck_bounds_the_queue_and_what_is_under_way(bus: Bus, journal: Journal) -> None:
    session = Stuck()
    async with telling(session, bus, journal) as telemetry:
        for seq in range(1, 10_001):
            bus.tell(parts.poll(seq))
            if seq % 50 == 0:
                await asyncio.sleep(0)
        under_way = len(session.signals)
        assert 1 <= under_way <= 100
        assert telemetry.dropped == 10_000 - SIGNALS - under_way
        newest = parts.poll(10_001)
        bus.tell(newest)
    assert session.signals[-1].payload != encode(newest, "boot-1")


async def test_one_poll_that_json_has_no_word_for_keeps_no_other(bus: Bus, journal: Journal) -> None:
    session = Stuck()
    session.open = True
    async with telling(session, bus, journal):
        bus.tell(SignalsRead("press", 1, parts.poll(1).at, {"text": Value("\ud800", "", "good")}))
        bus.tell(parts.poll(2))
        await session.asked.wait()
    assert session.signals[0].payload.startswith(b'{"seq":2')


class TestWithMosquitto:
    @pytest.fixture
    def anyio_backend(self, real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        return real_time

    @pytest.mark.parametrize("version", ["5", "311"])
    async def test_many_at_once_arrive_whole_and_in_order(self, tmp_path: Path, version: str) -> None:
        sizes = [1, 80, 127, 128, 16_300, 16_384, 400_000, 2_200_000]
        payloads_ = [b'"%s"' % (b"x" * size) for size in sizes]
        async with mosquitto(tmp_path) as broker, parts.watching(broker.port) as watcher:
            publisher = AiomqttPublisher(
                Address(Broker(host="127.0.0.1", port=broker.port), "labd-lab", embedded=version == "311")
            )
            async with publisher.connect(WILL) as session:
                messages = [Message("labd/1/lab/device/press/signal", payload, qos=0) for payload in payloads_]
                await session.send_all(messages)
                await session.send(Message("labd/1/lab/device/press/signal", b'"single"', qos=0))
                await session.send(Message("labd/1/lab/device/press/state", b'"after"', qos=1))
                await watcher.until(lambda: bool(watcher.of("device/press/state")))
            assert [len(text) for text in watcher.of("device/press/signal")] == [*sizes, len("single")]

    async def test_over_tls_what_does_not_fit_at_once_follows(self, tmp_path: Path) -> None:
        with secured(tmp_path) as broker:
            async with AiomqttPublisher(Address(broker.broker(), "labd-toys")).connect(
                Message("labd/1/toys/status", b"lost", qos=1, retain=True)
            ) as session:
                message = Message("labd/1/toys/device/press/signal", b"x" * 60_000, qos=0)
                for _ in range(5):
                    await session.send_all([message] * 40)  # 2.4 MB
                await session.send(Message("labd/1/toys/device/press/state", b"{}", qos=1))  # behind them, and taken

    async def test_small_packets_leave_at_once(self, tmp_path: Path) -> None:
        async with mosquitto(tmp_path) as broker:
            publisher = AiomqttPublisher(Address(Broker(host="127.0.0.1", port=broker.port), "labd-lab"))
            async with publisher.connect(WILL) as session:
                system: Any = session._client.socket()._system  # type: ignore[attr-defined]
                assert system.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    async def test_those_under_way_are_told_when_the_broker_goes(self, tmp_path: Path) -> None:
        async with mosquitto(tmp_path) as broker:
            publisher = AiomqttPublisher(Address(Broker(host="127.0.0.1", port=broker.port), "labd-lab"))
            async with publisher.connect(WILL) as session:
                message = Message("labd/1/lab/device/press/signal", b"x" * 1_000_000, qos=0)
                assert broker.process is not None
                broker.process.send_signal(signal.SIGSTOP)  # 30 MB are more than any socket takes
                under_way = [session.send_all([message] * 10) for _ in range(3)]
                await broker.kill()
                with pytest.raises(ConnectionLost):
                    await under_way[-1]
                with pytest.raises(ConnectionLost):
                    await session.wait_lost()
            with pytest.raises(ConnectionLost):
                await session.send_all([message])
