"""A deadline that can stand still."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Limit:
    """A time limit that can be paused: while a run is held, `within` stands still. Raises TimeoutError when over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._timeout = asyncio.Timeout(None)
        self._left = seconds
        self._paused = False
        self._entered = False

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._entered = True
        if not self._paused:
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._left)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = False
        await self._timeout.__aexit__(kind, error, trace)

    def pause(self) -> None:
        """Stops the clock of this limit."""
        if self._paused:
            return
        self._paused = True
        if self._entered and not self._timeout.expired():
            when = self._timeout.when()
            if when is not None:
                self._left = max(0.0, when - asyncio.get_running_loop().time())
            self._timeout.reschedule(None)

    def resume(self) -> None:
        """Lets the clock of this limit go on."""
        if not self._paused:
            return
        self._paused = False
        if self._entered and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._left)
