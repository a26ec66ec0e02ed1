"""How long one action takes, at least, as expected and at most, for all that its parameters may be. Seconds.

What a driver declares counts. Where it says nothing, the standard actions' own physics does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace
from typing import Any

from labd.expr import Env, Interval
from labd.protocol.program import DoOp
from labd.protocol.ranges import Ranges
from labd.sdk import Action

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
    least = min(_value(_LEAST.get(op.action.name), point) or 0.0 for point in points)
    known = [_expected(op.action, point) for point in points]
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


def _value(function: Callable[[Any], float | None] | None, point: SimpleNamespace) -> float | None:
    """What a function of an action's parameters gives; None where it has no value."""
    if function is None:
        return None
    try:
        found = function(point)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None
    return None if found is None or math.isnan(found) else float(found)


def _expected(action: Action, point: SimpleNamespace) -> float | None:
    declared = _value(action.expected, point)
    return declared if declared is not None else _value(_USUAL.get(action.name), point)


# ── the standard actions ─────────────────────────────────────────────────────────────────────────────────────────
def _sweep(p: Any) -> float:
    path = abs(p.vertex1 - p.start) + abs(p.vertex2 - p.vertex1) + abs(p.start - p.vertex2)
    return float(p.scans * path / p.scan_rate)


def _spectrum(p: Any) -> float:
    """About three periods a point, and a second besides."""
    decades = math.log10(p.f_max / p.f_min)
    points = min(2_000, max(1, round(decades * p.points_per_decade) + 1))
    step = decades / max(1, points - 1)
    return float(sum(3 / (p.f_min * 10 ** (step * index)) + 1 for index in range(points)))


def _cycling(p: Any) -> float | None:
    """At a C-rate, or at a current of a known capacity (mAh); two halves a cycle, a rest after each."""
    rate = p.c_rate
    if rate is None and p.capacity is not None and p.current is not None:
        rate = abs(p.current) * 1000 / p.capacity
    return None if not rate else float(p.cycles * 2 * (3600 / rate + p.rest))


_LEAST: Mapping[str, Callable[[Any], float | None]] = {
    "crimp": lambda p: p.dwell,
    "open_circuit": lambda p: p.duration,
    "constant_current": lambda p: p.until_time if p.until_voltage is None else 0.0,
    "constant_voltage": lambda p: p.until_time if p.until_current is None else 0.0,
    "cyclic_voltammetry": _sweep,
}
"""What no device can do faster: times that are a parameter themselves."""

_USUAL: Mapping[str, Callable[[Any], float | None]] = {
    "home": lambda _: 20.0,
    "impedance": _spectrum,
    "cycle": _cycling,
}
"""What standard actions are expected to take whose role says nothing."""
