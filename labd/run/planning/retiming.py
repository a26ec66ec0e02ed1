"""A plan kept in its order and timed anew: what comes a little earlier or later than expected does not turn it over.

On each unit the works keep their turns; each task begins as early as that and the time windows let it. That is a
system of least differences between starts, which is relaxed until it stands still (Bellman and Ford). Then what opens a
time window is put off for as long as nothing else has to wait for it: electrolyte does not stand about.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import pairwise

from labd.run.planning.bounds import lower_bound
from labd.run.planning.model import Bench, Plan, Row, Work, stays_of
from labd.run.planning.shop import broken_in

SWEEPS = 60  # a system that needs more has no solution, or next to none
MARGIN = 0.15  # of each window that is left unused, where that can be
SLACK = 1e-6  # s

Node = tuple[str, int]


@dataclass(slots=True)
class _Times:
    """Starts and durations by work and task, and what must lie between starts.

    Args:
        arcs: by node, the nodes that begin at least so many seconds after it; the seconds may be negative.
        fixed: nodes that have begun.
    """

    starts: dict[Node, float] = field(default_factory=dict)
    lasts: dict[Node, float] = field(default_factory=dict)
    fixed: set[Node] = field(default_factory=set)
    arcs: dict[Node, list[tuple[Node, float]]] = field(default_factory=lambda: defaultdict(list))

    def relaxed(self, order: Sequence[Node]) -> bool:
        """Moves starts later until all holds; gives whether it does. In a plan's order one sweep does nearly all."""
        for _ in range(SWEEPS):
            still = True
            for node in order:
                begin = self.starts[node]
                for other, seconds in self.arcs.get(node, ()):
                    if self.starts[other] < begin + seconds - SLACK:
                        if other in self.fixed:
                            return False
                        self.starts[other] = begin + seconds
                        still = False
            if still:
                return True
        return False

    def closed_up(self, order: Sequence[Node], inside: AbstractSet[Node]) -> None:
        """Moves what lies between the edges of windows as late as nothing else is moved for it: windows open late."""
        for node in reversed(order):
            if node in inside and node not in self.fixed:
                latest = [self.starts[other] - seconds for other, seconds in self.arcs.get(node, ()) if seconds >= 0]
                if latest:
                    self.starts[node] = max(self.starts[node], min(latest))


def retimed(plan: Plan, works: Sequence[Work], bench: Bench, now: float) -> Plan | None:
    """The same plan as of now; None where its order does not do any more, and it has to be planned anew.

    Of windows only those break that are open already.

    Args:
        plan: of before.
        works: as they are now; those that have ended are left away, no other may be new.
        bench: the units, as they are now.
        now: on the clock of all these times.
    """
    by_work: dict[str, list[Row]] = defaultdict(list)
    for row in plan.rows:
        by_work[row.work].append(row)
    rows = {work.id: sorted(by_work[work.id], key=lambda row: row.task) for work in works}
    if plan.unplanned or not all(_stands(work, rows[work.id], bench) for work in works):
        return None
    for margin, opened in ((MARGIN, True), (0.0, True), (MARGIN, False)):
        times = _timed(works, rows, bench, now, margin, opened=opened)
        if times is not None:
            return _plan(plan, works, rows, times, bench, now)
    return None


def _stands(work: Work, rows: Sequence[Row], bench: Bench) -> bool:
    """Whether a plan has what a work will do, with units that are there."""
    if [row.state for row in rows] != [task.state for task in work.tasks]:
        return False
    ahead = rows[len(work.begun) :]
    return not any(bench.closed.get(unit, 0.0) == math.inf for row in ahead for unit in _units(row))


def _units(row: Row) -> Iterator[str]:
    for units in row.units.values():
        yield from units


def _timed(
    works: Sequence[Work],
    rows: Mapping[str, Sequence[Row]],
    bench: Bench,
    now: float,
    margin: float,
    *,
    opened: bool,
) -> _Times | None:
    """The times; None where there are none. Without `opened`, windows that are open already may break."""
    times = _Times()
    for work in works:
        _add_tasks(times, work, rows[work.id], bench, now)
        _add_windows(times, work, margin, opened=opened)
    _add_turns(times, works, rows)
    planned = {(work.id, row.task): row.start for work in works for row in rows[work.id]}
    order = sorted(times.starts, key=lambda node: (planned[node], node[1]))
    if not times.relaxed(order):
        return None
    times.closed_up(sorted(times.starts, key=lambda node: (times.starts[node], node[1])), set(_inside(works)))
    return times


