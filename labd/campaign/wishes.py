"""Wishes: `conductivity >= 10 mS/cm, viscosity <= 3 mPa*s`, read with units and brought to those of the campaign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from labd.campaign.problem import CampaignError, Choice, Mixture, Problem
from labd.expr import BOOLEAN, NUMBER, ExpressionError, Measure, Type, compile_expression, measure
from labd.expr.nodes import Chain, Comparison, Name, Node
from labd.sdk import UnitError, units

_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, slots=True)
class Wish:
    """A property, or a dimension of the space, that is to be at least or at most a value, in its own unit."""

    name: str
    limit: float
    at_least: bool
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.name} {'>=' if self.at_least else '<='} {self.limit:.4g} {self.unit}".rstrip()


def parse(want: str, problem: Problem) -> tuple[Wish, ...]:
    """Reads wishes, with commas or `and` between them.

    Raises:
        CampaignError: what is wrong with them, at which place, and how to mend it.
    """
    known = _names(problem)
    types = {name: _type(unit) for name, unit in known.items()}
    found: list[Wish] = []
    for text in (part.strip() for part in want.split(",")):
        try:
            expression = compile_expression(text, types, BOOLEAN)
            found += [_wish(node, text, known, types) for node in _comparisons(expression.node, text)]
        except ExpressionError as error:
            flaw = error.flaws[0]
            raise CampaignError(f"wish {text!r}, at character {flaw.offset + 1}: {flaw}") from error
    return tuple(found)


def _names(problem: Problem) -> dict[str, str]:
    """What can be wished for, with its unit."""
    known: dict[str, str] = {}
    for dimension in problem.space.dimensions:
        if isinstance(dimension, Mixture):
            known |= dict.fromkeys(dimension.parts, "")
        elif not isinstance(dimension, Choice):
            known[dimension.name] = dimension.unit
    return known | {objective.name: objective.unit for objective in problem.objectives}


def _type(unit: str) -> Type:
    if not unit:
        return NUMBER
    try:
        return measure(unit)
    except UnitError:  # a unit that only the campaign's file knows
        return NUMBER


def _comparisons(node: Node, text: str) -> list[Comparison]:
    if isinstance(node, Chain) and set(node.operators) == {"and"}:
        return [one for term in node.terms for one in _comparisons(term, text)]
    if isinstance(node, Comparison) and node.operator in _FLIPPED:
        return [node]
    raise CampaignError(f"wish {text!r}: say it as `name >= value` or `name <= value`; for a window, both")


def _wish(node: Comparison, text: str, known: Mapping[str, str], types: Mapping[str, Type]) -> Wish:
    name, other, operator = node.left, node.right, node.operator
    if not isinstance(name, Name):
        name, other, operator = node.right, node.left, _FLIPPED[operator]
    if not isinstance(name, Name) or isinstance(other, Name):
        raise CampaignError(f"wish {text!r}: one side is a property's name, the other its value")
    called = ".".join(name.parts)
    limit = compile_expression(text[other.offset : other.end], {}, types[called])
    value, unit, kind = float(limit({})), known[called], types[called]
    if isinstance(kind, Measure):
        value = units.convert(value, kind.dimension.unit, unit)
    return Wish(called, value, operator in (">", ">="), unit)
