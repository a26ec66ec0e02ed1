"""Telemetry over the embedded broker, all in one loop on virtual time."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import aiomqtt
import pytest

from labd import clock
from labd.journal import Journal
from labd.lab.background import background
from labd.lab.bus import Bus
from labd.lab.config import Broker, Mqtt
from labd.telemetry.broker import BrokerError, EmbeddedBroker
from labd.telemetry.service import Telemetry
from tests.telemetry import parts

EMBEDDED = Mqtt(broker="embedded", port=0)


def outside(port: int) -> Mqtt:
    return Mqtt(broker=Broker(host="127.0.0.1", port=port))


async def test_a_subscriber_hears_of_birth_devices_and_runs(bus: Bus, journal: Journal) -> None:
    async with parts.telling(EMBEDDED, bus, journal) as telemetry:
        bus.tell(parts.ABOUT)  # before there is a broker
        port = await parts.connected(telemetry)
        async with parts.watching(port) as watcher:
            status = await watcher.first("status", state="online", boot_id="boot-1", version="0.1.0")
            about = await watcher.first("device/press/about", driver="plc_crimper", firmware="3.1")
            assert (status.retained, about.retained, about.qos) == (True, True, 1)
            bus.tell(parts.device_state("degraded", "guard open"))
            bus.tell(parts.run_state())
            bus.tell(parts.alarm())
            bus.tell(parts.poll(7))
            await watcher.first("device/press/state", health="degraded", problem="guard open", busy_with=[])
            await watcher.first("run/r1/state", state="Execute", protocol_state="fill", progress=0.25, sample="cell-1")
            await watcher.first("alarm/press-down", severity="problem", about="press")
            signal = await watcher.first("device/press/signal", seq=7, boot_id="boot-1")
            assert signal.data["values"] == {
                "force": {"v": 7.8, "u": "kN", "q": "good"},
                "estop": {"v": False, "u": "", "q": "good"},
                "ram": {"v": None, "u": "mm", "q": "bad"},
            }
            assert not signal.retained


async def test_events_of_runs_come_in_order_numbered_by_run_with_their_own_times(bus: Bus, journal: Journal) -> None:
    early = await parts.journal_steps(journal, "r1", 1, 3)
    async with parts.telling(EMBEDDED, bus, journal) as telemetry:
        port = await parts.connected(telemetry)
        await parts.journal_steps(journal, "r2", 1, 2)
        async with parts.watching(port) as watcher:
            late = await parts.journal_steps(journal, "r1", 4, 1500)
            await watcher.until(lambda: len(watcher.of("run/r1/event")) == 1497)
            events = watcher.of("run/r1/event")
            assert [event["seq"] for event in events] == list(range(4, 1501))
            assert [event["data"]["number"] for event in events] == list(range(4, 1501))
            assert [event["at"] for event in events] == late
    assert early < late
    assert await journal.mark("mqtt") >= len(await journal.events(limit=None)) - 1


async def test_a_new_daemon_goes_on_where_the_last_one_was_told(bus: Bus, journal: Journal) -> None:
    async with parts.telling(EMBEDDED, bus, journal) as telemetry:
        await parts.connected(telemetry)
        await parts.journal_steps(journal, "r1", 1, 5)
    await parts.journal_steps(journal, "r1", 6, 8)
    async with EmbeddedBroker() as broker, parts.watching(broker.port) as watcher:
        async with parts.telling(outside(broker.port), bus, journal, boot_id="boot-2"):
            await parts.journal_steps(journal, "r1", 9, 9)
            await watcher.first("run/r1/event", seq=9)
        assert [event["seq"] for event in watcher.of("run/r1/event")] == [6, 7, 8, 9]


async def test_after_an_outage_all_is_told_anew_and_no_event_is_lost(bus: Bus, journal: Journal) -> None:
    async with AsyncExitStack() as first:
        broker = await first.enter_async_context(EmbeddedBroker())
        async with parts.telling(outside(broker.port), bus, journal) as telemetry:
            bus.tell(parts.ABOUT)
            bus.tell(parts.device_state())
            bus.tell(parts.run_state())
            await parts.connected(telemetry)
            await parts.journal_steps(journal, "r1", 1, 3)
            await first.aclose()
            await asyncio.sleep(10)
            assert not telemetry.connected.is_set()
            times = await parts.journal_steps(journal, "r1", 4, 700)
            bus.tell(parts.device_state("down", "unplugged"))
            async with EmbeddedBroker(broker.port) as again, parts.watching(again.port) as watcher:
                await watcher.first("status", state="online")
                await watcher.first("device/press/about", driver="plc_crimper")
                await watcher.first("device/press/state", health="down", problem="unplugged")
                await watcher.first("run/r1/state", state="Execute")
                await watcher.first("run/r1/event", seq=700)
                events = watcher.of("run/r1/event")
                assert [event["seq"] for event in events] == list(range(events[0]["seq"], 701))
                assert [event["at"] for event in events][-697:] == times
                assert [state["health"] for state in watcher.of("device/press/state")] == ["down"]  # the latest only


async def test_a_clean_end_tells_what_waits_then_offline_and_leaves_no_will(bus: Bus, journal: Journal) -> None:
    async with EmbeddedBroker() as broker, parts.watching(broker.port) as watcher:
        async with parts.telling(outside(broker.port), bus, journal) as telemetry:
            await parts.connected(telemetry)
            bus.tell(parts.run_state("Complete", ended=clock.stamp()))  # told a moment before the end
        await watcher.first("run/r1/state", state="Complete")
        await watcher.first("status", state="offline", boot_id="boot-1")
        await asyncio.sleep(60)
        assert watcher.of("status")[-1]["state"] == "offline"  # no will after it


async def test_ended_alarms_and_runs_ended_a_day_ago_are_taken_away(bus: Bus, journal: Journal) -> None:
    async with EmbeddedBroker() as broker, parts.telling(outside(broker.port), bus, journal) as telemetry:
        await parts.connected(telemetry)
        bus.tell(parts.alarm())
        bus.tell(parts.run_state("Complete", ended=clock.stamp()))
        long_ago = clock.stamp(clock.now() - timedelta(days=3))
        bus.tell(replace(parts.run_state("Aborted", ended=long_ago), run="r0"))  # as a daemon tells that was down
        bus.tell(parts.alarm(ended=True))
        await asyncio.sleep(23 * 3600)
        async with parts.watching(broker.port) as watcher:
            await watcher.first("run/r1/state", state="Complete")
            await asyncio.sleep(2 * 3600)
            assert watcher.of("run/r1/state")[-1] is None
        async with parts.watching(broker.port) as later:
            await later.first("status")
            await asyncio.sleep(1)
            assert {got.topic for got in later.got} == {"status"}


async def test_without_a_broker_the_lab_goes_on_and_the_queue_of_signals_is_bounded(bus: Bus, journal: Journal) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]  # bound, not listening: connections are refused
        async with parts.telling(outside(port), bus, journal) as telemetry:
            for seq in range(5000):
                bus.tell(parts.poll(seq))
            await parts.journal_steps(journal, "r1", 1, 100)
            await asyncio.sleep(24 * 3600)
            assert telemetry.dropped == 3000
            assert await journal.mark("mqtt") == 0


async def test_a_broker_that_never_answers_keeps_nobody(bus: Bus, journal: Journal) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with parts.telling(outside(server.sockets[0].getsockname()[1]), bus, journal) as telemetry:
        await parts.journal_steps(journal, "r1", 1, 100)
        assert not telemetry.connected.is_set()
    server.close()
    await server.wait_closed()


async def test_what_cannot_be_a_topic_is_left_out_and_the_lab_goes_on(bus: Bus, journal: Journal) -> None:
    async with (
        EmbeddedBroker() as broker,
        parts.watching(broker.port) as watcher,
        parts.telling(outside(broker.port), bus, journal),
    ):
        bus.tell(replace(parts.poll(1), device="Press #1"))
        bus.tell(parts.poll(2))
        await watcher.first("device/press/signal", seq=2)


async def test_signals_that_nobody_would_get_are_not_sent(bus: Bus, journal: Journal) -> None:
    async with parts.telling(EMBEDDED, bus, journal) as telemetry:
        port = await parts.connected(telemetry)
        bus.tell(parts.poll(1))
        async with parts.watching(port) as watcher:
            await watcher.first("status")
            bus.tell(parts.poll(2))
            await watcher.first("device/press/signal")
            assert [signal["seq"] for signal in watcher.of("device/press/signal")] == [2]


async def test_a_taken_port_is_told_with_how_to_mend_it() -> None:
    async with EmbeddedBroker() as broker:
        with pytest.raises(BrokerError, match=r"mqtt.port another number"):
            async with EmbeddedBroker(broker.port):
                pass


async def test_the_embedded_broker_ends_with_clients_still_connected() -> None:
    async with EmbeddedBroker() as broker:
        client = aiomqtt.Client("127.0.0.1", broker.port, keepalive=0)
        await client.__aenter__()
    await client.__aexit__(None, None, None)


async def test_the_status_says_why_nothing_runs_until_it_does(bus: Bus, journal: Journal) -> None:
    why: list[str | None] = ["labd died 3 times"]
    telemetry = Telemetry("lab", EMBEDDED, bus, journal, "boot-1", "0.1.0", safe_mode=lambda: why[0])
    async with background(telemetry.run(), "telemetry"):
        port = await parts.connected(telemetry)
        async with parts.watching(port) as watcher:
            assert (await watcher.first("status", state="online", safe_mode="labd died 3 times")).retained
            why[0] = None
            telemetry.tell_status()
            assert (await watcher.first("status", state="online", safe_mode=None)).retained is False
        async with parts.watching(port) as later:
            await later.first("status", state="online", safe_mode=None)


async def test_whether_anybody_listens_is_worked_out_once_for_all_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def matches(sub: str, topic: str) -> bool:
        asked.append(topic)
        return sub == topic

    monkeypatch.setattr("labd.telemetry.broker.topic_matches_sub", matches)
    async with EmbeddedBroker() as broker, parts.peer(broker.port) as client:
        assert not broker.listened_to("a")
        await client.subscribe("a", qos=1)
        assert [broker.listened_to(topic) for topic in "ababab"] == [True, False] * 3
        assert len(asked) == 2
        await client.unsubscribe("a")
        await asyncio.sleep(1)
        assert not broker.listened_to("a")
