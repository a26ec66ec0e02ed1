"""Works in whole ticks of a tenth of a second from now: what all ways of planning reckon with.

Durations are rounded up and limits down, so that what holds in ticks holds in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from labd.run.planning.model import Bench, Broken, Plan, Row, Stay, Work, stays_of

TICK = 0.1  # s
MARGIN = 0.15  # of each window is left unused where that can be: no run takes as long as expected
NEVER = 10**12  # ticks; when what is never free is free


@dataclass(frozen=True, slots=True)
class Cap:
    """The start of one task comes at most so many ticks after that of another."""

    begin: int
    finish: int
    most: int


@dataclass(frozen=True, slots=True)
class Placement:
    """When the tasks of an item begin, and which units its stays have."""

    starts: tuple[int, ...]
    units: tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class Item:
    """One work.

    Args:
        first: the first task that has not begun; those before it have their starts in `starts`.
        duration, starts: by task.
        held: units that hold its sample although no task needs them, and the task at whose end they are free.
        cuts: where it may be parted, tasks before which it holds no unit and no window is open; its size is the last.
        lags: for each task, what comes before it and how many ticks its start at least comes after the other's.
        fixed: the units that stays have already, by the stay's place in `stays`; they have them from now on.
    """

    work: Work
    first: int
    duration: list[int]
    starts: list[int]
    ready: int
    stays: list[Stay]
    fixed: dict[int, tuple[str, ...]]
    lags: list[list[tuple[int, int]]]
    caps: list[Cap]
    key: tuple[object, ...]
    held: list[tuple[str, int]] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.duration)

    @property
    def begun(self) -> Placement:
        """Where what has begun is."""
        return Placement(tuple(self.starts), tuple(self.fixed.get(number, ()) for number in range(len(self.stays))))

    def end_of(self, starts: Sequence[int]) -> int:
        """When the last task ends."""
        return starts[-1] + self.duration[-1] if self.duration else 0


@dataclass(slots=True)
class Shop:
    """All works, and the units there are.

    Args:
        order: the items in the order in which they are served by default: begun ones, then by priority.
    """

    bench: Bench
    now: float
    items: list[Item]
    order: list[Item]
    closed: dict[str, int]

    def capacity(self, role: str) -> int:
        return len(self.bench.units.get(role, ()))


SHUT = "what it needs is not free again at any time that is known"

Schedule = Mapping[str, Placement]
"""Placements by the work's id."""


def up(seconds: float) -> int:
    return NEVER if math.isinf(seconds) and seconds > 0 else math.ceil(seconds / TICK - 1e-6)


def down(seconds: float) -> int:
    return math.floor(seconds / TICK + 1e-6)


def shop_of(works: Sequence[Work], bench: Bench, now: float, margin: float = MARGIN) -> Shop:
    """The works in ticks; of each window a share is left unused."""
    items = [_item(work, now, margin) for work in works]
    order = sorted(items, key=lambda item: (item.first == 0 and not item.work.at, -item.work.priority))
    closed = {unit: up(until - now) for unit, until in bench.closed.items() if until > now}
    return Shop(bench, now, items, order, closed)


def _item(work: Work, now: float, margin: float) -> Item:
    first = len(work.begun)
    duration = [max(0, up(task.duration)) for task in work.tasks]
    starts = [0] * len(duration)
    ready = max(0, up(work.ready - now)) if work.ready > -math.inf else 0
    for index, begun in enumerate(work.begun):
        starts[index] = down(begun.start - now)
        end = begun.end
        if end is None:
            end = max(begun.start + work.tasks[index].duration, now, work.ready)
        duration[index] = max(0, up(end - now) - starts[index])
    stays = list(stays_of(work))
    lags: list[list[tuple[int, int]]] = [
        [(index - 1, duration[index - 1])] if index else [] for index in range(len(duration))
    ]
    caps: list[Cap] = []
    rules = [one for one in work.windows if one.begin[0] <= one.finish[0] < len(duration)]
    for window in rules:
        (begin, from_edge), (finish, to_edge) = window.begin, window.finish
        shift = (duration[begin] if from_edge == "end" else 0) - (duration[finish] if to_edge == "end" else 0)
        if window.at_least is not None and begin != finish:
            lags[finish].append((begin, up(window.at_least) + shift))
    for window in rules:
        (begin, from_edge), (finish, to_edge) = window.begin, window.finish
        shift = (duration[begin] if from_edge == "end" else 0) - (duration[finish] if to_edge == "end" else 0)
        if window.within is not None and begin != finish and finish >= first:
            least = least_gap(lags, begin, finish)
            caps.append(Cap(begin, finish, max(down(window.within * (1 - margin)) + shift, least)))
    fixed = _fixed(work, stays, first)
    key = (
        tuple(
            (one, tuple(sorted(task.roles.items())), task.keeps, task.frees)
            for one, task in zip(duration, work.tasks, strict=True)
        ),
        tuple((cap.begin, cap.finish, cap.most) for cap in caps),
        tuple(tuple(sorted(one)) for one in lags),
    )
    item = Item(work, first, duration, starts, ready, stays, fixed, lags, caps, key, _held(work, fixed))
    item.cuts = [at for at in range(first, len(duration) + 1) if at == len(duration) or _is_cut(item, at)]
    return item


