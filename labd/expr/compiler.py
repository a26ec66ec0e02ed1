"""From tree to a typed closure over floats in default units; about a microsecond an operator."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from labd.expr import operators
from labd.expr.closures import (
    COMPARE,
    FUNCTIONS,
    Missing,
    Run,
    Values,
    binary,
    fold,
    lookup,
    not_empty,
    number,
    unfit,
)
from labd.expr.errors import ExpressionError, Flaw
from labd.expr.nodes import (
    NOTHING,
    Call,
    Chain,
    Choice,
    Comparison,
    ListLiteral,
    Literal,
    Name,
    Node,
    QuantityLiteral,
    Unary,
    names_in,
)
from labd.expr.operators import Wrong
from labd.expr.parser import parse
from labd.expr.show import show
from labd.expr.spelling import clipped, did_you_mean
from labd.expr.types import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    NUMBER,
    Anything,
    Boolean,
    ListOf,
    Measure,
    Number,
    Record,
    Text,
    Type,
    accepts,
    an,
    measure,
)
from labd.sdk import UnitError, units


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that was checked: call it with the values of its names.

    Args:
        names: what it uses, `("pressed", "peak_force")`.
        constant: whether it uses no names.
        leaves: the types of its names, by dotted name.
        node: its tree.
        worked: what only the check finds out, by place in the text: a quantity's value in the default unit, and for
            each operator of a product the factor that brings its floats to the unit of the result.
    """

    text: str
    type: Type
    names: frozenset[tuple[str, ...]]
    run: Run = field(repr=False, compare=False)
    leaves: Mapping[str, Type] = field(default_factory=dict, repr=False, compare=False)
    node: Node = field(default=NOTHING, repr=False, compare=False)
    worked: Mapping[tuple[int, int], tuple[float, ...]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def constant(self) -> bool:
        return not self.names

    def __call__(self, values: Values) -> Any:
        """The value now. Raises ExpressionError for a division by zero and for names without a value."""
        try:
            found = self.run(values)
        except ExpressionError:
            raise
        except ZeroDivisionError:
            raise ExpressionError([Flaw("a division by zero", 0, len(self.text), kind="value")]) from None
        except (ArithmeticError, TypeError, ValueError, AttributeError, LookupError) as error:
            raise ExpressionError([Flaw(f"it has no value: {error}", 0, len(self.text), kind="value")]) from None
        if found is True or found is False:
            return found
        flaw = unfit(found)
        if flaw:
            raise ExpressionError([Flaw(flaw, 0, len(self.text), kind="value")])
        return found

    def because(self, values: Values) -> str:
        """Its names with their values now, for people: `pressed.peak_force 7.31 kN, force 7.8 kN`."""
        told = []
        for name, kind in self.leaves.items():
            found: Any = values
            for part in name.split("."):
                found = found.get(part) if isinstance(found, Mapping) else None
            told.append(f"{name} {found.reason if isinstance(found, Missing) else show(found, kind)}")
        return ", ".join(told)


class Typed(NamedTuple):
    """A checked node: its type, what computes it, and where it stands."""

    type: Type
    run: Run
    node: Node


def compile_expression(
    text: str, names: Mapping[str, Type], wanted: Type = ANYTHING, aka: Mapping[str, str] | None = None
) -> Expression:
    """Parses, checks and compiles an expression.

    Args:
        text: as it stands in the protocol, without a leading `=`.
        names: the types of all names that it may use; a dotted name is a field of a Record.
        wanted: the type that it must have.
        aka: why a name that looks right is not there, by name.

    Raises:
        ExpressionError: with all its flaws, the first 20 where there are more.
    """
    node = parse(text)
    compiler = _Compiler(names, aka or {})
    found = compiler.visit(node)
    if not compiler.flaws and not accepts(wanted, found.type):
        compiler.flaws.append(_unwanted(wanted, found.type, node))
    if compiler.flaws:
        raise ExpressionError(compiler.flaws)
    return Expression(text, found.type, names_in(node), found.run, compiler.leaves, node, compiler.worked)


def _number(found: Typed) -> Run:
    """What computes a term; where its type is not known before the run, only numbers pass: texts would add up."""
    if not isinstance(found.type, Anything):
        return found.run
    return number(found.run, Flaw("a number belongs here", found.node.offset, found.node.length, kind="value"))


def _unwanted(wanted: Type, given: Type, node: Node) -> Flaw:
    mend = ""
    kind = "type"
    if isinstance(wanted, Measure):
        kind = "unit"
        if isinstance(given, Number):
            mend = f"it needs a unit, such as `1 {wanted.dimension.unit}`"
    elif wanted == INTEGER and given == NUMBER:
        mend = "write `round(…)`"
    elif isinstance(wanted, Boolean):
        mend = "a condition compares: `x > 3`"
    return Flaw(f"{an(wanted)} belongs here, and this is {an(given)}", node.offset, node.length, mend, kind)


_COMMON_UNITS = tuple(
    re.findall(
        r"\S+",
        "s ms min h µL mL L N kN V mV µV A mA µA nA Ω kΩ Hz kHz mHz g mg µg kg °C degC K mm µm cm mAh µAh Ah C V/s "
        "mV/s µL/s mm/s mol/L mol/kg bar mbar Pa kPa W Wh mAh/g ppm %",
    )
)


_MOST_FLAWS = 20
_MOST_UNITS = 32  # that differ: pint takes up to a millisecond for each
_LONGEST_UNIT = 60


class _Compiler:
    """One walk over the tree; a part that is wrong becomes Anything, so that one mistake is told once."""

    def __init__(self, names: Mapping[str, Type], aka: Mapping[str, str]) -> None:
        self.names = names
        self.aka = aka
        self.flaws: list[Flaw] = []
        self.leaves: dict[str, Type] = {}
        self.worked: dict[tuple[int, int], tuple[float, ...]] = {}
        self.units: set[str] = set()

    def visit(self, node: Node) -> Typed:
        try:
            found, run = self._compile(node)
        except Wrong as wrong:
            self._tell(Flaw(wrong.message, node.offset, node.length, wrong.mend, wrong.kind))
            found, run = ANYTHING, lambda _: None
        return Typed(found, run, node)

    def _tell(self, flaw: Flaw) -> None:
        """Keeps a flaw. Nobody reads more than some, and looking for what was meant takes its time."""
        self.flaws.append(flaw)
        if len(self.flaws) >= _MOST_FLAWS:
            raise ExpressionError(self.flaws)

    def _compile(self, node: Node) -> tuple[Type, Run]:
        walk: Any = self._walks[type(node)]
        return walk(self, node)  # type: ignore[no-any-return]

    # ── leaves ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _literal(self, node: Literal) -> tuple[Type, Run]:
        value = node.value
        if isinstance(value, bool):
            return BOOLEAN, lambda _: value
        if isinstance(value, str):
            return Text((value,)), lambda _: value
        return (INTEGER if isinstance(value, int) else NUMBER), lambda _: value

    def _quantity(self, node: QuantityLiteral) -> tuple[Type, Run]:
        self.units.add(node.unit)
        if len(node.unit) > _LONGEST_UNIT:
            raise Wrong(f"a unit has at most {_LONGEST_UNIT} characters, this one {len(node.unit)}", kind="unit")
        if len(self.units) > _MOST_UNITS:
            flaw = Flaw(
                f"an expression has at most {_MOST_UNITS} different units", node.offset, node.length, kind="unit"
            )
            raise ExpressionError([*self.flaws, flaw])
        try:
            kind = measure(node.unit)
            quantity = units.parse(f"{node.number!r} {node.unit}")
        except UnitError as error:
            near = did_you_mean(node.unit, _COMMON_UNITS) if node.unit not in self.names else ""
            mend = "put spaces about `/` or `*`" if any(sign in node.unit for sign in "/*") else near
            if node.unit in self.names:
                mend = f"an operator is missing before `{node.unit}`"
            raise Wrong(str(error), mend, "unit") from None
        value = quantity.value
        self.worked[node.offset, node.end] = (value,)
        return kind, lambda _: value

    def _name(self, node: Name) -> tuple[Type, Run]:
        first, *rest = node.parts
        if first not in self.names:
            mend = self.aka.get(first) or did_you_mean(first, self.names, "the names here are")
            self._wrong(f"there is no `{clipped(first)}` here", node.offsets[0], len(first), mend)
            return ANYTHING, lambda _: None
        kind = self.names[first]
        for part, offset in zip(rest, node.offsets[1:], strict=True):
            if isinstance(kind, Anything):
                break
            if not isinstance(kind, Record):
                self._wrong(f"`{first}` is {an(kind)}: it has no fields", offset, len(part), "")
                return ANYTHING, lambda _: None
            if part not in kind.fields:
                mend = did_you_mean(part, kind.fields, "it has")
                self._wrong(f"{an(kind)} has no `{clipped(part)}`", offset, len(part), mend)
                return ANYTHING, lambda _: None
            kind = kind.fields[part]
        if isinstance(kind, Record):
            mend = f"write one of its fields: {operators.describe_fields(kind)}"
            self._wrong(f"`{clipped('.'.join(node.parts))}` is {an(kind)}, no value", node.offset, node.length, mend)
            return ANYTHING, lambda _: None
        label = ".".join(node.parts)
        self.leaves[label] = kind
        return kind, lookup(node.parts, Flaw(label, node.offset, node.length, kind="value"))

    def _wrong(self, message: str, offset: int, length: int, mend: str) -> None:
        self._tell(Flaw(message, offset, length, mend, "name"))

    def _list(self, node: ListLiteral) -> tuple[Type, Run]:
        items = [self.visit(item) for item in node.items]
        kind: Type = ANYTHING
        for item in items:
            kind = operators.united(kind, item.type)
        runs = [item.run for item in items]
        return ListOf(kind), lambda values: [run(values) for run in runs]

    # ── operators ────────────────────────────────────────────────────────────────────────────────────────────────
    def _unary(self, node: Unary) -> tuple[Type, Run]:
        operand = self.visit(node.operand)
        run = operand.run
        if node.operator == "not":
            self._expect_condition(operand)
            return BOOLEAN, lambda values: not run(values)
        if not isinstance(operand.type, (Number, Measure, Anything)) or operators.is_point(operand.type):
            raise Wrong(f"{an(operand.type)} has no sign")
        if node.operator == "+":
            return operand.type, run
        return operand.type, lambda values: -run(values)

    def _expect_condition(self, found: Typed) -> None:
        if not isinstance(found.type, (Boolean, Anything)):
            message = f"a condition belongs here, and this is {an(found.type)}"
            flaw = Flaw(message, found.node.offset, found.node.length, "a condition compares: `x > 3`", "type")
            self._tell(flaw)

    def _chain(self, node: Chain) -> tuple[Type, Run]:
        return self._logic(node) if node.operators[0] in ("and", "or") else self._arithmetic(node)

    def _logic(self, node: Chain) -> tuple[Type, Run]:
        terms = [self.visit(term) for term in node.terms]
        for term in terms:
            self._expect_condition(term)
        runs = tuple(term.run for term in terms)
        if len(runs) == 2:
            left, right = runs
            if node.operators[0] == "and":
                return BOOLEAN, lambda values: left(values) and right(values)
            return BOOLEAN, lambda values: left(values) or right(values)
        together = all if node.operators[0] == "and" else any
        return BOOLEAN, lambda values: together(run(values) for run in runs)

    def _arithmetic(self, node: Chain) -> tuple[Type, Run]:
        first, *others = [self.visit(term) for term in node.terms]
        kind, run = first.type, _number(first)
        steps: list[tuple[str, Run, float, Flaw]] = []
        for sign, term in zip(node.operators, others, strict=True):
            factor = 1.0
            if sign in "+-":
                kind = operators.added(sign, kind, term.type)
            else:
                kind, factor = operators.multiplied(sign, kind, term.type)
            if sign == "/" and isinstance(term.node, (Literal, QuantityLiteral)) and not term.run({}):
                raise Wrong("a division by zero", kind="value")
            steps.append((sign, _number(term), factor, Flaw("a division by zero", term.node.offset, term.node.length)))
        self.worked[node.offset, node.end] = tuple(factor for _, _, factor, _ in steps)
        if len(steps) == 1:
            return kind, binary(run, *steps[0])
        return kind, fold(run, steps)

    def _comparison(self, node: Comparison) -> tuple[Type, Run]:
        left, right = self.visit(node.left), self.visit(node.right)
        first, second = left.run, right.run
        if node.operator in ("in", "not in"):
            self._membership(left, right)
            if node.operator == "in":
                return BOOLEAN, lambda values: first(values) in second(values)
            return BOOLEAN, lambda values: first(values) not in second(values)
        operators.compared(node.operator, left.type, right.type)
        self._check_choice(left, right)
        self._check_choice(right, left)
        compare = COMPARE[node.operator]
        return BOOLEAN, lambda values: compare(first(values), second(values))

    def _membership(self, left: Typed, right: Typed) -> None:
        if isinstance(right.type, Anything):
            return
        if not isinstance(right.type, ListOf):
            raise Wrong(f"`in` looks into a list, not into {an(right.type)}", "write `x in [a, b]`")
        if isinstance(right.node, ListLiteral):
            for item in right.node.items:
                self._check_choice(left, Typed(self._type_of_literal(item), left.run, item))
        operators.compared("==", left.type, right.type.item)

    def _type_of_literal(self, item: Node) -> Type:
        return Text((item.value,)) if isinstance(item, Literal) and isinstance(item.value, str) else ANYTHING

    def _check_choice(self, found: Typed, literal: Typed) -> None:
        """A text that is compared with what can only be one of some others is misspelt."""
        if not (isinstance(found.type, Text) and found.type.choices and isinstance(literal.node, Literal)):
            return
        if isinstance(found.node, Literal) or literal.node.value in found.type.choices:
            return
        word = str(literal.node.value)
        mend = did_you_mean(word, found.type.choices, "it is one of")
        self._tell(Flaw(f"it is never {clipped(word)!r}", literal.node.offset, literal.node.length, mend, "value"))

    def _choice(self, node: Choice) -> tuple[Type, Run]:
        value, condition, otherwise = self.visit(node.value), self.visit(node.condition), self.visit(node.otherwise)
        self._expect_condition(condition)
        kind = operators.united(value.type, otherwise.type, "stand for")
        first, test, second = value.run, condition.run, otherwise.run
        return kind, lambda values: first(values) if test(values) else second(values)

    def _call(self, node: Call) -> tuple[Type, Run]:
        arguments = [self.visit(argument) for argument in node.arguments]
        kind = operators.called(node.function, [argument.type for argument in arguments])
        runs = tuple(argument.run for argument in arguments)
        function = FUNCTIONS[node.function]
        if len(runs) == 1:
            (only,) = runs
            if node.function in ("min", "max", "mean"):
                return kind, not_empty(node, function, only)
            return kind, lambda values: function(only(values))
        return kind, lambda values: function(*(run(values) for run in runs))

    _walks: ClassVar[dict[type[Any], Callable[..., tuple[Type, Run]]]] = {
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
