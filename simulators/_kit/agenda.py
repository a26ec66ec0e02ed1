"""What is due when: a simulated machine that sleeps until somebody looks."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(order=True)
class _Due:
    at: float
    order: int
    act: Callable[[float], None] = field(compare=False)


class Agenda:
    """Things to do, each at its own time (s on one clock of the caller's). `now` is how far it has got."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[_Due] = []
        self._order = itertools.count()

    def put(self, at: float, act: Callable[[float], None]) -> None:
        """`act` is called with its time when `advance` gets there; of one time, in the order they were put."""
        heapq.heappush(self._due, _Due(at, next(self._order), act))

    def advance(self, now: float) -> None:
        """Does all that is due until then, and what that puts."""
        while self._due and self._due[0].at <= now:
            due = heapq.heappop(self._due)
            self.now = max(self.now, due.at)
            due.act(due.at)
        self.now = max(self.now, now)

    @property
    def next(self) -> float | None:
        """When something happens next without anybody's doing."""
        return self._due[0].at if self._due else None

    def clear(self) -> None:
        """Forgets all that was to come."""
        self._due.clear()
