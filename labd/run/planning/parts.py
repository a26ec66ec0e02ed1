"""Works put in by parts: stretches between which a work holds nothing and no window is open.

Of all parts that are next, the one that can begin first is put in; of several, that of the higher priority, then of the
work that is further. So what is free is filled by whatever fits, and still nothing can lock: between its parts a work
has nothing that another could wait for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, groupby

from labd.run.planning.placing import Board
from labd.run.planning.shop import Item, Placement


@dataclass(order=True, slots=True)
class _Next:
    """The next part of a work; `begin` is when it begins at the earliest."""

    begin: int
    rank: tuple[float, ...]
    number: int
    item: Item = field(compare=False)
    known: Placement = field(compare=False)
    lo: int = field(compare=False)
    floor: int = field(default=0, compare=False)

    @property
    def hi(self) -> int:
        return next(cut for cut in self.item.cuts if cut > self.lo)


@dataclass(slots=True)
class Parts:
    """All works put in by parts.

    Args:
        board: where what has begun is put in as far as it holds anything.
        grain: begins that are this near to each other, in ticks, count as the same.
        luck: of works that begin at once, what is added to how far each is, by the task that is next; of the last sum
            the greatest goes first.
    """

    board: Board
    grain: int = 1
    luck: Callable[[int], float] = float
    done: dict[str, Placement] = field(default_factory=dict)
    failed: list[Item] = field(default_factory=list)
    _heap: list[_Next] = field(default_factory=list)
    _lines: dict[tuple[object, ...], list[_Next]] = field(default_factory=dict)  # parts that are alike, the first first
    _numbers: count[int] = field(default_factory=count)

    def run(self, order: Sequence[Item], begun: Mapping[str, tuple[Placement, int]]) -> None:
        """Puts all in, the higher priorities first.

        Args:
            order: of works that are alike, the first goes first.
            begun: how far works are put in already, and up to which task.
        """
        classes = sorted(order, key=lambda item: -item.work.priority)
        for _, of_one in groupby(classes, key=lambda item: item.work.priority):
            self._class(list(of_one), begun)

    def _class(self, items: Sequence[Item], begun: Mapping[str, tuple[Placement, int]]) -> None:
        for item in items:
            known, lo = begun.get(item.work.id, (item.begun, item.first))
            self._push(item, known, lo)
        while self._heap:
            self._step(heapq.heappop(self._heap))

    def _push(self, item: Item, known: Placement, lo: int) -> None:
        """The next part of a work; of those that are alike only the first is looked at, the others come after it."""
        if lo == item.size:
            self.done[item.work.id] = known
            return
        begin = max([item.ready, 0, *(known.starts[before] + lag for before, lag in item.lags[lo])])
        rank = (-self.luck(lo), -sum(item.duration[lo:]))
        part = _Next(begin // self.grain, rank, next(self._numbers), item, known, lo)
        line = self._lines.setdefault((item.key, lo), [])
        line.append(part)
        if len(line) == 1:
            heapq.heappush(self._heap, part)

    def _step(self, part: _Next) -> None:
        soonest = self.board.soonest(part.item, part.lo, max(part.begin * self.grain, part.floor)) // self.grain
        if soonest > part.begin and self._heap and self._heap[0].begin < soonest:
            part.begin = soonest
            heapq.heappush(self._heap, part)
            return
        placed = self.board.peek(part.item, part.known, part.lo, part.hi, part.floor)
        if placed is not None:
            begin = placed.starts[part.lo] // self.grain
            if begin > part.begin and self._heap:
                part.begin = begin
                if self._heap[0] < part:
                    heapq.heappush(self._heap, part)
                    return
            self.board.put(part.item, placed, part.lo, part.hi)
        line = self._lines[part.item.key, part.lo]
        line.pop(0)
        if line:
            line[0].floor = placed.starts[part.lo] if placed is not None else part.floor
            line[0].begin = max(line[0].begin, line[0].floor // self.grain)
            heapq.heappush(self._heap, line[0])
        if placed is None:
            self.failed.append(part.item)
        else:
            self._push(part.item, placed, part.hi)