def _is_cut(item: Item, at: int) -> bool:
    if any(at <= last for _, last in item.held) or any(cap.begin < at <= cap.finish for cap in item.caps):
        return False
    for number, stay in enumerate(item.stays):
        since = 0 if number in item.fixed else stay.tasks[0] + 1
        if since <= at <= stay.last:
            return False
    return True


def least_gap(lags: Sequence[Sequence[tuple[int, int]]], begin: int, finish: int) -> int:
    """The least ticks from one start to another."""
    far = {begin: 0}
    for index in range(begin + 1, finish + 1):
        far[index] = max(far[before] + lag for before, lag in lags[index] if before in far)
    return far[finish]


def _fixed(work: Work, stays: Sequence[Stay], first: int) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    at = dict(work.at)
    for number, stay in enumerate(stays):
        begun = [index for index in stay.tasks if index < first and stay.role in work.begun[index].units]
        if begun and (stay.last >= first or work.begun[first - 1].end is None):
            units = work.begun[begun[-1]].units[stay.role]
            if stay.last >= first or stay.last == first - 1:
                found[number] = units
                at.pop(stay.role, None)
        elif not begun and stay.tasks[0] >= first and stay.role in at and stay.count == 1:
            found[number] = (at.pop(stay.role),)
    return found


def _held(work: Work, fixed: Mapping[int, tuple[str, ...]]) -> list[tuple[str, int]]:
    """Units that hold its sample now although no task of it needs them: until one frees them, or until it has ended."""
    known = {unit for units in fixed.values() for unit in units}
    found: list[tuple[str, int]] = []
    for role, unit in work.at.items():
        if unit not in known and work.tasks:
            frees = (index for index in range(len(work.begun), len(work.tasks)) if role in work.tasks[index].frees)
            found.append((unit, next(frees, len(work.tasks) - 1)))
    return found


def plan_of(shop: Shop, schedule: Schedule, bound: float, solver: str, unplanned: Mapping[str, str]) -> Plan:
    """A schedule in seconds."""
    found: list[tuple[float, list[Row]]] = []
    broken: list[Broken] = []
    for item in shop.items:
        if item.work.id in schedule:
            rows = _rows(shop, item, schedule[item.work.id])
            if rows and max(schedule[item.work.id].starts) >= NEVER:
                unplanned = {**unplanned, item.work.id: SHUT}
                continue
            broken += broken_in(item.work, rows)
            if rows:
                found.append((rows[0].start, rows))
    found.sort(key=lambda entry: entry[0])
    rows = [row for _, entry in found for row in entry]
    makespan = max([0.0, *(row.end - shop.now for row in rows)])
    return Plan(tuple(rows), shop.now, makespan, bound, solver, tuple(broken), dict(unplanned))


def _rows(shop: Shop, item: Item, placed: Placement) -> list[Row]:
    rows: list[Row] = []
    for index, task in enumerate(item.work.tasks):
        start = shop.now + placed.starts[index] * TICK
        end = shop.now + (placed.starts[index] + item.duration[index]) * TICK
        units = {
            stay.role: placed.units[number][: task.roles[stay.role]]
            for number, stay in enumerate(item.stays)
            if index in stay.tasks
        }
        if index < item.first:
            begun = item.work.begun[index]
            start, units = begun.start, dict(begun.units)
            end = end if begun.end is None else begun.end
        rows.append(Row(item.work.id, index, task.state, units, start, end, index < item.first))
    return rows


def broken_in(work: Work, rows: Sequence[Row]) -> list[Broken]:
    """The windows of one work that its rows do not keep."""
    found: list[Broken] = []
    for window in work.windows:
        if not window.begin[0] <= window.finish[0] < len(rows):
            continue
        apart = _edge(rows, window.finish) - _edge(rows, window.begin)
        over = max(
            apart - window.within if window.within is not None else -math.inf,
            window.at_least - apart if window.at_least is not None else -math.inf,
        )
        if over > 1e-6:
            found.append(Broken(work.id, window, over))
    return found


def _edge(rows: Sequence[Row], edge: tuple[int, str]) -> float:
    row = rows[edge[0]]
    return row.start if edge[1] == "start" else row.end
