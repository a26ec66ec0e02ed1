"""Plans without a solver: works are put in one after the other, in several orders; the best plan is kept.

Identical works are tried in two ways: each as early as it goes, and all on one beat (see `pattern`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from labd.run.planning.bounds import lower_bound
from labd.run.planning.model import Bench, Plan, Work
from labd.run.planning.pattern import beat
from labd.run.planning.placing import Board
from labd.run.planning.shop import TICK, Item, Placement, Shop, plan_of, shop_of

BUDGET = 2500  # tasks that are put in, over all tries: what keeps it below 0.1 s
GOOD = 1.0005  # over the bound: no further try

Order: TypeAlias = list[Item]
Score: TypeAlias = tuple[int, int, int, int]


def greedy(works: Sequence[Work], bench: Bench, now: float, seed: int = 1) -> Plan:
    """A good plan, in well under 0.1 s for 64 works of 15 tasks.

    What has begun is served first, then the higher priority; works that cannot be planned are told in `unplanned`.

    Args:
        works: runs that are under way and jobs that wait; jobs of one priority in the order of the queue.
        bench: the units.
        now: on the clock of the works' times.
        seed: of the orders that are tried.
    """
    shop = shop_of(works, bench, now)
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


def best_of(shop: Shop, bound: float, seed: int) -> Found:
    """The best of some tries."""
    empty = Board.of(shop)
    unplanned: dict[str, str] = {}
    begun = _begun(shop, empty, unplanned)
    best: Found | None = None
    spent = 0
    goal = bound * GOOD / TICK
    for order, templates in _tries(shop, random.Random(seed)):
        size = sum(item.size for item in order) + 1
        if best is not None and spent + size > BUDGET:
            break
        spent += size
        found = _serial(shop, empty.copy(), dict(begun), dict(unplanned), order, templates)
        if best is None or found.score < best.score:
            best = found
        if best.score[:2] == (0, 0) and best.score[2] <= goal:
            break
    assert best is not None
    return best


def _begun(shop: Shop, board: Board, unplanned: dict[str, str]) -> dict[str, Placement]:
    """Puts in what has begun: whoever can come to its end with what is free goes first, for then more is free."""
    found: dict[str, Placement] = {}
    left = [item for item in shop.order if item.first or board_holds(board, item)]
    while left:
        done = next((item for item in left if _placed(board, item, found)), None)
        if done is None:
            break
        left.remove(done)
    for item in left:
        unplanned[item.work.id] = _why_not(shop, item) or "it waits for a unit that another holds, and that one for it"
    return found


def board_holds(board: Board, item: Item) -> bool:
    """Whether a work that is not put in holds units."""
    return item.work.id in board.waiting.values()


def _placed(board: Board, item: Item, found: dict[str, Placement]) -> bool:
    placed = board.add(item)
    if placed is not None:
        found[item.work.id] = placed
    return placed is not None


def _why_not(shop: Shop, item: Item) -> str | None:
    for stay in item.stays:
        have = shop.capacity(stay.role)
        if stay.last >= item.first and have < stay.count:
            return f"it needs {stay.count} of {stay.role}, and there are {have}" if have else f"there is no {stay.role}"
    return None


def _tries(shop: Shop, dice: random.Random) -> Iterator[tuple[Order, Mapping[tuple[object, ...], tuple[int, ...]]]]:
    """Orders, each with the beats that it goes by."""
    waiting = [item for item in shop.order if not item.first and not item.fixed and not item.held]
    counts = Counter(item.key for item in waiting)
    samples = {item.key: item for item in waiting if counts[item.key] > 1}
    beats = {key: found for key, item in samples.items() if (found := beat(shop, item)) is not None}
    yield waiting, {}
    if beats:
        yield waiting, beats
    if len(counts) < 2:
        return
    rules: list[Callable[[Item], float]] = [
        lambda item: -sum(item.duration),
        lambda item: sum(item.duration),
        lambda item: min((cap.most for cap in item.caps), default=10**9),
    ]
    for rule in rules:
        order = sorted(waiting, key=lambda item, rule=rule: (-item.work.priority, rule(item)))  # type: ignore[misc]
        yield order, {}
        yield order, beats
    while True:
        luck = {id(item): dice.random() for item in waiting}
        mixed = sorted(waiting, key=lambda item: (-item.work.priority, luck[id(item)]))
        yield mixed, beats if dice.random() < 0.5 else {}


def _serial(
    shop: Shop,
    board: Board,
    schedule: dict[str, Placement],
    unplanned: dict[str, str],
    order: Order,
    beats: Mapping[tuple[object, ...], tuple[int, ...]],
) -> Found:
    """Puts all works in, one after the other; of identical ones none begins before those ahead of it."""
    floors: dict[tuple[object, ...], int] = {}
    left = Counter(item.key for item in order)
    for item in order:
        floor = floors.get(item.key, 0)
        template = beats.get(item.key)
        left[item.key] -= 1
        if template is not None and left[item.key] == 0:  # nobody comes after it: it need not keep the beat
            template = None
        placed = board.add(item, floor=floor, template=template)
        if placed is None and template is not None:
            placed = board.add(item, floor=floor)
        if placed is None:
            unplanned[item.work.id] = _why_not(shop, item) or "what it needs is not free at any time that is known"
            continue
        schedule[item.work.id] = placed
        if item.size:
            floors[item.key] = placed.starts[0]
    return Found(schedule, "cyclic" if beats else "greedy", unplanned, score(shop, schedule, unplanned))


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
