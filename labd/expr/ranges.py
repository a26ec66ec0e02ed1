"""Ranges of values, and what operators make of them: the arithmetic below labd.expr.intervals.

Every bound is worked out by the very operation that the value is, and these round monotonically, so a range holds
the value that floats give, not only the one that real numbers give. Steps that overflow raise `Unbounded`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

INF = math.inf
_SLACK = 1e-12  # of sums whose rounding depends on the order, and of operations undone


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers from `low` to `high`, both included, in the default unit of their dimension; ±inf where none is known.

    Args:
        integer: whether only whole numbers occur.
    """

    low: float = -INF
    high: float = INF
    integer: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def bounded(self) -> bool:
        """Whether both ends are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def tidy(self) -> Interval:
        """The same numbers with ends of their own kind: whole ones where only whole numbers occur."""
        if not self.integer:
            return Interval(float(self.low), float(self.high))
        low = math.ceil(self.low) if math.isfinite(self.low) else self.low
        high = math.floor(self.high) if math.isfinite(self.high) else self.high
        return Interval(low, high, integer=True)


@dataclass(frozen=True, slots=True)
class Choices:
    """A few values: of a text with choices, of true and false."""

    values: frozenset[bool | str]


Range: TypeAlias = Interval | Choices
Env: TypeAlias = Mapping[str, Range]
Reach: TypeAlias = "Interval | Choices | tuple[Reach, ...] | None"  # a tuple: a list's items; None: not known

TRUE, FALSE, EITHER = Choices(frozenset({True})), Choices(frozenset({False})), Choices(frozenset({True, False}))


class Unbounded(Exception):
    """A step overflows what a float can hold, or may divide zero by zero."""


def truth(decided: bool | None) -> Choices:
    """Three-valued truth as a range."""
    return EITHER if decided is None else TRUE if decided else FALSE


def decided(reach: Reach) -> bool | None:
    """The one truth of a range, or None when both are in it."""
    if isinstance(reach, Choices) and len(reach.values) == 1:
        (only,) = reach.values
        return only if isinstance(only, bool) else None
    return None


def hull(first: Reach, second: Reach) -> Reach:
    """All values of both."""
    if isinstance(first, Interval) and isinstance(second, Interval):
        whole = first.integer and second.integer
        return Interval(min(first.low, second.low), max(first.high, second.high), whole)
    if isinstance(first, Choices) and isinstance(second, Choices):
        return Choices(first.values | second.values)
    return None


def meet(first: Interval, second: Interval) -> Interval | None:
    """The values in both, with the first one's kind of number; None when there are none."""
    found = replace(first, low=max(first.low, second.low), high=min(first.high, second.high)).tidy()
    return found if found.low <= found.high else None


def below(end: float, *, whole: bool) -> float:
    """The greatest number below one; the greatest whole one."""
    if math.isinf(end):
        return end
    if whole:
        return math.ceil(end) - 1
    near = _step(float, end)
    return near if near < end else _step(math.nextafter, near, -INF)


# ── arithmetic ───────────────────────────────────────────────────────────────────────────────────────────────────
def _step(function: Callable[..., float], *values: float) -> float:
    try:
        found = function(*values)
    except (OverflowError, ValueError):
        raise Unbounded from None
    if found != found or (math.isinf(found) and not any(map(math.isinf, values))):  # noqa: PLR0124 - NaN
        raise Unbounded
    return found


def _times(left: float, right: float) -> float:
    """Zero times a missing bound is zero: the bound stands for values as great as one likes, not for infinity."""
    return 0 if left == 0 or right == 0 else left * right


def _over(left: float, right: float) -> float:
    return 0.0 if math.isinf(right) else left / right


def add(left: Interval, right: Interval) -> Interval:
    """`left + right`."""
    low, high = _step(operator.add, left.low, right.low), _step(operator.add, left.high, right.high)
    return Interval(low, high, left.integer and right.integer)


def negative(found: Interval) -> Interval:
    """`-found`."""
    return Interval(-found.high, -found.low, found.integer)


def _corners(function: Callable[[float, float], float], left: Interval, right: Interval) -> tuple[float, float]:
    ends = [_step(function, first, second) for first in (left.low, left.high) for second in (right.low, right.high)]
    return min(ends), max(ends)


