"""Values that leave their bounds, or each other's, for some values of the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from labd.expr import Example, Measure, as_values, show
from labd.files.problems import Problem
from labd.protocol.program import AskOp, CallOp, DoOp, Op, RepeatOp, UntilOp, WaitOp
from labd.protocol.proofs.case import COUNTERS, Case
from labd.protocol.proofs.knowledge import Place
from labd.protocol.values import FREE, Slot

ORDERED: tuple[tuple[str, str, str], ...] = (("lower", "<", "upper"), ("f_min", "<=", "f_max"))
"""Parameters of one action of which one bounds the other."""


def value_problems(case: Case) -> Iterator[Problem]:
    """Expressions over parameters, wherever a value with bounds belongs."""
    for place, op in places(case):
        for what, slot in _bounded(op):
            yield from _out_of_bounds(case, place, what, slot)
        if isinstance(op, DoOp):
            yield from _disordered(case, place, op)
    for name, state in case.program.states.items():
        for watch in state.watches:
            yield from _out_of_bounds(case, (name, 0), "`for`", watch.seconds)
    for rule in case.program.windows:
        for what, limit in (("`within`", rule.within), ("`at_least`", rule.at_least)):
            if limit is not None:
                yield from _out_of_bounds(case, (rule.begin[0], 0), what, limit)


def places(case: Case) -> Iterator[tuple[Place, Op]]:
    """All operations that a run may come to."""
    for name, state in case.program.states.items():
        for at, op in enumerate(state.ops):
            if (name, at) in case.known:
                yield (name, at), op


def _bounded(op: Op) -> Iterator[tuple[str, Slot]]:
    """The values of an operation, and who bounds them."""
    match op:
        case DoOp():
            yield from ((f"`{op.name}`", slot) for slot in op.parameters.values())
            if op.within is not None:
                yield "`within`", op.within
            if op.retry is not None and op.retry.delay is not None:
                yield "`delay`", op.retry.delay
        case CallOp():
            yield from ((f"`{op.call}`", slot) for slot in op.parameters.values())
        case WaitOp():
            yield "`wait`", op.seconds
        case UntilOp() | AskOp() if op.within is not None:
            yield "`within`", op.within
        case RepeatOp() if op.times is not None:
            yield "`repeat`", op.times
        case _:
            pass


def _out_of_bounds(case: Case, place: Place, what: str, slot: Slot) -> Iterator[Problem]:
    if slot.expression is None or slot.bounds == FREE or not slot.path:
        return
    example = case.breach(slot.expression, slot.bounds, place)
    if example is None:
        return
    value = case.ranges.inlined(slot.expression)(as_values(example))
    above = slot.bounds.max is not None and value > slot.bounds.max
    limit = slot.bounds.max if above else slot.bounds.min
    assert limit is not None
    takes = f"{what} takes at {'most' if above else 'least'} {show(limit, slot.type)}"
    here = f"with {case.told(example)} this is {show(value, slot.type)}"
    lead = _may_be(case, example)
    message = f"{lead}, and {takes}: {here}" if lead else f"{takes}: {here}"
    yield case.problem("P208", message, slot.path, _mend(case, example, slot, limit, above=above))


def _may_be(case: Case, example: Example) -> str:
    """`volume` may be up to 100 µL: where one parameter alone is to blame."""
    names = [name for name in example if name not in COUNTERS]
    if len(names) != 1 or names[0] not in case.program.declared:
        return ""
    (name,) = names
    declared = case.program.declared[name]
    value = example[name]
    if value == declared.bounds.max and case.given is None:
        return f"`{name}` may be up to {show(value, declared.type)}"
    if value == declared.bounds.min and case.given is None:
        return f"`{name}` may be as low as {show(value, declared.type)}"
    return ""


def _mend(case: Case, example: Example, slot: Slot, limit: float, *, above: bool) -> str:
    names = sorted(name for name in example if name not in COUNTERS)
    if case.given is not None:
        return f"start it with another {' or '.join(f'`{name}`' for name in names)}" if names else ""
    assert slot.expression is not None
    text = case.ranges.inlined(slot.expression).text.strip("() ")
    if len(names) == 1 and text == names[0]:
        bound = "max" if above else "min"
        return f"write `{bound}: {show(limit, slot.type)}` at `{text}`, or let an `if` guard the way here"
    if names:
        told = " or ".join(f"`{name}`" for name in names)
        return f"narrow the bounds of {told}, or let an `if` guard the way here"
    return "let an `if` guard the way here"


# ── values that bound each other ─────────────────────────────────────────────────────────────────────────────────
def _disordered(case: Case, place: Place, op: DoOp) -> Iterator[Problem]:
    """An error for what is written or run so; bounds of two parameters may overlap, and a run's start looks again."""
    for low, sign, high in ORDERED:
        first, second = op.parameters.get(low), op.parameters.get(high)
        if first is None or second is None:
            continue
        found = not_so(case, place, (low, first), sign, (high, second))
        if found is None:
            continue
        word = "below" if sign == "<" else "at most"
        message = f"`{op.name}` wants `{low}` {word} `{high}`: {found[0]}"
        if case.given is None and found[1] and _usually_so(case, place, first, sign, second) is not False:
            mend = "narrow the parameters' bounds, so that they do not overlap"
            yield case.warning("W108", message, first.path or op.path, mend)
        else:
            yield case.problem("P208", message, first.path or op.path, f"let `{low}` stay below `{high}`")


def _usually_so(case: Case, place: Place, first: Slot, sign: str, second: Slot) -> bool | None:
    condition = case.compile(f"({text(first)}) {sign} ({text(second)})")
    return case.usual.holds(condition, case.usual.at(place)) if condition is not None else None


def not_so(
    case: Case, place: Place, first: tuple[str, Slot], sign: str, second: tuple[str, Slot]
) -> tuple[str, Example] | None:
    """How two values may come to lie in the wrong order, in words with the example; None when they do not."""
    texts = [text(slot) for _, slot in (first, second)]
    condition = case.compile(f"({texts[0]}) {sign} ({texts[1]})") if all(texts) else None
    example = case.counterexample(condition, place) if condition is not None else None
    if example is None:
        return None
    values = as_values(example)
    told = [f"{name} {show(_value(case, slot, values), slot.type)}" for name, slot in (first, second)]
    here = f"{told[0]} and {told[1]}"
    return (f"with {case.told(example)} these are {here}" if example else f"these are {here}"), example


def _value(case: Case, slot: Slot, values: Mapping[str, object]) -> object:
    return case.ranges.inlined(slot.expression)(values) if slot.expression is not None else slot.fixed


def text(slot: Slot) -> str:
    """A number as an expression; empty for what is none."""
    if slot.expression is not None:
        return slot.expression.text
    if isinstance(slot.fixed, bool) or not isinstance(slot.fixed, (int, float)):
        return ""
    unit = slot.type.dimension.unit if isinstance(slot.type, Measure) else ""
    return f"{slot.fixed!r} {unit}".strip()
