"""Plain clients without any library, written from the specifications of the wires."""

from __future__ import annotations

import asyncio
import json
import os
import struct
from collections.abc import Sequence
from typing import Any, Self


class Modbus:
    """Modbus TCP, unit 1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._transaction = 0

    @classmethod
    async def connect(cls, address: str) -> Self:
        host, _, port = address.removeprefix("modbus://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    @property
    def address(self) -> str:
        return "127.0.0.1:{}".format(self._writer.get_extra_info("peername")[1])

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self, pdu: bytes, within: float = 1.0) -> bytes:
        self._transaction += 1
        self._writer.write(struct.pack(">HHHB", self._transaction, 0, len(pdu) + 1, 1) + pdu)
        async with asyncio.timeout(within):
            head = await self._reader.readexactly(7)
            transaction, _, length, unit = struct.unpack(">HHHB", head)
            assert (transaction, unit) == (self._transaction, 1)
            return await self._reader.readexactly(length - 1)

    async def bit(self, function: int, address: int) -> bool:
        return bool((await self.ask(struct.pack(">BHH", function, address, 1)))[2])

    async def coil(self, address: int, value: bool) -> None:
        request = struct.pack(">BHH", 5, address, 0xFF00 if value else 0)
        assert await self.ask(request) == request

    async def words(self, function: int, address: int, count: int) -> tuple[int, ...]:
        reply = await self.ask(struct.pack(">BHH", function, address, count))
        return struct.unpack(f">{count}H", reply[2:])

    async def real(self, address: int) -> float:
        low, high = await self.words(4, address, 2)
        value: float = struct.unpack(">f", struct.pack(">HH", high, low))[0]
        return value

    async def count(self, address: int) -> int:
        low, high = await self.words(4, address, 2)
        return high << 16 | low

    async def recipe(self, force: float, dwell: float) -> None:
        registers: list[int] = []
        for value in (force, dwell):
            high, low = struct.unpack(">HH", struct.pack(">f", value))
            registers += [low, high]
        request = struct.pack(">BHHB4H", 16, 0, 4, 8, *registers)
        assert await self.ask(request) == request[:5]

    async def until(self, address: int, value: bool = True, within: float = 60.0) -> None:
        end = asyncio.get_running_loop().time() + within
        while await self.bit(2, address) != value:
            assert asyncio.get_running_loop().time() < end, f"discrete input {address} never became {value}"
            await asyncio.sleep(0.05)

    async def pulse(self, coil: int, status: int) -> None:
        """Sets a command, waits for its status, takes the command back."""
        await self.coil(coil, True)
        await self.until(status)
        await self.coil(coil, False)


class Line:
    """A serial line: bytes out, bytes in."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._reader = asyncio.StreamReader()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, lambda: self._reader.feed_data(os.read(self._fd, 4096)))

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    async def read(self, count: int, within: float = 1.0) -> bytes:
        async with asyncio.timeout(within):
            return await self._reader.readexactly(count)


class Http:
    """One HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, address: str) -> Self:
        host, _, port = address.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    @property
    def address(self) -> str:
        return "127.0.0.1:{}".format(self._writer.get_extra_info("peername")[1])

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(
        self, method: str, path: str, body: Any = None, version: str | None = "*", within: float | None = None
    ) -> tuple[int, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: robot", f"Content-Length: {len(content)}"]
        if version is not None:
            lines.append(f"Opentrons-Version: {version}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        async with asyncio.timeout(within):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length:")[2].split("\r\n")[0])
            reply = await self._reader.readexactly(length)
        return int(head.split()[1]), json.loads(reply) if reply else None

    async def get(self, path: str) -> Any:
        status, reply = await self.ask("GET", path)
        assert status == 200, reply
        return reply


class Meca:
    """A text client of one of the arm's ports: messages as (code, text)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, address: str, offset: int = 0) -> Self:
        host, _, port = address.partition(":")
        return cls(*await asyncio.open_connection(host, int(port) + offset))

    @property
    def address(self) -> str:
        return "127.0.0.1:{}".format(self._writer.get_extra_info("peername")[1])

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    def send(self, *commands: str) -> None:
        self._writer.write("".join(command + "\0" for command in commands).encode())

    async def hear(self, within: float | None = 60.0) -> tuple[int, str]:
        async with asyncio.timeout(within):
            message = (await self._reader.readuntil(b"\0"))[:-1].decode()
        code, _, text = message.removeprefix("[").removesuffix("]").partition("][")
        return int(code), text

    async def until(self, *codes: int, within: float | None = 60.0) -> tuple[int, str]:
        async with asyncio.timeout(within):
            while True:
                code, text = await self.hear(None)
                if code in codes:
                    return code, text

    async def ask(self, command: str, *codes: int) -> str:
        self.send(command)
        return (await self.until(*codes))[1]

    async def flags(self, command: str, code: int) -> Sequence[int]:
        return [int(flag) for flag in (await self.ask(command, code)).split(",")]