def multiply(left: Interval, right: Interval, factor: float = 1.0) -> Interval:
    """`left * right`, brought to the unit of its dimension."""
    low, high = _corners(_times, left, right)
    return scaled(Interval(low, high, left.integer and right.integer), factor)


def divide(left: Interval, right: Interval, factor: float = 1.0) -> Interval:
    """`left / right`, without bounds when the divisor may be zero."""
    if 0 in right:
        return Interval()
    return scaled(Interval(*_corners(_over, left, right)), factor)


def scaled(found: Interval, factor: float) -> Interval:
    """The values in another unit; factors are positive."""
    if factor == 1.0:
        return found
    return Interval(_step(_times, found.low, factor), _step(_times, found.high, factor))


def magnitude(found: Interval) -> Interval:
    """`abs(found)`."""
    ends = abs(found.low), abs(found.high)
    return Interval(0 if 0 in found else min(ends), max(ends), found.integer)


def rounded(found: Interval, digits: Interval | None, function: Callable[..., float]) -> Interval:
    """`round(found)`, or to a fixed number of digits."""
    if digits is not None and digits.low != digits.high:
        return Interval()
    places = () if digits is None else (int(digits.low),)

    def at(end: float) -> float:
        return end if math.isinf(end) else function(end, *places)

    return Interval(_step(at, found.low), _step(at, found.high), digits is None)


def least(items: Iterable[Interval], choose: Callable[[Iterable[float]], float]) -> Interval:
    """`min` and `max` of several."""
    every = list(items)
    whole = all(item.integer for item in every)
    return Interval(choose([item.low for item in every]), choose([item.high for item in every]), whole)


def total(items: Iterable[Interval]) -> Interval:
    """`sum(items)`; with a little slack, for floats are not added up in the same way by every Python."""
    every = list(items)
    low, high = _ends_of(lambda *ends: sum(ends), every)
    if all(item.integer for item in every) or all(item.low == item.high for item in every):
        return Interval(low, high, all(item.integer for item in every))
    return widened(Interval(low, high), *every)


def mean(items: Iterable[Interval]) -> Interval:
    """`mean(items)`."""
    return Interval(*_ends_of(lambda *ends: math.fsum(ends) / len(ends), list(items)))


def _ends_of(function: Callable[..., float], items: list[Interval]) -> tuple[float, float]:
    return _step(function, *(item.low for item in items)), _step(function, *(item.high for item in items))


def widened(found: Interval, *by: Interval) -> Interval:
    """A little wider than worked out, relative to the greatest number that went into it."""
    known = [abs(end) for item in (found, *by) for end in (item.low, item.high) if math.isfinite(end)]
    slack = _SLACK * float(max(known, default=0.0))
    return Interval(found.low - slack, found.high + slack)


# ── comparison ───────────────────────────────────────────────────────────────────────────────────────────────────
def _less(left: Interval, right: Interval) -> bool | None:
    return True if left.high < right.low else False if left.low >= right.high else None


def _flip(found: bool | None) -> bool | None:
    return None if found is None else not found


def equal(left: Reach, right: Reach) -> bool | None:
    """Whether two values are equal; None when both may be."""
    if isinstance(left, Interval) and isinstance(right, Interval):
        if left.low == left.high == right.low == right.high:
            return True
        return False if left.high < right.low or right.high < left.low else None
    if isinstance(left, Choices) and isinstance(right, Choices):
        if not left.values & right.values:
            return False
        return True if len(left.values | right.values) == 1 else None
    return None


def compare(sign: str, left: Reach, right: Reach) -> bool | None:
    """`left < right` and its like, `left in right` too; None when it may be either."""
    if sign in ("==", "!="):
        found = equal(left, right)
        return found if sign == "==" else _flip(found)
    if sign in ("in", "not in"):
        found = _member(left, right)
        return found if sign == "in" else _flip(found)
    if not isinstance(left, Interval) or not isinstance(right, Interval):
        return None
    if sign in ("<", ">="):
        return _less(left, right) if sign == "<" else _flip(_less(left, right))
    return _less(right, left) if sign == ">" else _flip(_less(right, left))


def _member(left: Reach, right: Reach) -> bool | None:
    if not isinstance(right, tuple):
        return None
    found = [equal(left, item) for item in right]
    return True if True in found else None if None in found else False
