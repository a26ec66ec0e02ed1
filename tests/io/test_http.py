"""One request, one deadline, one try."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from labd.io.http import HttpLink
from labd.sdk import OutcomeUnknown, Unreachable

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status.encode(),
        len(body),
        body,
    )


@asynccontextmanager
async def peer(play: Play) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that reads one request a connection, notes it, and plays."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
            )
            heard.append(head + await reader.readexactly(length))
            await play(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
    finally:
        server.close()
        await server.wait_closed()


async def test_an_answer_carries_status_and_json_whatever_the_status() -> None:
    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b'{"errors": []}', "409 Conflict"))

    async with peer(play) as (address, heard):
        link = HttpLink(address, headers={"Opentrons-Version": "*"})
        got = await link.request("POST", "/runs", body={"data": {}}, query={"timeout": 5})
        await link.close()
    assert (got.status, got.body) == (409, {"errors": []})
    assert heard[0].startswith(b"POST /runs?timeout=5 HTTP/1.1\r\n")
    assert b"opentrons-version: *" in heard[0].lower()
    assert json.loads(heard[0].partition(b"\r\n\r\n")[2]) == {"data": {}}


async def test_a_refused_connection_is_unreachable() -> None:
    async def play(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None: ...

    async with peer(play) as (address, _):
        pass
    link = HttpLink(address)
    with pytest.raises(Unreachable, match="cannot be reached"):
        await link.request("GET", "/health")
    await link.close()


async def test_a_connection_that_dies_after_the_request_is_outcome_unknown_and_not_repeated() -> None:
    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with peer(play) as (address, heard):
        link = HttpLink(address)
        with pytest.raises(OutcomeUnknown):
            await link.request("POST", "/runs", body={})
        await link.close()
        await asyncio.sleep(60)
        assert len(heard) == 1


async def test_a_trickle_does_not_outlive_the_deadline() -> None:
    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in answer(b'{"status": "succeeded"}'):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.5)

    async with peer(play) as (address, _):
        link = HttpLink(address, deadline=5)
        start = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknown, match="within 5 s"):
            await link.request("POST", "/runs", body={})
        assert asyncio.get_running_loop().time() - start == pytest.approx(5)
        await link.close()
        await asyncio.sleep(60)


async def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    turn = iter(("late", "prompt"))

    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        which = next(turn)
        if which == "late":
            await asyncio.sleep(6)
        writer.write(answer(json.dumps(which).encode()))

    async with peer(play) as (address, _):
        link = HttpLink(address, deadline=5)
        with pytest.raises(OutcomeUnknown):
            await link.request("GET", "/a")
        assert (await link.request("GET", "/b")).body == "prompt"
        await link.close()
        await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (answer(b'{"data": 1}')[:-3], "no answer"),
        (answer(b"<html>welcome</html>"), "no JSON"),
        (answer(b'"' + b"x" * 2000 + b'"'), "longer than 1000 bytes"),
    ],
)
async def test_half_a_body_a_page_and_a_flood_are_outcome_unknown(raw: bytes, words: str) -> None:
    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    async with peer(play) as (address, _):
        link = HttpLink(address, size_limit=1000)
        with pytest.raises(OutcomeUnknown, match=words):
            await link.request("POST", "/runs", body={})
        await link.close()


async def test_a_gateways_page_still_tells_its_status() -> None:
    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"<h1>503</h1>", "503 Service Unavailable"))

    async with peer(play) as (address, _):
        link = HttpLink(address)
        assert (await link.request("GET", "/health")).status == 503
        await link.close()


@pytest.mark.parametrize("address", ["10.0.0.5:31950", "ftp://robot", "http://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        HttpLink(address)
