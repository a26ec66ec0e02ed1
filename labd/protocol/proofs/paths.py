"""Ways through the states of a program: the usual one, the shortest, and the costliest that its bounds allow."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from labd.protocol.program import AgainOp, AskOp, Goto, Hold, Program, Way
from labd.protocol.proofs.ranges import Ranges

Costs: TypeAlias = Mapping[str, float]
"""By state: seconds, µL, pieces."""


def usual_exits(program: Program, name: str, ranges: Ranges) -> tuple[str, ...]:
    """Where a state leads when all goes well: the last way first, for those before it are for what is special."""
    state = program.states[name]
    found: list[str] = []
    last: list[str] = []
    env = ranges.at((name, len(state.ops)))
    for condition, way in state.ways:
        holds = True if condition is None else ranges.holds(condition, env)
        if holds is False or not isinstance(way, Goto):
            continue
        if holds:
            last = [way.state]
            break
        found.append(way.state)
    choices = [way for op in state.ops if isinstance(op, AskOp) for way in op.choices.values()]
    return tuple(dict.fromkeys([*last, *found, *(way.state for way in choices if isinstance(way, Goto))]))


def usual_way(program: Program, ranges: Ranges) -> tuple[str, ...]:
    """The states of a run in which all goes well, up to an end that is complete where there is one; none twice."""
    exits = _Exits(program, ranges)
    ends = {name: state.end for name, state in program.states.items() if state.end is not None}
    return way_to_an_end(program.start, exits, ends)


class _Exits(dict[str, tuple[str, ...]]):
    """The usual exits of states, worked out when they are asked for."""

    def __init__(self, program: Program, ranges: Ranges) -> None:
        super().__init__()
        self._program, self._ranges = program, ranges

    def __missing__(self, name: str) -> tuple[str, ...]:
        self[name] = found = usual_exits(self._program, name, self._ranges)
        return found


def way_to_an_end(start: str, exits: Mapping[str, tuple[str, ...]], ends: Mapping[str, str]) -> tuple[str, ...]:
    """The first way from a state to an end that is complete, else to any; only the state where there is none.

    Args:
        start: the state.
        exits: where each state that is no end leads, the likeliest first.
        ends: how each state that is an end ends.
    """
    for wanted in (("complete",), ("complete", "scrapped", "stopped", "aborted")):
        path: list[str] = [start]
        seen = {start}
        waiting = [iter(exits[start] if start not in ends else ())]
        while waiting:
            if ends.get(path[-1]) in wanted:
                return tuple(path)
            target = next((one for one in waiting[-1] if one not in seen), None)
            if target is None:
                waiting.pop()
                path.pop()
            else:
                seen.add(target)
                path.append(target)
                waiting.append(iter(exits[target] if target not in ends else ()))
    return (start,)


@dataclass(frozen=True, slots=True)
class Shortest:
    """The least cost from one place to others.

    Args:
        program: whose states they are.
        costs: of each state, when it is left as usual.
        ranges: what decides conditions.
        any_way: whether all ways out count; those that cut a state short cost nothing.
    """

    program: Program
    costs: Costs
    ranges: Ranges
    any_way: bool = False

    def from_start(self) -> dict[str, float]:
        """To the begin of each state, from the begin of the first."""
        return self._run({self.program.start: 0.0})

    def after(self, name: str, cost: float) -> dict[str, float]:
        """To the begin of each state from inside of one, that takes so much more until it is left as usual."""
        return self._run(dict(self._on(name, 0.0, cost)))

    def _run(self, found: dict[str, float]) -> dict[str, float]:
        waiting = [(cost, name) for name, cost in found.items()]
        heapq.heapify(waiting)
        while waiting:
            cost, name = heapq.heappop(waiting)
            if cost > found[name]:
                continue
            for target, dearer in self._on(name, cost, self.costs.get(name, 0.0)):
                if dearer < found.get(target, math.inf):
                    found[target] = dearer
                    heapq.heappush(waiting, (dearer, target))
        return found

    def _on(self, name: str, cost: float, own: float) -> Iterator[tuple[str, float]]:
        usual = usual_exits(self.program, name, self.ranges)
        if not self.any_way:
            yield from ((target, cost + own) for target in usual)
            return
        ends = [*(way for _, way in self.program.states[name].ways), *_choices(self.program, name)]
        whole = {target for way in ends for target in _states(way)}
        whole |= {other for target in whole for other in _full(self.program, target)}
        short = {target for way in self._cut_short(name) for target in _states(way)}
        short |= {other for target in short for other in _full(self.program, target)}
        for target in whole - short:
            yield target, cost + own
        for target in short:
            yield target, cost

    def _cut_short(self, name: str) -> Iterator[Way]:
        """The ways that leave a state before its last step is done."""
        state = self.program.states[name]
        yield from state.catch.values()
        for watch in state.watches:
            yield watch.way
        for op in state.ops:
            if isinstance(op, AskOp):
                if op.within is not None:
                    yield op.otherwise
            elif isinstance(op, AgainOp) and op.otherwise is not None:
                yield op.otherwise
        for rule, inside in zip(self.program.windows, self.program.inside, strict=True):
            if name in inside and rule.within is not None:
                yield rule.otherwise


def _choices(program: Program, name: str) -> Iterator[Way]:
    for op in program.states[name].ops:
        if isinstance(op, AskOp):
            yield from op.choices.values()


def _states(way: Way) -> tuple[str, ...]:
    return way.continue_at if isinstance(way, Hold) else (way.state,)


def _full(program: Program, name: str) -> tuple[str, ...]:
    """Where a state leads that may not be entered again."""
    limit = program.states[name].limit
    return _states(limit[1]) if limit is not None else ()


# ── the costliest way ────────────────────────────────────────────────────────────────────────────────────────────
def costliest(program: Program, costs: Costs) -> float:
    """The greatest cost from the start to any end, no state entered more often than its bounds allow.

    Not less than any run's cost, and more only where a cycle is knotted: of each knot of states every one with
    `max_visits` is counted so often, and between two of these the costliest of the others once. What a person does
    after a hold is not counted.
    """
    return _Costliest(program, costs).run()


@dataclass(slots=True)
class _Costliest:
    program: Program
    costs: Costs
    after: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def run(self) -> float:
        self.after = {name: tuple(self.program.successors(name, held=False)) for name in self.program.states}
        order = _finishing(self.after, self.program.start)
        knots = _knots(self.after, order)
        best: dict[int, float] = {}
        number = {name: index for index, knot in enumerate(knots) for name in knot}
        for index in range(len(knots) - 1, -1, -1):  # knots come in the order of the way: the last first
            further = {number[target] for name in knots[index] for target in self.after[name]} - {index}
            best[index] = self._knot(knots[index]) + max((best[other] for other in further), default=0.0)
        return best[number[self.program.start]]

    def _knot(self, knot: list[str]) -> float:
        if len(knot) == 1 and knot[0] not in self.after[knot[0]]:
            return self.costs.get(knot[0], 0.0)
        limits = {name: state.limit[0] for name in knot if (state := self.program.states[name]).limit is not None}
        bounded = sum(times * self.costs.get(name, 0.0) for name, times in limits.items())
        between = self._longest([name for name in knot if name not in limits])
        return bounded + (between * (sum(limits.values()) + 1) if between else 0.0)

    def _longest(self, free: list[str]) -> float:
        """The costliest way by states without `max_visits`: these make no cycle among themselves."""
        inside = set(free)
        after = {name: tuple(target for target in self.after[name] if target in inside) for name in free}
        best: dict[str, float] = {}
        for start in free:
            for name in _finishing(after, start):
                if name not in best:
                    more = max((best.get(target, 0.0) for target in after[name]), default=0.0)
                    best[name] = self.costs.get(name, 0.0) + more
        return max(best.values(), default=0.0)


def _finishing(after: Mapping[str, tuple[str, ...]], start: str) -> list[str]:
    """All states that can be reached, each after those that it leads to, but for what leads back."""
    order: list[str] = []
    seen = {start}
    stack = [(start, iter(after[start]))]
    while stack:
        name, targets = stack[-1]
        target = next((one for one in targets if one not in seen), None)
        if target is None:
            order.append(name)
            stack.pop()
        else:
            seen.add(target)
            stack.append((target, iter(after[target])))
    return order


def _knots(after: Mapping[str, tuple[str, ...]], order: list[str]) -> list[list[str]]:
    """States that lead to each other, together (Kosaraju); earlier knots never follow later ones."""
    before: dict[str, list[str]] = {name: [] for name in order}
    for name in order:
        for target in after[name]:
            before[target].append(name)
    found: list[list[str]] = []
    seen: set[str] = set()
    for root in reversed(order):
        if root in seen:
            continue
        seen.add(root)
        knot = [root]
        for name in knot:
            for other in before[name]:
                if other not in seen:
                    seen.add(other)
                    knot.append(other)
        found.append(knot)
    return found
