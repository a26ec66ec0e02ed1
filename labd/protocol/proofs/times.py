"""How long a protocol takes, and each of its states: at least, as expected, and at most. Seconds.

Least is what no run can do faster: waits, and actions whose time is a parameter itself, on the shortest way to a
complete end. Expected is when all goes well: parameters by their defaults, the last way of each `next`, loops `until`
with one turn. Greatest is the costliest way that `max_visits` and time limits allow. A held run takes longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labd.expr import Choices, Env, Interval, Range
from labd.protocol.program import AskOp, CallOp, DoOp, Program, StateProgram, UntilOp, WaitOp
from labd.protocol.proofs.blocks import Block, Either, Leaf, Loop, Sum, blocks, leaves
from labd.protocol.proofs.durations import span_of
from labd.protocol.proofs.paths import Shortest, costliest, usual_way
from labd.protocol.proofs.ranges import Ranges, declared_ranges, default_ranges, point
from labd.protocol.values import Slot

ANSWER = "the operator's answer"
"""What `unknown` says of a question: how long a person takes nobody knows, and when all goes well it is not long."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long something takes, in seconds.

    Args:
        greatest: None where nothing bounds it, such as a question without `within`.
        unknown: what is on the usual way and counted as nothing, for nobody knows its time: `cycler.cycle`.
        states: of each state, for one visit.
    """

    least: float
    expected: float
    greatest: float | None
    unknown: tuple[str, ...] = ()
    states: Mapping[str, Estimate] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For editors: seconds."""
        found: dict[str, Any] = {
            "least": self.least,
            "expected": self.expected,
            "greatest": self.greatest,
            "unknown": list(self.unknown),
        }
        if self.states:
            found["states"] = {name: state.as_json() for name, state in self.states.items()}
        return found


def estimate(program: Program, parameters: Mapping[str, Any] | None = None) -> Estimate:
    """How long a protocol takes.

    Args:
        program: compiled for a lab (its drivers' own times count), or for the standard roles.
        parameters: what `bind_parameters` gave for one run; without them all that they may be, and by default.
    """
    usual = default_ranges(program.declared, parameters)
    base = declared_ranges(program.declared) if parameters is None else usual
    texts = {name: value for name, one in program.declared.items() if isinstance(value := one.default, str)}
    return Times(program, Ranges(program, base, texts), Ranges(program, usual, texts)).whole()


