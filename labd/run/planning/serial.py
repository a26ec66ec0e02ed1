"""Plans without a solver: works are put in one after the other, in several ways and orders; the best plan is kept.

The ways: by parts, whichever can begin first (see `parts`); whole works, each as early as it goes; and whole works of
which identical ones keep one beat (see `pattern`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from labd.run.planning.bounds import lower_bound
from labd.run.planning.model import Bench, Plan, Work
from labd.run.planning.parts import Parts
from labd.run.planning.pattern import beat
from labd.run.planning.placing import Board
from labd.run.planning.shop import MARGIN, NEVER, SHUT, TICK, Item, Placement, Shop, least_gap, plan_of, shop_of

BUDGET = 3000  # tasks that are looked at, over all tries: when that is spent, no further try begins
GOOD = 1.0005  # over the bound: no further try

Order: TypeAlias = list[Item]
Beats: TypeAlias = Mapping[tuple[object, ...], tuple[int, ...]]
Score: TypeAlias = tuple[int, int, int, int]


def greedy(works: Sequence[Work], bench: Bench, now: float, *, margin: float = MARGIN, seed: int = 1) -> Plan:
    """A good plan, in about 0.1 s for 64 works of 15 tasks.

    What has begun is served first, then the higher priority; works that cannot be planned are told in `unplanned`.

    Args:
        works: runs that are under way and jobs that wait; jobs of one priority in the order of the queue.
        bench: the units.
        now: on the clock of the works' times.
        margin: the share of each window that is left unused where that can be, for what takes longer than expected.
        seed: of the orders that are tried.
    """
    shop = shop_of(works, bench, now, margin)
    bound = lower_bound(works, bench, now)
    found = best_of(shop, bound, seed)
    return plan_of(shop, found.schedule, bound, found.solver, found.unplanned)


@dataclass(slots=True)
class Found:
    """One way to put all works in."""

    schedule: dict[str, Placement]
    solver: str
    unplanned: dict[str, str] = field(default_factory=dict)
    score: Score = (0, 0, 0, 0)
    steps: int = 0  # that it took


@dataclass(slots=True)
class Start:
    """What all tries begin with: what has begun is put in as far as it holds anything.

    Args:
        begun: how far works are put in, and up to which task.
    """

    shop: Shop
    board: Board
    begun: dict[str, tuple[Placement, int]] = field(default_factory=dict)
    unplanned: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, shop: Shop) -> Start:
        """Whoever can come to where it holds nothing more with what is free goes first, for then more is free.

        Of several, whose open window is shut first.
        """
        found = cls(shop, Board.of(shop))
        left = [item for item in shop.order if item.first or item.fixed or item.held]
        left.sort(key=_shut)
        while left:
            done = next((item for item in left if found._put(item)), None)
            if done is None:
                break
            left.remove(done)
        for item in left:
            found.unplanned[item.work.id] = (
                why_not(shop, item) or "it waits for a unit that holds another's sample, and that one waits for its own"
            )
        return found

    def _put(self, item: Item) -> bool:
        upto = item.cuts[0]
        placed = self.board.extend(item, item.begun, item.first, upto)
        if placed is not None:
            self.begun[item.work.id] = placed, upto
        return placed is not None


def _shut(item: Item) -> int:
    """The latest start of the next task by which the open windows of a work can still be kept."""
    found = NEVER
    for cap in item.caps:
        if cap.begin < item.first <= cap.finish:
            between = least_gap(item.lags, item.first, cap.finish)
            found = min(found, item.starts[cap.begin] + cap.most - between)
    return found


def best_of(shop: Shop, bound: float, seed: int) -> Found:
    """The best of some tries."""
    start = Start.of(shop)
    order = [item for item in shop.order if item.work.id not in start.unplanned]
    goal = bound * GOOD / TICK
    best: Found | None = None
    spent = 0
    for attempt in _tries(start, order, random.Random(seed)):
        if best is not None and spent > BUDGET:
            break
        found = attempt()
        spent += found.steps
        if best is None or found.score < best.score:
            best = found
        if best.score[1] == 0 and best.score[2] <= goal and len(best.unplanned) == len(start.unplanned):
            break
    assert best is not None
    return best


def why_not(shop: Shop, item: Item) -> str | None:
    """Which units a work lacks on this bench."""
    for stay in item.stays:
        have = shop.capacity(stay.role)
        if stay.last >= item.first and have < stay.count:
            return f"it needs {stay.count} of {stay.role}, and there are {have}" if have else f"there is no {stay.role}"
    return None


def _tries(start: Start, order: Order, dice: random.Random) -> Iterator[Callable[[], Found]]:
    fresh = [item for item in order if item.work.id not in start.begun]
    counts = Counter(item.key for item in fresh)
    samples = {item.key: item for item in fresh if counts[item.key] > 1}
    beats = {key: found for key, item in samples.items() if (found := beat(start.shop, item)) is not None}
    if beats:
        yield lambda: whole(start, order, beats)
    yield lambda: by_parts(start, order)
    yield lambda: whole(start, order, {})
    yield lambda: by_parts(start, order, grain=100)
    rules: list[Callable[[Item], float]] = [
        lambda item: -sum(item.duration),
        lambda item: sum(item.duration),
        lambda item: min((cap.most for cap in item.caps), default=10**9),
    ]
    for rule in rules:
        ruled = _sorted(order, rule)
        yield lambda ruled=ruled: whole(start, ruled, beats)  # type: ignore[misc]
    while True:
        if dice.random() < 0.5:
            yield lambda: by_chance(start, order, dice)
        else:
            mixed = _sorted(order, lambda _: dice.random())
            yield lambda mixed=mixed: whole(start, mixed, beats if dice.random() < 0.5 else {})  # type: ignore[misc]


def by_chance(start: Start, order: Order, dice: random.Random) -> Found:
    """Puts all works in by parts, whichever chance prefers."""
    mixed = order if dice.random() < 0.5 else _sorted(order, lambda _: dice.random())
    spread = dice.choice([0, 8, 20])
    chances = [place + spread * dice.random() for place in range(max((item.size for item in order), default=0))]
    return by_parts(start, mixed, grain=dice.choice([1, 100, 300, 600]), luck=chances.__getitem__)


def _sorted(order: Order, rule: Callable[[Item], float]) -> Order:
    return sorted(order, key=lambda item: (item.first == 0, -item.work.priority, rule(item)))


def by_parts(start: Start, order: Order, *, grain: int = 1, luck: Callable[[int], float] = float) -> Found:
    """Puts all works in by parts."""
    parts = Parts(start.board.copy(), grain, luck)
    parts.run(order, start.begun)
    return _ended(start, parts.done, "greedy", parts.failed, parts.board.steps)


def whole(start: Start, order: Order, beats: Beats) -> Found:
    """Puts whole works in, one after the other; of identical ones none begins before those ahead of it."""
    board, schedule, failed = start.board.copy(), {}, []
    floors: dict[tuple[object, ...], int] = {}
    left = Counter(item.key for item in order)
    for item in order:
        left[item.key] -= 1
        known, lo = start.begun.get(item.work.id, (item.begun, item.first))
        placed = None
        fresh = item.work.id not in start.begun
        floor = floors.get(item.key, 0) if fresh else 0
        if fresh and left[item.key]:  # the last one need not keep the beat: nobody comes after it
            template = beats.get(item.key)
            placed = board.rigid(item, template, floor) if template is not None else None
        if placed is None:
            placed = board.extend(item, known, lo, item.size, floor)
        if placed is None:
            failed.append(item)
            continue
        schedule[item.work.id] = placed
        if fresh and item.size:
            floors[item.key] = placed.starts[0]
    return _ended(start, schedule, "cyclic" if beats else "greedy", failed, board.steps)


def by_order(start: Start, order: Order, begins: Mapping[str, Sequence[int]]) -> Found:
    """Puts all parts in, in the order in which they begin elsewhere, each as early as it goes now."""
    board, schedule, failed = start.board.copy(), dict[str, Placement](), list[Item]()
    known = {item.work.id: start.begun.get(item.work.id, (item.begun, item.first)) for item in order}
    parts: list[tuple[int, int, Item, int, int]] = []
    for item in order:
        lo = known[item.work.id][1]
        for hi in (cut for cut in item.cuts if cut > lo):
            parts.append((begins[item.work.id][lo], len(parts), item, lo, hi))
            lo = hi
        schedule[item.work.id] = known[item.work.id][0]
    for _, _, item, lo, hi in sorted(parts, key=lambda part: part[:2]):
        if item in failed:
            continue
        placed = board.extend(item, schedule[item.work.id], lo, hi)
        if placed is None:
            failed.append(item)
            del schedule[item.work.id]
        else:
            schedule[item.work.id] = placed
    return _ended(start, schedule, "greedy", failed, board.steps)


def _ended(start: Start, schedule: dict[str, Placement], solver: str, failed: Sequence[Item], steps: int) -> Found:
    unplanned = dict(start.unplanned)
    for item in failed:
        why = why_not(start.shop, item) or SHUT
        unplanned[item.work.id] = why
    return Found(schedule, solver, unplanned, score(start.shop, schedule, unplanned), steps + 1)


def score(shop: Shop, schedule: Mapping[str, Placement], unplanned: Mapping[str, str]) -> Score:
    """The less the better: works left out, broken windows, the last end, all ends together."""
    broken = last = total = 0
    for item in shop.items:
        placed = schedule.get(item.work.id)
        if placed is None:
            continue
        end = item.end_of(placed.starts)
        last, total = max(last, end), total + end
        broken += sum(placed.starts[cap.finish] - placed.starts[cap.begin] > cap.most for cap in item.caps)
    return len(unplanned), broken, last, total
