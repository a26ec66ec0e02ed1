"""Whether a plan can be carried out: looked at row by row, by none of the means that make plans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

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
    for before, after in zip(rows, rows[1:], strict=False):
        if after.start < before.end - SLACK:
            yield f"{work.id}: {after.state} begins before {before.state} has ended"
    for row in rows:
        task, begun = work.tasks[row.task], row.task < len(work.begun)
        name = f"{work.id}: {row.state}"
        if begun:
            if row.start != work.begun[row.task].start or dict(row.units) != dict(work.begun[row.task].units):
                yield f"{name} has begun, and is changed"
            continue
        if row.start < max(plan.now, work.ready) - SLACK:
            yield f"{name} begins too early"
        if row.end - row.start < task.duration - SLACK:
            yield f"{name} is too short"
        for role, count in task.roles.items():
            have = row.units.get(role, ())
            if len(set(have)) != count:
                yield f"{name} has {len(set(have))} of {role}, and needs {count}"
            allowed = {*bench.units.get(role, ()), *(unit for one in work.begun for unit in one.units.get(role, ()))}
            allowed |= {work.at[role]} if role in work.at else set()
            yield from (f"{name} has {unit}, which is no {role}" for unit in have if unit not in allowed)
            for unit in have:
                if row.start < bench.closed.get(unit, row.start) - SLACK:
                    yield f"{name} has {unit} while it is closed"


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


def _double(plan: Plan, works: Sequence[Work], rows: dict[str, list[Row]]) -> Iterator[str]:
    """Units that two works have at once, kept ones included; and samples that change their unit by themselves."""
    taken: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for work in works:
        own = rows.get(work.id, [])
        inside = dict(work.at)  # where the sample is, by role, and since when
        since = {role: plan.now for role in inside}
        units = {role: (unit,) for role, unit in inside.items()}
        for row in own:
            task = work.tasks[row.task]
            for role in task.roles:
                have = row.units.get(role, ())
                if role in units and row.task >= len(work.begun) and set(units[role]) - set(have):
                    yield f"{work.id}: {row.state} has {have}, and the sample is in {units[role]}"
                begin = since.pop(role, row.start)
                units.pop(role, None)
                if role in task.keeps:
                    units[role], since[role] = have, begin
                else:
                    for unit in have:
                        taken[unit].append((begin, row.end, work.id))
        for role, have in units.items():
            for unit in have:
                taken[unit].append((since[role], own[-1].end if own else plan.now, work.id))
    for unit, stretches in taken.items():
        stretches.sort()
        for one, other in zip(stretches, stretches[1:], strict=False):
            if (
                other[0] < one[1] - SLACK
                and other[1] - other[0] > SLACK
                and one[2] != other[2]
                and one[1] > plan.now + SLACK
            ):
                yield f"{unit} is with {one[2]} and {other[2]} at {other[0] - plan.now:.1f} s"
