"""What may come instead of an answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

GARBAGE = [
    b"\xff\x00\x13garbage\n\n#\r\n",
    b"\n\n#\r\n",
    b"<bts/>\n\n#\r\n",
    b"nan,nan,nan\n\n#\r\n",
    b"1\n\n\n#\r\n",
    b"half",
]


@contextlib.asynccontextmanager
async def talker(answer: bytes, *, cut: bool = False) -> AsyncIterator[int]:
    """Listens, and answers whatever comes with the same, or with nothing and an end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while await reader.read(4096):
                if cut:
                    break
                writer.write(answer)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
