"""When what has come is acknowledged. On the machine's time: on virtual time nothing waits for company."""

from __future__ import annotations

import asyncio

import pytest

from labd import clock
from labd.lab.config import Broker
from labd.telemetry import client
from labd.telemetry.client import Address, AiomqttPublisher
from labd.telemetry.publisher import Message

CONNACK = bytes((0x20, 3, 0, 0, 0))
COMMAND = b"\x32\x07\x00\x01a\x00\x07\x00x"  # PUBLISH at QoS 1 under the packet id 7
PUBACK = b"\x40\x02\x00\x07"


async def _come(answer: Message | None) -> bytes:
    """What the broker hears first after it has sent a message; the client answers it, or does not."""
    came: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)  # CONNECT
        writer.write(CONNACK + COMMAND)
        while chunk := await reader.read(4096):
            came.put_nowait(chunk)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = Address(Broker(host="127.0.0.1", port=server.sockets[0].getsockname()[1]), "labd-lab")
        async with AiomqttPublisher(address).connect(Message("will", b"")) as session:
            assert (await anext(session.incoming())).topic == "a"
            if answer is not None:
                session.send(answer)
            async with asyncio.timeout(10):
                return await came.get()


def test_an_acknowledgement_leaves_with_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ACK_WAIT", 3600.0)
    heard = clock.run(_come(Message("b", b"y")))
    assert heard.startswith(PUBACK)
    assert heard.endswith(b"y")


def test_an_acknowledgement_leaves_soon_also_where_nothing_is_answered() -> None:
    assert clock.run(_come(None)) == PUBACK
