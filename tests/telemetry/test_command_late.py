"""Commands that come late, or twice: through a paused daemon, an offline session, and across a kill. Real time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from labd import clock
from labd.lab.config import Broker, Mqtt
from tests.telemetry.commanding import WAITING, commander, hearing
from tests.telemetry.mosquitto import mosquitto

ROOT = Path(__file__).parents[2]
DAEMON = """
import asyncio, os, signal, sys
from pathlib import Path
from labd import clock
from labd.lab.config import Broker, Mqtt
from tests.telemetry.commanding import hearing

async def main(port, folder, dies):
    async with hearing(Path(folder), Mqtt(broker=Broker(host="127.0.0.1", port=port))) as lab:
        async def die(*_, **__):
            await lab.journal.events()  # what was posted is durable
            os.kill(os.getpid(), signal.SIGKILL)
        if dies:
            lab.engine.start = die
        print("hears", flush=True)
        await asyncio.Event().wait()

clock.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3] == "dies"))
"""


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


def at(port: int) -> Mqtt:
    return Mqtt(broker=Broker(host="127.0.0.1", port=port))


@asynccontextmanager
async def daemon(port: int, folder: Path, how: str = "lives") -> AsyncIterator[Process]:
    command = (sys.executable, "-c", DAEMON, str(port), str(folder), how)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=ROOT, env=env)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(clock.of_machine(120)):
            while await process.stdout.readline() != b"hears\n":
                assert process.returncode is None
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_command_that_reaches_a_paused_daemon_too_late_is_rejected_by_its_age(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path) as broker,
        daemon(broker.port, tmp_path) as process,
        commander(broker.port, v5=True) as eva,
    ):
        process.send_signal(signal.SIGSTOP)
        await eva.give("late", "start", arguments={"protocol": WAITING}, life=1.0)
        await eva.give("still", "start", arguments={"protocol": WAITING}, life=30.0)
        await asyncio.sleep(1.5)
        process.send_signal(signal.SIGCONT)
        (told,) = await eva.answered("late")
        assert (told["state"], told["reason"].startswith("it expired ")) == ("rejected", True)
        assert await eva.states("still", 2) == ["accepted", "done"]


async def test_a_persistent_session_brings_it_without_the_retain_flag_and_its_age_decides(tmp_path: Path) -> None:
    """Somebody else's offline session, a bridge's, say, which hands on what it was kept for it."""
    async with mosquitto(tmp_path) as broker:
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 3600
        options: dict[str, Any] = {
            "protocol": aiomqtt.ProtocolVersion.V5,
            "identifier": "bridge",
            "clean_start": False,
            "properties": kept,
        }
        async with aiomqtt.Client("127.0.0.1", broker.port, **options) as bridge:
            await bridge.subscribe("far/cmd/#", qos=1)
        async with hearing(tmp_path, at(broker.port)) as lab, commander(broker.port, v5=True) as eva:
            eva.prefix = "far"
            await eva.give("c1", "abort", arguments={"all": True}, life=0.5)
            await eva.give("c2", "abort", arguments={"all": True}, life=0.5, expiry=1)
            eva.prefix = "labd/1/toys"
            await asyncio.sleep(2.5)
            async with aiomqtt.Client("127.0.0.1", broker.port, **options) as bridge:
                message = await anext(aiter(bridge.messages))
                assert isinstance(message.payload, bytes)
                assert (message.retain, json.loads(message.payload)["command_id"]) == (False, "c1")
                await bridge.publish("labd/1/toys/cmd/eva/abort", message.payload, qos=1)
                await bridge.publish("far/cmd/eva/abort", b"{}", qos=1)
                # c2 expired in the broker: the next that comes is the one just sent
                following = await anext(aiter(bridge.messages))
                assert following.payload == b"{}"
            (told,) = await eva.answered("c1")
            assert (told["state"], told["reason"].startswith("it expired ")) == ("rejected", True)
            assert lab.press.safe == []


async def test_what_was_queued_for_the_daemons_own_name_while_it_was_away_never_comes(tmp_path: Path) -> None:
    """It begins every session anew: commands of before its start are for another situation."""
    async with mosquitto(tmp_path) as broker:
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 3600
        async with aiomqtt.Client(
            "127.0.0.1",
            broker.port,
            protocol=aiomqtt.ProtocolVersion.V5,
            identifier="labd-toys",
            clean_start=False,
            properties=kept,
        ) as before:
            await before.subscribe("labd/1/toys/cmd/+/+", qos=1)
        async with commander(broker.port, v5=True) as eva:
            await eva.give("c1", "start", arguments={"protocol": WAITING}, life=30.0)
            async with hearing(tmp_path, at(broker.port)) as lab:
                await eva.give("c2", "hold", arguments={"all": True})
                assert await eva.states("c2", 2) == ["accepted", "done"]
                assert eva.answers.keys() == {"c2"}
                assert lab.engine.working == ()


def packet(kind: int, body: bytes) -> bytes:
    """An MQTT packet: kind and flags, the length in sevens of bits, and what it carries."""
    length, left = b"", len(body)
    while left > 127:
        length, left = length + bytes([left % 128 + 128]), left // 128
    return bytes([kind]) + length + bytes([left]) + body


def text(words: str) -> bytes:
    return len(words).to_bytes(2, "big") + words.encode()


async def test_a_delivery_that_is_repeated_on_the_wire_is_done_once(tmp_path: Path) -> None:
    """QoS 1 with the DUP flag, as a client sends what it heard no PUBACK of."""
    issued = clock.outside()
    told = {"command_id": "c1", "verb": "start", "arguments": {"protocol": WAITING}, "issued_at": issued.isoformat()}
    told["expires_at"] = (issued + timedelta(seconds=25)).isoformat()
    sent = text("labd/1/toys/cmd/eva/start") + b"\x00\x07" + json.dumps(told).encode()
    async with (
        mosquitto(tmp_path) as broker,
        hearing(tmp_path, at(broker.port)) as lab,
        commander(broker.port, v5=True) as eva,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(packet(0x10, text("MQTT") + b"\x04\x02\x00\x3c" + text("raw")))
        assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
        for flags in (0x32, 0x3A, 0x3A):
            writer.write(packet(flags, sent))
            assert await reader.readexactly(4) == b"\x40\x02\x00\x07"
        writer.close()
        await writer.wait_closed()
        await eva.answered("c1", 2)
        await eva.give("c2", "hold", arguments={"all": True})
        await eva.answered("c2", 2)
        assert {told["state"] for told in eva.answers["c1"]} == {"accepted", "done"}
        assert [run.run for run in lab.engine.known()] == ["run-0001"]


async def test_a_kill_between_taken_and_answered_is_told_to_who_asks_again_and_nothing_is_done_twice(
    tmp_path: Path,
) -> None:
    async with mosquitto(tmp_path) as broker, commander(broker.port, v5=True) as eva:
        async with daemon(broker.port, tmp_path, "dies") as process:
            await eva.give("c1", "start", arguments={"protocol": WAITING})
            async with asyncio.timeout(clock.of_machine(60)):
                assert await process.wait() == -signal.SIGKILL
        async with hearing(tmp_path, at(broker.port)) as lab:
            await eva.give("c1", "start", arguments={"protocol": WAITING})
            (told,) = await eva.answered("c1")
            assert (told["state"], "another command_id" in told["reason"]) == ("failed", True)
            assert lab.engine.working == ()
            kinds = [event.kind for event in await lab.journal.events() if event.kind.startswith("command.")]
            assert kinds == ["command.taken", "command.answered"]


async def test_an_answer_may_go_below_the_users_own_reply_topic(tmp_path: Path) -> None:
    """Where the ACL lets the user read, and labd write."""
    topic = "labd/1/toys/reply/eva/flows/7"
    async with (
        mosquitto(tmp_path) as broker,
        hearing(tmp_path, at(broker.port)),
        commander(broker.port, topic, v5=True) as eva,
    ):
        await eva.give("c1", "hold", arguments={"all": True}, answer_to=topic)
        assert await eva.states("c1", 4) == ["accepted", "accepted", "done", "done"]
        await eva.give("c2", "hold", arguments={"all": True}, answer_to="flows/7", with_data=b"x" * 5_000)
        (told,) = await eva.answered("c2")
        assert (told["state"], "correlation data" in told["reason"]) == ("rejected", True)
