"""Plans by OR-tools' CP-SAT, where it is installed: `pip install 'labd[plan]'`. Never worse than the greedy one.

The model: a start for each task that has not begun; one stretch for each stay in a unit, from the first task that needs
it to the last; at most as many stretches of a role at once as it has units. Which of several alike units a stay gets is
settled afterwards: whoever begins first takes one that is free, and one always is.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from labd.run.planning.bounds import lower_bound
from labd.run.planning.model import Bench, Plan, Work
from labd.run.planning.roster import assigned, entangled, resources_of, stretches_of
from labd.run.planning.serial import Found, Start, best_of, by_chance, by_order, score
from labd.run.planning.shop import MARGIN, TICK, Item, Placement, Shop, plan_of, shop_of

ENOUGH = 1.01  # over the bound: nothing worth a search is left
CHANCE = 0.6  # of the limit is left to the solver; before that, chance is tried
MOST_TASKS = 420  # that are searched over together; of more works only the first so many
LATE = 1000  # what a tick over a window weighs, against one of the makespan
LEAST_TIME = 0.15  # s; less is no search


def available() -> bool:
    """Whether CP-SAT is installed."""
    return find_spec("ortools") is not None


def warm_up() -> bool:
    """Loads CP-SAT, which takes about a second: so in a thread, and not within a time limit. Gives `available()`."""
    if available():
        import ortools.sat.python.cp_model  # noqa: F401
    return available()


def solve(
    works: Sequence[Work],
    bench: Bench,
    now: float,
    limit: float = 1.5,
    hint: Plan | None = None,
    *,
    margin: float = MARGIN,
    workers: int = 2,
    seed: int = 1,
) -> Plan:
    """The best plan that is found in so many seconds (real ones): greedy's, or a better one of CP-SAT.

    Args:
        works: as for `greedy`.
        bench: the units.
        now: on the clock of the works' times.
        limit: s for all of it; greedy's own plan is always awaited.
        hint: a plan of the same works that was made now; default: greedy's.
        margin: the share of each window that is left unused where that can be.
        workers: threads of the solver.
        seed: of greedy's tries and of the solver.
    """
    until = time.perf_counter() + limit
    shop = shop_of(works, bench, now, margin)
    bound = lower_bound(works, bench, now)
    best = best_of(shop, bound, seed)
    if hint is not None and hint.now == now:
        best = min(best, _found(shop, hint), key=lambda found: found.score)
    if best.schedule and not _enough(best, bound):
        best = _by_chance(shop, best, bound, until - CHANCE * limit if available() else until, seed)
    if available() and best.schedule and not _enough(best, bound) and not entangled(shop):
        better = _search(shop, best, until, workers, seed)
        if better is not None and better.score < best.score:
            best = better
    return plan_of(shop, best.schedule, bound, best.solver, best.unplanned)


def _by_chance(shop: Shop, best: Found, bound: float, until: float, seed: int) -> Found:
    """Further tries without a solver, as long as there is time: of many works these find more."""
    start, dice = Start.of(shop), random.Random(f"{seed}/chance")
    order = [item for item in shop.order if item.work.id in best.schedule]
    took = 0.0
    while not _enough(best, bound) and (began := time.perf_counter()) + took < until:
        found = by_chance(start, order, dice)
        found.unplanned = {**best.unplanned, **found.unplanned}
        found.score = (len(found.unplanned), *found.score[1:])
        best = min(best, found, key=lambda one: one.score)
        took = time.perf_counter() - began
    return best


def _enough(found: Found, bound: float) -> bool:
    return not found.unplanned and found.score[1] == 0 and found.score[2] * TICK <= bound * ENOUGH


def _found(shop: Shop, plan: Plan) -> Found:
    """A plan in ticks."""
    schedule: dict[str, Placement] = {}
    for item in shop.items:
        rows = plan.of(item.work.id)
        if len(rows) != item.size or item.work.id in plan.unplanned:
            continue
        starts = [*item.starts[: item.first], *(round((row.start - shop.now) / TICK) for row in rows[item.first :])]
        units = [rows[stay.tasks[-1]].units.get(stay.role, ()) for stay in item.stays]
        schedule[item.work.id] = Placement(tuple(starts), tuple(units))
    unplanned = {item.work.id: plan.unplanned.get(item.work.id, "it was not in the plan") for item in shop.items}
    unplanned = {work: why for work, why in unplanned.items() if work not in schedule}
    return Found(schedule, plan.solver, unplanned, score(shop, schedule, unplanned))


def _search(shop: Shop, best: Found, until: float, workers: int, seed: int) -> Found | None:
    items = _chosen(shop, best)
    model = _Model.of(shop, items, best)
    left = until - time.perf_counter()
    if left < LEAST_TIME:
        return None
    starts = model.solved(left, workers, seed)
    if starts is None:
        return None
    return _completed(shop, best, items, starts)


def _chosen(shop: Shop, best: Found) -> list[Item]:
    """The works that are searched over: all, or those that begin first."""
    planned = [item for item in shop.items if item.work.id in best.schedule]
    planned.sort(key=lambda item: (not (item.first or item.fixed), _begin(item, best.schedule[item.work.id])))
    found: list[Item] = []
    tasks = 0
    for item in planned:
        tasks += item.size - item.first
        if found and tasks > MOST_TASKS and not (item.first or item.fixed or item.held):
            break
        found.append(item)
    return found


def _begin(item: Item, placed: Placement) -> int:
    return placed.starts[item.first] if item.first < item.size else 0


def _completed(shop: Shop, best: Found, items: Sequence[Item], starts: Mapping[str, tuple[int, ...]]) -> Found:
    """A solution with units, and with the works that were not searched over: as it is, and pushed together."""
    found: list[Found] = []
    if len(items) == len(best.schedule):
        schedule = assigned(shop, items, starts)
        if schedule is not None:
            found.append(Found(schedule, "cp-sat", best.unplanned, score(shop, schedule, best.unplanned)))
    later = {work: placed.starts for work, placed in best.schedule.items()}
    shift = max((begun[-1] for begun in starts.values()), default=0)
    order = {**{work: tuple(one + shift for one in begun) for work, begun in later.items()}, **starts}
    start = Start.of(shop)
    pushed = by_order(start, [item for item in shop.order if item.work.id in best.schedule], order)
    pushed.solver = "cp-sat"
    found.append(pushed)
    return min(found, key=lambda one: one.score)


@dataclass(slots=True)
class _Model:
    """The model in CP-SAT's words."""

    shop: Shop
    items: Sequence[Item]
    best: Found
    horizon: int
    cp: Any
    starts: dict[str, list[Any]] = field(default_factory=dict)
    late: list[Any] = field(default_factory=list)  # by how much windows break

    @classmethod
    def of(cls, shop: Shop, items: Sequence[Item], best: Found) -> _Model:
        from ortools.sat.python import cp_model

        horizon = max(item.end_of(best.schedule[item.work.id].starts) for item in items)
        model = cls(shop, items, best, horizon, cp_model.CpModel())
        for item in items:
            model._tasks(item)
        model._units()
        model._alike()
        model._goal()
        return model

    def _tasks(self, item: Item) -> None:
        known = self.best.schedule[item.work.id].starts
        own: list[Any] = list(item.starts[: item.first])
        for index in range(item.first, item.size):
            least = max(item.ready, 0)
            latest = self.horizon - sum(item.duration[index:])
            start = self.cp.new_int_var(min(least, latest), max(least, latest), "")
            self.cp.add_hint(start, known[index])
            own.append(start)
            for before, lag in item.lags[index]:
                self.cp.add(start >= own[before] + lag)
        self.starts[item.work.id] = own
        for cap in item.caps:
            if cap.finish >= item.first and known[cap.finish] - known[cap.begin] <= cap.most:
                self.cp.add(own[cap.finish] - own[cap.begin] <= cap.most)
            elif cap.finish >= item.first:  # broken so far: the less the better
                over = self.cp.new_int_var(0, known[cap.finish] - known[cap.begin] - cap.most, "")
                self.cp.add(own[cap.finish] - own[cap.begin] <= cap.most + over)
                self.late.append(over)

    def _units(self) -> None:
        stretches = list(stretches_of(self.items))
        for resource in resources_of(self.shop):
            own = [one for one in stretches if one.role in resource.roles]
            intervals, demands = [], []
            for one in own:
                work = self.starts[one.item.work.id]
                begin = 0 if one.fixed else work[one.first]
                end = work[one.last] + one.item.duration[one.last]
                if isinstance(end, int) and end <= 0:
                    continue
                size = self.cp.new_int_var(0, self.horizon, "")
                intervals.append(self.cp.new_interval_var(begin, size, end, ""))
                demands.append(one.count)
            for item in self.items:
                for last in (last for unit, last in item.held if unit in resource.units):
                    end = self.starts[item.work.id][last] + item.duration[last]
                    size = self.cp.new_int_var(0, self.horizon, "")
                    intervals.append(self.cp.new_interval_var(0, size, end, ""))
                    demands.append(1)
            for until in resource.closed(self.shop):
                length = min(until, self.horizon)
                intervals.append(self.cp.new_interval_var(0, length, length, ""))
                demands.append(1)
            if resource.size == 1:
                self.cp.add_no_overlap(intervals)
            elif intervals:
                self.cp.add_cumulative(intervals, demands, resource.size)

    def _alike(self) -> None:
        """Of works that are alike the first begins first; of a higher priority none ends later than it would."""
        lines: dict[tuple[object, ...], Any] = {}
        fresh = [item for item in self.items if not (item.first or item.fixed or item.held) and item.size]
        fresh.sort(key=lambda item: self.best.schedule[item.work.id].starts[0])
        for item in fresh:
            start = self.starts[item.work.id][0]
            if item.key in lines:
                self.cp.add(lines[item.key] <= start)
            lines[item.key] = start
        lowest = min((item.work.priority for item in self.items), default=0)
        for item in self.items:
            if item.work.priority > lowest and item.first < item.size:
                self.cp.add(self.starts[item.work.id][-1] <= self.best.schedule[item.work.id].starts[-1])

    def _goal(self) -> None:
        last = self.cp.new_int_var(0, self.horizon, "last")
        for item in self.items:
            if item.first < item.size:
                self.cp.add(last >= self.starts[item.work.id][-1] + item.duration[-1])
        self.cp.minimize(last + LATE * sum(self.late))

    def solved(self, limit: float, workers: int, seed: int) -> dict[str, tuple[int, ...]] | None:
        """Starts by work; None where nothing was found."""
        from ortools.sat.python import cp_model

        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = limit
        solver.parameters.num_workers = workers
        solver.parameters.random_seed = seed
        status = solver.solve(self.cp)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return None
        return {
            work: tuple(one if isinstance(one, int) else int(solver.value(one)) for one in own)
            for work, own in self.starts.items()
        }
