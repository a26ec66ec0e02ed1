"""What a run waits for by name: times, conditions, questions, devices. Each can be called off."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from labd.run.agenda import Agenda, Work


@dataclass(slots=True)
class Waits:
    """The waiting tasks of one run, by the ids of their steps."""

    agenda: Agenda
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def begin(self, id: str, work: Work, what: str) -> None:  # noqa: A002 - the word of the field
        """Begins to wait."""
        task = self._tasks[id] = self.agenda.wait(work, what)
        task.add_done_callback(lambda ended: self._ended(id, ended))

    def _ended(self, id: str, task: asyncio.Task[None]) -> None:  # noqa: A002
        if self._tasks.get(id) is task:
            del self._tasks[id]

    def call_off(self, id: str) -> bool:  # noqa: A002
        """Ends a wait; gives whether it was there."""
        task = self._tasks.pop(id, None)
        if task is not None:
            task.cancel()
        return task is not None

    def forget(self) -> None:
        """Nothing is known any more of what waits; the agenda ends it."""
        self._tasks.clear()
