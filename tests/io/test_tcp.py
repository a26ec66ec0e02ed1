"""A TCP link: deadlines, lost links, and late replies that are nobody's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from labd.io import LinkLost
from labd.io.tcp import TcpLink, host_and_port
from labd.sdk import OutcomeUnknown, Unreachable

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def peer(handler: Handler) -> AsyncIterator[TcpLink]:
    """A device that lives as `handler` says on each connection, and a link to it, not yet open."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await handler(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    link = TcpLink("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield link
    finally:
        await link.close()
        server.close()
        for task in (left := list(tasks)):
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await server.wait_closed()


async def ask(link: TcpLink, request: bytes) -> bytes:
    async with link.exchange(1.0) as exchange:
        await exchange.write(request + b"\n")
        return await exchange.read_until(b"\n")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)


async def test_small_requests_go_out_at_once() -> None:
    async with peer(echo) as link, link:
        assert await ask(link, b"t") == b"t"
        assert link._writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_late_reply_is_never_taken_for_the_next_answer() -> None:
    async def slow_at_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line == b"first\n":
                await asyncio.sleep(1.2)
            writer.write(b"answer to " + line)

    async with peer(slow_at_first) as link, link:
        with pytest.raises(OutcomeUnknown, match="no answer within 1 s") as caught:
            await ask(link, b"first")
        assert caught.value.sent == "first\n"
        assert link.dirty
        assert await ask(link, b"second") == b"answer to second"
        assert not link.dirty


async def test_a_cancelled_request_leaves_nothing_for_the_next() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await asyncio.sleep(0.5)
            writer.write(line)

    async with peer(slow) as link, link:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(link, b"given up")
        assert await ask(link, b"next") == b"next"


async def test_a_link_cut_after_sending_leaves_the_outcome_unknown_and_stays_down() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"half an ans")

    async with peer(cut) as link, link:
        with pytest.raises(OutcomeUnknown, match="closed the link after b'half an ans'"):
            await ask(link, b"dose")
        with pytest.raises(Unreachable, match="not open"):
            await ask(link, b"dose")


async def test_a_link_that_broke_before_anything_was_sent_is_unreachable() -> None:
    async def leave(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        return

    async with peer(leave) as link, link:
        await asyncio.sleep(1)
        with pytest.raises(Unreachable, match="the other side closed it"):
            await ask(link, b"dose")


async def test_a_device_that_talks_without_end_is_not_believed() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with peer(babble) as link, link:
        with pytest.raises(OutcomeUnknown, match="right device, at the right speed"):
            await ask(link, b"t")


async def test_nobody_there_says_what_to_check() -> None:
    async with peer(echo) as link:
        pass
    with pytest.raises(Unreachable, match="nobody listens at 127"):
        await link.open()


async def test_two_askers_take_turns() -> None:
    async with peer(echo) as link, link:
        answers = await asyncio.gather(*(ask(link, b"%d" % number) for number in range(50)))
    assert answers == [b"%d" % number for number in range(50)]


async def test_reading_a_closed_link_says_so() -> None:
    with pytest.raises(LinkLost, match="not open"):
        await TcpLink("127.0.0.1", 9).read_until()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.168.0.100", ("192.168.0.100", 10000)),
        ("arm.lab:45131", ("arm.lab", 45131)),
        ("[fe80::1]:7", ("fe80::1", 7)),
    ],
)
def test_addresses(address: str, expected: tuple[str, int]) -> None:
    assert host_and_port(address, 10000) == expected


@pytest.mark.parametrize("address", ["", "host:port", "host:99999", "http://host", "host/path", ":80"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        host_and_port(address, 1)
