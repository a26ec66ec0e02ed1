"""Whether a plan can be carried out: looked at row by row, by none of the means that make plans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

from labd.run.planning.model import Bench, Plan, Row, Work

SLACK = 1e-6  # s


def problems_of(plan: Plan, works: Sequence[Work], bench: Bench) -> list[str]:
    """All that is wrong with a plan, in words; empty where it can be carried out.

    Windows that cannot be kept are told in `Plan.broken`, and are wrong only if they are not.
    """
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in plan.rows:
        rows[row.work].append(row)
    found: list[str] = []
    for work in works:
        own = rows.get(work.id, [])
        if work.id in plan.unplanned:
            found += [f"{work.id} has rows, and is told as unplanned"] if own else []
        elif [row.task for row in own] != list(range(len(work.tasks))):
            found.append(f"{work.id} has not each of its tasks once, in order")
        else:
            found += _of_one(plan, work, own, bench)
    found += _windows(plan, works, rows)
    return found + list(_double(plan, works, rows))


def _of_one(plan: Plan, work: Work, rows: Sequence[Row], bench: Bench) -> Iterator[str]:
    for before, after in pairwise(rows):
        if after.start < before.end - SLACK:
            yield f"{work.id}: {after.state} begins before {before.state} has ended"
    for row in rows:
        name = f"{work.id}: {row.state}"
        if row.task < len(work.begun):
            if row.start != work.begun[row.task].start or dict(row.units) != dict(work.begun[row.task].units):
                yield f"{name} has begun, and is changed"
            continue
        if row.start < max(plan.now, work.ready) - SLACK:
            yield f"{name} begins too early"
        if row.end - row.start < work.tasks[row.task].duration - SLACK:
            yield f"{name} is too short"
        yield from (f"{name} {problem}" for problem in _units(work, row, bench))


def _units(work: Work, row: Row, bench: Bench) -> Iterator[str]:
    for role, count in work.tasks[row.task].roles.items():
        have = row.units.get(role, ())
        if len(set(have)) != count:
            yield f"has {len(set(have))} of {role}, and needs {count}"
        allowed = {*bench.units.get(role, ()), *(unit for one in work.begun for unit in one.units.get(role, ()))}
        allowed |= {work.at[role]} if role in work.at else set()
        yield from (f"has {unit}, which is no {role}" for unit in have if unit not in allowed)
        yield from (
            f"has {unit} while it is closed" for unit in have if row.start < bench.closed.get(unit, row.start) - SLACK
        )


def _windows(plan: Plan, works: Sequence[Work], rows: dict[str, list[Row]]) -> Iterator[str]:
    told = {(one.work, one.window) for one in plan.broken}
    for work in works:
        own = rows.get(work.id, [])
        for window in work.windows:
            (begin, begins), (finish, ends) = window.begin, window.finish
            if not begin <= finish < len(own):
                continue
            apart = getattr(own[finish], ends) - getattr(own[begin], begins)
            long = window.within is not None and apart > window.within + SLACK
            short = window.at_least is not None and apart < window.at_least - SLACK
            if (long or short) != ((work.id, window) in told):
                yield f"{work.id}: {window.name or 'a window'} is {apart:.1f} s, which is told wrong"


Stretch: TypeAlias = tuple[float, float, str]


def _double(plan: Plan, works: Sequence[Work], rows: dict[str, list[Row]]) -> Iterator[str]:
    """Units that two works have at once, kept ones included; and samples that change their unit by themselves."""
    taken: dict[str, list[Stretch]] = defaultdict(list)
    for work in works:
        trail = _Trail(work, plan.now)
        for row in rows.get(work.id, []):
            yield from trail.step(row)
        for unit, begin, end in trail.taken:
            taken[unit].append((begin, end, work.id))
    for unit, stretches in taken.items():
        for one, other in pairwise(sorted(one for one in stretches if one[1] > plan.now + SLACK)):
            if other[0] < one[1] - SLACK and other[1] - other[0] > SLACK and one[2] != other[2]:
                yield f"{unit} is with {one[2]} and {other[2]} at {other[0] - plan.now:.1f} s"


class _Trail:
    """Where the sample of one work is from row to row, and the stretches in which units are taken by that."""

    def __init__(self, work: Work, now: float) -> None:
        self.work = work
        self.inside: dict[str, tuple[tuple[str, ...], float]] = {role: ((unit,), now) for role, unit in work.at.items()}
        self.taken: list[tuple[str, float, float]] = []

    def step(self, row: Row) -> Iterator[str]:
        task, begun = self.work.tasks[row.task], row.task < len(self.work.begun)
        for role in task.roles:
            have = row.units.get(role, ())
            held, since = self.inside.pop(role, (have, row.start))
            if not begun and set(held) - set(have):
                yield f"{self.work.id}: {row.state} has {have}, and the sample is in {held}"
            if role in task.keeps:
                self.inside[role] = have, since
            else:
                self._take(have, since, row.end)
        for role in task.frees & self.inside.keys() - task.roles.keys():
            held, since = self.inside.pop(role)
            self._take(held, since, row.end)
        if row.task == len(self.work.tasks) - 1:
            for held, since in self.inside.values():
                self._take(held, since, row.end)

    def _take(self, units: Sequence[str], since: float, end: float) -> None:
        self.taken += [(unit, since, end) for unit in units]
