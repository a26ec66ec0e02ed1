"""How long one action takes, at least, as expected and at most, for all that its parameters may be. Seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace
from typing import Any

from labd.expr import Env, Interval
from labd.protocol.program import DoOp
from labd.protocol.proofs.ranges import Ranges

_CORNERS = 6  # parameters up to which all corners of their ranges are tried


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds; `expected` is None where nobody knows, `greatest` infinite where nothing bounds it."""

    least: float
    expected: float | None
    greatest: float


def span_of(op: DoOp, ranges: Ranges, env: Env) -> Span:
    """How long an action takes by itself; its step's `within` is not looked at."""
    points = list(_corners(op, ranges, env))
    least = min(_value(op.action.at_least, point) or 0.0 for point in points)
    known = [_value(op.action.expected, point) for point in points]
    expected = [value for value in known if value is not None]
    limits = [_value(op.action.time_limit, point) for point in points]
    greatest = max(math.inf if limit is None else limit for limit in limits)
    middle = (min(expected) + max(expected)) / 2 if expected and len(expected) == len(known) else None
    return Span(max(0.0, least), None if middle is None else max(least, middle), greatest)


def _corners(op: DoOp, ranges: Ranges, env: Env) -> Iterator[SimpleNamespace]:
    """The parameters at the ends of their ranges."""
    ends: dict[str, tuple[Any, ...]] = {}
    for name, declared in op.action.parameters.model_fields.items():
        slot = op.parameters.get(name)
        known = ranges.number(slot, env) if slot is not None else None
        if isinstance(known, Interval):
            ends[name] = (known.low,) if known.low == known.high else (known.low, known.high)
        elif slot is not None:
            ends[name] = (ranges.text(slot) if slot.expression is not None else slot.fixed,)
        else:
            ends[name] = (None if declared.is_required() else declared.get_default(call_default_factory=True),)
    wide = [name for name, values in ends.items() if len(values) > 1]
    for name in wide[_CORNERS:]:
        ends[name] = ends[name][1:]
    for values in product(*ends.values()):
        yield SimpleNamespace(**dict(zip(ends, values, strict=True)))


def _value(function: Callable[[Any], float | None], point: SimpleNamespace) -> float | None:
    """What a function of an action's parameters gives; None where it has no value."""
    try:
        found = function(point)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None
    return None if found is None or math.isnan(found) else float(found)
