"""A plan in lines: how long, against what bound, how busy each unit is, and when each work begins and ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labd.run.planning.gantt import span
from labd.run.planning.model import Plan, Work


def utilisation(plan: Plan) -> dict[str, float]:
    """The share of the time from now to the end in which each unit works; what only waits in it is not counted."""
    busy: dict[str, float] = {}
    for row in plan.rows:
        for unit in {unit for have in row.units.values() for unit in have}:
            busy[unit] = busy.get(unit, 0.0) + max(0.0, row.end - max(row.start, plan.now))
    return {unit: seconds / plan.makespan if plan.makespan > 0 else 0.0 for unit, seconds in sorted(busy.items())}


def windows_of(plan: Plan, works: Sequence[Work]) -> dict[str, tuple[int, int, float]]:
    """Of each window by name: how many there are, how many break, and the longest time in one, s."""
    found: dict[str, tuple[int, int, float]] = {}
    for work in works:
        rows = plan.of(work.id)
        for window in work.windows:
            if not window.begin[0] <= window.finish[0] < len(rows):
                continue
            apart = getattr(rows[window.finish[0]], window.finish[1]) - getattr(rows[window.begin[0]], window.begin[1])
            broken = any(one.work == work.id and one.window == window for one in plan.broken)
            count, breaks, most = found.get(window.name, (0, 0, 0.0))
            found[window.name] = count + 1, breaks + broken, max(most, apart)
    return found


def lines_of(plan: Plan, works: Sequence[Work]) -> Iterator[str]:
    """For people."""
    planned = len({row.work for row in plan.rows})
    bound = f"no plan takes less than {span(plan.bound)}: {plan.ratio:.3f} of it"
    yield f"{planned} works in {span(plan.makespan)}; {bound}"
    yield f"found by {plan.solver}"
    yield from (f"{unit}: busy {share:.1%}" for unit, share in utilisation(plan).items())
    for name, (count, broken, most) in windows_of(plan, works).items():
        kept = "all kept" if not broken else f"{broken} of {count} broken"
        yield f"window {name}: {kept}, at most {span(most)}"
    yield from (f"broken: {one}" for one in plan.broken)
    yield from (f"not planned: {work}: {why}" for work, why in plan.unplanned.items())
    yield from _starts(plan)


def _starts(plan: Plan) -> Iterator[str]:
    ends: Mapping[str, float] = plan.ends()
    width = max((len(work) for work in ends), default=0)
    first: dict[str, float] = {}
    for row in plan.rows:
        first.setdefault(row.work, row.start)
    for work, start in first.items():
        yield f"{work:<{width}}  begins at {span(start - plan.now):>9}, ends at {span(ends[work] - plan.now):>9}"


def told(plan: Plan, works: Sequence[Work]) -> dict[str, Any]:
    """For programs: the plan, and what `lines_of` says beside its rows."""
    windows = {
        name: {"works": count, "broken": broken, "longest": round(most, 3)}
        for name, (count, broken, most) in windows_of(plan, works).items()
    }
    shares = {unit: round(share, 4) for unit, share in utilisation(plan).items()}
    return plan.as_json() | {"utilisation": shares, "windows": windows}
