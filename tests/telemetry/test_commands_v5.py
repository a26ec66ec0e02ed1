"""Commands over MQTT 5 with mosquitto, in real time."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
import structlog

from labd.lab.config import Broker, Mqtt
from labd.telemetry import replies
from labd.telemetry.publisher import brief
from tests.ports import free_port
from tests.telemetry.commanding import commander, hearing
from tests.telemetry.mosquitto import Mosquitto, mosquitto


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


def at(port: int) -> Mqtt:
    return Mqtt(broker=Broker(host="127.0.0.1", port=port))


async def test_the_answer_goes_to_the_response_topic_too_with_its_correlation_data(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        hearing(tmp_path, at(broker.port)),
        commander(broker.port, "flows/7", v5=True) as eva,
    ):
        await eva.give("c1", "hold", arguments={"all": True}, answer_to="flows/7")
        assert await eva.states("c1", 2) == ["accepted", "done"]
        async with asyncio.timeout(60):
            while len(eva.elsewhere) < 2:
                await asyncio.sleep(0.02)
        assert eva.elsewhere == [("flows/7", b"\x01\x02")] * 2


@pytest.mark.parametrize("topic", ["labd/1/toys/cmd/admin/abort", "labd/1/toys/status", "homeassistant/status"])
async def test_nobody_has_the_daemon_speak_where_others_believe_it(tmp_path: Path, topic: str) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        hearing(tmp_path, at(broker.port)),
        commander(broker.port, topic, v5=True) as eva,
    ):
        await eva.give("c1", "hold", arguments={"all": True}, answer_to=topic)
        await eva.answered("c1", 2)
        await eva.give("c2", "hold", arguments={"all": True})
        await eva.answered("c2", 2)  # what went before it has come
        assert [one for one in eva.elsewhere if one[1] is not None] == []


@pytest.mark.parametrize(
    "topic",
    [
        "labd/1/toys/reply/eva/" + "/".join("x" * 250),
        "flows/" + "/".join("x" * 250),
        "flows/" + "x" * 3_000,
    ],
)
async def test_no_response_topic_ends_the_daemons_connection(tmp_path: Path, topic: str) -> None:
    """mosquitto ends it over a topic of 200 levels, which any user may ask for."""
    async with (
        mosquitto(tmp_path) as broker,
        hearing(tmp_path, at(broker.port)) as lab,
        commander(broker.port, v5=True) as eva,
    ):
        since = lab.telemetry.info()["since"]
        await eva.give("c1", "hold", arguments={"all": True}, answer_to=topic)
        assert await eva.states("c1", 2) == ["accepted", "done"]
        for number in range(2, 5):
            await eva.give(f"c{number}", "hold", arguments={"all": True})
            assert await eva.states(f"c{number}", 2) == ["accepted", "done"]
        assert lab.telemetry.info()["since"] == since, "it was connected all the time"


async def test_an_answer_that_the_broker_ends_the_connection_over_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as nobody has thought of all that a broker may end a connection over."""
    monkeypatch.setattr(replies, "MOST_LEVELS", 1_000)
    monkeypatch.setattr(replies, "MOST_BYTES", 1_000)
    with structlog.testing.capture_logs() as lines:
        async with (
            mosquitto(tmp_path) as broker,
            hearing(tmp_path, at(broker.port)),
            commander(broker.port, v5=True) as eva,
        ):
            topic = "flows/" + "/".join("x" * 250)
            await eva.give("c1", "hold", arguments={"all": True}, answer_to=topic)
            await eva.give("c2", "hold", arguments={"all": True})
            async with asyncio.timeout(120):
                await eva.answered("c1", 2)
                await eva.answered("c2", 2)
                await eva.give("c3", "hold", arguments={"all": True})
                await eva.answered("c3", 2)
    assert [line["topic"] for line in lines if line["event"].startswith("answer left out")] == [brief(topic)] * 2


async def test_what_is_larger_than_the_broker_takes_is_told_in_short(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, free_port())
    await broker.start("max_packet_size 2000")
    try:
        async with hearing(tmp_path, at(broker.port)) as lab, commander(broker.port, v5=True) as eva:
            await eva.give("c1", "hold", arguments={"all": True}, answer_to="flows/7", with_data=b"x" * 1_500)
            told = await eva.answered("c1", 2)
            assert [one["state"] for one in told] == ["accepted", "done"]
            await eva.give("c2", "hold", arguments={"all": True})
            assert await eva.states("c2", 2) == ["accepted", "done"]
            assert lab.telemetry.connected.is_set()
    finally:
        await broker.kill()


async def test_after_a_kill_the_end_of_what_was_accepted_is_told_where_it_was_asked_for(tmp_path: Path) -> None:
    """The files as they are at one moment are what a kill leaves."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    async with mosquitto(tmp_path) as broker, commander(broker.port, "flows/7", v5=True) as eva:
        async with hearing(first, at(broker.port)) as lab:
            run = await lab.start()
            lab.press.safe_takes = 3.0
            await eva.give("c1", "stop", arguments={"run": run}, answer_to="flows/7")
            await eva.answered("c1")
            shutil.copytree(first, second)
        told = len(eva.answers["c1"])
        eva.elsewhere.clear()
        async with hearing(second, at(broker.port)):
            last = (await eva.answered("c1", told + 1))[-1]
            assert (last["state"], last["result"]["outcome"]) == ("done", "stopped"), last
            async with asyncio.timeout(60):
                while not eva.elsewhere:
                    await asyncio.sleep(0.02)
            assert eva.elsewhere == [("flows/7", b"\x01\x02")]
            await eva.give("c1", "stop", arguments={"run": run})
            assert (await eva.states("c1", told + 3))[-2:] == ["accepted", "done"]


async def test_a_retained_command_is_rejected_also_while_the_lab_listens(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        hearing(tmp_path, at(broker.port)) as lab,
        commander(broker.port, v5=True) as eva,
    ):
        await eva.give("c1", "abort", arguments={"all": True}, retain=True)
        (told,) = await eva.answered("c1")
        assert (told["state"], "retained" in told["reason"]) == ("rejected", True)
        assert lab.press.safe == []
