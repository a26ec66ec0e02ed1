"""The best makespan by trying all orders on all units; for benches with one unit a role, and few tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, product

from labd.run.planning import Work, stays_of

Node = tuple[int, int]


def conflicts(works: Sequence[Work]) -> list[tuple[tuple[Node, Node, float], tuple[Node, Node, float]]]:
    """Of each two stays in one unit: either goes before the other."""
    found = []
    stays = [(number, stay) for number, work in enumerate(works) for stay in stays_of(work)]
    for (one, first), (other, second) in combinations(stays, 2):
        if one != other and first.role == second.role:
            length, longer = works[one].tasks[first.last].duration, works[other].tasks[second.last].duration
            before = ((one, first.last), (other, second.tasks[0]), length)
            after = ((other, second.last), (one, first.tasks[0]), longer)
            found.append((before, after))
    return found


def best_makespan(works: Sequence[Work]) -> float:
    """Seconds; infinite where no order keeps all windows."""
    nodes = [(number, index) for number, work in enumerate(works) for index in range(len(work.tasks))]
    edges, choices = _edges(works), conflicts(works)
    best = math.inf
    for chosen in product(*choices):
        starts = _longest(works, nodes, [*edges, *chosen])
        if starts is not None:
            ends = (starts[number, index] + works[number].tasks[index].duration for number, index in nodes)
            best = min(best, max(ends))
    return best


def _edges(works: Sequence[Work]) -> list[tuple[Node, Node, float]]:
    """The start of the second comes at least so much after that of the first."""
    found: list[tuple[Node, Node, float]] = []
    for number, work in enumerate(works):
        for index, task in enumerate(work.tasks[:-1]):
            found.append(((number, index), (number, index + 1), task.duration))
        for window in work.windows:
            begin, finish = (number, window.begin[0]), (number, window.finish[0])
            if window.within is not None:
                found.append((finish, begin, -window.within))
            if window.at_least is not None:
                found.append((begin, finish, window.at_least))
    return found


def _longest(
    works: Sequence[Work], nodes: Sequence[Node], edges: Sequence[tuple[Node, Node, float]]
) -> dict[Node, float] | None:
    starts = {node: max(0.0, works[node[0]].ready) for node in nodes}
    for _ in range(len(nodes) + 1):
        changed = False
        for before, after, apart in edges:
            if starts[before] + apart > starts[after]:
                starts[after] = starts[before] + apart
                changed = True
        if not changed:
            return starts
    return None