def _inside(works: Sequence[Work]) -> Iterator[Node]:
    """The tasks from the begin of a window to the one before its end."""
    for work in works:
        for window in work.windows:
            if window.within is not None:
                yield from ((work.id, index) for index in range(window.begin[0], window.finish[0]))


def _add_tasks(times: _Times, work: Work, rows: Sequence[Row], bench: Bench, now: float) -> None:
    """Each after the one before it; what has begun stays."""
    for index, task in enumerate(work.tasks):
        node = (work.id, index)
        times.lasts[node] = max(0.0, task.duration)
        if index < len(work.begun):
            begun = work.begun[index]
            end = begun.end if begun.end is not None else max(begun.start + task.duration, now, work.ready)
            times.starts[node], times.lasts[node] = begun.start, max(0.0, end - begun.start)
            times.fixed.add(node)
        else:
            open_at = (bench.closed.get(unit, now) for unit in _units(rows[index]))
            times.starts[node] = max(now, work.ready, *open_at)
        if index:
            times.arcs[work.id, index - 1].append((node, times.lasts[work.id, index - 1]))


def _add_windows(times: _Times, work: Work, margin: float, *, opened: bool) -> None:
    """The time between two edges of a work's tasks."""
    for window in work.windows:
        (begin, begins), (finish, ends) = window.begin, window.finish
        if not begin <= finish < len(work.tasks):
            continue
        one, other = (work.id, begin), (work.id, finish)
        shift = (times.lasts[one] if begins == "end" else 0.0) - (times.lasts[other] if ends == "end" else 0.0)
        if window.at_least is not None and one != other:
            times.arcs[one].append((other, window.at_least + shift))
        kept = other not in times.fixed and (opened or one not in times.fixed)
        if window.within is not None and one != other and kept:
            times.arcs[other].append((one, -(window.within * (1 - margin) + shift)))


@dataclass(frozen=True, slots=True)
class _Turn:
    """A stretch in which a work has a unit: from the start of one task to the end of another."""

    planned: float
    first: Node
    last: Node


def _add_turns(times: _Times, works: Sequence[Work], rows: Mapping[str, Sequence[Row]]) -> None:
    """On each unit one work after the other, in the order of the plan."""
    turns: dict[str, list[_Turn]] = defaultdict(list)
    for work in works:
        own, begun = rows[work.id], len(work.begun)
        for stay in stays_of(work):
            if (work.id, stay.last) in times.fixed and work.begun[stay.last].end is not None:
                continue  # it has left
            first = stay.tasks[0]
            has = work.begun[first].units.get(stay.role, ()) if first < begun else own[first].units.get(stay.role, ())
            planned = work.begun[first].start if first < begun else own[first].start
            for unit in has:
                turns[unit].append(_Turn(planned, (work.id, first), (work.id, stay.last)))
        for role, unit in work.at.items():
            leaves = next((index for index in range(begun, len(work.tasks)) if role in work.tasks[index].frees), None)
            if leaves is not None and not any(turn.first[0] == work.id for turn in turns[unit]):
                turns[unit].append(_Turn(float("-inf"), (work.id, begun), (work.id, leaves)))
    for one_after_the_other in turns.values():
        one_after_the_other.sort(key=lambda turn: (turn.first not in times.fixed, turn.planned))
        for before, after in pairwise(one_after_the_other):
            times.arcs[before.last].append((after.first, times.lasts[before.last]))


def _plan(
    plan: Plan, works: Sequence[Work], rows: Mapping[str, Sequence[Row]], times: _Times, bench: Bench, now: float
) -> Plan:
    found: list[Row] = []
    for work in works:
        for index, row in enumerate(rows[work.id]):
            node = (work.id, index)
            begun = work.begun[index] if index < len(work.begun) else None
            start = times.starts[node]
            units = row.units if begun is None else begun.units
            found.append(replace(row, start=start, end=start + times.lasts[node], units=units, begun=begun is not None))
    first: dict[str, float] = {}
    for row in found:
        first[row.work] = min(row.start, first.get(row.work, row.start))
    found.sort(key=lambda row: (first[row.work], row.work, row.task))
    makespan = max((row.end for row in found), default=now) - now
    broken = [one for work in works for one in broken_in(work, [row for row in found if row.work == work.id])]
    return Plan(tuple(found), now, makespan, lower_bound(works, bench, now), plan.solver, tuple(broken))
