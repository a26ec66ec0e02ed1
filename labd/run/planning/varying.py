"""Which parameters a state's time depends on: what is learnt of it is kept apart by their values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from labd.expr import Interval, Text
from labd.protocol.program import CallOp, DoOp, Op, Program, RepeatOp, op_conditions, op_slots
from labd.protocol.proofs.durations import span_of
from labd.protocol.proofs.ranges import Ranges, declared_ranges, default_ranges
from labd.protocol.proofs.times import Times, called

Key: TypeAlias = tuple[tuple[str, float], ...]
"""The values of the parameters that matter for a state's time, by name, in default units."""

MATTERS = 0.02  # of a state's time; what changes it less is not told apart


@dataclass(frozen=True, slots=True)
class Varying:
    """The parameters that matter, by state; with the value that each has when none is given.

    `deciding` are all parameters that can change the way, the times or the windows of a run.
    """

    names: Mapping[str, tuple[str, ...]]
    defaults: Mapping[str, float]
    deciding: frozenset[str] = frozenset()

    def key(self, state: str, values: Mapping[str, Any]) -> Key:
        """What tells one visit of a state from another with other parameters."""
        found: list[tuple[str, float]] = []
        for name in self.names.get(state, ()):
            value = values.get(name, self.defaults.get(name))
            if isinstance(value, Mapping):  # as journals tell it: {"v": 3, "u": "h"}
                value = value.get("v")
            if isinstance(value, (int, float)):
                found.append((name, float(f"{value:.6g}")))
        return tuple(found)


_KNOWN: dict[str, Varying] = {}
_MOST = 128


def varying(digest: str, program: Program) -> Varying:
    """Of a protocol, by its digest; worked out once."""
    if digest not in _KNOWN:
        while len(_KNOWN) >= _MOST:
            del _KNOWN[next(iter(_KNOWN))]
        _KNOWN[digest] = _varying(program)
    return _KNOWN[digest]


def _varying(program: Program) -> Varying:
    base = default_ranges(program.declared)
    whole = declared_ranges(program.declared)
    names: dict[str, tuple[str, ...]] = {}
    numbers = [name for name, known in whole.items() if isinstance(known, Interval)]
    usual = _times(program, base)
    ends = {
        name: [_times(program, {**base, name: Interval(end, end, known.integer)}) for end in _ends(known)]
        for name in numbers
        if isinstance(known := whole[name], Interval)
    }
    for state, one in program.states.items():
        if one.end is not None:
            continue
        expected = usual.state(state).expected
        used = set(_unsaid(usual, state))
        for name, variants in ends.items():
            if any(
                abs(variant.state(state).expected - expected) > MATTERS * max(1.0, expected) for variant in variants
            ):
                used.add(name)
        names[state] = tuple(sorted(used & set(numbers)))
    defaults = {
        name: float(one.default) for name, one in program.declared.items() if isinstance(one.default, (int, float))
    }
    return Varying(names, defaults, frozenset(_deciding(program)) | {name for used in names.values() for name in used})


def _deciding(program: Program) -> Iterator[str]:
    """The parameters that conditions, loops and windows name; and the places that an arm is told."""
    used: set[str] = set()
    for state in program.states.values():
        conditions = [condition for condition, _ in state.ways if condition is not None]
        conditions += [condition for op in state.ops for condition in op_conditions(op)]
        for condition in conditions:  # one that looks at results as well is not decided beforehand
            named = {parts[0] for parts in condition.names}
            used |= named if named <= program.declared.keys() else set()
        for op in state.ops:
            if isinstance(op, RepeatOp):
                used |= {
                    parts[0] for slot in op_slots(op) if slot.expression is not None for parts in slot.expression.names
                }
    for rule in program.windows:
        slots = [slot for slot in (rule.within, rule.at_least) if slot is not None and slot.expression is not None]
        used |= {parts[0] for slot in slots if slot.expression is not None for parts in slot.expression.names}
    places = {
        name for name, one in program.declared.items() if isinstance(one.type, Text) and one.type.names == "place"
    }
    yield from (used | places) & program.declared.keys()


def _times(program: Program, base: Mapping[str, Any]) -> Times:
    ranges = Ranges(program, dict(base))
    return Times(program, ranges, ranges)


def _ends(known: Interval) -> list[float]:
    return [end for end in (known.low, known.high) if math.isfinite(end)]


def _unsaid(times: Times, state: str) -> Iterator[str]:
    """What actions of which nobody knows the time are given."""
    for at, op in enumerate(times.program.states[state].ops):
        if _unknown(times, state, at, op):
            for slot in op_slots(op):
                if slot.expression is not None:
                    yield from (parts[0] for parts in slot.expression.names)


def _unknown(times: Times, state: str, at: int, op: Op) -> bool:
    env = times.usual.at((state, at))
    if isinstance(op, DoOp):
        return span_of(op, times.usual, env).expected is None
    return isinstance(op, CallOp) and bool(called(op, env, env, times.usual, times.usual).whole().unknown)
