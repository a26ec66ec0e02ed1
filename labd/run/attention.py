"""Runs that need a person, one after another: for whoever answers in a person's place."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from labd.lab.bus import Bus, Happening, RunState


@dataclass(slots=True)
class Attention:
    """Runs that ask something or are held, each once for each question and each hold, as the bus tells of them."""

    bus: Bus
    _waiting: asyncio.Queue[RunState] = field(default_factory=asyncio.Queue)
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.bus.subscribe(self._hear, RunState)

    def _hear(self, happening: Happening) -> None:
        if not isinstance(happening, RunState):
            return
        what = happening.question["id"] if happening.question else happening.since
        if (happening.question or happening.state == "Held") and (happening.run, what) not in self._seen:
            self._seen.add((happening.run, what))
            self._waiting.put_nowait(happening)

    async def next(self) -> RunState:
        """The next run that needs somebody."""
        return await self._waiting.get()
