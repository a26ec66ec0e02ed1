"""The beat of identical works: one pattern of starts that, begun anew each period, never meets itself.

A shift makes the same cell many times. Where it pays, one task of a cell waits a little, so that a task of the next
cell fits between: that is found once for the pattern, not for each cell, by a bounded search over the starts in one
cell, with the use of all units counted modulo the period.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from labd.run.planning.shop import Item, Shop

NODES = 600  # places that are tried for one period
STRETCHES = (0.0, 0.003, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.25)  # of the least period


@dataclass(frozen=True, slots=True)
class _Use:
    role: int
    count: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _Pattern:
    """What the search is over; hashable, so that a pattern is searched once."""

    duration: tuple[int, ...]
    lags: tuple[tuple[tuple[int, int], ...], ...]
    caps: tuple[tuple[int, int, int], ...]
    uses: tuple[_Use, ...]
    capacity: tuple[int, ...]


def beat(shop: Shop, item: Item) -> tuple[int, ...] | None:
    """When each task of a work begins after its first, so that such works follow each other fast; None: not found.

    Only for works that have not begun, and whose roles share no units.
    """
    roles = sorted({stay.role for stay in item.stays})
    units = [unit for role in roles for unit in shop.bench.units.get(role, ())]
    if item.first or item.work.at or not item.size or not units or len(set(units)) < len(units):
        return None
    uses = tuple(_Use(roles.index(stay.role), stay.count, stay.tasks[0], stay.last) for stay in item.stays)
    capacity = tuple(shop.capacity(role) for role in roles)
    if any(use.count > capacity[use.role] for use in uses):
        return None
    caps = tuple((cap.begin, cap.finish, cap.most) for cap in item.caps)
    return _found(_Pattern(tuple(item.duration), tuple(tuple(one) for one in item.lags), caps, uses, capacity))


@lru_cache(maxsize=64)
def _found(pattern: _Pattern) -> tuple[int, ...] | None:
    loads = [0] * len(pattern.capacity)
    for use in pattern.uses:
        loads[use.role] += use.count * sum(pattern.duration[use.first : use.last + 1])
    least = max(-(-load // capacity) for load, capacity in zip(loads, pattern.capacity, strict=True))
    least = max(1, least)
    for stretch in STRETCHES:
        found = _Search(pattern, least + int(least * stretch)).run()
        if found is not None:
            return found
    return None


@dataclass(slots=True)
class _Search:
    pattern: _Pattern
    period: int
    starts: list[int] = field(default_factory=list)
    nodes: int = 0

    def run(self) -> tuple[int, ...] | None:
        return tuple(self.starts) if self._from(0) else None

    def _from(self, index: int) -> bool:
        if index == len(self.pattern.duration):
            return True
        for begin in self._candidates(index):
            self.nodes += 1
            if self.nodes > NODES:
                return False
            self.starts.append(begin)
            if self._fits(index) and self._from(index + 1):
                return True
            self.starts.pop()
        return False

    def _candidates(self, index: int) -> list[int]:
        """Starts that are worth a try: at once, when what is in the way ends, or so that a later task fits."""
        if index == 0:
            return [0]
        pattern, period = self.pattern, self.period
        base = max(self.starts[before] + lag for before, lag in pattern.lags[index])
        roles = {use.role for use in pattern.uses if use.first <= index <= use.last}
        found = {base}
        for use in pattern.uses:
            if use.role not in roles:
                continue
            if use.last < index:
                end = self.starts[use.last] + pattern.duration[use.last]
                found.add(base + (end - base) % period)
            elif use.first > index:
                found.add(base + sum(pattern.duration[use.first : use.last + 1]))
            begin = self.starts[use.first] if use.first < index else None
            if begin is not None:  # just before what comes round again
                before = (begin - pattern.duration[index] - base) % period
                found.add(base + before)
        return sorted(found)

    def _fits(self, index: int) -> bool:
        starts, pattern = self.starts, self.pattern
        for begin, finish, most in pattern.caps:
            if begin < index <= finish:
                ahead = starts[index] - starts[begin] + self._least(index, finish)
                if ahead > most:
                    return False
        return all(self._within(role, index) for role in range(len(pattern.capacity)))

    def _least(self, index: int, finish: int) -> int:
        return sum(self.pattern.duration[index:finish])

    def _within(self, role: int, index: int) -> bool:
        """Whether what is placed up to a task never needs more units of a role than there are."""
        steady, arcs = 0, []
        for use in self.pattern.uses:
            if use.role != role or use.first > index:
                continue
            last = min(use.last, index)
            begin = self.starts[use.first]
            length = self.starts[last] + self.pattern.duration[last] - begin
            steady += use.count * (length // self.period)
            if length % self.period:
                arcs.append((begin % self.period, length % self.period, use.count))
        capacity = self.pattern.capacity[role]
        return steady + _peak(arcs, self.period) <= capacity


def _peak(arcs: Sequence[tuple[int, int, int]], period: int) -> int:
    """The most units that are in use at once on a circle."""
    at: dict[int, int] = {}
    now = 0
    for begin, length, count in arcs:
        at[begin] = at.get(begin, 0) + count
        end = begin + length
        if end >= period:
            now += count if end > period else 0
            end -= period
            if end == 0:
                continue
        at[end] = at.get(end, 0) - count
    most = now
    for moment in sorted(at):
        now += at[moment]
        most = max(most, now)
    return most
