"""TCP links."""

from __future__ import annotations

import asyncio
import socket
from typing import cast
from urllib.parse import urlsplit

from labd.io.arrival import bound
from labd.io.stream import StreamLink, Writer


def host_and_port(address: str, default_port: int) -> tuple[str, int]:
    """Reads `192.168.0.100`, `arm.lab:10000` or `[fe80::1]:10000`.

    Raises:
        ValueError: it is no such address.
    """
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{address!r} is no address; write host or host:port: {error}") from error
    if not host or parts.path or parts.username:
        raise ValueError(f"{address!r} is no address; write host or host:port")
    return host, default_port if port is None else port


class TcpLink(StreamLink):
    """A TCP connection as a link. Small requests go out at once (TCP_NODELAY); a dead peer is found (keep-alive).

    Args:
        host: name or address.
        port: TCP port.
        late, open_timeout, write_timeout, limit: see StreamLink.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        late: float = 0.5,
        open_timeout: float = 5.0,
        write_timeout: float = 5.0,
        limit: int = 2**18,
    ) -> None:
        super().__init__(
            f"{host}:{port}", late=late, open_timeout=open_timeout, write_timeout=write_timeout, limit=limit
        )
        self._host = host
        self._port = port

    async def _connect(self) -> tuple[asyncio.StreamReader, Writer]:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=self._limit)
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        bound(sock)
        writer.transport.set_write_buffer_limits(high=0)  # drain() then means: the kernel has all of it
        return reader, writer

    def _abort(self, writer: Writer) -> None:
        stream = cast("asyncio.StreamWriter", writer)
        if stream.transport.get_write_buffer_size():
            stream.transport.abort()
        else:
            stream.close()

    def _explain(self, error: OSError) -> str:
        if isinstance(error, ConnectionRefusedError):
            return f"nobody listens at {self.address}; is the device on, and is the port right?"
        if isinstance(error, socket.gaierror):
            return f"{self._host!r} is no known host; check the address in lab.yaml"
        return f"{self.address} cannot be reached ({error.strerror or error}); check cable, power and address"
