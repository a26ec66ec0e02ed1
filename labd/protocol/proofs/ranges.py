"""What values a protocol's names may have, place by place: parameters by their bounds, counters by theirs.

Numbers are in the default units of their dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from labd.expr import (
    BOOLEAN,
    INTEGER,
    Choices,
    Env,
    Expression,
    ExpressionError,
    Interval,
    Measure,
    Number,
    Range,
    Record,
    Text,
    Type,
    compile_expression,
    decide,
    interval,
)
from labd.expr.nodes import Name, parts_of
from labd.protocol.parameters import Declared
from labd.protocol.program import AskOp, Op, Program, RepeatOp, SetOp, op_assigns
from labd.protocol.proofs.blocks import Block, Either, Loop, Together, blocks
from labd.protocol.proofs.knowledge import Place
from labd.protocol.values import Slot

_DEEPEST = 8  # variables that are set by variables


def point(value: Any) -> Range | None:
    """One value as a range; None for what has none, such as a list."""
    if isinstance(value, (bool, str)):
        return Choices(frozenset({value}))
    if isinstance(value, (int, float)):
        return Interval(value, value, isinstance(value, int))
    return None


def of_type(kind: Type, low: float | None = None, high: float | None = None) -> Range | None:
    """All values of a type within bounds; None where they are not counted, such as texts."""
    match kind:
        case Number() | Measure():
            whole = kind == INTEGER
            return Interval(-math.inf if low is None else low, math.inf if high is None else high, whole).tidy()
        case Text() if kind.choices:
            return Choices(frozenset(kind.choices))
        case _ if kind == BOOLEAN:
            return Choices(frozenset({True, False}))
        case _:
            return None


def declared_ranges(declared: Mapping[str, Declared]) -> dict[str, Range]:
    """All values that whoever starts a run may give."""
    found = {name: of_type(one.type, one.bounds.min, one.bounds.max) for name, one in declared.items()}
    return {name: known for name, known in found.items() if known is not None}


def default_ranges(declared: Mapping[str, Declared], given: Mapping[str, Any] | None = None) -> dict[str, Range]:
    """What a run is started with: what is given, else the default, else all that may be given."""
    found = declared_ranges(declared)
    for name, one in declared.items():
        value = (given or {}).get(name, one.default)
        known = point(value)
        if known is not None:
            found[name] = known
    return found


def answers(program: Program) -> dict[str, Range]:
    """All that an operator may answer, by the answer's name (`more.value`), where one question alone gives it."""
    asked: dict[str, list[Op]] = {}
    for state in program.states.values():
        for op in state.ops:
            for name in op_assigns(op):
                asked.setdefault(name, []).append(op)
    found: dict[str, Range] = {}
    for name, ops in asked.items():
        if len(ops) == 1 and isinstance(ops[0], AskOp) and ops[0].input is not None:
            kind = program.types[name]
            value = kind.fields.get("value") if isinstance(kind, Record) else None
            known = of_type(value, ops[0].input.min, ops[0].input.max) if value is not None else None
            if known is not None:
                found[f"{name}.value"] = known
    return found


