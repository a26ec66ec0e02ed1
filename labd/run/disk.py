"""The watch over the store's disk: a full one holds all runs before the journal breaks, and says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import structlog

from labd.journal.ballast import free_space
from labd.lab.sizes import size_text
from labd.run.engine import Engine
from labd.run.lifecycle import Command

log = structlog.get_logger(__name__)

PERIOD = 5.0  # s of lab time between two looks
WARN_AT = 2.0  # times what runs are held below
GOES_ON_AT = 1.1  # the same, for runs that were held for it: the disk must not flutter about the mark
DISK = "disk"
"""Of its alarm and its barrier."""


class DiskWatch:
    """Looks at the free space of the store; `run()` is its task.

    Args:
        engine: whose runs are held.
        hold_below: bytes free.
        free: how many bytes are free.
    """

    def __init__(self, engine: Engine, hold_below: int, free: Callable[[Path], int] = free_space) -> None:
        self.full = False
        """Whether runs are held for it; polls are not kept then."""
        self._engine = engine
        self._journal = engine.journal
        self._alarms = engine.lab.alarms
        self._barriers = engine.lab.barriers
        self._hold_below = hold_below
        self._free = free

    async def run(self) -> None:
        """Looks every few seconds, and as soon as the journal has given its ballast up, until cancelled."""
        while True:
            self.look()
            if self.full:
                await self._hold()
                await self._refill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD):
                    await (asyncio.Event() if self._journal.short.is_set() else self._journal.short).wait()

    def look(self) -> None:
        """One look: alarms, and whether runs may start and go on."""
        free = self._free(self._journal.path.parent)
        enough = self._hold_below * (GOES_ON_AT if self.full else 1.0)
        full = self._journal.short.is_set() or free < enough
        if full != self.full:
            log.log(40 if full else 20, "disk is full" if full else "disk has space again", free=size_text(free))
        self.full = full
        if full:
            text = self._told()
            self._barriers.set(DISK, text)
            self._alarms.tell(DISK, "critical", "lab", text)
            return
        self._barriers.lift(DISK)
        if free < self._hold_below * WARN_AT:
            hold = size_text(self._hold_below)
            self._alarms.tell(DISK, "warning", "lab", f"{self._where()} gets full; below {hold} free all runs are held")
        else:
            self._alarms.end(DISK)

    def _told(self) -> str:
        """The same words while it is as full as that: with other ones an alarm would be told anew at each look."""
        hold, goes_on = size_text(self._hold_below), size_text(self._hold_below * GOES_ON_AT)
        left = "nothing was left" if self._journal.short.is_set() else f"less than {hold} are free"
        return f"{self._where()} is full ({left}); make room until {goes_on} are free, then unhold what is held"

    def _where(self) -> str:
        return f"the disk of {self._journal.path.parent}"

    async def _hold(self) -> None:
        """Holds whatever works, again at each look: a run may have been on its way."""
        await self._engine.command_all(Command.HOLD, by="labd", cause=self._told())

    async def _refill(self) -> None:
        """Takes the ballast again when there is space, and looks again."""
        if not self._journal.short.is_set() or self._free(self._journal.path.parent) < self._hold_below * GOES_ON_AT:
            return
        if await self._journal.refill():
            self.look()
