"""What values an expression may have when its names are only known by their ranges, without running it.

A range holds every value that the expression has for names within theirs, and may hold more: `x - x` is not seen to be
zero. The one exception are values whose way leads beyond what a float can hold. Steps without a value (a division by
zero, an empty list) give none. Work grows with the length of the text, depth with that of the tree, at most 50.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, TypeAlias

from labd.expr import ranges
from labd.expr.closures import FUNCTIONS
from labd.expr.compiler import Expression
from labd.expr.nodes import (
    Call,
    Chain,
    Choice,
    Comparison,
    ListLiteral,
    Literal,
    Name,
    Node,
    QuantityLiteral,
    Spanned,
    Unary,
    parts_of,
)
from labd.expr.ranges import EITHER, INF, Choices, Env, Interval, Range, Reach, Unbounded
from labd.expr.types import Boolean, Measure, Number, Text, Type

Given: TypeAlias = Sequence[tuple[Expression, bool]]

_ROUNDS = 3  # of narrowing, for conditions that bound each other's names


def interval(expression: Expression, env: Env) -> Interval | None:
    """The numbers that an expression may give.

    Args:
        expression: compiled.
        env: ranges by dotted name, in default units; a name that is not in it may have any value of its type.

    Returns:
        None when it gives no number.
    """
    try:
        found = _Reader(expression, env).reach(expression.node)
    except Unbounded:
        found = None
    if isinstance(found, Interval):
        return found
    return Interval() if isinstance(expression.type, (Number, Measure)) else None


def decide(expression: Expression, env: Env) -> bool | None:
    """Whether a condition holds for all values in `env`, for none of them (False), or for some (None)."""
    try:
        return ranges.decided(_Reader(expression, env).reach(expression.node))
    except Unbounded:
        return None


def narrowed(env: Env, given: Given) -> dict[str, Range] | None:
    """The ranges that are left when conditions are known to be true or false; None when they cannot all be so.

    `volume > 1 µL` true leaves volumes from the first float above 1.
    """
    found: dict[str, Range] | None = dict(env)
    for _ in range(_ROUNDS):
        before = found
        for condition, truth in given:
            if found is not None:
                found = _guarded(condition, truth, found)
        if found is None or found == before:
            break
    return found


def _guarded(condition: Expression, truth: bool, env: Env) -> dict[str, Range] | None:
    try:
        return _Reader(condition, env).narrow(condition.node, truth)
    except Unbounded:
        return dict(env)


def range_of(name: str, kind: Type | None, env: Env) -> Range | None:
    """What a name may be, by `env` and by its type; None when nothing is known."""
    known = env.get(name)
    if isinstance(known, Interval):
        whole = known.integer or (isinstance(kind, Number) and kind.integer)
        return Interval(known.low, known.high, whole).tidy()
    if known is not None:
        return known
    match kind:
        case Number() | Measure():
            return Interval(integer=isinstance(kind, Number) and kind.integer)
        case Boolean():
            return EITHER
        case Text() if kind.choices:
            return Choices(frozenset(kind.choices))
        case _:
            return None


@dataclass(slots=True)
class _Reader:
    """One expression, read over the ranges of its names."""

    expression: Expression
    env: Env

    def reach(self, node: Node) -> Reach:
        """All values of a part. Raises Unbounded."""
        read: Callable[[_Reader, Any], Reach] = self._readers[type(node)]
        return read(self, node)

    def number(self, node: Node) -> Interval:
        """All values of a part that is a number, or anything where that is not known."""
        found = self.reach(node)
        return found if isinstance(found, Interval) else Interval()

    def _worked(self, node: Spanned) -> tuple[float, ...]:
        return self.expression.worked[node.offset, node.end]

    def _literal(self, node: Literal) -> Reach:
        if isinstance(node.value, (bool, str)):
            return Choices(frozenset({node.value}))
        return Interval(node.value, node.value, isinstance(node.value, int))

    def _quantity(self, node: QuantityLiteral) -> Reach:
        (value,) = self._worked(node)
        return Interval(value, value)

    def _name(self, node: Name) -> Reach:
        name = ".".join(node.parts)
        return range_of(name, self.expression.leaves.get(name), self.env)

    def _list(self, node: ListLiteral) -> Reach:
        return tuple(self.reach(item) for item in node.items)

    def _unary(self, node: Unary) -> Reach:
        if node.operator == "not":
            found = ranges.decided(self.reach(node.operand))
            return EITHER if found is None else ranges.truth(not found)
        operand = self.number(node.operand)
        return ranges.negative(operand) if node.operator == "-" else operand

    def _chain(self, node: Chain) -> Reach:
        if node.operators[0] in _LOGIC:
            return self._logic(node)
        return self._prefixes(node, [self.number(term) for term in node.terms])[-1]

    def _logic(self, node: Chain) -> Reach:
        deciding = node.operators[0] == "or"
        terms = {ranges.decided(self.reach(term)) for term in node.terms}
        return ranges.truth(deciding if deciding in terms else None if None in terms else not deciding)

    def _prefixes(self, node: Chain, terms: list[Interval]) -> list[Interval]:
        """What the chain comes to after each of its terms."""
        found = terms[:1]
        for sign, term, factor in zip(node.operators, terms[1:], self._worked(node), strict=True):
            found.append(_OPERATE[sign](found[-1], term, factor))
        return found

    def _comparison(self, node: Comparison) -> Reach:
        return ranges.truth(ranges.compare(node.operator, self.reach(node.left), self.reach(node.right)))

    def _choice(self, node: Choice) -> Reach:
        condition = ranges.decided(self.reach(node.condition))
        if condition is not None:
            return self.reach(node.value if condition else node.otherwise)
        sides = [
            _Reader(self.expression, env).reach(side)
            for side, truth in ((node.value, True), (node.otherwise, False))
            if (env := self._where(node.condition, truth)) is not None
        ]
        return reduce(ranges.hull, sides) if sides else None

    def _where(self, condition: Node, truth: bool) -> Env | None:
        """The ranges on one side of a choice; one in its condition is not read twice, for that doubles by each."""
        if any(isinstance(part, Choice) for part in parts_of(condition)):
            return self.env
        try:
            return self.narrow(condition, truth)
        except Unbounded:
            return self.env

    def _call(self, node: Call) -> Reach:
        arguments = [self.reach(argument) for argument in node.arguments]
        if node.function == "len":
            return _length(arguments[0])
        if node.function in ("abs", "round"):
            numbers = [item if isinstance(item, Interval) else Interval() for item in arguments]
            if node.function == "abs":
                return ranges.magnitude(numbers[0])
            return ranges.rounded(numbers[0], numbers[1] if len(numbers) > 1 else None, FUNCTIONS["round"])
        items = arguments if len(arguments) > 1 else arguments[0]
        if not isinstance(items, (list, tuple)) or not (items or node.function == "sum"):
            return None
        every = [item if isinstance(item, Interval) else Interval() for item in items]
        if node.function in ("min", "max"):
            return ranges.least(every, min if node.function == "min" else max)
        return ranges.total(every) if node.function == "sum" else ranges.mean(every)

    # ── backwards: what a known truth says about the names ───────────────────────────────────────────────────────
    def narrow(self, node: Node, truth: bool) -> dict[str, Range] | None:
        """The ranges in which a condition has a truth; None when it cannot. Raises Unbounded."""
        match node:
            case Unary(operator="not"):
                return self.narrow(node.operand, not truth)
            case Chain() if node.operators[0] in _LOGIC:
                return self._all(node, truth) if (node.operators[0] == "and") == truth else self._any(node, truth)
            case Comparison():
                return self._compared(node, node.operator if truth else _OPPOSITE[node.operator])
            case Name():
                return self._restrict(node, frozenset({truth}))
            case _:
                return None if ranges.decided(self.reach(node)) is (not truth) else dict(self.env)

    def _all(self, node: Chain, truth: bool) -> dict[str, Range] | None:
        env: dict[str, Range] | None = dict(self.env)
        for term in node.terms:
            if env is not None:
                env = _Reader(self.expression, env).narrow(term, truth)
        return env

    def _any(self, node: Chain, truth: bool) -> dict[str, Range] | None:
        found = [env for term in node.terms if (env := self.narrow(term, truth)) is not None]
        return reduce(_either, found) if found else None

    def _compared(self, node: Comparison, sign: str) -> dict[str, Range] | None:
        left, right = self.reach(node.left), self.reach(node.right)
        if ranges.compare(sign, left, right) is False:
            return None
        first = self.demand(node.left, sign, right)
        if first is None:
            return None
        return _Reader(self.expression, first).demand(node.right, _MIRROR[sign], left)

    def demand(self, node: Node, sign: str, other: Reach) -> dict[str, Range] | None:
        """The ranges in which a part compares so with a value of `other`."""
        if isinstance(node, Name) and isinstance(known := self.reach(node), Choices):
            return self._restrict(node, _texts(known, sign, other))
        if sign == "in" and isinstance(other, tuple) and other:
            sign, other = "==", reduce(ranges.hull, other)
        own = self.number(node)
        if not isinstance(other, Interval) or sign not in _ALLOWED:
            return dict(self.env)
        return self.require(node, _ALLOWED[sign](other, own.integer), own)

    def _restrict(self, node: Name, values: frozenset[bool | str] | None) -> dict[str, Range] | None:
        known = self.reach(node)
        if not isinstance(known, Choices) or values is None:
            return dict(self.env)
        left = known.values & values
        return {**self.env, ".".join(node.parts): Choices(left)} if left else None

    def require(self, node: Node, allowed: Interval, own: Interval) -> dict[str, Range] | None:
        """The ranges in which a part of value `own` is within `allowed`."""
        met = ranges.meet(own, allowed)
        if met is None:
            return None
        match node:
            case Name():
                return {**self.env, ".".join(node.parts): met}
            case Unary(operator="-"):
                return self.require(node.operand, ranges.negative(met), ranges.negative(own))
            case Unary(operator="+"):
                return self.require(node.operand, met, own)
            case Chain():
                return self._undo(node, met)
            case _:
                return dict(self.env)

    def _undo(self, node: Chain, allowed: Interval) -> dict[str, Range] | None:
        """From the last operator of a chain to its first: what is left for each term."""
        terms = [self.number(term) for term in node.terms]
        before = self._prefixes(node, terms)
        env: dict[str, Range] | None = dict(self.env)
        for at in range(len(terms) - 1, 0, -1):
            sign, factor = node.operators[at - 1], self._worked(node)[at - 1]
            left, right = _UNDO[sign](ranges.scaled(allowed, 1 / factor), before[at - 1], terms[at])
            near = (allowed, before[at - 1], terms[at]) if sign in "+-" else ()
            env = None if env is None else self._where_is(node.terms[at], ranges.widened(right, *near), terms[at], env)
            allowed = ranges.widened(left, *near)
        return None if env is None else self._where_is(node.terms[0], allowed, terms[0], env)

    def _where_is(self, term: Node, allowed: Interval, own: Interval, env: Env) -> dict[str, Range] | None:
        return _Reader(self.expression, env).require(term, allowed, own)

    _readers: ClassVar[Mapping[type[Any], Callable[[_Reader, Any], Reach]]] = {
        Literal: _literal,
        QuantityLiteral: _quantity,
        Name: _name,
        ListLiteral: _list,
        Call: _call,
        Unary: _unary,
        Chain: _chain,
        Comparison: _comparison,
        Choice: _choice,
    }


_LOGIC = ("and", "or")
_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "==", "in": "not in", "not in": "in"}
_MIRROR = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!=", "in": "", "not in": ""}

_OPERATE: dict[str, Callable[[Interval, Interval, float], Interval]] = {
    "+": lambda left, right, _: ranges.add(left, right),
    "-": lambda left, right, _: ranges.add(left, ranges.negative(right)),
    "*": ranges.multiply,
    "/": ranges.divide,
}

# From a result and both terms' ranges: what is left for the first term and for the second.
_UNDO: dict[str, Callable[[Interval, Interval, Interval], tuple[Interval, Interval]]] = {
    "+": lambda found, left, right: (_less(found, right), _less(found, left)),
    "-": lambda found, left, right: (ranges.add(found, right), _less(left, found)),
    "*": lambda found, left, right: (ranges.divide(found, right), ranges.divide(found, left)),
    "/": lambda found, left, right: (ranges.multiply(found, right), ranges.divide(left, found)),
}


def _less(left: Interval, right: Interval) -> Interval:
    return ranges.add(left, ranges.negative(right))


_ALLOWED: dict[str, Callable[[Interval, bool], Interval]] = {
    "<": lambda other, whole: Interval(high=ranges.below(other.high, whole=whole)),
    "<=": lambda other, _: Interval(high=other.high),
    ">": lambda other, whole: Interval(low=-ranges.below(-other.low, whole=whole)),
    ">=": lambda other, _: Interval(low=other.low),
    "==": lambda other, _: other,
}


def _texts(known: Choices, sign: str, other: Reach) -> frozenset[bool | str] | None:
    """The choices that compare so with a value of `other`; None when any of them may."""
    items = other if isinstance(other, tuple) else (other,)
    if sign in ("!=", "not in"):
        never = (item.values for item in items if isinstance(item, Choices) and len(item.values) == 1)
        return known.values.difference(*never)
    if sign not in ("==", "in") or not all(isinstance(item, Choices) for item in items):
        return None
    return frozenset().union(*(item.values for item in items if isinstance(item, Choices)))


def _either(first: Mapping[str, Range], second: Mapping[str, Range]) -> dict[str, Range]:
    """The ranges of two cases together; a name that only one of them bounds has none."""
    hulls = {name: ranges.hull(known, second[name]) for name, known in first.items() if name in second}
    return {name: found for name, found in hulls.items() if isinstance(found, (Interval, Choices))}


def _length(found: Reach) -> Interval:
    if isinstance(found, tuple):
        return Interval(len(found), len(found), integer=True)
    if isinstance(found, Choices):
        lengths = [len(value) for value in found.values if isinstance(value, str)]
        return Interval(min(lengths, default=0), max(lengths, default=INF), integer=True)
    return Interval(0, INF, integer=True)
