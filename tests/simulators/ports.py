"""A client of a serial port without any library: bytes in, lines out."""

from __future__ import annotations

import asyncio
import os
from types import TracebackType
from typing import Self


def is_gone(path: str) -> bool:
    """Whether not even a dangling link is left."""
    return not os.path.lexists(path)


class Port:
    def __init__(self, path: str) -> None:
        self.raw = b""
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._rest = b""
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            data = b""
        if not data:  # the instrument is gone: unplugged
            self._loop.remove_reader(self._fd)
            return
        self.raw += data
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._lines.put_nowait(line.decode())

    def write(self, text: str) -> None:
        os.write(self._fd, text.encode())

    async def line(self, within: float = 5.0) -> str:
        async with asyncio.timeout(within):
            return await self._lines.get()

    async def lines(self, within: float = 1e6) -> list[str]:
        """All lines up to the empty one that ends a script's output."""
        found = []
        while line := await self.line(within):
            found.append(line)
        return found

    async def silence(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        try:
            await self.line(seconds)
        except TimeoutError:
            return True
        return False

    async def ask(self, text: str) -> str:
        self.write(text + "\n")
        return await self.line()
