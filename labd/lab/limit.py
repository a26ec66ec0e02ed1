"""Deadlines that can stand still."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self

from labd import clock


class Stopwatch:
    """Lab seconds that have passed, less those of its pauses. Needs a running loop."""

    def __init__(self) -> None:
        self._before = clock.monotonic()  # less all pauses
        self._stopped: float | None = None

    @property
    def elapsed(self) -> float:
        return (clock.monotonic() if self._stopped is None else self._stopped) - self._before

    def pause(self) -> None:
        if self._stopped is None:
            self._stopped = clock.monotonic()

    def resume(self) -> None:
        if self._stopped is not None:
            self._before += clock.monotonic() - self._stopped
            self._stopped = None


class Limit:
    """A time limit that can be paused: while a run is held, `within` stands still. Raises TimeoutError when over.

    Args:
        seconds: how long it may take, pauses left out.
        most: how long it may take with all pauses, so that a device that never answers is not waited for for ever.
        whole: what it is a rest of, for messages; default: `seconds`.
    """

    def __init__(self, seconds: float, most: float = math.inf, whole: float | None = None) -> None:
        self.whole = seconds if whole is None else whole
        self._most = most
        self._timeout = asyncio.Timeout(None)
        self._left = seconds
        self._latest = math.inf
        self._paused = False
        self._entered = False

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._entered = True
        self._latest = clock.monotonic() + self._most
        self._set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = False
        await self._timeout.__aexit__(kind, error, trace)

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def left(self) -> float:
        """Seconds that are left now, pauses left out."""
        when = self._timeout.when() if self._entered and not self._paused and not self._timeout.expired() else None
        return self._left if when is None else max(0.0, when - clock.monotonic())

    def pause(self) -> None:
        """Stops the clock of this limit."""
        if self._paused:
            return
        self._paused = True
        if self._entered and not self._timeout.expired():
            when = self._timeout.when()
            if when is not None:
                self._left = max(0.0, when - clock.monotonic())
            self._set()

    def resume(self) -> None:
        """Lets the clock of this limit go on."""
        if not self._paused:
            return
        self._paused = False
        if self._entered and not self._timeout.expired():
            self._set()

    def _set(self) -> None:
        over = self._latest if self._paused else min(self._latest, clock.monotonic() + self._left)
        self._timeout.reschedule(over if math.isfinite(over) else None)
