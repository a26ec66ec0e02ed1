"""A handle on the subscriber in its own process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Counter:
    """Counts what reaches a subscriber. See `benchmarks.mqtt._subscriber`."""

    process: asyncio.subprocess.Process

    async def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        await self.process.stdin.drain()

    async def _hear(self) -> str:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError("the subscriber has ended")
        return line.decode()

    async def until(self, number: int) -> None:
        """Waits until so many have come, since the start or since this was asked last."""
        await self._say(f"until {number}")
        await self._hear()

    async def look(self) -> None:
        """Reads what comes from now on."""
        await self._say("look")

    async def tell(self) -> Any:
        """What it has read: `latencies` in s (sorted), `missing`, `rate` and `polls` a s, `topics`, `silent` ones."""
        await self._say("tell")
        return json.loads(await self._hear())


@asynccontextmanager
async def counted(port: int, pattern: str) -> AsyncIterator[Counter]:
    """A subscriber that has subscribed to a pattern."""
    command = (sys.executable, "-m", "benchmarks.mqtt._subscriber", str(port), pattern)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 24
    )
    try:
        counter = Counter(process)
        await counter._hear()  # noqa: SLF001 - it says that it has subscribed
        yield counter
    finally:
        process.kill()
        await process.wait()
