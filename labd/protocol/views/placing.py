"""Places boxes in layers and routes the links between them, after Sugiyama, Tagawa and Toda (1981).

Ranks by longest path, orders by barycentres, positions by least squares that keep the order. Every second rank is for
labels: each has a place of its own, beside all boxes. A link that leads back is laid like the others, upwards.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_APART = 22.0  # px between neighbours in a rank
_SWEEPS = 24
_MOST_SWEEPS = 240
_STILL = 0.3  # px
_STRAIGHT = 8.0
_STRAIGHTENED = 4


@dataclass(frozen=True, slots=True)
class Size:
    """What a box needs about its middle: to both sides, and on the right `beside` it, for what leads back into it."""

    width: float
    height: float
    beside: float = 0.0


@dataclass(frozen=True, slots=True)
class Link:
    """A way from one box to another, with the size of its label; the heavier, the straighter it is drawn."""

    source: str
    target: str
    label: Size
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Route:
    """Where a link runs, from its source to its target.

    Args:
        stretches: straight pieces, each from top to bottom or the other way; curves lead from one to the next.
        label: the middle of the label.
    """

    stretches: tuple[tuple[float, float, float], ...]
    label: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Placed:
    """Middles and tops of the boxes, the routes of the links in their order, and the size of it all."""

    boxes: Mapping[str, tuple[float, float]]
    routes: tuple[Route, ...]
    width: float
    height: float


@dataclass(slots=True)
class _Item:
    """A box, or the place at which a link passes a rank."""

    rank: int
    left: float = 0.0
    right: float = 0.0
    height: float = 0.0
    box: bool = False
    x: float = 0.0
    weight: float = 1.0  # of the link that passes here
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)


def place(sizes: Mapping[str, Size], links: Sequence[Link], start: str) -> Placed:
    """Places everything. Links lead from box to another box; all boxes can be reached from `start`."""
    return _Layout(sizes, links, start).placed()


class _Layout:
    def __init__(self, sizes: Mapping[str, Size], links: Sequence[Link], start: str) -> None:
        self.links = links
        self.back = _leading_back(sizes, links, start)
        down = [(link.target, link.source) if back else (link.source, link.target) for link, back in self._all()]
        ranks = _ranks(sizes, down)
        self.items: list[_Item] = []
        self.of_box: dict[str, int] = {}
        for name, size in sizes.items():
            self.of_box[name] = self._add(
                _Item(2 * ranks[name], size.width / 2, size.width / 2 + size.beside, size.height, box=True)
            )
        self.chains = [
            self._chain(upper, lower, link, at_top=not back)
            for (upper, lower), (link, back) in zip(down, self._all(), strict=True)
        ]
        self.ranks: list[list[int]] = [[] for _ in range(1 + max(item.rank for item in self.items))]
        for index in self._met(start):
            self.ranks[self.items[index].rank].append(index)

    def _all(self) -> Iterable[tuple[Link, bool]]:
        return zip(self.links, self.back, strict=True)

    def _add(self, item: _Item) -> int:
        self.items.append(item)
        return len(self.items) - 1

    def _chain(self, upper: str, lower: str, link: Link, *, at_top: bool) -> list[int]:
        """The items that a link goes by, from top to bottom; its label stands next to where it comes from."""
        first, last = self.of_box[upper], self.of_box[lower]
        between = range(self.items[first].rank + 1, self.items[last].rank)
        labelled = between[0] if at_top else between[-1]
        chain = [first]
        for rank in between:
            size = link.label if rank == labelled else Size(0, 0)
            chain.append(self._add(_Item(rank, size.width / 2, size.width / 2, size.height, weight=link.weight)))
        chain.append(last)
        for one, other in pairwise(chain):
            self.items[one].below.append(other)
            self.items[other].above.append(one)
        return chain

    def _met(self, start: str) -> list[int]:
        """All items in the order in which one meets them from the start: a fair first order of each rank."""
        found: dict[int, None] = {}
        waiting = [self.of_box[start]]
        while waiting:
            index = waiting.pop()
            if index not in found:
                found[index] = None
                waiting += [*reversed(self.items[index].above), *reversed(self.items[index].below)]
        return [*found, *(index for index in range(len(self.items)) if index not in found)]

    def placed(self) -> Placed:
        self._order()
        self._align()
        return self._drawn()

    # ── order ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _order(self) -> None:
        best, least = [list(rank) for rank in self.ranks], self._crossings()
        for sweep in range(_SWEEPS):
            downwards = sweep % 2 == 0
            ranks = self.ranks[1:] if downwards else self.ranks[-2::-1]
            position = {index: place for rank in self.ranks for place, index in enumerate(rank)}
            for rank in ranks:
                centre: dict[int, float] = {}
                for index in rank:
                    near = self.items[index].above if downwards else self.items[index].below
                    places = [position[other] for other in near]
                    centre[index] = sum(places) / len(places) if places else position[index]
                rank.sort(key=lambda index: (centre[index], position[index]))
                position.update({index: place for place, index in enumerate(rank)})
            crossings = self._crossings()
            if crossings < least:
                best, least = [list(rank) for rank in self.ranks], crossings
        self.ranks = best

    def _crossings(self) -> int:
        total = 0
        for upper, lower in pairwise(self.ranks):
            position = {index: place for place, index in enumerate(lower)}
            seen: list[int] = []
            for index in upper:
                ends = sorted(position[other] for other in self.items[index].below)
                total += sum(len(seen) - bisect_right(seen, end) for end in ends)
                for end in ends:
                    insort(seen, end)
        return total

    # ── positions ────────────────────────────────────────────────────────────────────────────────────────────────
    def _align(self) -> None:
        for rank in self.ranks:
            edge = 0.0
            for index in rank:
                item = self.items[index]
                item.x = edge + item.left
                edge = item.x + item.right + _APART
        for sweep in range(_MOST_SWEEPS):
            moved = 0.0
            for rank in self.ranks if sweep % 2 == 0 else self.ranks[::-1]:
                moved = max(moved, self._settle(rank, both=sweep > _SWEEPS, up=sweep % 2 == 0))
            if sweep > _SWEEPS and moved < _STILL:
                break
        for _ in range(_STRAIGHTENED):
            for chain in self.chains:
                self._straighten(chain[1:-1])
        least = min(item.x - item.left for item in self.items)
        for item in self.items:
            item.x -= least

    def _settle(self, rank: list[int], *, both: bool, up: bool) -> float:
        """Moves a rank's items to where their neighbours are, as near as their order allows; gives the furthest move.

        Args:
            rank: the items, in order.
            both: whether the neighbours on both sides count; else those above (`up`) or below.
            up: which side counts.
        """
        wanted: list[float] = []
        weights: list[float] = []
        for index in rank:
            item = self.items[index]
            near = [*(item.above if both or up else ()), *(item.below if both or not up else ())]
            pulls = [(self.items[other].x, self._pull(item, self.items[other])) for other in near]
            weight = sum(pull for _, pull in pulls)
            wanted.append(sum(x * pull for x, pull in pulls) / weight if weight else item.x)
            weights.append(weight or 0.1)
        offsets = [0.0]
        for one, other in pairwise(rank):
            offsets.append(offsets[-1] + self.items[one].right + _APART + self.items[other].left)
        free = [x - offset for x, offset in zip(wanted, offsets, strict=True)]
        moved = 0.0
        for index, x, offset in zip(rank, _rising(free, weights), offsets, strict=True):
            moved = max(moved, abs(self.items[index].x - x - offset))
            self.items[index].x = x + offset
        return moved

    def _pull(self, one: _Item, other: _Item) -> float:
        """Long links pull hardest between ranks that they only pass: they are straight there."""
        if one.box or other.box:
            return other.weight if one.box else one.weight
        return _STRAIGHT * one.weight

    def _straighten(self, passing: list[int]) -> None:
        """Draws a long link upright wherever its neighbours let it: few bends instead of many steps."""
        group: list[int] = []
        low, high = -math.inf, math.inf
        for index in passing:
            least, most = self._room(index)
            if max(low, least) > min(high, most):
                self._stand(group, low, high)
                group, low, high = [], -math.inf, math.inf
            group.append(index)
            low, high = max(low, least), min(high, most)
        self._stand(group, low, high)

    def _stand(self, group: list[int], low: float, high: float) -> None:
        if group:
            x = min(high, max(low, sum(self.items[index].x for index in group) / len(group)))
            for index in group:
                self.items[index].x = x

    def _room(self, index: int) -> tuple[float, float]:
        """From where to where an item can be moved."""
        item = self.items[index]
        rank = self.ranks[item.rank]
        place = rank.index(index)
        low, high = -math.inf, math.inf
        if place:
            before = self.items[rank[place - 1]]
            low = before.x + before.right + _APART + item.left
        if place < len(rank) - 1:
            after = self.items[rank[place + 1]]
            high = after.x - after.left - _APART - item.right
        return low, max(low, high)

    # ── drawing ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _drawn(self) -> Placed:
        tops, heights = self._heights()
        boxes = {name: (self.items[index].x, tops[self.items[index].rank]) for name, index in self.of_box.items()}
        below, above = self._ports(lower=True), self._ports(lower=False)
        routes = []
        for number, (chain, (_, back)) in enumerate(zip(self.chains, self._all(), strict=True)):
            first, last = self.items[chain[0]], self.items[chain[-1]]
            bottom = tops[first.rank] + first.height
            stretches = [(below[number], bottom, tops[first.rank] + heights[first.rank])]
            for index in chain[1:-1]:
                item = self.items[index]
                stretches.append((item.x, tops[item.rank], tops[item.rank] + heights[item.rank]))
            stretches.append((above[number], tops[last.rank], tops[last.rank]))
            at = self.items[chain[-2] if back else chain[1]]
            label = (at.x, tops[at.rank] + heights[at.rank] / 2)
            if back:
                stretches = [(x, low, high) for x, high, low in reversed(stretches)]
            routes.append(Route(tuple(stretches), label))
        width = max(item.x + item.right for item in self.items)
        return Placed(boxes, tuple(routes), width, tops[-1] + heights[-1])

    def _heights(self) -> tuple[list[float], list[float]]:
        """Tops and heights of the ranks; where links swing far there is more room between two."""
        heights = [max(self.items[index].height for index in rank) for rank in self.ranks]
        tops = [0.0]
        for rank, height in zip(self.ranks, heights, strict=True):
            swing = max(
                (abs(self.items[other].x - self.items[index].x) for index in rank for other in self.items[index].below),
                default=0.0,
            )
            tops.append(tops[-1] + height + 14 + min(46.0, swing / 7))
        return tops[:-1], heights

    def _ports(self, *, lower: bool) -> dict[int, float]:
        """Where each link leaves the lower side of its box, or meets the upper side: in the order of what follows."""
        at_box: dict[int, list[tuple[float, int]]] = {}
        for number, chain in enumerate(self.chains):
            end, beside = (chain[0], chain[1]) if lower else (chain[-1], chain[-2])
            at_box.setdefault(end, []).append((self.items[beside].x, number))
        found: dict[int, float] = {}
        for index, ends in at_box.items():
            item = self.items[index]
            apart = min(28.0, 2 * item.left / (len(ends) + 1))
            for place, (_, number) in enumerate(sorted(ends)):
                found[number] = item.x + (place - (len(ends) - 1) / 2) * apart
        return found


def _leading_back(names: Iterable[str], links: Sequence[Link], start: str) -> list[bool]:
    """For each link whether it leads back to where one has come from, on a walk from the start."""
    leaving: dict[str, list[int]] = {name: [] for name in names}
    for number, link in enumerate(links):
        leaving[link.source].append(number)
    back = [False] * len(links)
    state = dict.fromkeys(leaving, "new")
    for first in (start, *leaving):
        if state[first] != "new":
            continue
        state[first] = "open"
        walk = [(first, iter(leaving[first]))]
        while walk:
            name, rest = walk[-1]
            number = next(rest, -1)
            if number < 0:
                state[name] = "done"
                walk.pop()
                continue
            target = links[number].target
            back[number] = state[target] == "open"
            if state[target] == "new":
                state[target] = "open"
                walk.append((target, iter(leaving[target])))
    return back


def _ranks(names: Iterable[str], down: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest way from above to each box."""
    below: dict[str, list[str]] = {name: [] for name in names}
    missing = dict.fromkeys(below, 0)
    for upper, lower in down:
        below[upper].append(lower)
        missing[lower] += 1
    rank = dict.fromkeys(below, 0)
    waiting = [name for name, count in missing.items() if not count]
    for name in waiting:
        for lower in below[name]:
            rank[lower] = max(rank[lower], rank[name] + 1)
            missing[lower] -= 1
            if not missing[lower]:
                waiting.append(lower)
    return rank


def _rising(wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The sequence that never falls and is nearest to the one wanted, by least squares (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(wanted, weights, strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, one_weight, one_count), (other, other_weight, other_count) = pools[-2:]
            total = one_weight + other_weight
            mean = (one * one_weight + other * other_weight) / total
            pools[-2:] = [(mean, total, one_count + other_count)]
    return [value for value, _, count in pools for _ in range(count)]
