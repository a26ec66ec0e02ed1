"""Text over TCP, seen from the instrument: messages end with one byte, and every client is one `Client`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

LONGEST = 64 * 1024  # bytes a message may have before its client is cut off


def host_and_port(address: str, default_port: int) -> tuple[str, int]:
    """`192.168.0.100`, `127.0.0.1:0` or `tcp://host:port` as host and port."""
    _, _, rest = address.rpartition("//")
    host, _, port = rest.rstrip("/").partition(":")
    return host, int(port) if port else default_port


class Client(asyncio.Protocol):
    """One connection. `send` never blocks; what a client does not read is kept by the transport."""

    def __init__(self, server: TextServer) -> None:
        self._server = server
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._free_at = 0.0
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.entered(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._server.end in self._buffer and not self.gone:
            message, _, self._buffer = self._buffer.partition(self._server.end)
            self._server.on_message(self, message.decode("ascii", "replace"))
        if len(self._buffer) > LONGEST:
            self.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._server.left(self)
        if not self.closed.done():
            self.closed.set_result(None)

    @property
    def gone(self) -> bool:
        """Whether nothing that is sent arrives any more."""
        return self._transport is None or self._transport.is_closing()

    def send(self, text: str) -> None:
        """Sends one message, through the server's faults."""
        faults = self._server.faults
        if self.gone or faults.get("silent"):
            return
        if faults.get("lost_replies"):
            faults["lost_replies"] = int(faults["lost_replies"]) - 1
            return
        if faults.get("delay"):
            asyncio.get_running_loop().call_later(float(faults["delay"]), self._write, text)
            return
        self._write(text)

    def _write(self, text: str) -> None:
        data = text.encode() + self._server.end_out
        size = int(self._server.faults.get("chunk") or self._server.chunk or len(data))
        loop = asyncio.get_running_loop()
        for start in range(0, len(data), size):
            # a piece that is still to leave goes first, of whichever message it is
            wait = max(0.0, self._free_at - loop.time())
            self._free_at = loop.time() + wait + float(self._server.faults.get("chunk_gap") or 0.0)
            piece = data[start : start + size]
            if wait:
                loop.call_later(wait, self._put, piece)
            else:
                self._put(piece)

    def _put(self, data: bytes) -> None:
        if not self.gone:
            assert self._transport is not None
            self._transport.write(data)

    def close(self) -> None:
        """Sends what is left and closes."""
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Ends the connection at once: what was not sent yet is lost."""
        if self._transport is not None:
            self._transport.abort()


class TextServer:
    """Listens for clients and hands their messages over.

    Faults, read from `faults` at every message that goes out:
        silent (bool): nothing leaves the instrument.
        lost_replies (int, counts down): so many messages are lost.
        delay (s): every message arrives that much later.
        chunk (bytes), chunk_gap (s): a message leaves in pieces of that size, one that long after another.

    Args:
        on_message: is called with the client and one message without its end.
        on_enter, on_leave: a client came, a client is gone.
        end: what ends a message.
        out: what ends a message that goes out, where that is something else.
        chunk: the bytes of the pieces in which a message leaves; 0: in one.
        faults: the simulator's switches.
    """

    def __init__(
        self,
        on_message: Callable[[Client, str], None],
        *,
        on_enter: Callable[[Client], None] | None = None,
        on_leave: Callable[[Client], None] | None = None,
        end: bytes = b"\0",
        out: bytes | None = None,
        chunk: int = 0,
        faults: MutableMapping[str, Any] | None = None,
    ) -> None:
        self.on_message = on_message
        self.end = end
        self.end_out = end if out is None else out
        self.chunk = chunk
        self.faults: MutableMapping[str, Any] = {} if faults is None else faults
        self.clients: list[Client] = []
        self._on_enter = on_enter
        self._on_leave = on_leave
        self._server: asyncio.Server | None = None

    def entered(self, client: Client) -> None:
        """For `Client`: its connection stands."""
        self.clients.append(client)
        if self._on_enter is not None:
            self._on_enter(client)

    def left(self, client: Client) -> None:
        """For `Client`: its connection has ended."""
        self.clients.remove(client)
        if self._on_leave is not None:
            self._on_leave(client)

    def send(self, text: str) -> None:
        """Sends one message to every client."""
        for client in list(self.clients):
            client.send(text)

    async def start(self, host: str, port: int) -> int:
        """Begins to listen (port 0: any free one); gives the port. Raises OSError when it is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Client(self), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stops listening and cuts every client off."""
        if self._server is None:
            return
        self._server.close()
        clients = list(self.clients)
        for client in clients:
            client.cut()
        for client in clients:
            await client.closed
        await self._server.wait_closed()
        self._server = None
