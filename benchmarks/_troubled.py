"""A broker in trouble: a proxy before a real one that is slow, stuck, silent, refusing or flapping, until it is mended.

`python -m benchmarks._troubled KIND PORT` is one in a process of its own; it prints the port to connect to.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Literal, Self, get_args

Kind = Literal["slow", "stuck", "half_open", "refusing", "unheard", "flapping"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SLOW = 1000  # bytes/s, each way
FLAP = 0.2  # s that a connection lives
REFUSAL = {5: b"\x20\x03\x00\x87\x00", 4: b"\x20\x02\x00\x05"}  # CONNACK: not authorized, by the version asked for
PUBACK = 0x40


class Troubled:
    """A proxy before a broker on this machine.

    Args:
        kind: `slow`: 1 kB/s. `stuck`: takes connections and says no word. `half_open`: is silent after its CONNACK.
            `refusing`: its CONNACK says no. `unheard`: takes messages, and acknowledges none. `flapping`: each
            connection is cut after 200 ms.
        port: of the broker.
    """

    def __init__(self, kind: Kind, port: int) -> None:
        self._kind: Kind | None = kind
        self._peer = port
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._cut()
        await self._server.wait_closed()

    async def mend(self) -> None:
        """As if it were started anew, and well: connections end, later ones come through."""
        self._kind = None
        await self._cut()

    async def _cut(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            async with asyncio.timeout(FLAP if self._kind == "flapping" else None):
                await self._connection(reader, writer)
        except (TimeoutError, OSError, EOFError, asyncio.CancelledError):
            pass  # it is cut; `mend` and the end cancel
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._kind == "stuck":
            await asyncio.Event().wait()
        if self._kind == "refusing":
            hello = await reader.readuntil(b"MQTT")
            version = (await reader.readexactly(1))[0]
            assert hello
            writer.write(REFUSAL[version])
            await writer.drain()
            await asyncio.Event().wait()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._peer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer))
                group.create_task(self._pump(far_reader, writer, down=True))
        except* (OSError, EOFError):
            pass
        finally:
            far_writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, down: bool = False) -> None:
        """Passes on what comes, until one side ends."""
        first = True
        while data := await source.read(SLOW // 10 if self._kind == "slow" else 65536):
            if self._kind == "half_open" and not first:
                continue
            if self._kind == "unheard" and down and not first and data[0] & 0xF0 == PUBACK:
                continue
            first = False
            sink.write(data)
            await sink.drain()
            if self._kind == "slow":
                await asyncio.sleep(len(data) / SLOW)
        raise EOFError


async def main(kind: Kind, port: int) -> None:
    async with Troubled(kind, port) as troubled:
        print(troubled.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(next(kind for kind in KINDS if kind == sys.argv[1]), int(sys.argv[2])))
