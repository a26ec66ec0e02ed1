"""Divisions by zero for some values of the parameters: at run time they hold the run, at three in the morning."""

from __future__ import annotations

from collections.abc import Iterator

from labd.expr import Expression, Measure
from labd.expr.nodes import Call, Chain, Choice, Comparison, ListLiteral, Node, Unary
from labd.files.problems import Problem
from labd.files.source import Path
from labd.protocol.program import op_conditions, op_slots
from labd.protocol.proofs.case import Case
from labd.protocol.proofs.knowledge import Place
from labd.protocol.proofs.values import places


def division_problems(case: Case) -> Iterator[Problem]:
    """Expressions whose divisor may be zero, with values for which it is."""
    for place, path, expression in _expressions(case):
        for divisor in _divisors(expression.node):
            yield from _by_zero(case, place, path, expression.text[divisor.offset : divisor.end])


def _expressions(case: Case) -> Iterator[tuple[Place, Path, Expression]]:
    for place, op in places(case):
        for slot in op_slots(op):
            if slot.expression is not None and slot.path:
                yield place, slot.path, slot.expression
        for condition in op_conditions(op):
            yield place, op.path, condition
    for name, state in case.program.states.items():
        for index, (way, _) in enumerate(state.ways):
            if way is not None:
                yield (name, len(state.ops)), ("states", name, "next", index, "if"), way
        for watch in state.watches:
            yield (name, 0), (*watch.path, "if"), watch.condition


def _divisors(node: Node) -> Iterator[Node]:
    """The divisors that are surely worked out: what stands behind an `if`, `and` or `or` may be guarded by it."""
    match node:
        case Chain(terms=terms, operators=signs) if signs[0] in ("and", "or"):
            yield from _divisors(terms[0])
        case Chain(terms=terms, operators=signs):
            yield from (term for term, sign in zip(terms[1:], signs, strict=True) if sign == "/")
            yield from (found for term in terms for found in _divisors(term))
        case Choice(condition=condition):
            yield from _divisors(condition)
        case Comparison(left=left, right=right):
            yield from _divisors(left)
            yield from _divisors(right)
        case Unary(operand=operand):
            yield from _divisors(operand)
        case Call(arguments=inner) | ListLiteral(items=inner):
            yield from (found for part in inner for found in _divisors(part))
        case _:
            pass


def _by_zero(case: Case, place: Place, path: Path, divisor: str) -> Iterator[Problem]:
    alone = case.compile(divisor)
    if alone is None or alone.constant:
        return
    unit = f" {alone.type.dimension.unit}" if isinstance(alone.type, Measure) else ""
    condition = case.compile(f"({divisor}) != 0{unit}")
    example = case.counterexample(condition, place) if condition is not None else None
    if example is not None:
        message = f"a division by zero: with {case.told(example)} `{divisor}` is zero"
        mend = "narrow the parameters' bounds, or write `x / n if n != 0 else …`"
        yield case.problem("P317", message, path, mend)