@dataclass(slots=True)
class Ranges:
    """One program with its parameters' ranges.

    Args:
        program: whose names they are.
        base: by name, parameters and variables that are set once to a fixed value.
        texts: the one text that a parameter without choices has, where it is known: a material, a place.
    """

    program: Program
    base: dict[str, Range]
    texts: Mapping[str, str] = field(default_factory=dict)
    _once: dict[str, Expression] = field(default_factory=dict)
    _loops: dict[str, dict[int, tuple[RepeatOp, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.base = dict(self.base)
        for name, slot in set_once(self.program):
            if slot.expression is not None:
                self._once[name] = slot.expression
            elif (known := point(slot.fixed)) is not None:
                self.base[name] = known
        self.base |= answers(self.program)

    # ── places ───────────────────────────────────────────────────────────────────────────────────────────────────
    def at(self, place: Place) -> Env:
        """The ranges of all names at a place, `visits` and `index` too."""
        name = place[0]
        found = dict(self.base)
        state = self.program.states.get(name)
        if state is not None and state.limit is not None:
            found["visits"] = Interval(1, state.limit[0], integer=True)
        loops = self.loops(place)
        if loops:
            found["index"] = Interval(1, max(1, self.turns(loops[-1], found).high), integer=True)
        for loop in loops:
            if loop.as_ is not None and loop.over is not None and (items := _hull(loop.over.fixed)) is not None:
                found[loop.as_] = items
        return found

    def loops(self, place: Place) -> tuple[RepeatOp, ...]:
        """The loops about an operation, the innermost last."""
        name, at = place
        if name not in self._loops:
            state = self.program.states.get(name)
            self._loops[name] = dict(_loops_of(blocks(state.ops), ())) if state is not None else {}
        return self._loops[name].get(at, ())

    def turns(self, loop: RepeatOp, env: Env) -> Interval:
        """How often a loop goes round."""
        if loop.at_most is not None:
            return Interval(1, loop.at_most, integer=True)
        if loop.over is not None:
            items = loop.over.count
            return Interval(0, math.inf, integer=True) if items is None else Interval(items, items, integer=True)
        found = self.number(loop.times, env) if loop.times is not None else None
        return replace(found, integer=True) if found is not None else Interval(0, math.inf, integer=True)

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────────
    def number(self, slot: Slot, env: Env) -> Interval | None:
        """The numbers that a slot may hold within its bounds; None when it holds none."""
        if slot.expression is None:
            found = point(slot.fixed)
            return found if isinstance(found, Interval) else None
        known = interval(self.inlined(slot.expression), env)
        if known is None:
            return None
        low = max(known.low, -math.inf if slot.bounds.min is None else slot.bounds.min)
        high = min(known.high, math.inf if slot.bounds.max is None else slot.bounds.max)
        return Interval(min(low, high), max(low, high), known.integer)

    def text(self, slot: Slot) -> str | None:
        """The text that a slot surely holds: a place, a material, a choice."""
        if slot.expression is None:
            return slot.fixed if isinstance(slot.fixed, str) else None
        (name, *more), *others = [*slot.expression.names] or [("",)]
        if more or others or slot.expression.text.strip() != name:
            return None
        known = self.base.get(name)
        if isinstance(known, Choices) and len(known.values) == 1:
            (only,) = known.values
            return only if isinstance(only, str) else None
        return self.texts.get(name)

    def holds(self, condition: Expression, env: Env) -> bool | None:
        """Whether a condition holds for all values, for none (False), or for some (None)."""
        return decide(self.inlined(condition), env)

    def inlined(self, expression: Expression) -> Expression:
        """An expression with what its variables were set to, where that was set once, by parameters alone."""
        for _ in range(_DEEPEST):
            used = [
                part for part in parts_of(expression.node) if isinstance(part, Name) and part.parts[0] in self._once
            ]
            if not used:
                break
            text = expression.text
            for part in sorted(used, key=lambda part: part.offset, reverse=True):
                text = f"{text[: part.offset]}({self._once[part.parts[0]].text}){text[part.end :]}"
            try:
                expression = compile_expression(text, {**self.program.types, "index": INTEGER})
            except ExpressionError:
                break  # longer than expressions may be
        return expression


def set_once(program: Program) -> Iterator[tuple[str, Slot]]:
    """The variables that one step alone sets, to a fixed value or to what parameters alone say."""
    writers: dict[str, list[Op]] = {}
    for state in (*program.states.values(), *([program.cleanup] if program.cleanup is not None else [])):
        for op in state.ops:
            for name in op_assigns(op) | ({op.as_} if isinstance(op, RepeatOp) and op.as_ is not None else set()):
                writers.setdefault(name, []).append(op)
    once = {name: op.values[name] for name, ops in writers.items() if len(ops) == 1 and isinstance(op := ops[0], SetOp)}
    for name, slot in once.items():
        if slot.expression is None or _by_parameters(slot.expression, once, program, frozenset({name})):
            yield name, slot


def _by_parameters(expression: Expression, once: Mapping[str, Slot], program: Program, within: frozenset[str]) -> bool:
    """Whether only parameters, and variables that only they make, are in an expression."""
    for first, *more in expression.names:
        if first in program.parameters and not more:
            continue
        slot = once.get(first)
        if slot is None or more or first in within:
            return False
        if slot.expression is not None and not _by_parameters(slot.expression, once, program, within | {first}):
            return False
    return True


def _loops_of(block: Block, outer: tuple[RepeatOp, ...]) -> Iterator[tuple[int, tuple[RepeatOp, ...]]]:
    for part in block:
        match part:
            case Either():
                yield part.at, outer
                yield from _loops_of(part.then, outer)
                yield from _loops_of(part.otherwise, outer)
            case Loop():
                yield part.at, outer
                yield from _loops_of(part.body, (*outer, part.op))
            case Together():
                for branch in part.branches.values():
                    yield from _loops_of(branch, outer)
            case _:
                yield part.at, outer


def _hull(items: object) -> Range | None:
    """The numbers from the least to the greatest of a list."""
    if not isinstance(items, list) or not items:
        return None
    if not all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in items):
        return None
    return Interval(min(items), max(items), all(isinstance(item, int) for item in items))
