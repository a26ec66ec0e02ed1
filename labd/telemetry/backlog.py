"""What waits for the broker: how much and since when, what it may come to, and what had to be given up.

The events themselves stand in the journal; here is only the count of them, by stretches of some hundred.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labd import clock
from labd.journal.waiting import STRETCH, Stretch, Written
from labd.lab.backlog import Backlog as Budget
from labd.lab.sizes import size_text

WARN_AT = 0.8  # of the budget
TOLD = 5  # runs that an alarm names
MOST_RANGES = 1_000  # of what was given up, kept by run; older ones are joined


@dataclass(slots=True)
class Waiting:
    """The events behind the mark, counted."""

    budget: Budget
    size: int = 0
    _stretches: deque[Stretch] = field(default_factory=deque)

    def __bool__(self) -> bool:
        return bool(self._stretches)

    @property
    def last(self) -> int:
        """The seq of the newest; 0 when none waits."""
        return self._stretches[-1].last if self._stretches else 0

    def add(self, event: Written) -> None:
        newest = self._stretches[-1] if self._stretches else None
        if newest is None or newest.last - newest.first + 1 >= STRETCH or newest.size > self.budget.size // 20:
            self.found(Stretch(event.seq, event.seq, event.size, event.at))
        else:
            newest.add(event)
            self.size += event.size

    def found(self, stretch: Stretch) -> None:
        """Takes up events that follow those known."""
        self._stretches.append(stretch)
        self.size += stretch.size

    def taken(self, seq: int) -> None:
        """They wait no more up to this one. A stretch counts whole until its last is taken."""
        while self._stretches and self._stretches[0].last <= seq:
            self.size -= self._stretches.popleft().size

    def beyond(self) -> int:
        """The seq up to which the budget is exceeded; 0: it is not."""
        size, now, last = self.size, clock.now(), 0
        for stretch in self._stretches:
            if size <= self.budget.size and _seconds(now, stretch.at) <= self.budget.age:
                break
            last, size = stretch.last, size - stretch.size
        return last

    @property
    def age(self) -> float:
        """How many s the oldest have waited."""
        return _seconds(clock.now(), self._stretches[0].at) if self._stretches else 0.0

    @property
    def nearly(self) -> bool:
        """Whether the budget is nearly exceeded."""
        return self.size > self.budget.size * WARN_AT or self.age > self.budget.age * WARN_AT

    def next_look(self) -> float | None:
        """How many s until age alone changes something; None: nothing waits."""
        if not self._stretches:
            return None
        at = self.budget.age * WARN_AT if self.age <= self.budget.age * WARN_AT else self.budget.age
        return max(at - self.age, 0.0) + 1.0

    def told(self) -> str:
        """In words."""
        return (
            f"{size_text(self.size)} of events wait for the MQTT broker, the oldest for {_days(self.age)}; beyond "
            f"{size_text(self.budget.size)} or {_days(self.budget.age)} the oldest are not sent any more"
        )


@dataclass(slots=True)
class Gaps:
    """What was given up: by run, the numbers of the first and the last event of each gap."""

    ranges: dict[str, list[list[int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, kept: Mapping[str, Any] | None) -> Gaps:
        return cls({run: [list(one) for one in found] for run, found in (kept or {}).get("runs", {}).items()})

    def kept(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return {"runs": self.ranges}

    def add(self, run: str, first: int, last: int) -> None:
        found = self.ranges.setdefault(run, [])
        if found and first <= found[-1][1] + 1:
            found[-1] = [min(first, found[-1][0]), max(last, found[-1][1])]
        else:
            found.append([first, last])
        if len(found) > MOST_RANGES:
            found[:2] = [[found[0][0], found[1][1]]]

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def told(self) -> str:
        """In words, with the runs that lack most."""
        runs = sorted(self.ranges, key=lambda run: -sum(last - first + 1 for first, last in self.ranges[run]))
        named = "; ".join(f"{run} seq {_ranges(self.ranges[run])}" for run in runs[:TOLD])
        more = f"; and of {len(runs) - TOLD} more runs" if len(runs) > TOLD else ""
        run, (first, last) = runs[0], self.ranges[runs[0]][0]
        return (
            f"the backlog for the MQTT broker was full: some events are not sent any more: {named}{more}. They stand "
            f"in the journal: GET /api/v1/runs/{run}/events?skip={first - 1}&limit={min(last - first + 1, 10_000)}; "
            f"acknowledge this once who needs them has them"
        )


def _ranges(found: list[list[int]]) -> str:
    told = ", ".join(f"{first} to {last}" for first, last in found[-3:])
    return told if len(found) <= 3 else f"{found[0][0]} to {found[0][1]}, …, {told}"


def _seconds(now: datetime, at: str) -> float:
    return (now - datetime.fromisoformat(at)).total_seconds()


def _days(seconds: float) -> str:
    return f"{seconds / 86400:.3g} days" if seconds >= 172_800 else f"{seconds / 3600:.3g} h"
