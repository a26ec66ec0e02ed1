"""Examples: values of names at which an expression breaks its bounds, or a condition holds; and proofs of none.

A box (a range for each name) in which nothing can be found is thrown away; in any other its corners and its middle are
tried, then it is halved. Work is bounded: what is not found within it may still be there, and nothing is proven then.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from labd.expr.compiler import Expression
from labd.expr.errors import ExpressionError
from labd.expr.intervals import Given, interval, narrowed, range_of
from labd.expr.ranges import Choices, Env, Interval, Range
from labd.expr.types import Type
from labd.sdk import Bounds

Example: TypeAlias = dict[str, float | bool | str]

WORK = 2_000  # evaluations; long expressions count more than once
_BOX = 4  # evaluations that reading over ranges takes as long as
_FINEST = 1e-6  # of a name's range: boxes below are not halved again
_ALL_CORNERS = 6  # names, up to which all corners of a box are tried


def witness(expression: Expression, env: Env, bounds: Bounds, given: Given = ()) -> Example | None:
    """Values at which an expression breaks its bounds while each condition of `given` has its truth.

    Args:
        expression: of numbers.
        env: ranges by dotted name, in default units. All names need one with both ends, but for those whose type
            says what they may be.
        bounds: in the default unit of the expression's dimension.
        given: conditions that are known to be true or false.

    Returns:
        A value for each name, whole numbers as int; None when none was found.
    """
    return _Search(env, given, _Breach(expression, bounds)).run().example


def within(expression: Expression, env: Env, bounds: Bounds, given: Given = ()) -> bool:
    """Whether it is proven that an expression cannot break its bounds; names without a range may have any value."""
    return _Search(env, given, _Breach(expression, bounds)).run().proven


def possible(condition: Expression, truth: bool, env: Env, given: Given = ()) -> Example | None:
    """Values at which a condition has a truth while each of `given` has its own; None when none was found."""
    return _Search(env, (*given, (condition, truth))).run().example


def impossible(condition: Expression, truth: bool, env: Env, given: Given = ()) -> bool:
    """Whether it is proven that a condition cannot have a truth: a branch is never taken."""
    return _Search(env, (*given, (condition, truth))).run().proven


def as_values(example: Mapping[str, float | bool | str]) -> dict[str, Any]:
    """Dotted names as the nested values that expressions are called with."""
    found: dict[str, Any] = {}
    for name, value in example.items():
        *path, last = name.split(".")
        inner = found
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return found


@dataclass(frozen=True, slots=True)
class _Breach:
    """What is looked for beside the conditions: a value outside bounds."""

    expression: Expression
    bounds: Bounds

    def excluded(self, env: Env) -> bool:
        found = interval(self.expression, env)
        return found is not None and all(self.bounds.problem(end) is None for end in (found.low, found.high))

    def at(self, values: Mapping[str, Any]) -> bool:
        found = self.expression(values)
        return isinstance(found, (int, float)) and self.bounds.problem(found) is not None


@dataclass(frozen=True, slots=True)
class _Outcome:
    example: Example | None = None
    proven: bool = False


@dataclass(slots=True)
class _Search:
    env: Env
    given: Given
    breach: _Breach | None = None
    work: int = 0
    types: dict[str, Type] = field(default_factory=dict)
    price: int = 0

    def run(self) -> _Outcome:
        """Looks through the boxes, the first in the queue first."""
        expressions = [condition for condition, _ in self.given]
        expressions += [self.breach.expression] if self.breach else []
        for expression in expressions:
            self.types |= expression.leaves
        self.price = sum(1 + len(expression.text) // 100 for expression in expressions)
        known = {name: range_of(name, kind, self.env) for name, kind in self.types.items()}
        root = {name: found for name, found in known.items() if found is not None}
        if any(isinstance(found, Interval) and found.low > found.high for found in root.values()):
            return _Outcome(proven=True)
        concrete = len(root) == len(known) and all(map(_concrete, root.values()))
        return self._boxes(root, concrete)

    def _boxes(self, root: dict[str, Range], concrete: bool) -> _Outcome:
        proven = True
        waiting: deque[Env] = deque([root])
        while waiting:
            first = self.work == 0
            self.work += _BOX * self.price
            if self.work > WORK:
                return _Outcome()
            box = narrowed(waiting.popleft(), self.given)
            if box is None or (self.breach is not None and self.breach.excluded(box)):
                continue
            example = self._tried(box, first=first) if concrete else None
            if example is not None:
                return _Outcome(example)
            halves = _halves(box, root)
            proven = proven and (bool(halves) or (concrete and all(map(_single, box.values()))))
            waiting += halves
        return _Outcome(proven=proven)

    def _tried(self, box: Env, *, first: bool) -> Example | None:
        for example in _points(box, first=first):
            self.work += self.price
            if self._holds(as_values(example)):
                return example
            if self.work > WORK:
                break
        return None

    def _holds(self, values: Mapping[str, Any]) -> bool:
        try:
            return all(bool(condition(values)) == truth for condition, truth in self.given) and (
                self.breach is None or self.breach.at(values)
            )
        except ExpressionError:
            return False


# ── boxes ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _concrete(found: Range) -> bool:
    return isinstance(found, Choices) or found.bounded


def _single(found: Range) -> bool:
    return len(found.values) == 1 if isinstance(found, Choices) else found.low == found.high


def _ordered(found: Choices) -> list[bool | str]:
    return sorted(found.values, key=str)


def _share(found: Range, whole: Range | None) -> float:
    """How much of its first range a name still has; whatever has no ends is not halved."""
    if isinstance(found, Choices):
        return 2.0 if len(found.values) > 1 else 0.0
    if not isinstance(whole, Interval) or not found.bounded or found.low == found.high:
        return 0.0
    if not whole.bounded:
        return 1.0 if found.integer or found.high - found.low > _FINEST * max(abs(found.low), abs(found.high)) else 0.0
    share = (found.high - found.low) / (whole.high - whole.low)
    return share if found.integer or share > _FINEST else 0.0


def _halves(box: Env, root: Env) -> list[Env]:
    """Two boxes from one, by the name that is least settled; none when all are."""
    shares = {name: _share(found, root.get(name)) for name, found in box.items()}
    name = max(shares, key=lambda name: shares[name], default="")
    if not shares.get(name):
        return []
    return [{**box, name: half} for half in _parted(box[name])]


def _parted(found: Range) -> tuple[Range, Range]:
    if isinstance(found, Choices):
        some = _ordered(found)
        half = len(some) // 2
        return Choices(frozenset(some[:half])), Choices(frozenset(some[half:]))
    middle = found.low + (found.high - found.low) / 2
    if found.integer:
        return Interval(found.low, math.floor(middle), True), Interval(math.floor(middle) + 1, found.high, True)
    return Interval(found.low, middle), Interval(middle, found.high)


# ── points ───────────────────────────────────────────────────────────────────────────────────────────────────────
def _points(box: Env, *, first: bool) -> Iterator[Example]:
    """Points of a box: of the first one its corners with round numbers, its middle, then its corners as they are."""
    names = sorted(box)
    corners = _corners(len(names))
    if first:
        for corner in corners:
            yield {name: _end(box[name], bool(corner >> at & 1), exact=False) for at, name in enumerate(names)}
    yield {name: _middle(box[name]) for name in names}
    for corner in corners if first else corners[:: max(1, len(corners) - 1)]:
        yield {name: _end(box[name], bool(corner >> at & 1), exact=True) for at, name in enumerate(names)}


def _corners(count: int) -> list[int]:
    """Which names are at their upper end, as bits: all corners of few names, some of many; the lowest is the last."""
    every = 2**count - 1
    if count <= _ALL_CORNERS:
        return list(range(every, -1, -1))
    return [every, *(every ^ (1 << at) for at in range(count)), *(1 << at for at in range(count)), 0]


def _end(found: Range, upper: bool, *, exact: bool) -> float | bool | str:
    """An end of a range. People read 1.05 better than the first float above 1, which shows as 1."""
    if isinstance(found, Choices):
        return _ordered(found)[-1 if upper else 0]
    end = found.high if upper else found.low
    if exact or found.integer or float(f"{end:.9g}") == end:
        return end
    return _round(end + (found.high - found.low) * (-1e-3 if upper else 1e-3), found)


def _middle(found: Range) -> float | bool | str:
    if isinstance(found, Choices):
        return _ordered(found)[0]
    middle = found.low + (found.high - found.low) / 2
    return math.floor(middle) if found.integer else _round(middle, found)


def _round(value: float, within: Interval) -> float:
    shorter = (float(f"{value:.{digits}g}") for digits in (3, 4, 6, 9))
    return next((short for short in shorter if short in within), min(max(value, within.low), within.high))