@dataclass(slots=True)
class Times:
    """The times of one program.

    Args:
        ranges: all that its names may be.
        usual: what they are by default.
    """

    program: Program
    ranges: Ranges
    usual: Ranges
    _states: dict[str, Estimate] = field(default_factory=dict)

    def whole(self) -> Estimate:
        """From the start to an end."""
        states = {name: self.state(name) for name, state in self.program.states.items() if state.end is None}
        way = usual_way(self.program, self.usual)
        unknown = tuple(dict.fromkeys(what for name in way if name in states for what in states[name].unknown))
        most = costliest(self.program, {name: _known(one.greatest) for name, one in states.items()})
        expected = sum(states[name].expected for name in way if name in states)
        return Estimate(min(self._least(), expected), expected, _finite(most), unknown, states)

    def _least(self) -> float:
        costs = {name: self.state(name).least for name in self.program.states}
        found = Shortest(self.program, costs, self.ranges).from_start()
        complete = [cost for name, cost in found.items() if self.program.states[name].end == "complete"]
        others = [cost for name, cost in found.items() if self.program.states[name].end is not None]
        return min(complete or others, default=0.0)

    def state(self, name: str) -> Estimate:
        """One visit of a state."""
        if name not in self._states:
            self._states[name] = self.block(self.program.states[name], blocks(self.program.states[name].ops))
        return self._states[name]

    def block(self, state: StateProgram, block: Block) -> Estimate:
        """Some steps of a state, one after the other."""
        every = {leaf.at: self._leaf(state.name, leaf) for leaf in leaves(block)}
        least = self._sum(state.name, self.ranges, {at: one.least for at, one in every.items()}, min)
        expected = self._sum(state.name, self.usual, {at: one.expected for at, one in every.items()}, max)
        most = self._sum(state.name, self.ranges, {at: _known(one.greatest) for at, one in every.items()}, max)
        unknown = tuple(dict.fromkeys(what for one in every.values() for what in one.unknown))
        low = least.of(block)
        return Estimate(low, max(low, expected.of(block)), _finite(most.of(block)), unknown)

    def _sum(self, state: str, ranges: Ranges, costs: Mapping[int, float], choose: Callable[..., float]) -> Sum:
        least = choose is min or ranges is self.usual  # a loop `until` has one turn when all goes well

        def turns(loop: Loop) -> float:
            found = ranges.turns(loop.op, ranges.at((state, loop.at)))
            if ranges is self.usual and loop.op.at_most is None and found.bounded:
                return (found.low + found.high) / 2
            return found.low if least else found.high

        def either(part: Either, then: float, otherwise: float) -> float:
            holds = ranges.holds(part.op.condition, ranges.at((state, part.at)))
            return choose(then, otherwise) if holds is None else then if holds else otherwise

        return Sum(lambda leaf: costs[leaf.at], turns, either, max_of)

    # ── one operation ────────────────────────────────────────────────────────────────────────────────────────────
    def _leaf(self, state: str, leaf: Leaf) -> Estimate:
        place = (state, leaf.at)
        match leaf.op:
            case DoOp():
                return self._action(leaf.op, self.ranges.at(place), self.usual.at(place))
            case WaitOp(seconds=seconds):
                found = self._number(seconds, self.ranges, place)
                usual = self._number(seconds, self.usual, place)
                return Estimate(max(0.0, found.low), max(0.0, _middle(usual)), _finite(found.high))
            case UntilOp(within=within, condition=condition):
                return Estimate(0.0, 0.0, self._limit(within, place), (f"the wait until {condition.text}",))
            case AskOp(within=within):
                return Estimate(0.0, 0.0, self._limit(within, place), (ANSWER,))
            case CallOp():
                return called(leaf.op, self.ranges.at(place), self.usual.at(place), self.ranges, self.usual).whole()
            case _:
                return Estimate(0.0, 0.0, 0.0)

    def _action(self, op: DoOp, env: Env, usual: Env) -> Estimate:
        span, likely = span_of(op, self.ranges, env), span_of(op, self.usual, usual)
        within = self.ranges.number(op.within, env) if op.within is not None else None
        once = span.greatest if within is None else within.high
        again = op.retry.times if op.retry is not None else 0
        delay = self.ranges.number(op.retry.delay, env) if op.retry is not None and op.retry.delay is not None else None
        most = once * (again + 1) + again * (delay.high if delay is not None else 0.0)
        unknown = () if likely.expected is not None else (op.name,)
        expected = likely.least if likely.expected is None else likely.expected
        return Estimate(span.least, expected, _finite(most), unknown)

    def _number(self, slot: Slot, ranges: Ranges, place: tuple[str, int]) -> Interval:
        return ranges.number(slot, ranges.at(place)) or Interval(0.0)

    def _limit(self, slot: Slot | None, place: tuple[str, int]) -> float | None:
        return _finite(self._number(slot, self.ranges, place).high) if slot is not None else None


def called(op: CallOp, env: Env, usual_env: Env, ranges: Ranges, usual: Ranges) -> Times:
    """A called protocol, with its parameters as this call gives them."""
    inner = called_ranges(op, env, ranges)
    return Times(op.program, inner, called_ranges(op, usual_env, usual))


def called_ranges(op: CallOp, env: Env, ranges: Ranges) -> Ranges:
    """What a called protocol's names may be, by what a call gives."""
    base = declared_ranges(op.program.declared)
    texts: dict[str, str] = {}
    for name, slot in op.parameters.items():
        number, text = ranges.number(slot, env), ranges.text(slot)
        known: Range | None = number if number is not None else point(slot.fixed)
        if text is not None:
            known, texts[name] = Choices(frozenset({text})), text
        if known is not None:
            base[name] = known
    return Ranges(op.program, base, texts)


def max_of(values: Iterable[float]) -> float:
    """The greatest of some, 0 of none."""
    return float(max(values, default=0.0))


def _known(greatest: float | None) -> float:
    return math.inf if greatest is None else greatest


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None


def _middle(found: Interval) -> float:
    return (found.low + found.high) / 2 if found.bounded else found.low
