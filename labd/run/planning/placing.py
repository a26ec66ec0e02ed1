"""Putting one work into what is free: all its tasks at once, so that it never waits for what it cannot get.

Because a whole work is put in, no plan can lock: whoever has begun is sure of all that it needs up to its end.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from labd.run.planning.model import Stay
from labd.run.planning.shop import NEVER, Item, Placement, Shop

MOST_TRIES = 500


@dataclass(slots=True)
class Calendar:
    """When one unit is not free: stretches in order, that do not overlap."""

    begins: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def clash(self, begin: int, end: int) -> int | None:
        """When what is first in the way of a stretch ends; None where nothing is."""
        at = bisect_right(self.ends, begin)
        return self.ends[at] if at < len(self.begins) and self.begins[at] < end else None

    def next_free(self, begin: int, length: int) -> int:
        """The first time from `begin` on at which it is free for so long."""
        begins, ends = self.begins, self.ends
        most = len(begins)
        at = bisect_right(ends, begin)
        while at < most and begins[at] < begin + length:
            begin = ends[at]
            at += 1
        return begin

    def room(self, begin: int) -> int:
        """Until when it is free from `begin` on."""
        at = bisect_right(self.ends, begin)
        return self.begins[at] if at < len(self.begins) else NEVER

    def take(self, begin: int, end: int) -> None:
        if end <= begin:
            return
        at = bisect_left(self.begins, begin)
        joins, meets = at > 0 and self.ends[at - 1] == begin, at < len(self.begins) and self.begins[at] == end
        if joins and meets:
            self.ends[at - 1] = self.ends[at]
            del self.begins[at], self.ends[at]
        elif joins:
            self.ends[at - 1] = end
        elif meets:
            self.begins[at] = begin
        else:
            self.begins.insert(at, begin)
            self.ends.insert(at, end)

    def give_back(self, begin: int) -> None:
        at = bisect_left(self.begins, begin)
        del self.begins[at], self.ends[at]


@dataclass(slots=True)
class Board:
    """The calendars of all units, while works are put in one after the other."""

    shop: Shop
    calendars: dict[str, Calendar]
    steps: int = 0  # tasks that were looked at: how long it took, told so that it is the same everywhere
    waiting: dict[str, str] = field(default_factory=dict)  # unit that holds the sample of a work not put in yet -> it

    @classmethod
    def of(cls, shop: Shop) -> Board:
        """With what is closed, and what works that have begun hold."""
        names = {unit for units in shop.bench.units.values() for unit in units}
        names |= {unit for item in shop.items for units in item.fixed.values() for unit in units}
        names |= {unit for item in shop.items for unit, _ in item.held}
        board = cls(shop, {name: Calendar() for name in sorted(names)})
        for item in shop.items:
            for unit in dict.fromkeys(
                [*(one for units in item.fixed.values() for one in units), *(unit for unit, _ in item.held)]
            ):
                board.waiting[unit] = item.work.id
                board.calendars[unit].take(0, NEVER)
        for unit, until in shop.closed.items():
            if unit in board.calendars and unit not in board.waiting:
                board.calendars[unit].take(0, until)
        return board

    def copy(self) -> Board:
        """For another try."""
        same = {name: Calendar(list(one.begins), list(one.ends)) for name, one in self.calendars.items()}
        return Board(self.shop, same, waiting=dict(self.waiting))

    def release(self, item: Item) -> list[str]:
        """Gives free what a work holds while it waits to be put in."""
        own = [unit for unit, work in self.waiting.items() if work == item.work.id]
        for unit in own:
            self.calendars[unit].give_back(0)
            del self.waiting[unit]
        return own

    def hold(self, item: Item, units: Iterable[str]) -> None:
        """The contrary of release."""
        for unit in units:
            self.calendars[unit].take(0, NEVER)
            self.waiting[unit] = item.work.id

    def put(self, item: Item, placed: Placement, lo: int, hi: int) -> None:
        """Enters what tasks from `lo` up to `hi` occupy."""
        for number, stay in enumerate(item.stays):
            if not lo <= stay.last < hi:
                continue
            end = placed.starts[stay.last] + item.duration[stay.last]
            begin = 0 if number in item.fixed else placed.starts[stay.tasks[0]]
            for unit in placed.units[number]:
                self.calendars[unit].take(max(0, begin), end)
        for unit, last in item.held:
            if lo <= last < hi:
                self.calendars[unit].take(0, max(0, placed.starts[last] + item.duration[last]))

    def extend(self, item: Item, known: Placement, lo: int, hi: int, floor: int = 0) -> Placement | None:
        """Puts the tasks from `lo` up to `hi` in, as early as they go. None: they do not go.

        Args:
            item: the work.
            known: where the tasks before them are.
            lo: the first of them.
            hi: the one after the last of them.
            floor: the first of them does not begin before.
        """
        own = self.release(item)
        placed = _Try(self, item, known, lo, hi, floor).run()
        if placed is None:
            self.hold(item, own)
        else:
            self.put(item, placed, 0 if lo == item.first else lo, hi)
        return placed

    def soonest(self, item: Item, index: int, begin: int) -> int:
        """A time before which a task does not begin, found fast: each of its new units looked at alone."""
        self.steps += 1
        length = item.duration[index]
        for number, stay in enumerate(item.stays):
            if stay.tasks[0] == index and number not in item.fixed:
                units = self.shop.bench.units.get(stay.role, ())
                begin = min((self.calendars[unit].next_free(begin, length) for unit in units), default=begin)
        return begin

    def peek(self, item: Item, known: Placement, lo: int, hi: int, floor: int = 0) -> Placement | None:
        """Where they would be put."""
        own = self.release(item)
        placed = _Try(self, item, known, lo, hi, floor).run()
        self.hold(item, own)
        return placed

    def rigid(self, item: Item, template: Sequence[int], floor: int = 0) -> Placement | None:
        """Puts a whole work in that has not begun, in exactly these steps after its first start."""
        at = max(floor, item.ready, 0)
        for _ in range(MOST_TRIES):
            found = self._units_at(item, template, at)
            if isinstance(found, list):
                placed = Placement(tuple(at + one for one in template), tuple(found))
                self.put(item, placed, 0, item.size)
                return placed
            at = found
            if at >= NEVER:
                return None
        return None

    def _units_at(self, item: Item, template: Sequence[int], at: int) -> list[tuple[str, ...]] | int:
        """The units of each stay when its template begins at a time; or when to try next."""
        chosen: list[tuple[str, ...]] = []
        for stay in item.stays:
            begin = at + template[stay.tasks[0]]
            end = at + template[stay.last] + item.duration[stay.last]
            taken = _taken(item.stays, chosen, stay)
            later: list[int] = []
            free: list[str] = []
            for unit in self.shop.bench.units.get(stay.role, ()):
                if unit in taken:
                    continue
                clash = self.calendars[unit].clash(begin, end)
                if clash is None:
                    free.append(unit)
                    if len(free) == stay.count:
                        break
                else:
                    later.append(clash - begin)
            if len(free) < stay.count:
                missing = stay.count - len(free)
                return at + sorted(later)[missing - 1] if len(later) >= missing else NEVER
            chosen.append(tuple(free))
        return chosen


def _taken(stays: Sequence[Stay], chosen: Sequence[tuple[str, ...]], stay: Stay) -> set[str]:
    """Units of stays of the same work that meet this one."""
    found: set[str] = set()
    for other, units in zip(stays, chosen, strict=False):
        if other.tasks[0] <= stay.last and stay.tasks[0] <= other.last:
            found |= set(units)
    return found


@dataclass(slots=True)
class _Try:
    """One work is put in: forwards as early as it goes; what breaks a window or a stay is tried again later."""

    board: Board
    item: Item
    known: Placement
    lo: int
    hi: int
    floor: int
    starts: list[int] = field(default_factory=list)
    least: list[int] = field(default_factory=list)
    bars: dict[tuple[int, str], int] = field(default_factory=dict)  # a stay does not begin on a unit before this
    chosen: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def run(self) -> Placement | None:
        item = self.item
        self.least = [0] * item.size
        for index in range(self.lo, self.hi):
            self.least[index] = max(self.floor if index == self.lo else 0, item.ready, 0)
        for number, units in item.fixed.items():
            closed = max([0, *(self.board.shop.closed.get(unit, 0) for unit in units)])
            for index in item.stays[number].tasks:
                self.least[index] = max(self.least[index], closed)
        for _ in range(MOST_TRIES):
            done = self._pass()
            if done is None:
                return None
            if done:
                chosen = tuple(self.chosen.get(number, ()) for number in range(len(item.stays)))
                return Placement(tuple(self.starts), chosen)
        return None

    def _pass(self) -> bool | None:
        """True: all tasks have found their place. False: again with what was learnt. None: never."""
        item = self.item
        self.starts = list(self.known.starts)
        self.chosen = {
            number: units
            for number, units in enumerate(self.known.units)
            if number in item.fixed or item.stays[number].tasks[0] < self.lo
        }
        for index in range(self.lo, self.hi):
            begin = max([self.least[index], *(self.starts[before] + lag for before, lag in item.lags[index])])
            settled = self._settle(index, begin)
            if settled >= NEVER:
                return None
            self.starts[index] = settled
            if not self._stays_free(index) or not self._in_time(index):
                return False
        return True

    def _settle(self, index: int, begin: int) -> int:
        """The first time at which all units that a task newly takes are free; they are chosen."""
        self.board.steps += 1
        opening = [
            number
            for number, stay in enumerate(self.item.stays)
            if number not in self.item.fixed and stay.tasks[0] == index
        ]
        while True:
            at = begin
            for number in opening:
                self.chosen.pop(number, None)
            for number in opening:
                at = self._choose(number, index, at)
                if at >= NEVER:
                    return at
            if at == begin:
                return at
            begin = at

    def _choose(self, number: int, index: int, at: int) -> int:
        stay, length = self.item.stays[number], self.item.duration[index]
        taken = {
            unit
            for other, units in self.chosen.items()
            if other != number and self.item.stays[other].last >= index and self.item.stays[other].tasks[0] <= stay.last
            for unit in units
        }
        times: list[tuple[int, int, int, str]] = []
        for place, unit in enumerate(self.board.shop.bench.units.get(stay.role, ())):
            if unit in taken:
                continue
            calendar = self.board.calendars[unit]
            free = calendar.next_free(max(at, self.bars.get((number, unit), 0)), length)
            times.append((free, -calendar.room(free) if stay.last > index else 0, place, unit))
        if len(times) < stay.count:
            return NEVER
        times.sort()
        best = times[: stay.count]
        self.chosen[number] = tuple(unit for *_, unit in best)
        return max(at, best[-1][0])

    def _stays_free(self, index: int) -> bool:
        """Whether what holds the sample can hold it until this task has ended."""
        end = self.starts[index] + self.item.duration[index]
        free = True
        for number, stay in enumerate(self.item.stays):
            if number in self.item.fixed or not stay.tasks[0] <= index <= stay.last:
                continue
            begin = self.starts[stay.tasks[0]]
            for unit in self.chosen[number]:
                clash = self.board.calendars[unit].clash(begin, end)
                if clash is not None:
                    self.bars[number, unit] = clash
                    free = False
        return free

    def _in_time(self, index: int) -> bool:
        """Whether the windows that end with this task are kept; if not, they are to begin later."""
        kept = True
        for cap in self.item.caps:
            late = self.starts[index] - self.starts[cap.begin] - cap.most
            if cap.finish == index and late > 0 and cap.begin >= self.lo:
                self.least[cap.begin] = self.starts[cap.begin] + late
                kept = False
        return kept
